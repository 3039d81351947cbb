from __future__ import annotations

import functools
import typing
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import pytest

import megaflow
from megaflow.errors import ConfigurationError, PatternError, RegistrationError
from megaflow.event import Event, ObjectData, Payload
from megaflow.handlers.event_rules import EVENT_ALIASES, EVENT_RULES, EventRules
from megaflow.handlers.router import Router
from megaflow.handlers.status import ProcessStatus
from megaflow.match.functions import gt
from megaflow.messages.codec import Kind
from megaflow.messages.message import Message, message_with
from tests.matching import handle, select, show

EVENT = Payload(
    event=Event(
        name="item.added",
        timestamp=datetime(2020, 5, 4, 15, 53, tzinfo=UTC),
        version=2,
        domain="shopping_cart",
        subject="987650",
        publisher="cart-service",
        attributes={"quantity": 5},
    ),
    object=ObjectData(type="cart", id="18a3", version=3, current={"items": 2}, previous={"items": 1}),
    extra={"channel": "web"},
)
MATCHING: dict[str, Any] = {
    "event_name": "item.added",
    "event_domain": "shopping_cart",
    "event_version": 2,
    "event_timestamp": datetime(2020, 5, 4, 15, 53, tzinfo=UTC),
    "event_subject": "987650",
    "event_publisher": "cart-service",
    "event_attributes": {"quantity": gt(0)},
    "object_type": "cart",
    "object_version": 3,
    "object_id": "18a3",
    "object_current": {"items": 2},
    "object_previous": {"items": 1},
    "extra": {"channel": "web"},
}
MESSAGE = message_with({"id": 5})


def reaches(router: Router, payload: object) -> bool:
    return bool(select(router, payload).matched)


def router_with(**rules: Any) -> Router:
    router = Router()
    router.on_event(**rules)(handle)
    return router


def call(function: Callable[..., Any], message: Message = MESSAGE) -> Any:
    """Register *function* for data, and call it as the processor does."""
    router = Router()
    router.on_data()(function)
    return router.handlers[0].bound(message)


def test_on_event_takes_events_that_match_its_rules() -> None:
    router = Router()
    router.on_event(domain="shopping_cart", attributes={"quantity": gt(0)})(handle)

    assert router.handlers[0].kind is Kind.MEGA
    assert reaches(router, EVENT)
    assert not reaches(router, Payload(event=Event(name="item.added", domain="shopping_cart")))
    assert not reaches(router, {"domain": "shopping_cart"})


def test_on_data_takes_objects_that_match_its_pattern() -> None:
    router = Router()
    router.on_data({"id": gt(0)})(handle)

    assert router.handlers[0].kind is Kind.DATA
    assert reaches(router, {"id": 5})
    assert not reaches(router, {"id": 0})
    assert not reaches(router, EVENT)


def test_on_data_takes_what_a_function_of_the_whole_says() -> None:
    router = Router()
    router.on_data(lambda data: len(data) == 2)(handle)

    assert reaches(router, {"a": 1, "b": 2})
    assert not reaches(router, {"a": 1})


def test_on_text_takes_text_that_matches_its_pattern() -> None:
    router = Router()
    router.on_text(["ping", "pong"])(handle)

    assert router.handlers[0].kind is Kind.TEXT
    assert reaches(router, "ping")
    assert not reaches(router, "pang")
    assert not reaches(router, {"ping": "ping"})


def test_on_binary_takes_bytes() -> None:
    router = Router()
    router.on_binary()(handle)

    assert router.handlers[0].kind is Kind.BINARY
    assert reaches(router, b"\0")
    assert not reaches(router, "text")


def test_on_message_takes_every_kind() -> None:
    router = Router()
    router.on_message()(handle)

    assert router.handlers[0].kind is Kind.ANY
    payloads: list[Any] = [EVENT, {}, "", b""]
    assert all(reaches(router, payload) for payload in payloads)


def test_the_predicate_of_on_message_gets_the_message() -> None:
    router = Router()
    router.on_message(lambda message: message.kind is Kind.TEXT)(handle)

    assert reaches(router, "text")
    assert not reaches(router, b"bytes")


