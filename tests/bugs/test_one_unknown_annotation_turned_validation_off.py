"""One name that only type checkers know, if only that of what is returned, made text of all annotations of a handler.

It then got the raw dict, or the whole event, without a word.
"""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Generic, NewType, Optional, TypeVar

import pytest
from pydantic import BaseModel
from typing_extensions import TypeAliasType, TypedDict

from megaflow import App, Message, PayloadBuilder, RegistrationError
from megaflow.handlers.router import Router
from tests.handlers.test_router import call

if TYPE_CHECKING:
    from hidden import Hidden, Payload, Result  # type: ignore[import-not-found]
    from hidden import Message as OtherMessage


class Order(BaseModel):
    id: int


@dataclass
class Line:
    sku: str


class Database:
    pass


T = TypeVar("T")


@dataclass
class Box(Generic[T]):
    id: T


Orders = TypeAliasType("Orders", dict[str, Order])
Alias = TypeAliasType("Alias", Order)
Renamed = NewType("Renamed", Order)

EVENT = PayloadBuilder().with_event(name="x", id="7").build()


# What can be resolved is.


def returns_the_unknown(order: Order) -> Result:
    return order


def keeps_the_unknown(order: Order, fraction: Hidden = 5) -> Any:
    return order


def quoted_twice(order: "Order") -> Result:  # noqa: UP037
    return order


def annotated(order: Annotated[Order, "of a customer"]) -> Result:
    return order


def optional(order: Optional["Order"]) -> Result:  # noqa: UP037, UP045
    return order


def named_otherwise(order: Alias) -> Result:
    return order


def renamed(order: Renamed) -> Result:
    return order


def next_to_a_message(message: Message, order: Order) -> Result:
    return order


class Subscriber:
    class Own(Order):
        pass

    def method(self, order: Order) -> Result:
        return order

    def method_with_a_class_beside_it(self, order: Own) -> Result:
        return order

    @classmethod
    def of_the_class(cls, order: Own) -> Result:
        return order

    @staticmethod
    def of_nobody(order: Order) -> Result:
        return order

    def __call__(self, order: Order) -> Result:
        return order


def with_more(more: Hidden, order: Order) -> Result:
    return order


