from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megaflow.dispatch.explain import Failure, HandlerExplanation
from megaflow.event import Event, Payload
from megaflow.handlers.router import Router
from megaflow.match.functions import absent, and_, between, contains, gt, match, not_, or_
from megaflow.messages.codec import encode
from megaflow.messages.message import open_message
from tests.dispatch.test_table import CONFIRMATION
from tests.matching import Spy, explained, fail, handle, select
from tests.pattern_strategies import object_patterns, objects
from tests.reference_matcher import USERS, build

EVENT = encode(Payload(event=Event(name="order.placed"))).body
NO_EVENT = 'a data object (JSON or BSON) whose "protocol" is not "mega"'


def explain_data(pattern: object, payload: dict[str, Any]) -> HandlerExplanation:
    """Explain one handler, named ``orders``, for one data object."""
    router = Router()
    router.on_data(pattern, handler_name="orders")(handle)
    (explanation,) = explained(router, payload)
    return explanation


def test_a_handler_that_matches_has_no_failures() -> None:
    explanation = explain_data({"a": gt(0)}, {"a": 1})

    assert explanation.matched
    assert explanation.failures == ()
    assert explanation.not_evaluated == ()


def test_each_path_that_failed_is_told() -> None:
    pattern = {"type": "email", "user": {"id": gt(0), "name": "john", "age": 5}, "tags": ["a"]}

    explanation = explain_data(pattern, {"type": "sms", "user": {"id": 0, "age": 5}, "tags": None})

    assert not explanation.matched
    assert explanation.failures == (
        Failure("type", "'email'", "'sms'"),
        Failure("user.id", "gt(0)", "0"),
        Failure("user.name", "'john'", "nothing"),
        Failure("tags", "['a']", "None"),
    )


def test_what_is_no_object_where_one_is_wanted_is_one_failure() -> None:
    explanation = explain_data({"user": {"id": gt(0), "name": "john"}}, {"user": [1]})

    assert explanation.failures == (Failure("user", "{'id': gt(0), 'name': 'john'}", "[1]"),)


def test_all_that_failed_of_an_and_is_told_by_itself() -> None:
    explanation = explain_data({"a": and_(gt(1), {"b": 2}, gt(9))}, {"a": 5})

    assert explanation.failures == (Failure("a", "{'b': 2}", "5"), Failure("a", "gt(9)", "5"))


def test_what_failed_of_the_others_is_told_as_a_whole() -> None:
    pattern = {"a": between(1, 3), "b": or_(1, absent()), "c": not_(match("x")), "d": contains(gt(5))}

    explanation = explain_data(pattern, {"a": 3, "b": 2, "c": "xy", "d": [1]})

    assert [failure.wanted for failure in explanation.failures] == [
        "between(1, 3)",
        "or_(1, absent())",
        "not_(match('x'))",
        "contains(gt(5))",
    ]


def test_a_key_that_should_be_missing_is_told() -> None:
    assert explain_data({"a": absent()}, {}).matched
    assert explain_data({"a": absent()}, {"a": 5}).failures == (Failure("a", "absent()", "5"),)


def test_functions_are_not_evaluated_where_the_rest_fails() -> None:
    asked = Spy()
    pattern = {"a": asked, "b": {"c": and_(gt(0), asked)}, "d": 5, "e": or_(asked, 7)}

    explanation = explain_data(pattern, {"a": 1, "b": {"c": 1}, "d": 6, "e": 8})

    assert explanation.failures == (Failure("d", "5", "6"),)
    assert explanation.not_evaluated == ("a: spy()", "b.c: spy()", "e: or_(spy(), 7)")
    assert asked.asked == []


def test_a_function_that_says_no_is_a_failure() -> None:
    explanation = explain_data({"a": Spy(bool), "b": Spy(bool), "c": Spy(bool)}, {"a": 1, "b": 0, "c": 1})

    assert explanation.failures == (Failure("b", "spy()", "0"),)
    assert explanation.not_evaluated == ("c: spy()",)


def test_what_a_function_raised_is_told() -> None:
    explanation = explain_data({"user": {"template": fail}, "z": Spy()}, {"user": {"template": "welcome"}, "z": 1})

    (failure,) = explanation.failures
    assert not explanation.matched
    assert isinstance(failure.raised, ConnectionError)
    assert str(failure) == "user.template: fail() raised ConnectionError: the database is away"
    assert explanation.not_evaluated == ("z: spy()",)


def test_functions_of_an_and_are_asked_one_by_one() -> None:
    explanation = explain_data({"a": and_(gt(0), Spy(), fail, Spy())}, {"a": 1})

    assert explain_data({"a": and_(gt(0), Spy())}, {"a": 1}).matched
    assert [str(failure) for failure in explanation.failures] == [
        "a: fail() raised ConnectionError: the database is away"
    ]
    assert explanation.not_evaluated == ("a: spy()",)


def test_a_function_behind_a_key_that_may_be_missing_is_not_asked() -> None:
    asked = Spy()

    assert explain_data({"a": or_(absent(), asked), "b": Spy()}, {"b": 1}).matched
    assert asked.asked == []


def test_a_function_of_the_whole_has_no_path() -> None:
    explanation = explain_data(Spy(lambda data: False), {"a": 1})

    assert explanation.failures == (Failure("", "spy()", "{'a': 1}"),)
    assert str(explanation.failures[0]) == "wanted spy(), found {'a': 1}"


def test_a_predicate_of_on_message_is_not_shown_the_whole_message_again() -> None:
    router = Router()
    router.on_message(Spy(lambda message: False))(handle)

    (explanation,) = explained(router, "secret")

    assert explanation.failures == (Failure("", "spy()", "a message"),)


