from __future__ import annotations

import sys
from datetime import UTC, date, datetime
from typing import Any

import pytest

from megaflow.dispatch.fields import see
from megaflow.dispatch.table import DispatchTable
from megaflow.event import Event, ObjectData, Payload
from megaflow.handlers.router import Router
from megaflow.match.functions import absent, any_, empty, gt, not_, or_
from megaflow.messages.codec import Kind
from megaflow.messages.message import Message, message_with, open_message
from tests.matching import Spy, fail, handle, select

AT = datetime(2020, 1, 1, tzinfo=UTC)
BARE = Payload(event=Event(name="a", timestamp=AT))
FULL = Payload(
    event=Event(name="a", timestamp=AT, version=2, domain="d", subject="s", publisher="p", attributes={"x": 1}),
    object=ObjectData(type="t", id="i", version=3, current={"c": 1}, previous={"p": 1}),
    extra={"e": 1},
)
CONFIRMATION = (
    '{"Type": "SubscriptionConfirmation", "MessageId": "1", "TopicArn": "arn:aws:sns:us-east-2:424566909325:t", '
    '"Timestamp": "2020-01-01T00:00:00Z", "Message": "ping", "SubscribeURL": "https://sns.test/"}'
)


def names(router: Router, payload: object) -> list[str]:
    return [handler.name for handler in select(router, payload).matched]


def event_reaches(payload: Payload, **rules: Any) -> bool:
    router = Router()
    router.on_event(**rules)(handle)
    return bool(select(router, payload).matched)


def test_handlers_come_in_order_of_registration() -> None:
    router = Router()
    router.on_message(handler_name="first")(handle)
    router.on_data({"a": 1}, handler_name="second")(handle)
    router.on_data({"a": 2}, handler_name="not this one")(handle)
    router.on_text(handler_name="nor this")(handle)
    router.on_message(handler_name="third")(handle)
    router.on_data(handler_name="fourth")(handle)

    assert names(router, {"a": 1}) == ["first", "second", "third", "fourth"]


@pytest.mark.parametrize(
    ("payload", "kind"), [(BARE, Kind.MEGA), ({}, Kind.DATA), ("", Kind.TEXT), (b"", Kind.BINARY)], ids=repr
)
def test_each_kind_reaches_its_handlers_alone(payload: object, kind: Kind) -> None:
    router = Router()
    for register in (router.on_event(), router.on_data(), router.on_text(), router.on_binary(), router.on_message()):
        register(handle)

    assert [handler.kind for handler in select(router, payload).matched] == [kind, Kind.ANY]


def test_a_dict_is_data_whatever_it_says() -> None:
    router = Router()
    router.on_event(handler_name="event")(handle)
    router.on_data(handler_name="data")(handle)
    claim = {"protocol": "mega", "version": 1, "event": {"name": "a", "timestamp": "2020-01-01"}}

    assert names(router, claim) == ["data"]


def test_without_handlers_there_is_no_match() -> None:
    selection = DispatchTable(()).select(message_with({}))

    assert selection.matched == ()
    assert selection.raised == {}


def test_what_sns_says_about_a_subscription_reaches_nobody() -> None:
    router = Router()
    asked = Spy()
    router.on_message(asked)(handle)
    router.on_text()(handle)

    selection = select(router, open_message(CONFIRMATION))

    assert selection.matched == ()
    assert asked.asked == []


def test_a_message_with_a_problem_is_data() -> None:
    router = Router()
    router.on_data({"protocol": "mega"}, handler_name="data")(handle)
    message = open_message('{"protocol": "mega", "version": 9}')

    assert message.problem
    assert names(router, message) == ["data"]


def test_a_predicate_of_on_message_sees_all_of_the_message() -> None:
    router = Router()
    router.on_message(lambda message: message.receive_count > 1)(handle)

    assert not select(router, Message(id="", body="", kind=Kind.TEXT, payload="a")).matched
    assert select(router, Message(id="", body="", kind=Kind.TEXT, payload="a", receive_count=2)).matched


@pytest.mark.parametrize(
    "rule",
    [
        *("event_domain", "event_subject", "event_publisher"),
        *("object_type", "object_id", "object_version", "object_current", "object_previous"),
    ],
)
def test_a_field_that_is_not_set_is_missing(rule: str) -> None:
    assert event_reaches(BARE, **{rule: absent()})
    assert event_reaches(BARE, **{rule: or_(5, absent())})
    for pattern in (None, any_(), empty(), not_("a"), lambda left: True):
        assert not event_reaches(BARE, **{rule: pattern})


