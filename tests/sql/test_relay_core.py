"""The core of a relay by itself: what goes together, what waits, and what a claim that runs out ends."""

from __future__ import annotations

from itertools import count
from typing import Any

from botocore.exceptions import EndpointConnectionError
from hypothesis import given
from hypothesis import strategies as st

from megaflow.publishing.batches import EntryAnswer
from megaflow.publishing.outgoing import Outgoing, Prepared
from megaflow.sql.relay_core import IN_FLIGHT, POLL, RelayCore
from megaflow.sql.relay_protocol import Call, Claim, End, Row, Settlement, Wait

SENT = EntryAnswer("id")
FAILED = EntryAnswer(code="InternalError", reason="later", retriable=True)
REFUSED = EntryAnswer(code="InvalidMessageContents", reason="never")
LARGEST = 100


def row(id_: int, group: str = "", size: int = 1, destination: str = "queue", attempts: int = 0) -> Row:
    message = Prepared(0, Outgoing(None), str(id_), {}, size)
    return Row(id_, group, destination, message, attempts, begins_until=15.0, ends=30.0)


def make(*rows: Row) -> RelayCore:
    core = RelayCore(lambda destination: LARGEST, backoff=lambda failures: float(failures))
    assert core.decide(0.0) == Claim()
    core.note_claimed(rows, 0.0)
    return core


def calls(core: RelayCore, now: float = 0.0) -> list[Call]:
    """Return the calls that begin now; nothing more is claimed."""
    begun = []
    while isinstance(action := core.decide(now), Call | Claim):
        if isinstance(action, Call):
            begun.append(action)
        else:
            core.note_claimed((), now)
    return begun


def ids(call: Call) -> list[int]:
    return [each.id for each in call.rows]


def settle(core: RelayCore, now: float) -> Settlement:
    action = core.decide(now)
    while isinstance(action, Claim):
        core.note_claimed((), now)
        action = core.decide(now)
    assert isinstance(action, Settlement), action
    core.note_settled(action, now)
    return action


def test_rows_without_a_group_go_ten_to_a_call() -> None:
    core = make(*(row(number) for number in range(25)))

    assert [len(call.rows) for call in calls(core)] == [10, 10, 5]


def test_a_call_is_no_larger_than_its_destination_takes() -> None:
    core = make(row(1, size=60), row(2, size=41), row(3, size=59), row(4, destination="topic"))

    assert [ids(call) for call in calls(core)] == [[1], [2, 3], [4]]


def test_a_group_has_one_entry_in_a_call_and_one_call_under_way() -> None:
    core = make(row(1, "a"), row(2, "a"), row(3, "b"), row(4, "b"))

    (call,) = calls(core)
    core.note_answers(call, [SENT, SENT], 0.0)

    assert ids(call) == [1, 3]
    assert [ids(each) for each in calls(core)] == [[2, 4]]


def test_after_a_failed_entry_its_group_waits_and_others_go_on() -> None:
    core = make(row(1, "a", attempts=2), row(2, "a"), row(3, "b"), row(4, "b"))
    (call,) = calls(core)

    core.note_answers(call, [FAILED, SENT], 1.0)
    (following,) = calls(core, 1.0)
    core.note_answers(following, [SENT], 1.0)
    settlement = settle(core, 2.0)

    assert ids(following) == [4]
    assert settlement.hidden == [(1, 3.0, "InternalError: later")]
    assert settlement.released == [2]
    assert settlement.sent == [3, 4]


def test_what_is_refused_is_parked_and_its_group_goes_on() -> None:
    core = make(row(1, "a"), row(2, "a"))
    (call,) = calls(core)

    core.note_answers(call, [REFUSED], 0.0)

    assert [ids(each) for each in calls(core)] == [[2]]
    assert settle(core, 1.0).parked == [(1, "InvalidMessageContents: never")]


def test_where_nothing_works_one_call_finds_out_whether_it_does_again() -> None:
    core = make(*(row(number) for number in range(200)))
    first = calls(core)
    error = EndpointConnectionError(endpoint_url="http://127.0.0.1")

    for call in first:
        core.note_failure(call, error, 0.0)
    settlement = settle(core, 0.0)
    waits = core.decide(0.0)
    claims = core.decide(1.0)
    core.note_claimed([row(number) for number in range(200)], 1.0)

    assert len(first) == IN_FLIGHT
    assert len(settlement.hidden) == 80
    assert len(settlement.released) == 120
    assert isinstance(waits, Wait)
    assert claims == Claim()
    assert len(calls(core, 1.0)) == 1
    assert "queue" in core.problems["destination"]


def test_no_call_begins_in_the_second_half_of_a_claim() -> None:
    core = make(row(1), row(2, "a"))

    assert sorted(settle(core, 15.0).released) == [1, 2]
    assert calls(core, 15.0) == []


def test_a_call_ends_with_its_claim() -> None:
    (call,) = calls(make(row(1)))

    assert call.until == 30.0


def test_a_group_whose_call_outlives_its_claim_is_not_taken_again() -> None:
    core = make(row(1, "a"))
    (call,) = calls(core)
    core.note_claimed([row(1, "a"), row(2, "a")], 31.0)

    assert calls(core, 31.0) == []
    core.note_answers(call, [SENT], 32.0)
    assert settle(core, 33.0).released == [2]


