"""Pauses: how long a message stays hidden that is kept, by what its handlers ask for, and by backoffs."""

from __future__ import annotations

import math
from typing import Any

import pytest

from megaflow import Handler, Kind, Message, Outcome, ProcessStatus
from megaflow.backoff import Backoff
from megaflow.handlers.handler import make_handler
from megaflow.handlers.options import Options
from megaflow.match.conditions import EVERYTHING
from megaflow.processing.pauses import Pauses

MESSAGE = Message("m", "body", Kind.TEXT, "body", receive_count=3)
APP = 10.0
LATER = ProcessStatus.RETRY_LATER
DONE, FATAL = ProcessStatus.DONE, ProcessStatus.FATAL_ERROR


def handler_with(backoff: Backoff | None, name: str = "handle") -> Handler:
    options = Options(backoff=backoff)
    return make_handler(lambda text: None, Kind.TEXT, EVERYTHING, name=name, options=options)


PLAIN = handler_with(None)
MINUTES = handler_with(lambda count: 60.0 * count)
SECOND = handler_with(lambda count: 1.0)


class Said:
    """What was reported."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.errors: list[Exception] = []
        self.keys: list[dict[str, str]] = []

    def __call__(self, text: str, message: Message, *values: Any, error: Exception, **keys: str) -> None:
        self.texts.append(text % (message.id, *values))
        self.errors.append(error)
        self.keys.append(keys)


def choose(*outcomes: Outcome, backoff: Backoff = lambda count: APP, said: Said | None = None) -> float | None:
    return Pauses(backoff, said or Said()).choose(MESSAGE, outcomes)


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ([], APP),
        ([Outcome(PLAIN, LATER)], APP),
        ([Outcome(PLAIN, ProcessStatus.RETRIABLE_ERROR)], APP),
        ([Outcome(PLAIN, LATER, after=3.0)], 3.0),
        ([Outcome(MINUTES, LATER)], 180.0),
        ([Outcome(MINUTES, ProcessStatus.RETRIABLE_ERROR)], 180.0),
        ([Outcome(MINUTES, LATER, after=3.0)], 3.0),
        ([Outcome(SECOND, LATER)], 1.0),
        ([Outcome(SECOND, LATER), Outcome(PLAIN, LATER)], 1.0),
        ([Outcome(SECOND, LATER), Outcome(MINUTES, LATER)], 180.0),
        ([Outcome(SECOND, LATER), Outcome(PLAIN, LATER, after=3.0)], 3.0),
        ([Outcome(MINUTES, LATER), Outcome(PLAIN, LATER, after=3.0)], 180.0),
        ([Outcome(MINUTES, DONE), Outcome(PLAIN, LATER)], APP),
        ([Outcome(MINUTES, FATAL), Outcome(SECOND, LATER)], 1.0),
    ],
    ids=lambda each: str([str(one) for one in each]) if isinstance(each, list) else str(each),
)
def test_of_those_that_keep_a_message_the_longest_that_is_asked_for_holds(
    outcomes: list[Outcome], expected: float
) -> None:
    assert choose(*outcomes) == expected


@pytest.mark.parametrize("wrong", [lambda count: math.nan, lambda count: math.inf, lambda count: 1 / 0, lambda: 1.0])
def test_a_backoff_that_fails_asks_for_nothing(wrong: Any) -> None:
    failing = handler_with(wrong)

    assert choose(Outcome(failing, LATER), Outcome(SECOND, LATER)) == 1.0
    assert choose(Outcome(failing, LATER)) == APP
    assert choose(Outcome(failing, LATER), backoff=wrong) is None
    assert choose(backoff=wrong) is None


def test_it_is_said_whose_backoff_failed() -> None:
    said = Said()
    failing = handler_with(lambda count: 1 / 0, "app.charge")

    choose(Outcome(failing, LATER), backoff=lambda count: 1 / 0, said=said)

    assert said.texts == [
        "message m: the backoff of app.charge failed for receive count 3",
        "message m: the backoff failed for receive count 3",
    ]
    assert [type(error) for error in said.errors] == [ZeroDivisionError, ZeroDivisionError]
    assert said.keys == [{"handler": "app.charge"}, {}]


def test_one_that_is_not_asked_is_not_called() -> None:
    called: list[int] = []

    def note(count: int) -> float:
        called.append(count)
        return 1.0

    choose(Outcome(handler_with(note), DONE), Outcome(handler_with(note), LATER, after=2.0), backoff=note)

    assert called == []
