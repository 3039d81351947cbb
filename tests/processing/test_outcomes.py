"""Outcomes and verdicts: what a return value or an error means, and what several outcomes mean together."""

from __future__ import annotations

import asyncio
import logging
import math
from typing import Any

import pytest

from megaflow import (
    DependencyError,
    Handler,
    HandlerTimeoutError,
    InvalidPayloadError,
    Kind,
    Message,
    Outcome,
    PartialFailure,
    ProcessStatus,
    Reject,
    RetryLater,
    Verdict,
)
from megaflow.handlers.handler import make_handler
from megaflow.handlers.options import Options
from megaflow.match.conditions import EVERYTHING
from megaflow.processing.outcomes import OutcomeReader
from megaflow.processing.verdict import Fate, decide_fate

MESSAGE = Message("m", "body", Kind.TEXT, "body")
DONE, LATER = ProcessStatus.DONE, ProcessStatus.RETRY_LATER
RETRIED, FATAL = ProcessStatus.RETRIABLE_ERROR, ProcessStatus.FATAL_ERROR


def handler_of(*, is_async: bool = False, **options: Any) -> Handler:
    def handle(text: str) -> None: ...

    async def ahandle(text: str) -> None: ...

    return make_handler(ahandle if is_async else handle, Kind.TEXT, EVERYTHING, options=Options(**options))


def read(error: BaseException, handler: Handler | None = None, **of_app: Any) -> tuple[ProcessStatus, float | None]:
    """Return what the error of a handler means, as status and pause."""
    handler = handler or handler_of()
    reader = OutcomeReader([handler], of_app.get("retry_on"), of_app.get("on_invalid", "dead_letter"))
    outcome = reader.read(handler, None, error, 2.0)
    assert (outcome.handler, outcome.error, outcome.seconds) == (handler, error, 2.0)
    return outcome.status, outcome.after


def later(after: object) -> RetryLater:
    return RetryLater(after=after)  # type: ignore[arg-type]


# What was raised


@pytest.mark.parametrize(
    ("error", "meant"),
    [
        (ValueError(), (FATAL, None)),
        (SystemExit(), (RETRIED, None)),
        (asyncio.CancelledError(), (RETRIED, None)),
        (HandlerTimeoutError(), (RETRIED, None)),
        (DependencyError(), (RETRIED, None)),
        (RetryLater(), (LATER, None)),
        (RetryLater(after=7.0), (LATER, 7.0)),
        (Reject(), (FATAL, None)),
        (ExceptionGroup("", [RetryLater(after=3.0), RetryLater(after=7.0), RetryLater()]), (LATER, 7.0)),
        (ExceptionGroup("", [RetryLater(after=3.0), ExceptionGroup("", [Reject()])]), (FATAL, None)),
        (ExceptionGroup("", [RetryLater(after=3.0), ValueError()]), (FATAL, None)),
    ],
)
def test_an_error_has_its_meaning(error: BaseException, meant: tuple[ProcessStatus, float | None]) -> None:
    assert read(error) == meant


@pytest.mark.parametrize(
    ("of_app", "of_handler", "status"),
    [
        (None, None, FATAL),
        ((), (), FATAL),
        ((OSError,), None, RETRIED),
        (None, (OSError,), RETRIED),
        ((OSError,), (), FATAL),
        ((), (OSError,), RETRIED),
        ((KeyError,), (OSError,), RETRIED),
        ((OSError,), (KeyError,), RETRIED),
        ((KeyError,), (KeyError,), FATAL),
    ],
)
def test_an_error_is_retried_where_the_app_or_the_handler_says_so(of_app: Any, of_handler: Any, status: object) -> None:
    assert read(ConnectionError(), handler_of(retry_on=of_handler), retry_on=of_app) == (status, None)


@pytest.mark.parametrize(
    ("errors", "meant"),
    [
        ([OSError(), OSError()], (RETRIED, None)),
        ([OSError(), RetryLater(after=3.0)], (RETRIED, 3.0)),
        ([OSError(), ValueError()], (FATAL, None)),
        ([OSError(), Reject()], (FATAL, None)),
    ],
)
def test_a_group_is_retried_where_all_of_it_is(errors: list[Exception], meant: object) -> None:
    assert read(ExceptionGroup("", errors), retry_on=(OSError,)) == meant


