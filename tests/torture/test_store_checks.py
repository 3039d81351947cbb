"""The checks find in a ledger what a consumer must not do while its store is out, and after that."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.torture.excuses import AFTERMATH
from tests.torture.ledger import Entry, What
from tests.torture.settings import SHUTDOWN_TIMEOUT
from tests.torture.store_checks import GRACE, POLLS_END, check_stores, summarize_stores

ONE, OTHER = 1, 2


def entry(what: What, *, at: float = 0.0, pid: int = ONE, number: int = 7, **said: object) -> Entry:
    made = Entry(what, at, pid, "fifo", "red", number, f"id-{number}", work=f"work {number}")
    return replace(made, **said)  # type: ignore[arg-type]


def violations(*entries: Entry) -> list[str]:
    return list(check_stores("fifo", entries))


def run(*, at: float, pid: int = ONE, number: int = 7) -> list[Entry]:
    """Return what is noted of a run that begins."""
    return [entry(what, at=at, pid=pid, number=number) for what in (What.ASKED, What.CLAIMING, What.START)]


# What is remembered


def test_what_is_remembered_may_come_again_and_not_to_its_handler() -> None:
    assert violations(*run(at=0.0), entry(What.END), entry(What.REMEMBERED), entry(What.ASKED, at=1.0, pid=OTHER)) == []


def test_what_is_remembered_must_not_run_again_whatever_befalls_its_consumer() -> None:
    [said] = violations(
        *run(at=0.0),
        *(entry(What.END), entry(What.REMEMBERED), entry(What.FAULT, at=1.0, seconds=9.0), entry(What.GONE, at=1.0)),
        *run(at=2.0, pid=OTHER),
    )

    assert "run again by 2 at 2.000, although the store had remembered its end before" in said


def test_whoever_asked_before_it_was_remembered_could_not_know() -> None:
    lost = entry(What.FAULT)
    asked, claiming, start = run(at=1.0, pid=OTHER)

    assert violations(lost, *run(at=0.0), asked, entry(What.END), entry(What.REMEMBERED), claiming, start) == []


def test_a_copy_must_not_run_once_its_key_is_done() -> None:
    copy = [replace(each, work="work of a copy", message_id="copy") for each in run(at=1.0)]
    first = [*run(at=0.0), entry(What.END), entry(What.KEY_DONE), entry(What.REMEMBERED)]

    assert violations(*first, copy[0], copy[2]) == []

    again = [replace(each, at=2.0) for each in copy]
    [said] = violations(*first, replace(copy[2], at=0.5, pid=OTHER), *again)
    assert "although its idempotency key was done" in said


# What is held


def test_what_is_finished_must_not_run_again_while_its_consumer_lives() -> None:
    [said] = violations(*run(at=0.0), entry(What.END, at=1.0), *run(at=2.0, pid=OTHER))

    assert "run again by 2 at 2.000, although 1 had finished it at 1.000" in said


def test_its_own_consumer_must_not_run_it_again_either() -> None:
    [said] = violations(*run(at=0.0), entry(What.FATAL, at=1.0), *run(at=2.0))

    assert "run again by 1" in said


@pytest.mark.parametrize(
    "meanwhile",
    [
        [entry(What.GONE, at=1.5)],
        [entry(What.STOP, at=1.9 - SHUTDOWN_TIMEOUT)],
        [entry(What.STOP, at=1.5), entry(What.STOP, at=1.6)],
        [entry(What.FAULT, at=1.5, seconds=0.1)],
        [entry(What.FAULT, at=1.1 - AFTERMATH)],
    ],
)
def test_what_is_finished_may_run_again_once_its_consumer_has_ended_or_lost_it(meanwhile: list[Entry]) -> None:
    assert violations(*run(at=0.0), entry(What.END, at=1.0), *meanwhile, *run(at=2.0, pid=OTHER)) == []


@pytest.mark.parametrize("ending", [What.LATER, What.ERROR, What.CANCELLED])
def test_what_asks_for_later_runs_again(ending: What) -> None:
    assert violations(*run(at=0.0), entry(ending, at=1.0), *run(at=2.0)) == []


# Outages


def test_what_was_begun_as_an_outage_was_found_goes_on() -> None:
    asked, claiming, start = run(at=1.0 + GRACE)

    assert violations(entry(What.UNWELL, at=1.0), asked, claiming, replace(start, at=9.0)) == []


def test_nothing_must_be_begun_in_an_outage() -> None:
    [said] = violations(entry(What.UNWELL, at=1.0), *run(at=1.1 + GRACE))

    assert "was begun by 1 at 2.100, and its store was out since 1.000" in said


def test_whoever_says_that_a_store_is_well_which_is_not_is_not_believed() -> None:
    began = (entry(What.OUT, at=1.0), entry(What.FAILED, at=2.0), entry(What.WELL, at=2.1))

    [said] = violations(*began, *run(at=4.0))
    assert "was begun by 1 at 4.000, and its store was out since 2.000" in said

    healed = (entry(What.HEALED, at=3.0), entry(What.WELL, at=3.5))
    assert violations(*began, *healed, *run(at=4.0)) == []


def test_a_failure_of_no_outage_is_none() -> None:
    assert violations(entry(What.FAILED, at=1.0), *run(at=1.1 + GRACE)) == []


def test_another_consumer_and_a_later_time_are_no_outage() -> None:
    out, well = entry(What.UNWELL, at=1.0), entry(What.WELL, at=5.0)

    assert violations(out, *run(at=4.0, pid=OTHER), well, *run(at=6.0)) == []


def test_nothing_must_be_received_in_an_outage() -> None:
    began = entry(What.UNWELL, at=1.0, received=10)
    then = entry(What.UNWELL, at=2.0 + POLLS_END, received=20)

    assert violations(began, then, replace(then, at=20.0)) == []

    [said] = violations(began, then, replace(then, at=20.0, received=21))
    assert "process 1 received 1 messages between" in said


def test_a_poll_may_come_back_late_where_the_network_is_to_blame() -> None:
    began = entry(What.UNWELL, at=1.0)
    then = entry(What.UNWELL, at=2.0 + POLLS_END)
    fault = entry(What.FAULT, at=10.0, seconds=1.0)

    assert violations(began, then, fault, replace(then, at=20.0, received=10)) == []


def test_nothing_must_be_received_without_a_store_at_the_start() -> None:
    refused = entry(What.REFUSED)

    assert violations(refused) == []
    assert ["received 3 messages" in each for each in violations(replace(refused, received=3))] == [True]
    assert ["whose store could not be used" in each for each in violations(*run(at=0.0), refused)] == [True]


def test_what_stores_went_through_is_told() -> None:
    said = summarize_stores(
        [
            *(entry(What.END, at=1.0), entry(What.UNWELL, at=2.0), entry(What.UNWELL, at=3.0)),
            *(entry(What.WELL, at=6.0), entry(What.REMEMBERED, at=6.5)),
        ]
    )

    assert "1 messages remembered; 1 outages of a consumer that ended, after 4.0 s at most" in said
    assert "1 runs were held until their store had them, for 5.5 s at most" in said