@pytest.mark.parametrize(
    "rule",
    [
        *("event_name", "event_version", "event_timestamp", "event_domain", "event_subject", "event_publisher"),
        *("object_type", "object_id", "object_version", "object_current", "object_previous"),
        *("event_attributes", "extra"),
    ],
)
def test_a_field_that_is_set_is_there(rule: str) -> None:
    assert event_reaches(FULL, **{rule: any_()})
    assert not event_reaches(FULL, **{rule: absent()})


@pytest.mark.parametrize("rule", ["event_attributes", "extra"])
def test_attributes_and_extra_are_always_there(rule: str) -> None:
    assert event_reaches(BARE, **{rule: {}})
    assert event_reaches(BARE, **{rule: empty()})
    assert event_reaches(BARE, **{rule: {"x": absent()}})
    assert not event_reaches(BARE, **{rule: absent()})


@pytest.mark.parametrize("rule", ["object_current", "object_previous"])
def test_nothing_is_to_be_found_under_a_field_that_is_not_set(rule: str) -> None:
    object_only = Payload(event=BARE.event, object=ObjectData(type="t"))

    for payload in (BARE, object_only):
        assert not event_reaches(payload, **{rule: {}})
        assert not event_reaches(payload, **{rule: {"x": any_()}})


def test_a_key_that_has_to_be_there_and_missing_matches_nothing() -> None:
    router = Router()
    for pattern in (absent() & any_(), any_() & absent(), absent() & 5):
        router.on_data({"a": pattern})(handle)

    assert select(router, {}).matched == ()
    assert select(router, {"a": 5}).matched == ()


def test_the_version_of_an_object_is_1_only_where_there_is_an_object() -> None:
    assert event_reaches(Payload(event=BARE.event, object=ObjectData()), object_version=1)
    assert not event_reaches(BARE, object_version=1)


def test_the_version_and_timestamp_of_an_event_are_always_there() -> None:
    assert event_reaches(BARE, version=1, timestamp=date(2020, 1, 1))


def test_a_null_in_the_attributes_is_there() -> None:
    payload = Payload(event=Event(name="a", attributes={"x": None}))

    assert event_reaches(payload, attributes={"x": None})
    assert event_reaches(payload, attributes={"x": not_(5)})
    assert not event_reaches(payload, attributes={"x": absent()})


@pytest.mark.parametrize("payload", [{"a": 1}, "text", b"bytes"], ids=repr)
def test_patterns_see_other_payloads_as_they_are(payload: object) -> None:
    assert see(payload) is payload


def test_a_function_of_the_user_runs_last_and_only_when_the_rest_holds() -> None:
    router = Router()
    asked = Spy()
    router.on_event(attributes={"user": asked, "quantity": gt(0)}, object_type="cart")(handle)

    for attributes, object_type in (({"user": 1, "quantity": 0}, "cart"), ({"user": 1, "quantity": 1}, "user")):
        event = Event(name="a", attributes=attributes)
        assert not select(router, Payload(event=event, object=ObjectData(type=object_type))).matched
    assert asked.asked == []


def test_a_function_of_the_user_runs_once_for_each_handler() -> None:
    router = Router()
    asked = Spy()
    for _ in range(2):
        router.on_data({"a": asked, "b": 5})(handle)

    selection = select(router, {"a": 1, "b": 5})

    assert len(selection.matched) == 2
    assert asked.asked == [1, 1]


def test_a_handler_whose_function_raised_is_left_out_and_told() -> None:
    router = Router()
    router.on_data({"a": fail}, handler_name="raises")(handle)
    router.on_data({"a": 1}, handler_name="matches")(handle)

    selection = select(router, {"a": 1})

    assert [handler.name for handler in selection.matched] == ["matches"]
    assert [(handler.name, type(error)) for handler, error in selection.raised.items()] == [("raises", ConnectionError)]


def test_a_function_that_would_raise_is_not_asked_where_the_rest_does_not_hold() -> None:
    router = Router()
    router.on_data({"a": fail, "b": 5})(handle)

    selection = select(router, {"a": 1, "b": 6})

    assert selection.matched == ()
    assert selection.raised == {}


def test_an_answer_that_is_neither_true_nor_false_has_raised() -> None:
    class Unclear:
        def __bool__(self) -> bool:
            raise ValueError("which of them?")

    router = Router()
    router.on_text(lambda text: Unclear())(handle)

    assert [str(error) for error in select(router, "a").raised.values()] == ["which of them?"]


def test_what_is_no_exception_ends_the_selection() -> None:
    router = Router()
    router.on_text(lambda text: sys.exit(3))(handle)

    with pytest.raises(SystemExit):
        select(router, "a")


def test_a_handler_registered_in_two_tables_is_the_same() -> None:
    router = Router()
    router.on_data()(handle)

    one, other = DispatchTable(router.handlers), DispatchTable(Router().include(router).handlers)

    assert one.select(message_with({})).matched == other.select(message_with({})).matched == router.handlers