def test_it_looks_twice_a_second_and_when_it_is_woken() -> None:
    core = make()

    assert core.decide(0.0) == Wait(POLL)
    core.wake(0.1)
    assert core.decide(0.1) == Claim()
    core.note_claimed((), 0.1)
    assert core.decide(0.1 + POLL) == Claim()


def test_what_was_sent_is_not_forgotten_where_the_database_is_away() -> None:
    core = make(row(1))
    (call,) = calls(core)
    core.note_answers(call, [SENT], 0.0)
    core.note_claimed((), 0.0)
    settlement = core.decide(0.0)
    assert isinstance(settlement, Settlement)

    core.note_database_failure(ConnectionError("away"), 0.0, settlement)

    assert isinstance(core.decide(0.5), Wait)
    assert "away" in core.problems["database"]
    assert settle(core, 1.0).sent == [1]
    assert core.problems == {}


def test_calls_go_on_while_the_database_is_asked_one_thing_at_a_time() -> None:
    core = make(*(row(number) for number in range(200)))
    begun = calls(core, POLL)
    assert core.decide(2 * POLL) == Claim()

    core.note_answers(begun[0], [SENT] * 10, 2 * POLL)

    assert len(calls(core, 2 * POLL)) == 1
    assert isinstance(core.decide(4 * POLL), Wait)
    core.note_claimed((), 4 * POLL)
    assert isinstance(core.decide(4 * POLL), Settlement)


def test_what_is_claimed_while_it_is_stopped_is_released() -> None:
    core = make()
    core.wake(1.0)
    assert core.decide(1.0) == Claim()
    core.stop(now=False)
    assert isinstance(core.decide(1.0), Wait)

    core.note_claimed([row(1), row(2, "a")], 1.0)

    assert sorted(settle(core, 1.0).released) == [1, 2]
    assert core.decide(1.0) == End()


def test_stopping_begins_nothing_and_ends_with_the_last_answer() -> None:
    core = make(row(1), row(2, "a"), row(3, "a"))
    begun = calls(core)
    core.stop(now=False)

    assert settle(core, 1.0).released == [3]
    assert isinstance(core.decide(1.0), Wait)
    for call in begun:
        core.note_answers(call, [SENT], 1.0)
    assert sorted(settle(core, 1.0).sent) == [1, 2]
    assert core.decide(1.0) == End()


def test_who_stops_it_does_not_wait_for_a_database_that_is_away() -> None:
    core = make(row(1))
    core.stop(now=False)
    settlement = core.decide(0.0)
    assert isinstance(settlement, Settlement)

    core.note_database_failure(ConnectionError("away"), 0.0, settlement)

    assert core.decide(0.0) == End()


@given(st.data())
def test_of_a_group_nothing_overtakes_whatever_fails(data: st.DataObject) -> None:  # noqa: C901 - a whole world
    """A database in a list, and any answers in any order: each row is settled once, and in order within its group."""
    groups = data.draw(st.lists(st.sampled_from(["", "a", "b", "c"]), max_size=30))
    table = {number: row(number, group) for number, group in enumerate(groups)}
    core = RelayCore(lambda destination: LARGEST, backoff=lambda failures: 0.0)
    under_way: list[Call] = []
    asked: list[Claim | Settlement] = []
    went: list[int] = []
    claimed: set[int] = set()

    def claim() -> list[Row]:
        busy = {table[id_].group for id_ in claimed if id_ in table} - {""}
        rows = [each for id_, each in table.items() if id_ not in claimed and each.group not in busy]
        claimed.update(each.id for each in rows)
        return rows

    def answer(call: Call) -> None:
        kind = data.draw(st.sampled_from(["each", "each", "failure"]))
        if kind == "failure":
            core.note_failure(call, ConnectionError(), now)
            return
        answers = [data.draw(st.sampled_from([SENT, SENT, FAILED, REFUSED])) for _ in call.rows]
        went.extend(each.id for each, said in zip(call.rows, answers, strict=True) if said is not FAILED)
        core.note_answers(call, answers, now)

    def ask_database(action: Claim | Settlement) -> None:
        if isinstance(action, Claim):
            core.note_claimed([Row(*_parts(each), now + 15, now + 30) for each in claim()], now)
            return
        for id_ in (*action.sent, *(id_ for id_, _ in action.parked)):
            del table[id_]
        claimed.difference_update(action.released, (id_ for id_, _, _ in action.hidden))
        core.note_settled(action, now)

    for step in count():
        now = step * 0.01
        if not (table or under_way or asked):
            break
        action: Any = core.decide(now)
        if isinstance(action, Call):
            busy = [each.group for call in (*under_way, action) for each in call.rows if each.group]
            assert len(busy) == len(set(busy))
            under_way.append(action)
        elif isinstance(action, Claim | Settlement):
            assert not asked
            asked.append(action)
        elif asked and (not under_way or data.draw(st.booleans())):
            ask_database(asked.pop())
        elif under_way:
            answer(under_way.pop(data.draw(st.integers(0, len(under_way) - 1))))
        assert step < 10_000

    assert sorted(went) == list(range(len(groups)))
    for group in "abc":
        ordered = [id_ for id_ in went if groups[id_] == group]
        assert ordered == sorted(ordered)


def _parts(given: Row) -> tuple[int, str, str, Prepared, int]:
    return given.id, given.group, given.destination, given.message, given.attempts