def test_a_reject_in_a_group_wins_over_what_is_retried() -> None:
    assert read(ExceptionGroup("", [OSError(), Reject()]), retry_on=(Exception,)) == (FATAL, None)


def test_a_group_whose_type_is_retried_is_whatever_is_in_it() -> None:
    assert read(ExceptionGroup("", [ValueError()]), retry_on=(ExceptionGroup,)) == (RETRIED, None)


@pytest.mark.parametrize(
    ("of_app", "of_handler", "status"),
    [
        ("dead_letter", None, FATAL),
        ("keep", None, RETRIED),
        ("delete", None, DONE),
        ("delete", "keep", RETRIED),
        ("keep", "dead_letter", FATAL),
    ],
)
def test_what_does_not_validate_follows_the_handler_s_rule_before_the_app_s(
    of_app: str, of_handler: Any, status: object
) -> None:
    handler = handler_of(on_invalid=of_handler)

    assert read(InvalidPayloadError(("no id",)), handler, on_invalid=of_app) == (status, None)


@pytest.mark.parametrize(
    ("after", "seconds"),
    [(7, 7.0), (0, 0.0), (-1, -1.0), (True, None), ("7", None), (math.nan, None), (object(), None)],
)
def test_a_pause_is_a_number_of_seconds(after: object, seconds: float | None, caplog: pytest.LogCaptureFixture) -> None:
    assert read(later(after)) == (LATER, seconds)
    assert bool(caplog.records) is (seconds is None)


@pytest.mark.parametrize(
    ("after", "said"), [(math.inf, "inf"), ("4711", "str"), (10**400, "int"), (True, "bool"), (None, "")]
)
def test_a_pause_that_is_none_is_said_by_its_type(after: object, said: str, caplog: pytest.LogCaptureFixture) -> None:
    read(later(after))

    text = "raised RetryLater(after=) with {}, which is no number of seconds"
    assert [record.getMessage().split(" ", 1)[1] for record in caplog.records] == ([text.format(said)] if said else [])


# What was returned


@pytest.mark.parametrize("status", list(ProcessStatus))
@pytest.mark.parametrize("is_async", [False, True])
def test_a_status_is_taken_as_it_is(status: ProcessStatus, is_async: bool) -> None:
    handler = handler_of(is_async=is_async)

    outcome = OutcomeReader([handler], None, "keep").read(handler, status, None, 2.0)

    assert (outcome.status, outcome.error, outcome.after, outcome.seconds) == (status, None, None, 2.0)


@pytest.mark.parametrize(
    ("each", "status"),
    [([DONE, DONE], DONE), ([DONE, LATER], LATER), ([FATAL, DONE], FATAL), ([FATAL, LATER], LATER), ([None], DONE)],
)
def test_what_a_batch_handler_returns_for_each_message_is_summed_up(each: list[object], status: ProcessStatus) -> None:
    def handle(texts: list[str]) -> None: ...

    handler = make_handler(handle, Kind.TEXT, EVERYTHING, options=Options(batch_size=10))

    outcome = OutcomeReader([handler], None, "keep").read(handler, each, None, 2.0)

    assert (outcome.status, outcome.error) == (status, None)


def test_errors_that_a_batch_handler_returns_are_what_its_call_has_failed_with() -> None:
    def handle(texts: list[str]) -> None: ...

    handler, error = make_handler(handle, Kind.TEXT, EVERYTHING, options=Options(batch_size=10)), ValueError("no")

    outcome = OutcomeReader([handler], None, "keep").read(handler, [DONE, error], None, 2.0)

    assert outcome.status is RETRIED
    assert isinstance(outcome.error, PartialFailure)
    assert outcome.error.failed == {1: error}


@pytest.mark.parametrize(("is_async", "was_awaited"), [(False, False), (False, True), (True, True)])
def test_a_handler_that_returns_nothing_is_done(
    is_async: bool, was_awaited: bool, caplog: pytest.LogCaptureFixture
) -> None:
    handler = handler_of(is_async=is_async)

    outcome = OutcomeReader([handler], None, "keep").read(handler, None, None, 2.0, was_awaited=was_awaited)

    assert (outcome.status, outcome.error, outcome.seconds) == (DONE, None, 2.0)
    assert caplog.records == []


