"""Dead letters: when a message has had enough, and what it then says of its past."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from megaflow import Handler, Kind, Message, Outcome, ProcessStatus, Verdict, limits
from megaflow.handlers.handler import make_handler
from megaflow.match.conditions import EVERYTHING
from megaflow.messages.attributes import Attribute
from megaflow.messages.origin import ORIGIN_ATTRIBUTE
from megaflow.processing.dead_letters import (
    describe_end,
    describe_origin,
    has_room_for_origin,
    why_not_kept,
    why_too_large,
    why_unhandled,
)
from megaflow.processing.verdict import Fate

MESSAGE = Message("m", "body", Kind.TEXT, "body", queue_url="https://sqs.eu-west-1.amazonaws.com/1/q")


def handler_named(name: str) -> Handler:
    def handle(text: str) -> None: ...

    handle.__qualname__ = name
    return make_handler(handle, Kind.TEXT, EVERYTHING)


FIRST, SECOND = handler_named("first"), handler_named("second")


def received(count: int) -> Message:
    return replace(MESSAGE, receive_count=count)


def carrying(count: int) -> Message:
    return replace(MESSAGE, sqs_attributes={str(number): Attribute("String", "v") for number in range(count)})


def kept(message: Message, error: BaseException | None = None) -> Verdict:
    return Verdict(message, (Outcome(FIRST, ProcessStatus.RETRIABLE_ERROR, error),), Fate.KEEP)


@pytest.mark.parametrize(
    ("count", "most", "why"),
    [(3, 3, ""), (4, 3, "received 4 times, and max_receives is 3"), (10_000, None, "")],
)
def test_a_message_is_not_handled_beyond_the_most_receives(count: int, most: int | None, why: str) -> None:
    assert why_unhandled(received(count), most) == why


@pytest.mark.parametrize(
    ("count", "most", "why"),
    [(2, 3, ""), (3, 3, "kept at delivery 3, and max_receives is 3"), (10_000, None, "")],
)
def test_a_message_is_not_kept_at_the_last_of_the_most_receives(count: int, most: int | None, why: str) -> None:
    assert why_not_kept(kept(received(count)), most) == why


def test_a_message_whose_handler_exits_at_its_last_delivery_comes_again() -> None:
    assert why_not_kept(kept(received(3), SystemExit()), 3) == ""


@pytest.mark.parametrize("size_limit", [0, 1_000])
def test_there_is_room_for_an_origin_up_to_the_last_byte(size_limit: int) -> None:
    most = size_limit or limits.SQS_MESSAGE_SIZE
    taken = len(ORIGIN_ATTRIBUTE) + len("String") + len("origin")
    fits, exceeds = (replace(MESSAGE, body="x" * (most - taken + more)) for more in (0, 1))

    assert has_room_for_origin(fits, "origin", size_limit)
    assert not has_room_for_origin(exceeds, "origin", size_limit)


@pytest.mark.parametrize(("count", "has_room"), [(9, True), (10, False)])
def test_there_is_room_for_an_origin_where_there_are_nine_attributes(count: int, has_room: bool) -> None:
    assert has_room_for_origin(carrying(count), "origin", 0) is has_room


@pytest.mark.parametrize(
    ("size_limit", "why"),
    [
        (0, ""),
        (4, ""),
        (3, "it has 4 bytes, and the dead-letter queue takes 3"),
        (1, "it has 4 bytes, and the dead-letter queue takes 1"),
    ],
)
def test_a_message_that_is_larger_than_the_dead_letter_queue_takes_stays(size_limit: int, why: str) -> None:
    assert why_too_large(MESSAGE, size_limit) == why


def origin_of(*outcomes: Outcome, message: Message = MESSAGE, problem: str = "", **options: Any) -> dict[str, Any]:
    origin: dict[str, Any] = json.loads(
        describe_origin(Verdict(message, outcomes, Fate.DEAD_LETTER), problem, **options)
    )
    return origin


def test_an_origin_says_who_has_finished_and_who_has_failed_with_what() -> None:
    done = Outcome(FIRST, ProcessStatus.DONE)
    failed = Outcome(SECOND, ProcessStatus.FATAL_ERROR, ValueError("4711 expired"))

    origin = origin_of(done, failed)

    assert origin["finished"] == [FIRST.name]
    assert origin["failed"] == {SECOND.name: "ValueError: 4711 expired"}
    assert (origin["message_id"], origin["queue"]) == ("m", MESSAGE.queue_url)
    assert "problem" not in origin


def test_an_origin_names_the_status_of_a_handler_that_raised_nothing() -> None:
    assert origin_of(Outcome(FIRST, ProcessStatus.FATAL_ERROR))["failed"] == {FIRST.name: "FATAL_ERROR"}


def test_an_origin_can_leave_out_what_errors_say() -> None:
    failed = Outcome(FIRST, ProcessStatus.FATAL_ERROR, ValueError("4711 expired"))

    assert origin_of(failed, with_texts=False)["failed"] == {FIRST.name: "ValueError"}


@pytest.mark.parametrize(
    ("of_message", "problem", "said"),
    [
        ("", "", "no handler matched"),
        ("not a valid MEGA event", "", "not a valid MEGA event"),
        ("not a valid MEGA event", "received 4 times", "received 4 times"),
    ],
)
def test_an_origin_says_what_the_problem_was_where_no_handler_said_so(of_message: str, problem: str, said: str) -> None:
    message = replace(MESSAGE, problem=of_message)

    assert origin_of(message=message, problem=problem)["problem"] == said


def test_an_origin_says_why_a_kept_message_does_not_come_again() -> None:
    outcome = Outcome(FIRST, ProcessStatus.RETRY_LATER)

    origin = origin_of(outcome, problem="kept at delivery 3")

    assert origin["problem"] == "kept at delivery 3"
    assert origin["failed"] == {FIRST.name: "RETRY_LATER"}


@pytest.mark.parametrize("is_dropped", [False, True])
def test_what_is_said_of_a_message_that_was_kept_too_often_names_who_kept_it(is_dropped: bool) -> None:
    error = ConnectionError("away")
    done, kept_by = Outcome(FIRST, ProcessStatus.DONE), Outcome(SECOND, ProcessStatus.RETRIABLE_ERROR, error)

    said = describe_end(Verdict(MESSAGE, (done, kept_by), Fate.KEEP), "kept at delivery 3", is_dropped=is_dropped)

    assert said is not None
    assert (said.error, said.keys) == (error, {"handler": SECOND.name})


def test_the_error_of_one_that_kept_it_is_said_although_another_has_raised_nothing() -> None:
    error = ConnectionError("away")
    later, kept_by = Outcome(FIRST, ProcessStatus.RETRY_LATER), Outcome(SECOND, ProcessStatus.RETRIABLE_ERROR, error)

    said = describe_end(Verdict(MESSAGE, (later, kept_by), Fate.KEEP), "kept at delivery 3", is_dropped=False)

    assert said is not None
    assert (said.error, said.keys) == (error, {"handler": f"{FIRST.name}, {SECOND.name}"})