def test_handlers_without_rules_match_everything_of_their_kind() -> None:
    router = Router()
    for register in (
        *(router.on_event(), router.on_data(), router.on_data({}), router.on_text(), router.on_binary()),
        router.on_message(),
    ):
        register(handle)

    assert all(handler.matches_everything for handler in router.handlers)


def test_handlers_with_rules_do_not() -> None:
    router = Router()
    router.on_event(name="a")(handle)
    router.on_data({"a": 1})(handle)
    router.on_text("")(handle)
    router.on_message(lambda message: True)(handle)

    assert not any(handler.matches_everything for handler in router.handlers)


@pytest.mark.parametrize("rule", MATCHING)
def test_every_rule_looks_at_its_place(rule: str) -> None:
    matching = router_with(**{rule: MATCHING[rule]})
    failing = router_with(**{rule: "something else"})

    assert reaches(matching, EVENT)
    assert not reaches(failing, EVENT)


@pytest.mark.parametrize(("rule", "alias"), EVENT_ALIASES.items())
def test_every_alias_says_the_same(rule: str, alias: str) -> None:
    matching = router_with(**{alias: MATCHING[rule]})
    failing = router_with(**{alias: "something else"})

    assert reaches(matching, EVENT)
    assert not reaches(failing, EVENT)


def test_the_rules_are_those_of_the_types() -> None:
    assert set(EventRules.__annotations__) == {*EVENT_RULES, *EVENT_ALIASES.values(), "extra"}
    assert set(MATCHING) == {*EVENT_RULES, "extra"}


@pytest.mark.parametrize(("rule", "alias"), EVENT_ALIASES.items())
def test_a_name_together_with_its_alias_is_refused(rule: str, alias: str) -> None:
    with pytest.raises(PatternError, match=f"got both '{rule}' and its alias '{alias}'; give one"):
        router_with(**{rule: "a", alias: "a"})


def test_an_unknown_rule_is_a_type_error_that_names_them_all() -> None:
    with pytest.raises(
        TypeError, match=r"on_event\(\) takes no 'nmae': did you mean name\? It takes event_name, .*, extra, retry_on, "
    ):
        router_with(nmae="item.added")


def test_none_is_the_pattern_null() -> None:
    router = Router()
    router.on_event(attributes={"quantity": None})(handle)
    router.on_event(domain=None)(handle)

    assert not reaches(router, EVENT)
    assert reaches(router, Payload(event=Event(name="a", attributes={"quantity": None})))


@pytest.mark.parametrize(
    ("register", "path"),
    [
        (lambda router: router.on_event(attributes={"quantity": object()}), "event.attributes.quantity"),
        (lambda router: router.on_event(current_object=[int]), "object.current[]"),
        (lambda router: router.on_event(extra={5: 6}), "extra"),
        (lambda router: router.on_data({"user": {"id": int}}), "user.id"),
        (lambda router: router.on_text(object()), ""),
    ],
)
def test_a_wrong_pattern_is_refused_with_its_path(register: Callable[[Router], object], path: str) -> None:
    with pytest.raises(PatternError) as caught:
        register(Router())

    assert caught.value.path == path


@pytest.mark.parametrize("pattern", ["a", 5, ["a"], True, object()], ids=show)
def test_what_no_data_object_can_match_is_refused(pattern: object) -> None:
    with pytest.raises(PatternError, match=f"a pattern for data objects is a dict, not {type(pattern).__name__}"):
        Router().on_data(pattern)


def test_a_predicate_that_is_no_function_is_refused() -> None:
    predicate: Any = {"kind": "text"}

    with pytest.raises(PatternError, match=r"on_message\(\) takes a function of the message, not dict"):
        Router().on_message(predicate)


def returns_nothing(payload: Any) -> None: ...


def returns_a_status(payload: Any) -> ProcessStatus:
    return ProcessStatus.DONE


def may_return_a_status(payload: Any) -> ProcessStatus | None:
    return None


