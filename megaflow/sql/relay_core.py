"""The core of a relay: decides what it claims, sends and settles next. No database, no AWS, no threads, no clock.

The database is asked one thing at a time, while calls are under way.

A group is claimed as a whole, and has one call under way at most. Of one group there is one entry in a call: where it
fails, nothing that comes after it was in the same call. Rows without a group go as they come, ten to a call.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from megaflow import limits
from megaflow.backoff import Backoff
from megaflow.errors import describe_error
from megaflow.publishing.batches import EntryAnswer, read_error
from megaflow.sql.relay_protocol import Action, Call, Claim, End, Row, Settlement, Wait
from megaflow.transport.errors import is_of_account, is_refused_message

POLL: Final = 0.5
"""Seconds between two looks at the table, where nothing wakes the relay."""

CLAIM: Final = 30.0
"""Seconds for which rows are claimed. In the first half of them calls begin; in the second, they end."""

IN_FLIGHT: Final = 8
"""Calls that are under way at once: boto3 keeps ten connections."""

_FEW: Final = 500
"""So many rows or fewer in hand, and more are claimed: they are there before these are sent."""

_SETTLED_TOGETHER: Final = 200
_LINGERS: Final = 0.02
"""Seconds in which rows that were sent wait for others, to be deleted with them."""


class RelayCore:
    """What one relay has in hand. All times are of one clock, in seconds, and given as *now*.

    *max_size_of* gives the bytes of a call to a destination; *backoff* the pause after so many failures.
    """

    def __init__(self, max_size_of: Callable[[str], int], *, backoff: Backoff) -> None:
        self._max_size_of = max_size_of
        self._backoff = backoff
        self._loose: deque[Row] = deque()
        self._groups: dict[str, deque[Row]] = {}
        """The rows of each group that wait, in order."""

        self._line: deque[str] = deque()
        """The groups of which one may go."""

        self._alone: set[int] = set()
        """Rows that go by themselves, as one of those with which they went is refused."""

        self._in_flight: dict[int, str] = {}
        """The ids of rows that are under way, and their groups."""

        self._calls = 0
        self._asks_database = False
        self._outcome = Settlement()
        self._outcome_since = 0.0
        self._claims_at = 0.0
        self._failures = self._database_failures = 0
        self._paused_until = self._database_paused_until = 0.0
        self._is_stopping = self._is_over = False
        self.problems: Mapping[str, str] = {}
        """What is wrong now, by what it is wrong with."""

    def decide(self, now: float) -> Action:
        """Return what to do next."""
        if self._is_over:
            return End()
        # One alone finds out whether it works again.
        most = 1 if self._failures else IN_FLIGHT
        call = None if self._is_stopping or self._calls >= most else self._cut_call(now)
        if call is not None:
            return call
        if self._is_stopping:
            self._release_all()
        if self._may_settle(now):
            settlement, self._outcome = self._outcome, Settlement()
            self._asks_database = True
            return settlement
        if self._is_stopping and not (self._calls or self._asks_database or self._outcome):
            return End()
        if self._may_claim(now):
            self._asks_database = True
            return Claim()
        return Wait(max(0.0, self._next_time(now) - now))

    def note_claimed(self, rows: Sequence[Row], now: float) -> None:
        """Take *rows* in hand; none are there where there are none."""
        self._database_answers()
        busy = {*self._in_flight.values()} - {""}
        held = {row.id for row in self._all_rows()} | self._in_flight.keys()
        free = [row for row in rows if row.id not in held and row.group not in busy]
        self._claims_at = now if free else now + POLL
        for row in free:
            self._take(row)
        # A claim has run out while its call was under way, which is to end before its group goes on.
        self._note(now).released += [row.id for row in rows if row.id not in held and row.group in busy]

    def note_answers(self, call: Call, answers: Sequence[EntryAnswer], now: float) -> None:
        """Take note of what became of each row of *call*."""
        self._end_call(call)
        self._failures, self._paused_until = 0, 0.0
        self._without("destination")
        for row, answer in zip(call.rows, answers, strict=True):
            self._note_answer(row, answer, now)

    def note_failure(self, call: Call, error: Exception, now: float) -> None:
        """Take note that *call* failed as a whole."""
        self._end_call(call)
        said = read_error(error)
        if is_refused_message(error) and not said.unknown:
            self._note_refused(call.rows, said, now)
            return
        if now >= self._paused_until:
            self._failures += 1
            self._paused_until = now + self._backoff(self._failures)
        self.problems = {**self.problems, "destination": f"{call.destination}: {describe_error(error)}"}
        for row in call.rows:
            self._hide(row, describe_error(error), now)
        self._release_all()

    def note_settled(self, settlement: Settlement, now: float) -> None:
        """Take note that the database knows what became of rows."""
        self._database_answers()
        if settlement.ends_groups and not (settlement.released or settlement.hidden):
            self._claims_at = min(self._claims_at, now)

    def note_database_failure(self, error: Exception, now: float, settlement: Settlement | None = None) -> None:
        """Take note that the database did not answer, or not well; *settlement* is what it was to be told."""
        self._asks_database = False
        self._database_failures += 1
        self._database_paused_until = now + self._backoff(self._database_failures)
        self.problems = {**self.problems, "database": f"the database: {describe_error(error)}"}
        if settlement is not None:
            settlement.add(self._outcome)
            self._outcome = settlement
            # Whoever stops it does not wait for a database that is away: what was sent goes again.
            self._is_over = self._is_stopping

    def wake(self, now: float) -> None:
        """Look at the table again."""
        self._claims_at = now

    def stop(self, *, now: bool) -> None:
        """Begin no call any more, and end with the last answer; with *now*, wait for none."""
        self._is_stopping = True
        self._is_over = self._is_over or now

    def _take(self, row: Row) -> None:
        if not row.group:
            self._loose.append(row)
            return
        if row.group not in self._groups:
            self._groups[row.group] = deque()
            self._line.append(row.group)
        self._groups[row.group].append(row)

    def _all_rows(self) -> Iterator[Row]:
        yield from self._loose
        for rows in self._groups.values():
            yield from rows

    def _cut_call(self, now: float) -> Call | None:
        """Take rows out that can go together; None where none can go."""
        self._release_late(now)
        if now < self._paused_until:
            return None
        rows = self._cut(self._loose) if self._loose else self._cut_of_groups()
        if not rows:
            return None
        self._calls += 1
        self._in_flight |= {row.id: row.group for row in rows}
        return Call(rows[0].destination, rows, min(row.ends for row in rows))

    def _cut(self, rows: deque[Row]) -> list[Row]:
        batch = [rows.popleft()]
        room = self._max_size_of(batch[0].destination) - batch[0].message.size
        while rows and self._fits(rows[0], batch, room):
            batch.append(rows.popleft())
            room -= batch[-1].message.size
        return batch

    def _cut_of_groups(self) -> list[Row]:
        """Take the first row of up to ten groups, none of which has another one under way."""
        if not self._line:
            return []
        heads = deque(self._groups[group][0] for group in self._line)
        batch = self._cut(heads)
        for row in batch:
            self._line.popleft()
            self._groups[row.group].popleft()
        return batch

    def _fits(self, row: Row, batch: Sequence[Row], room: int) -> bool:
        return (
            len(batch) < limits.BATCH_ENTRIES
            and row.message.size <= room
            and row.destination == batch[0].destination
            and not {row.id, batch[0].id} & self._alone
        )

    def _release_late(self, now: float) -> None:
        """Let go of what was claimed too long ago for a call to begin."""
        while self._loose and self._loose[0].begins_until <= now:
            self._outcome.released.append(self._loose.popleft().id)
        for group in [each for each in self._line if self._groups[each][0].begins_until <= now]:
            self._release_group(group)

    def _release_group(self, group: str) -> None:
        """Let go of what waits of a group."""
        self._outcome.released += [row.id for row in self._groups.pop(group, ())]
        if group in self._line:
            self._line.remove(group)

    def _release_all(self) -> None:
        self._outcome.released += [row.id for row in self._all_rows()]
        self._loose.clear()
        self._groups.clear()
        self._line.clear()

    def _end_call(self, call: Call) -> None:
        self._calls -= 1
        for row in call.rows:
            del self._in_flight[row.id]

    def _note_answer(self, row: Row, answer: EntryAnswer, now: float) -> None:
        error = f"{answer.code}: {answer.reason}"
        if answer.sent:
            self._note(now).sent.append(row.id)
            self._go_on(row.group)
        elif answer.retriable or answer.unknown or is_of_account(answer.code):
            self._hide(row, error, now)
        else:
            self._note(now).parked.append((row.id, error))
            self._go_on(row.group)
        self._alone.discard(row.id)

    def _note_refused(self, rows: Sequence[Row], said: EntryAnswer, now: float) -> None:
        """Park the row that was refused; of several, find out which one that is."""
        if len(rows) == 1:
            self._note_answer(rows[0], said, now)
            return
        for row in reversed(rows):
            self._alone.add(row.id)
            if not row.group:
                self._loose.appendleft(row)
            else:
                self._groups.setdefault(row.group, deque()).appendleft(row)
                self._line.appendleft(row.group)

    def _go_on(self, group: str) -> None:
        """Let the next one of a group go."""
        if self._groups.get(group):
            self._line.append(group)
        elif group:
            self._groups.pop(group, None)
            self._outcome.ends_groups = True

    def _hide(self, row: Row, error: str, now: float) -> None:
        """Try a row again later, and let its group wait for it."""
        self._note(now).hidden.append((row.id, self._backoff(row.attempts + 1), error))
        self._alone.discard(row.id)
        if row.group:
            self._release_group(row.group)

    def _note(self, now: float) -> Settlement:
        if not self._outcome:
            self._outcome_since = now
        return self._outcome

    def _may_settle(self, now: float) -> bool:
        if not self._outcome or self._asks_database or now < self._database_paused_until:
            return False
        waits = self._calls and len(self._outcome) < _SETTLED_TOGETHER and now < self._outcome_since + _LINGERS
        return not waits

    def _may_claim(self, now: float) -> bool:
        return (
            not (self._is_stopping or self._asks_database)
            and now >= max(self._claims_at, self._paused_until, self._database_paused_until)
            and len(self._loose) + sum(map(len, self._groups.values())) <= _FEW
        )

    def _next_time(self, now: float) -> float:
        times = [now + POLL, max(self._claims_at, self._paused_until, self._database_paused_until)]
        if self._outcome:
            times.append(max(self._outcome_since + _LINGERS, self._database_paused_until))
        return min(each for each in times if each > now)

    def _database_answers(self) -> None:
        self._asks_database = False
        self._database_failures, self._database_paused_until = 0, 0.0
        self._without("database")

    def _without(self, name: str) -> None:
        if name in self.problems:
            self.problems = {key: value for key, value in self.problems.items() if key != name}