def test_another_kind_is_a_failure_that_asks_nothing() -> None:
    router = Router()
    asked = Spy()
    router.on_event(attributes={"a": asked})(handle)

    (explanation,) = explained(router, {"a": 1})

    assert explanation.failures == (Failure("", "a MEGA event", NO_EVENT),)
    assert explanation.not_evaluated == ("event.attributes.a: spy()",)
    assert asked.asked == []


def test_the_paths_of_an_event_are_those_of_the_protocol() -> None:
    router = Router()
    router.on_event(domain="cart", attributes={"quantity": gt(0)}, object_type="cart", extra={"a": 1})(handle)

    (explanation,) = explained(router, Payload(event=Event(name="a", attributes={"quantity": 0})))

    assert [str(failure) for failure in explanation.failures] == [
        "event.domain: wanted 'cart', found nothing",
        "event.attributes.quantity: wanted gt(0), found 0",
        "object.type: wanted 'cart', found nothing",
        "extra.a: wanted 1, found nothing",
    ]


def test_what_sns_says_about_a_subscription_reaches_no_handler() -> None:
    router = Router()
    router.on_message()(handle)

    explanation = explained(router, open_message(CONFIRMATION))

    assert [each.matched for each in explanation] == [False]
    assert "no payload, but a SubscriptionConfirmation, which reaches no handler" in str(explanation)
    assert "    wanted a message with a payload, found no payload" in str(explanation)


@pytest.mark.parametrize(
    ("register", "body", "said"),
    [
        (
            Router.on_event,
            '{"kind": "order"}',
            f"wanted a MEGA event, found {NO_EVENT}",
        ),
        (
            Router.on_event,
            '{"protocol": "mega", "version": 1}',
            "wanted a MEGA event, found a data object (JSON or BSON), not a valid MEGA event: event:",
        ),
        (Router.on_event, "hello", "wanted a MEGA event, found text"),
        (
            Router.on_data,
            '{"kind": "order"',
            "wanted a data object (JSON or BSON), found text",
        ),
        (Router.on_data, EVENT, "wanted a data object (JSON or BSON), found a MEGA event"),
        (Router.on_text, '{"kind": "order"}', "wanted text, found a data object (JSON or BSON)"),
        (Router.on_binary, "hello", "wanted bytes, found text"),
    ],
)
def test_another_kind_is_said_in_plain_words_and_like_no_key_of_yours(
    register: Callable[[Router], Callable[[Any], Any]], body: str, said: str
) -> None:
    router = Router()
    register(router)(handle)

    (explanation,) = explained(router, open_message(body))

    (failure,) = explanation.failures
    assert str(failure).startswith(said)
    assert failure.path == ""


def test_the_whole_reads_well() -> None:
    router = Router()
    router.on_data({"id": gt(0), "template": Spy()}, handler_name="orders.reserve")(handle)
    router.on_data(handler_name="audit.note")(handle)

    explanation = explained(router, {"id": 0, "template": "welcome"})

    where = re.escape(router.handlers[0].where)
    assert re.fullmatch(
        "a message of kind data\n"
        rf"orders\.reserve: not matched  \({where}\)\n"
        r"    id: wanted gt\(0\), found 0\n"
        r"    template: spy\(\): not evaluated\n"
        rf"audit\.note: matched  \({where}\)",
        str(explanation),
    )


def test_a_problem_of_the_message_is_in_the_heading() -> None:
    explanation = explained(Router(), open_message('{"protocol": "mega", "version": 9}'))

    assert str(explanation) == "a message of kind data, not a valid MEGA event: version: must be 1, not 9"


def test_a_long_value_is_shortened() -> None:
    explanation = explain_data({"a": 5}, {"a": "x" * 1_000_000})

    assert len(explanation.failures[0].found) < 100


def test_a_deep_value_is_shortened() -> None:
    deep: list[Any] = []
    for _ in range(1_000):
        deep = [deep]

    assert explain_data({"a": 5}, {"a": deep}).failures == (Failure("a", "5", "[[[[...]]]]"),)


def test_explanations_come_in_order_of_registration() -> None:
    router = Router()
    for name in "cab":
        router.on_data({"id": 1}, handler_name=name)(handle)

    assert [each.handler.name for each in explained(router, {"id": 2})] == ["c", "a", "b"]


def users(name: str) -> Callable[[Any], Any]:
    """Give the functions of the reference, and one of them that raises."""
    return fail if name == "never" else USERS[name]


@given(st.lists(object_patterns, max_size=4), objects)
def test_explain_and_select_agree(patterns: list[Any], payload: dict[str, Any]) -> None:
    router = Router()
    for pattern in patterns:
        router.on_data(build(pattern, users))(handle)

    selection = select(router, payload)
    explanation = explained(router, payload)

    assert tuple(each.handler for each in explanation if each.matched) == selection.matched
    raised = [each.handler for each in explanation if any(failure.raised for failure in each.failures)]
    assert raised == list(selection.raised)
    assert all(each.matched or each.failures for each in explanation)
    assert str(explanation).startswith("a message of kind data")


@pytest.mark.parametrize(
    "payload", [b"\0", "text", {}, Payload(event=Event(name="a"))], ids=["bytes", "text", "dict", "event"]
)
def test_every_payload_is_explained(payload: object) -> None:
    router = Router()
    for register in (router.on_event(name="b"), router.on_data({"a": 1}), router.on_text("a"), router.on_binary()):
        register(handle)

    assert len(explained(router, payload).handlers) == 4