@pytest.mark.parametrize("handler", [returns_nothing, returns_a_status, may_return_a_status])
@pytest.mark.parametrize("decorator", [Router.on_data, Router.on_text, Router.on_message])
def test_a_decorator_without_its_parentheses_is_refused(decorator: Any, handler: Any) -> None:
    with pytest.raises(PatternError, match="is it the handler, and are the parentheses missing"):
        decorator(Router(), handler)


async def is_asynchronous(payload: Any) -> None: ...


def test_a_decorator_without_its_parentheses_is_refused_for_async_handlers_too() -> None:
    with pytest.raises(PatternError, match="is async, and matching does not wait"):
        Router().on_data(is_asynchronous)


@pytest.mark.parametrize(
    "register",
    [
        *(Router().on_event(), Router().on_data(), Router().on_text(), Router().on_binary(), Router().on_message()),
    ],
)
def test_a_decorator_returns_the_function_it_got(register: Any) -> None:
    assert register(handle) is handle


def test_several_decorators_register_one_function_several_times() -> None:
    router = Router()

    @router.on_text("b")
    @router.on_data({"a": 1})
    @router.on_event(name="c")
    def handler(payload: Any) -> None: ...

    assert [each.kind for each in router.handlers] == [Kind.MEGA, Kind.DATA, Kind.TEXT]
    assert {each.function for each in router.handlers} == {handler}


def test_a_decorator_registers_every_function_it_is_given() -> None:
    router = Router()
    register = router.on_data({"a": 1})

    register(returns_nothing)
    register(returns_a_status)

    assert [each.function for each in router.handlers] == [returns_nothing, returns_a_status]
    assert [each.function for each in select(router, {"a": 1}).matched] == [returns_nothing, returns_a_status]


def test_a_handler_is_named_after_its_function() -> None:
    router = Router()

    @router.on_data()
    def handler(payload: Any) -> None: ...

    name = f"{__name__}.test_a_handler_is_named_after_its_function.<locals>.handler"
    assert router.handlers[0].name == name


class Cart:
    def add(self, payload: Any) -> None: ...

    def __call__(self, payload: Any) -> None: ...

    @staticmethod
    def clear(payload: Any) -> None: ...


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (Cart().add, f"{__name__}.Cart.add"),
        (Cart.clear, f"{__name__}.Cart.clear"),
        (Cart(), f"{__name__}.Cart"),
        (functools.partial(functools.partial(handle)), "tests.matching.handle"),
        (functools.partial(Cart.add, Cart()), f"{__name__}.Cart.add"),
        (print, "builtins.print"),
        ([].append, "list.append"),
    ],
    ids=show,
)
def test_whatever_can_be_called_has_a_name(function: Callable[..., None], name: str) -> None:
    router = Router()
    router.on_data()(function)

    assert router.handlers[0].name == name


@pytest.mark.parametrize(
    "register",
    [
        lambda router: router.on_event(handler_name="orders"),
        lambda router: router.on_data(handler_name="orders"),
        lambda router: router.on_text(handler_name="orders"),
        lambda router: router.on_binary(handler_name="orders"),
        lambda router: router.on_message(handler_name="orders"),
    ],
)
def test_a_handler_can_be_given_a_name(register: Any) -> None:
    router = Router()
    register(router)(handle)

    assert router.handlers[0].name == "orders"


def test_a_handler_knows_where_it_stands() -> None:
    router = Router()
    router.on_data()(returns_nothing)

    file, line = router.handlers[0].where.rsplit(":", 1)

    assert Path(file) == Path(__file__)
    assert int(line) == returns_nothing.__code__.co_firstlineno


@functools.wraps(returns_nothing)
def wrapped(*args: Any, **kwargs: Any) -> None:
    return returns_nothing(*args, **kwargs)


@pytest.mark.parametrize(
    ("function", "line"),
    [
        (wrapped, returns_nothing.__code__.co_firstlineno),
        (functools.partial(returns_nothing), returns_nothing.__code__.co_firstlineno),
        (Cart(), Cart.__call__.__code__.co_firstlineno),
        (Cart().add, Cart.add.__code__.co_firstlineno),
    ],
)
def test_a_handler_stands_where_the_function_inside_does(function: Any, line: int) -> None:
    router = Router()
    router.on_data()(function)

    assert router.handlers[0].where == f"{__file__}:{line}"