def test_an_async_handler_that_was_not_awaited_has_not_run() -> None:
    handler = handler_of(is_async=True)

    outcome = OutcomeReader([handler], None, "keep").read(handler, None, None, 2.0)

    assert outcome.status is RETRIED
    assert "has not run" in str(outcome.error)


def test_another_value_is_said_once_for_each_handler(caplog: pytest.LogCaptureFixture) -> None:
    one, other = handler_of(), handler_of(timeout=1.0)
    reader = OutcomeReader([one, other], None, "keep")

    statuses = [reader.read(handler, 7, None, 1.0).status for handler in (one, one, other)]

    assert statuses == [DONE] * 3
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    assert "returned int, which is taken as DONE" in caplog.text


# What several mean together


@pytest.mark.parametrize(
    ("statuses", "fate"),
    [
        ([], Fate.DELETE),
        ([DONE, DONE], Fate.DELETE),
        ([DONE, FATAL, DONE], Fate.DEAD_LETTER),
        ([FATAL, LATER], Fate.KEEP),
        ([RETRIED, FATAL], Fate.KEEP),
        ([DONE, LATER, DONE], Fate.KEEP),
    ],
)
def test_one_keeper_keeps_a_message_and_else_one_failure_dead_letters_it(
    statuses: list[ProcessStatus], fate: Fate
) -> None:
    assert decide_fate(statuses) is fate


def test_a_verdict_says_what_it_is() -> None:
    first, second = handler_of(), handler_of(timeout=1.0)
    outcomes = (Outcome(first, LATER, None, 3.0, 1.0), Outcome(second, DONE, None, None, 2.0))

    verdict = Verdict(MESSAGE, outcomes, Fate.KEEP)

    assert verdict.statuses == {first: LATER, second: DONE}
    assert (verdict.after, verdict.seconds, verdict.interruption, verdict.unmatched) == (3.0, 3.0, None, False)
    assert str(verdict) == f"kept ({first.name}: RETRY_LATER, {second.name}: DONE)"


@pytest.mark.parametrize("fate", list(Fate))
def test_exactly_one_thing_becomes_of_a_message(fate: Fate) -> None:
    verdict = Verdict(MESSAGE, (), fate)

    assert [verdict.deletes, verdict.keeps, verdict.dead_letters] == [
        fate is Fate.DELETE,
        fate is Fate.KEEP,
        fate is Fate.DEAD_LETTER,
    ]
    assert verdict.unmatched is True
    assert verdict.after is None
    assert verdict.seconds == 0.0


def test_the_longest_pause_counts() -> None:
    outcomes = tuple(Outcome(handler_of(), LATER, None, after) for after in (3.0, 7.0, None, 5.0))

    assert Verdict(MESSAGE, outcomes, Fate.KEEP).after == 7.0


@pytest.mark.parametrize(
    ("error", "interrupts"),
    [
        (None, False),
        (ValueError(), False),
        (asyncio.CancelledError(), False),
        (SystemExit(), True),
        (KeyboardInterrupt(), True),
        (BaseExceptionGroup("", [ValueError(), BaseExceptionGroup("", [SystemExit()])]), True),
        (BaseExceptionGroup("", [ValueError(), asyncio.CancelledError()]), False),
    ],
)
def test_what_is_no_exception_ends_the_consumer(error: BaseException | None, interrupts: bool) -> None:
    outcome = Outcome(handler_of(), RETRIED, error)

    assert outcome.interrupts is interrupts
    before = Outcome(handler_of(), RETRIED, ValueError())
    assert Verdict(MESSAGE, (before, outcome), Fate.KEEP).interruption is (error if interrupts else None)


def test_outcomes_are_equal_however_long_they_took() -> None:
    handler = handler_of()

    assert Outcome(handler, DONE, seconds=1.0) == Outcome(handler, DONE, seconds=2.0)
    assert Outcome(handler, DONE, skipped="finished earlier") == Outcome(handler, DONE)
    assert Outcome(handler, DONE) != Outcome(handler, LATER)
    assert Outcome(handler, DONE).seconds == 0.0


def test_an_outcome_says_why_its_handler_was_skipped() -> None:
    handler = handler_of()

    assert str(Outcome(handler, DONE, skipped="finished earlier")) == f"{handler.name}: skipped: finished earlier"
