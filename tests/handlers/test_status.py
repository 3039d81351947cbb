"""What handlers say, and what it means for the message."""

from __future__ import annotations

from itertools import permutations

import pytest

from megaflow.handlers.status import ProcessStatus, Reject, RetryLater
from megaflow.processing.verdict import Fate, decide_fate

DONE, LATER, RETRIABLE, FATAL = (
    ProcessStatus.DONE,
    ProcessStatus.RETRY_LATER,
    ProcessStatus.RETRIABLE_ERROR,
    ProcessStatus.FATAL_ERROR,
)


def test_there_are_the_four_statuses_of_the_readme() -> None:
    assert [status.name for status in ProcessStatus] == ["DONE", "RETRY_LATER", "RETRIABLE_ERROR", "FATAL_ERROR"]


@pytest.mark.parametrize(("status", "keeps"), [(DONE, False), (LATER, True), (RETRIABLE, True), (FATAL, False)])
def test_what_is_to_be_retried_keeps_the_message(status: ProcessStatus, keeps: bool) -> None:
    assert status.keeps is keeps


@pytest.mark.parametrize(
    ("statuses", "fate"),
    [
        ([], Fate.DELETE),
        ([DONE], Fate.DELETE),
        ([DONE, DONE], Fate.DELETE),
        ([FATAL], Fate.DEAD_LETTER),
        ([DONE, FATAL], Fate.DEAD_LETTER),
        ([LATER], Fate.KEEP),
        ([RETRIABLE], Fate.KEEP),
        ([DONE, LATER], Fate.KEEP),
        ([FATAL, RETRIABLE], Fate.KEEP),
        ([FATAL, LATER, DONE, DONE], Fate.KEEP),
    ],
)
def test_one_keeper_keeps_and_else_one_failure_dead_letters(statuses: list[ProcessStatus], fate: Fate) -> None:
    fates = {decide_fate(order) for order in permutations(statuses)}

    assert fates == {fate}


def test_a_status_can_be_raised_with_a_reason() -> None:
    later, now, reject = RetryLater("not yet", after=30), RetryLater(), Reject("why")

    assert (str(later), later.after) == ("not yet", 30)
    assert (str(now), now.after) == ("", None)
    assert str(reject) == "why"