def test_a_function_of_pythons_own_stands_nowhere() -> None:
    router = Router()
    router.on_data()(print)

    assert router.handlers[0].where == "unknown"


@pytest.mark.parametrize(
    ("function", "asynchronous"),
    [(handle, False), (is_asynchronous, True), (functools.partial(is_asynchronous), True), (Cart(), False)],
)
def test_a_handler_knows_whether_it_is_async(function: Any, asynchronous: bool) -> None:
    router = Router()
    router.on_data()(function)

    assert router.handlers[0].is_async is asynchronous


@pytest.mark.parametrize(
    ("retry_on", "expected"),
    [
        (ConnectionError, (ConnectionError,)),
        ((ConnectionError, TimeoutError), (ConnectionError, TimeoutError)),
        ((), ()),
    ],
)
def test_retry_on_names_exceptions(retry_on: Any, expected: object) -> None:
    router = Router()
    router.on_data(retry_on=retry_on)(handle)

    assert router.handlers[0].options.retry_on == expected


def test_retry_on_holds_nothing_but_exceptions() -> None:
    wrong: Any = (ConnectionError, "timeout")

    with pytest.raises(ConfigurationError, match="must hold exception types; 'timeout' is none"):
        Router().on_text(retry_on=wrong)


def payload_alone(payload: Any) -> Any:
    return payload


def payload_only_by_position(payload: Any, /) -> Any:
    return payload


def payload_with_defaults(payload: Any = None, retries: int = 3, *rest: Any, **more: Any) -> Any:
    return payload if (retries, rest, more) == (3, (), {}) else None


def whatever_comes(*args: Any) -> Any:
    return args[0]


@pytest.mark.parametrize(
    "function",
    [
        *(payload_alone, payload_only_by_position, payload_with_defaults, whatever_comes),
        functools.partial(lambda db, payload: payload, "db"),
    ],
)
def test_the_first_parameter_gets_the_payload(function: Callable[..., Any]) -> None:
    assert call(function) == {"id": 5}


def message_second(payload: Any, message: Message) -> Any:
    return payload, message


def message_first(message: Message, payload: Any) -> Any:
    return payload, message


def message_first_by_position(message: Message, payload: Any, /) -> Any:
    return payload, message


def message_after_a_position(payload: Any, /, message: Message) -> Any:
    return payload, message


def message_by_keyword(payload: Any, *, message: Message) -> Any:
    return payload, message


def message_after_whatever(*args: Any, message: Message) -> Any:
    return args[0], message


def message_after_a_default(payload: Any, retries: int = 3, message: Message | None = None) -> Any:
    return payload, message


def message_of_the_package(payload: Any, message: megaflow.Message) -> Any:
    return payload, message


def message_optional(payload: Any, message: typing.Optional[Message]) -> Any:  # noqa: UP045
    return payload, message


def message_in_quotes(payload: Any, message: "Message") -> Any:  # noqa: UP037
    return payload, message


def message_optional_in_quotes(payload: Any, message: typing.Optional["Message"]) -> Any:  # noqa: UP037, UP045
    return payload, message


def message_annotated(payload: Any, message: Annotated[Message, "whole"]) -> Any:
    return payload, message


def message_annotated_and_optional(payload: Any, message: Annotated[Message, "whole"] | None) -> Any:
    return payload, message


@pytest.mark.parametrize(
    "function",
    [
        *(message_second, message_first, message_first_by_position, message_after_a_position, message_by_keyword),
        *(message_after_whatever, message_after_a_default, message_of_the_package, message_optional),
        *(message_in_quotes, message_optional_in_quotes, message_annotated, message_annotated_and_optional),
    ],
)
def test_a_parameter_annotated_so_gets_the_message(function: Callable[..., Any]) -> None:
    assert call(function) == ({"id": 5}, MESSAGE)


def only_the_message(message: Message) -> Any:
    return message


def only_the_message_by_keyword(*, message: Message) -> Any:
    return message


@pytest.mark.parametrize("function", [only_the_message, only_the_message_by_keyword])
def test_a_handler_can_do_without_the_payload(function: Callable[..., Any]) -> None:
    assert call(function) is MESSAGE


