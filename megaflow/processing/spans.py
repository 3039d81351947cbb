"""Spans of processing: what an outcome and a verdict say in them."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, TypeAlias

from megaflow.handlers.status import ProcessStatus
from megaflow.processing.steps import Result, Step
from megaflow.processing.verdict import Outcome, Verdict
from megaflow.telemetry import conventions as names

if TYPE_CHECKING:
    from megaflow.telemetry.otel_messages import MessageTrace

Given: TypeAlias = Generator[Step | Verdict, Result, None]
"""The steps of a message, and last its verdict."""


def give_traced(given: Given, trace: MessageTrace) -> Given:
    """Give the steps of a message; where nobody takes them to their end, its spans end all the same."""
    try:
        yield from given
    except BaseException as error:
        trace.crash(error)
        raise


def end_handle(trace: MessageTrace, outcome: Outcome) -> None:
    """End the span of a handler's call, where there is one, with what came of it."""
    trace.end_handle(outcome.status.name, _name_problem(outcome), outcome.skipped)


def end_process(trace: MessageTrace, verdict: Verdict) -> None:
    """End the span of a message with its verdict."""
    said = {names.FATE: verdict.fate.value}
    if verdict.outcomes:
        said[names.HANDLER] = ", ".join(outcome.handler.name for outcome in verdict.outcomes)
        said[names.STATUS] = ", ".join(outcome.status.name for outcome in verdict.outcomes)
    problems = filter(None, map(_name_problem, verdict.outcomes))
    trace.end(said, next(problems, names.UNMATCHED if verdict.unmatched and verdict.dead_letters else ""))


def _name_problem(outcome: Outcome) -> str:
    """Return the type of a handler's error; that it asks for later is none."""
    if outcome.status in (ProcessStatus.DONE, ProcessStatus.RETRY_LATER):
        return ""
    return outcome.status.name if outcome.error is None else names.name_error(outcome.error)