def passes_on(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


RESOLVABLE: list[Callable[..., Any]] = [
    *(returns_the_unknown, keeps_the_unknown, quoted_twice, annotated, optional, named_otherwise, renamed),
    *(next_to_a_message, Subscriber().method, Subscriber().method_with_a_class_beside_it, Subscriber.of_the_class),
    *(Subscriber.of_nobody, Subscriber(), functools.partial(with_more, 1), passes_on(returns_the_unknown)),
    functools.partial(passes_on(with_more), 1),
]


@pytest.mark.parametrize("function", RESOLVABLE, ids=lambda each: getattr(each, "__qualname__", type(each).__name__))
def test_a_model_is_validated_whatever_else_is_unknown(function: Callable[..., Any]) -> None:
    got = call(function, _data({"id": "7"}))

    assert isinstance(got, Order)
    assert got.id == 7


def _data(payload: Any) -> Message:
    from megaflow.messages.message import message_with

    return message_with(payload)


def test_a_part_of_an_event_is_validated_too() -> None:
    app, got = App(), []

    @app.on_event()
    def handle(attributes: Order) -> Result:
        got.append(attributes)

    app.process(EVENT)

    assert got == [Order(id=7)]


def test_local_models_are_found() -> None:
    class Local(BaseModel):
        id: int

    def make() -> Callable[..., Any]:
        class Inner(Local):
            pass

        router = Router()

        @router.on_data()
        def inner(order: Inner | Local) -> Result:
            return order

        return router.handlers[0].bound

    assert make()(_data({"id": "7"})).id == 7


def test_what_a_closure_knows_is_found_when_its_function_has_returned() -> None:
    def make() -> Callable[..., Any]:
        class Local(BaseModel):
            id: int

        def handle(order: Local) -> Result:
            return Local, order

        return handle

    model, order = call(make(), _data({"id": "7"}))

    assert isinstance(order, model)


def test_a_class_body_knows_its_own_names() -> None:
    router = Router()

    class Handlers:
        class Own(BaseModel):
            id: int

        @router.on_data()
        @staticmethod
        def handle(order: Own) -> Result:
            return order

    assert isinstance(router.handlers[0].bound(_data({"id": "7"})), Handlers.Own)


@pytest.mark.parametrize(
    ("annotation", "data", "wanted"),
    [
        (Box[int], {"id": "7"}, Box(7)),
        (dict[str, Order], {"a": {"id": "7"}}, {"a": Order(id=7)}),
        (Orders, {"a": {"id": "7"}}, {"a": Order(id=7)}),
        (dict[str, list[Line]] | None, {"a": [{"sku": "x"}]}, {"a": [Line("x")]}),
        (Order | list[Order], {"id": "7"}, Order(id=7)),
    ],
)
def test_what_holds_models_is_validated(annotation: Any, data: Any, wanted: object) -> None:
    def handle(data: Any) -> Any:
        return data

    handle.__annotations__["data"] = annotation

    assert call(handle, _data(data)) == wanted


def test_a_provided_type_is_found_next_to_an_unknown_one() -> None:
    app, got = App(), []
    app.provide(Database, Database)

    @app.on_data()
    def handle(data: dict[str, Any], database: Database) -> Result:
        got.append(type(database))

    app.process({})

    assert got == [Database]


# What cannot, and decides, is refused.

REMEDY = "import what it names at run time, outside `if TYPE_CHECKING:`, or define it before"


def takes_unknown(order: Hidden) -> None: ...
def takes_a_list_of_unknown(orders: list[Hidden]) -> None: ...
def takes_one_of(order: Order | Hidden) -> None: ...
def may_take_unknown(order: Optional[Hidden] = None) -> None: ...  # noqa: UP045
def takes_another_message(message: OtherMessage) -> None: ...
def needs_unknown(payload: Any, database: Hidden) -> None: ...
def needs_unknown_by_name(payload: Any, *, database: Hidden) -> None: ...


@pytest.mark.parametrize("kind", ["on_data", "on_text", "on_binary", "on_event", "on_message"])
@pytest.mark.parametrize("function", [takes_unknown, takes_a_list_of_unknown, takes_one_of, may_take_unknown])
def test_what_gets_the_payload_must_be_known(function: Callable[..., Any], kind: str) -> None:
    with pytest.raises(RegistrationError) as raised:
        getattr(App(), kind)()(function)

    said = str(raised.value)
    (parameter,) = [name for name in function.__annotations__ if name != "return"]
    assert f"test_one_unknown_annotation_turned_validation_off.{function.__name__}: the annotation " in said
    assert f"of the parameter {parameter!r} cannot be resolved (NameError: name 'Hidden' is not defined)" in said
    assert said.endswith(REMEDY)


@pytest.mark.parametrize("function", [needs_unknown, needs_unknown_by_name])
def test_what_has_no_default_must_be_known(function: Callable[..., Any]) -> None:
    with pytest.raises(RegistrationError, match="the annotation 'Hidden' of the parameter 'database'"):
        App().on_data()(function)


def test_what_is_defined_later_is_not_there_yet() -> None:
    def early(order: DefinedLater) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(RegistrationError, match="or define it before"):
        App().on_data()(early)


def test_a_model_of_the_name_message_is_not_taken_for_ours() -> None:
    def handle(message: Message) -> None: ...

    handle.__annotations__["message"] = "hidden.Message"

    with pytest.raises(RegistrationError, match=r"the annotation 'hidden\.Message' of the parameter 'message'"):
        App().on_data()(handle)
    with pytest.raises(RegistrationError, match="the annotation 'OtherMessage'"):
        App().on_text()(takes_another_message)


@pytest.mark.parametrize("name", ["attributes", "current", "previous", "extra"])
@pytest.mark.parametrize("default", [(), (None,)])
def test_a_part_of_an_event_must_be_known(name: str, default: tuple[None, ...]) -> None:
    space: dict[str, Any] = {}
    exec(f"def handle(event, {name}): ...", space)
    handle = space["handle"]
    handle.__annotations__ = {name: "Hidden"}
    handle.__defaults__ = default

    with pytest.raises(RegistrationError, match=f"the annotation 'Hidden' of the parameter '{name}'"):
        App().on_event()(handle)


def test_a_default_is_not_used_where_the_type_is_provided() -> None:
    app = App()
    app.provide(Database, Database)

    def handle(data: Any, database: Any = None) -> None: ...

    handle.__annotations__["database"] = "elsewhere.Database | None"

    with pytest.raises(RegistrationError, match=r"the annotation 'elsewhere\.Database \| None' of the parameter"):
        app.on_data()(handle)


def test_what_a_provider_needs_must_be_known() -> None:
    app = App()

    def make(database: Hidden) -> Database: ...  # type: ignore[empty-body]

    with pytest.raises(RegistrationError, match="takes 'database', whose annotation 'Hidden' cannot be resolved"):
        app.provide(Database, make)


def test_what_a_provider_returns_and_has_defaults_for_need_not_be_known() -> None:
    app = App()
    app.provide(Line, lambda: Line("a"))

    def make(line: Line, pause: Hidden = 5) -> Result:
        return Database()

    app.provide(Database, make)
    app.provide(Order, Needs)

    app.on_data()(lambda data: None)


class Needs:
    def __init__(self, database: Database, more: Hidden = None) -> None: ...


# Where its name alone decides, it need not be.


def test_the_message_is_known_by_its_name_where_it_can_be_nothing_else() -> None:
    def second(payload: Any, message: Any) -> Any:
        return message

    def by_keyword(payload: Any, *, message: Any) -> Any:
        return message

    for function in (second, by_keyword):
        function.__annotations__["message"] = "elsewhere.Message"
        message = _data({})
        assert call(function, message) is message


def test_the_event_is_known_by_its_name_in_a_handler_of_events() -> None:
    app, got = App(), []

    @app.on_event()
    def handle(event: Payload, message: Message) -> None:
        got.append(event)

    app.process(EVENT)

    assert got == [EVENT]


def test_what_is_never_filled_need_not_be_known() -> None:
    def handle(payload: Any, *more: Hidden, pause: Hidden = 5, **rest: Hidden) -> Any:
        return payload, more, pause, rest

    assert call(handle, _data({"id": 7})) == ({"id": 7}, (), 5, {})


# Lists of models, and what else a payload never is.


class Notice(TypedDict):
    user: int


@pytest.mark.parametrize(
    "annotation", [Order, list[Order], dict[str, Order], Order | None, Line, list[Notice], Alias, Renamed, Box[int]]
)
@pytest.mark.parametrize("kind", ["on_text", "on_binary", "on_message"])
def test_no_model_in_any_form_comes_out_of_text_bytes_or_a_message(kind: str, annotation: Any) -> None:
    def handle(payload: Any) -> None: ...

    handle.__annotations__["payload"] = annotation

    with pytest.raises(RegistrationError, match="'payload' with a model: only handlers of data and events get valid"):
        getattr(App(), kind)()(handle)


@pytest.mark.parametrize("annotation", [list[Order], tuple[Line, ...], set[Alias], list[Order] | None])
def test_an_object_is_no_list_of_models(annotation: Any) -> None:
    def handle(orders: Any) -> None: ...
    def add(attributes: Any) -> None: ...

    handle.__annotations__["orders"] = add.__annotations__["attributes"] = annotation

    with pytest.raises(RegistrationError, match=r"'orders': what it would get is an object,"):
        App().on_data()(handle)
    with pytest.raises(RegistrationError, match="'attributes': what it would get is an object"):
        App().on_event()(add)


def test_an_alias_in_itself_is_walked_once() -> None:
    def handle(data: Any) -> Any:
        return data

    handle.__annotations__["data"] = _make_recursive_alias()

    assert call(handle, _data({"a": {}})) == {"a": {}}


def _make_recursive_alias() -> Any:
    """Return what ``type nested = dict[str, nested]`` makes from Python 3.12 on."""
    alias: Any = TypeAliasType("alias", int)
    space = {"nested": alias}
    if sys.version_info >= (3, 12):
        exec("type nested = dict[str, nested]", space)
    else:
        object.__setattr__(alias, "__value__", types.GenericAlias(dict, (str, alias)))
    return space["nested"]