@pytest.mark.parametrize(
    "function", [payload_alone, payload_only_by_position, whatever_comes, only_the_message, only_the_message_by_keyword]
)
def test_on_message_gives_the_message_whatever_the_annotation(function: Any) -> None:
    router = Router()
    router.on_message()(function)

    assert router.handlers[0].bound(MESSAGE) is MESSAGE


@pytest.mark.parametrize(("register", "given"), [(Router.on_data, {"id": 5}), (Router.on_message, MESSAGE)])
def test_a_function_that_does_not_tell_its_parameters_gets_one_argument(register: Any, given: object) -> None:
    router = Router()
    register(router)(dir)

    assert router.handlers[0].bound(MESSAGE) == dir(given)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (5, "a handler is a function, not int"),
        (None, "a handler is a function, not NoneType"),
        (Cart, "the class Cart is no handler: register a function"),
    ],
)
def test_what_is_no_function_is_refused(function: Any, said: str) -> None:
    with pytest.raises(RegistrationError, match=said):
        Router().on_data()(function)


def generates(payload: Any) -> Any:
    yield payload


async def generates_asynchronously(payload: Any) -> Any:
    yield payload


@pytest.mark.parametrize("function", [generates, generates_asynchronously, functools.partial(generates)])
def test_generators_are_refused(function: Any) -> None:
    with pytest.raises(RegistrationError, match="is a generator: calling it runs nothing of it"):
        Router().on_data()(function)


def takes_nothing() -> None: ...


def takes_the_payload_by_keyword(*, payload: Any = None) -> None: ...


@pytest.mark.parametrize("function", [takes_nothing, takes_the_payload_by_keyword, lambda **options: None])
def test_a_handler_that_takes_no_payload_is_refused(function: Any) -> None:
    with pytest.raises(RegistrationError, match=r"has no parameter for the payload: write def .*\(payload\)"):
        Router().on_data()(function)


def takes_a_second(payload: Any, db: Any) -> None: ...


def takes_one_by_keyword(payload: Any, *, db: Any) -> None: ...


def takes_one_between(payload: Any, db: Any, message: Message) -> None: ...


@pytest.mark.parametrize("function", [takes_a_second, takes_one_by_keyword, takes_one_between])
def test_a_parameter_that_nobody_can_fill_is_refused(function: Any) -> None:
    with pytest.raises(RegistrationError, match="nobody can fill the parameter 'db'; a handler gets the payload"):
        Router().on_data()(function)


def test_a_refused_handler_is_not_registered() -> None:
    router = Router()

    with pytest.raises(RegistrationError):
        router.on_data()(takes_nothing)
    assert router.handlers == ()


def test_include_takes_the_handlers_that_the_router_has_then() -> None:
    outer, inner = Router(), Router()
    outer.on_data(handler_name="first")(handle)
    inner.on_data(handler_name="second")(handle)
    inner.on_data(handler_name="third")(handle)

    included = outer.include(inner)
    inner.on_data(handler_name="too late")(handle)

    assert included is outer
    assert [handler.name for handler in outer.handlers] == ["first", "second", "third"]


def test_a_router_can_be_included_in_several() -> None:
    inner = Router()
    inner.on_data()(handle)

    outer, other = Router().include(inner), Router().include(inner)

    assert outer.handlers == other.handlers == inner.handlers


@pytest.mark.parametrize("wrong", [None, handle, Router, [Router()]], ids=show)
def test_only_routers_are_included(wrong: Any) -> None:
    with pytest.raises(RegistrationError, match=r"include\(\) takes another Router"):
        Router().include(wrong)


def test_a_router_does_not_include_itself() -> None:
    router = Router()

    with pytest.raises(RegistrationError, match=r"include\(\) takes another Router"):
        router.include(router)


def test_handlers_are_equal_to_none_but_themselves() -> None:
    router = Router()
    router.on_data({"a": 1})(handle)
    router.on_data({"a": 1})(handle)

    assert router.handlers[0] != router.handlers[1]
    assert "secret" not in repr(router.handlers[0])
