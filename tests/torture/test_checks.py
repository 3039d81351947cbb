"""The checks find in a ledger what must not be there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.torture.chaos import plan_blows
from tests.torture.checks import Excuse, check, find_overlaps
from tests.torture.excuses import AFTERMATH
from tests.torture.ledger import Entry, Key, Ledger, What, read_entries
from tests.torture.outcomes import fails_for_good
from tests.torture.settings import SHUTDOWN_TIMEOUT

SEED = 1
FINE, NEXT = next(
    (number, number + 1)
    for number in range(1, 100)
    if not any(fails_for_good(SEED, Key("red", each)) for each in (number, number + 1))
)
HOPELESS = next(number for number in range(1000) if fails_for_good(SEED, Key("red", number)))
HARNESS, ONE, OTHER = 1, 2, 3


def entry(what: What, number: int = FINE, *, at: float = 0.0, pid: int = ONE, seconds: float = 0.0) -> Entry:
    return Entry(what, at, pid, "fifo", "red", number, f"id-{number}", seconds=seconds, work=f"work {number}")


def violations(*entries: Entry, dead: tuple[int, ...] = ()) -> list[str]:
    done_before = entry(What.END, FINE - 1)
    return list(check(SEED, "fifo", [done_before, *entries], {Key("red", number): 1 for number in dead}))


def test_a_message_that_was_handled_is_in_order() -> None:
    assert violations(entry(What.SENT, pid=HARNESS), entry(What.START), entry(What.END)) == []


def test_a_message_that_is_perhaps_sent_may_be_missing() -> None:
    assert violations(entry(What.SENDING, pid=HARNESS)) == []


def test_a_message_whose_runs_were_never_completed_is_lost() -> None:
    [said] = violations(entry(What.SENT, pid=HARNESS), entry(What.START), entry(What.LATER))

    assert "was lost" in said


def test_a_message_beyond_help_has_to_be_in_the_dead_letter_queue() -> None:
    history = (entry(What.SENT, HOPELESS, pid=HARNESS), entry(What.FATAL, HOPELESS))

    assert violations(*history, dead=(HOPELESS,)) == []
    assert ["was not dead-lettered" in said for said in violations(*history)] == [True]


def test_no_other_message_may_be_in_the_dead_letter_queue() -> None:
    [said] = violations(entry(What.SENT, pid=HARNESS), entry(What.END), dead=(FINE,))

    assert "no handler said" in said


def test_a_message_must_not_start_before_the_one_ahead_is_done() -> None:
    [said] = violations(entry(What.START), entry(What.START, NEXT), entry(What.END), entry(What.END, NEXT))

    assert "the one ahead was not done" in said


def test_a_message_must_not_run_twice_at_once() -> None:
    [said] = violations(entry(What.START), entry(What.START, pid=OTHER))

    assert "was run at once" in said


def test_a_run_ends_with_its_process() -> None:
    assert violations(entry(What.START), entry(What.GONE), entry(What.START, pid=OTHER)) == []


def test_a_handler_must_not_run_more_often_at_once_than_it_may() -> None:
    first, second = (replace(entry(What.START, number), most=1) for number in (FINE, NEXT))

    def said(*entries: Entry) -> list[str]:
        return [each for each in violations(*entries) if "runs a handler" in each]

    assert said(first, entry(What.END), second, entry(What.END, NEXT)) == []
    assert said(first, replace(second, pid=OTHER)) == []
    assert said(first, replace(second, most=0)) == []
    assert said(first, second) == [f"fifo: process {ONE} runs a handler 2 times at once at 0.000, and it may 1"]


def excuse(*meanwhile: Entry, at: float) -> Excuse:
    """Return the excuse for a run that began at this time, while one that began at 0 was under way."""
    [overlap] = find_overlaps([entry(What.START), *meanwhile, entry(What.START, at=at, pid=OTHER)])
    return overlap.excuse


def test_a_fault_excuses_overlapping_runs_for_a_while() -> None:
    fault = entry(What.FAULT, at=10.0, seconds=2.0)

    assert excuse(fault, at=11.0) is Excuse.FAULT
    assert excuse(fault, at=12.0 + AFTERMATH) is Excuse.FAULT
    assert excuse(fault, at=12.1 + AFTERMATH) is Excuse.NONE


def test_a_consumer_gives_up_its_handlers_at_its_shutdown_timeout_or_a_second_signal() -> None:
    once, twice = entry(What.STOP, at=10.0), entry(What.STOP, at=10.5)

    assert excuse(once, at=9.9 + SHUTDOWN_TIMEOUT) is Excuse.NONE
    assert excuse(once, at=10.0 + SHUTDOWN_TIMEOUT) is Excuse.GIVEN_UP
    assert excuse(once, twice, at=10.6) is Excuse.GIVEN_UP


def test_the_ledger_is_read_as_it_was_written(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    ledger.note(What.START, queue="fifo", key=Key("red", 7), message_id="id", receive_count=2)
    ledger.close()

    [found] = read_entries(tmp_path / "ledger")

    assert (found.what, found.key, found.message_id, found.receive_count) == (What.START, Key("red", 7), "id", 2)


def test_a_seed_is_a_plan() -> None:
    assert plan_blows(7, 60.0) == plan_blows(7, 60.0)
    assert plan_blows(7, 60.0) != plan_blows(8, 60.0)
