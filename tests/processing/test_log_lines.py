"""Log lines about messages: what each outcome and each verdict says, at which level, and what their records have."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from megaflow import Handler, InvalidPayloadError, Kind, Message, Outcome, ProcessStatus, Reject, RetryLater, Verdict
from megaflow.handlers.handler import make_handler
from megaflow.match.conditions import EVERYTHING
from megaflow.processing import log_lines
from megaflow.processing.verdict import Fate

MESSAGE = Message("m", "body", Kind.TEXT, "body", queue_url="https://q")


def reserve(text: str) -> None: ...


HANDLER: Handler = make_handler(reserve, Kind.TEXT, EVERYTHING)
NAME = HANDLER.name


@pytest.mark.parametrize(
    ("outcome", "level", "said"),
    [
        (
            Outcome(HANDLER, ProcessStatus.RETRIABLE_ERROR, OSError("down"), seconds=2.0),
            logging.WARNING,
            f"message m: {NAME} failed and will be tried again",
        ),
        (
            Outcome(HANDLER, ProcessStatus.FATAL_ERROR, OSError("down"), seconds=2.0),
            logging.ERROR,
            f"message m: {NAME} failed for good",
        ),
        (Outcome(HANDLER, ProcessStatus.FATAL_ERROR, seconds=2.0), logging.ERROR, f"message m: {NAME} failed for good"),
        (
            Outcome(HANDLER, ProcessStatus.FATAL_ERROR, Reject("expired"), seconds=2.0),
            logging.ERROR,
            f"message m: {NAME} rejects it: expired",
        ),
        (
            Outcome(HANDLER, ProcessStatus.FATAL_ERROR, InvalidPayloadError(("no id",)), seconds=2.0),
            logging.ERROR,
            f"message m: it is not what {NAME} takes: no id",
        ),
        (
            Outcome(HANDLER, ProcessStatus.DONE, InvalidPayloadError(("no id",)), seconds=2.0),
            logging.WARNING,
            f"message m: it is not what {NAME} takes: no id",
        ),
        (
            Outcome(HANDLER, ProcessStatus.RETRIABLE_ERROR, InvalidPayloadError(("no id",)), seconds=2.0),
            logging.WARNING,
            f"message m: it is not what {NAME} takes: no id",
        ),
    ],
)
def test_what_failed_is_said_once(outcome: Outcome, level: int, said: str, caplog: pytest.LogCaptureFixture) -> None:
    log_lines.log_outcome(MESSAGE, outcome)

    (record,) = caplog.records
    assert (record.levelno, record.getMessage()) == (level, said)
    had = {name: getattr(record, name) for name in ("message_id", "queue", "handler", "status", "seconds")}
    assert had == {
        "message_id": "m",
        "queue": "https://q",
        "handler": NAME,
        "status": outcome.status.name,
        "seconds": 2.0,
    }


@pytest.mark.parametrize("error", [None, RetryLater("soon")])
def test_a_handler_that_only_asks_for_later_is_no_news(
    error: Exception | None, caplog: pytest.LogCaptureFixture
) -> None:
    log_lines.log_outcome(MESSAGE, Outcome(HANDLER, ProcessStatus.RETRY_LATER, error))

    assert caplog.records == []


def test_a_verdict_is_said_with_what_each_handler_made_of_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    outcomes = (Outcome(HANDLER, ProcessStatus.DONE, seconds=2.0), Outcome(HANDLER, ProcessStatus.DONE, seconds=1.0))

    log_lines.log_verdict(Verdict(MESSAGE, outcomes, Fate.DELETE))

    (record,) = caplog.records
    assert record.getMessage() == f"message m: deleted ({NAME}: DONE, {NAME}: DONE)"
    had = {name: getattr(record, name) for name in ("message_id", "fate", "handler", "status", "seconds")}
    assert had == {
        "message_id": "m",
        "fate": "deleted",
        "handler": f"{NAME}, {NAME}",
        "status": "DONE, DONE",
        "seconds": 3.0,
    }


def test_a_verdict_that_no_handler_has_part_in_names_none(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    log_lines.log_verdict(Verdict(MESSAGE, (), Fate.DELETE))

    (record,) = caplog.records
    assert record.getMessage() == "message m: deleted (no handler matched)"
    assert not hasattr(record, "handler")
    assert not hasattr(record, "seconds")


def test_what_is_not_known_of_a_message_is_not_in_its_records() -> None:
    known = {"message_id": "m", "receive_count": 1, "seconds": 1.0}
    assert log_lines.about(replace(MESSAGE, queue_url=""), seconds=1.0) == known


class Suspect:
    """A condition that can have taken long."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.handler = HANDLER

    def __str__(self) -> str:
        return self.name


@pytest.mark.parametrize(("names", "said"), [("abc", "a; b; c"), ("abcde", "a; b; c; and 2 more"), ("", None)])
def test_three_of_what_can_have_taken_long_are_named(
    names: str, said: str | None, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_lines, "find_suspects", lambda handlers, message: [Suspect(name) for name in names])

    log_lines.log_slow_matching(MESSAGE, 0.25, [HANDLER])

    text = "message m: matching took 0.2 s, in which no other message may have been handled: "
    assert [record.getMessage() for record in caplog.records] == ([] if said is None else [text + said])
    assert [record.__dict__["handler"] for record in caplog.records] == ([] if said is None else [NAME])
