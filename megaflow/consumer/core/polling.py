"""Polling: when the queue is asked for messages, for how many, and by how many polls at once."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from megaflow import limits
from megaflow.consumer.core.actions import Actions
from megaflow.consumer.core.held_messages import HeldMessages
from megaflow.consumer.core.protocol import AbandonPoll, Inspect, Receive
from megaflow.consumer.core.turns import Turns
from megaflow.settings import ConsumerSettings

MOST_POLLS: Final = 4
"""Polls under way at once, where one cannot keep up."""

HANGS: Final = 90.0
"""Seconds beyond its wait after which a poll counts as hung, and another one takes its place."""

_WINDOW: Final = 1.0
"""Seconds: no more is received in advance than was finished in the last one or two of these."""

_FIRST_WAIT: Final = 1
"""Seconds that a poll waits as long as SQS has not answered one: until then nobody knows that it does."""

_WAIT_BETWEEN_BATCHES: Final = 1
"""Seconds that a poll of a FIFO queue waits while something is in hand that may come to a batch."""

_LOOK_AGAIN: Final = 60.0
"""Seconds after which a FIFO queue that gives nothing is asked what it holds."""

_LONGEST_REST: Final = 5.0
"""Seconds between two polls where nearly all that there is room for waits in line."""

_QUICK: Final = 0.004
"""Seconds: several polls bring no more than one that is answered within this."""


@dataclass(slots=True)
class _Poll:
    count: int
    asked_at: float
    hangs_at: float
    place: int


class Polling:
    """Decides about polls. *pause* is how long to wait after so many that failed."""

    def __init__(
        self,
        settings: ConsumerSettings,
        held_messages: HeldMessages,
        turns: Turns,
        actions: Actions,
        pause: Callable[[int], float],
        *,
        fifo: bool,
    ) -> None:
        self._settings = settings
        self._held_messages = held_messages
        self._turns = turns
        self._actions = actions
        self._pause = pause
        self._fifo = fifo
        self._polls: dict[int, _Poll] = {}
        self._asked = 0
        self._wanted = 1
        self._not_before = -math.inf
        self._asked_at = -math.inf
        self._inspecting = False
        self._is_inspected = False
        self._looked_at = -math.inf
        self._finished = [0, 0]
        self.finished_at: float | None = None
        self._window_ends_at = -math.inf
        self.failures = 0
        self.has_received = False
        self.over_limit = False
        self.is_paused = False
        self.heard_at: dict[int, float | None] = {}
        """Since when SQS is silent to the first, the second … of the polls that are under way, or are to be.

        It answered then, or was asked again after a while in which there was nothing to ask; None is that it has never
        answered.
        """

    def wake_at(self, now: float) -> float:
        """When `ask` has something to do again, if nothing happens before."""
        wakes_at = min([poll.hangs_at for poll in self._polls.values()], default=math.inf)
        not_before = max(self._not_before, self._rests_until())
        if not_before > now and self._can_take(now) > 0:
            return min(wakes_at, not_before)
        return wakes_at

    def is_hung(self, now: float) -> bool:
        """Tell whether nothing was heard of a poll for much longer than it may take."""
        return any(poll.hangs_at <= now for poll in tuple(self._polls.values()))

    def ask(self, now: float) -> None:
        """Ask what there is room for."""
        if self._inspecting or now < self._not_before:
            return
        if not self._is_inspected or (self._fifo and self._is_silent(now)):
            self._inspecting, self._looked_at = True, now
            self._actions.add(Inspect(depth_alone=self._is_inspected))
            return
        self._abandon_hung(now)
        while len(self._polls) < self._wanted and (count := self._next_count(now)) > 0:
            self._begin_poll(count, now)
        self._forget_silent()

    def ask_for_one(self, now: float) -> None:
        """Ask for a single message, unless something is asked."""
        self._abandon_hung(now)
        if not (self._polls or self._inspecting or now < self._not_before):
            self._begin_poll(1, now)
        self._forget_silent()

    def rest(self, now: float) -> None:
        """Ask nothing for now."""
        self._abandon_hung(now)
        self._forget_silent()

    def pause(self, *, is_over: bool) -> None:
        """Take note that nothing is to be asked until further notice, or that this *is over*; `ask` is called then."""
        if self.is_paused is is_over:
            self.is_paused = not is_over
            said = (
                "resumed: messages are received again" if is_over else "paused: nothing is received until it is resumed"
            )
            self._actions.report(logging.INFO, said)

    def note_inspected(self, now: float) -> None:
        """Take note that the queue has said what it is."""
        self._inspecting, self._is_inspected, self._looked_at, self.failures = False, True, now, 0

    def note_received(self, poll: int, count: int, seconds: float | None, now: float) -> None:
        """Take note of what a poll brought after so many *seconds*."""
        asked = self._polls.pop(poll, None)
        self.has_received, self.failures = True, 0
        if asked is None:
            return
        self._actions.count(("polls", "messages" if count else "empty"))
        self.heard_at[asked.place] = now
        if count:
            self._looked_at, self.over_limit = now, False
        most = self._settings.max_number_of_messages
        if count >= most:
            is_quick = (now - asked.asked_at if seconds is None else seconds) <= _QUICK
            self._wanted = max(1, self._wanted - 1) if is_quick else min(MOST_POLLS, self._wanted + 1)
        elif count < asked.count:
            self._wanted = 1

    def note_depth(self, *, over_limit: bool) -> None:
        """Take note of whether the queue has said that too many of its messages are in flight."""
        self.over_limit = over_limit

    def note_failed(self, poll: int, now: float, *, over_limit: bool) -> float:
        """Take note that a question failed, and return for how many seconds none is asked."""
        self._polls.pop(poll, None)
        self._inspecting = self._inspecting and poll > 0
        self._wanted, self.over_limit = 1, over_limit
        self.failures += 1
        pause = self._pause(self.failures)
        self._not_before = now + pause
        return pause

    def note_finished(self, count: int, now: float) -> None:
        """Take note that messages were handled: as many may be received in advance."""
        self.finished_at = now
        self.note_collected(count, now)

    def note_collected(self, count: int, now: float) -> None:
        """Take note that messages came as far as a batch: as many may be received in advance."""
        if now >= self._window_ends_at:
            idle = now >= self._window_ends_at + _WINDOW
            self._finished = [0, 0 if idle else self._finished[0]]
            self._window_ends_at = now + _WINDOW
        self._finished[0] += count

    def abandon(self) -> None:
        """Wait for nothing any more."""
        for poll in self._polls:
            self._actions.add(AbandonPoll(poll))
        if self._inspecting:
            self._actions.add(AbandonPoll(0))
        self._polls.clear()
        self._inspecting = False
        self._forget_silent()

    def _begin_poll(self, count: int, now: float) -> None:
        self._asked += 1
        self._asked_at = now
        place = min(set(range(MOST_POLLS)) - {poll.place for poll in self._polls.values()})
        self.heard_at.setdefault(place, now if self.has_received else None)
        wait = self._next_wait()
        self._polls[self._asked] = _Poll(count, now, now + wait + HANGS, place)
        self._actions.add(Receive(count, wait, self._asked))

    def _forget_silent(self) -> None:
        if len(self.heard_at) > len(self._polls):
            # Nothing is asked there, so nothing can be heard.
            places = {poll.place for poll in self._polls.values()}
            self.heard_at = {place: at for place, at in self.heard_at.items() if place in places}

    def _abandon_hung(self, now: float) -> None:
        for poll in [poll for poll, asked in self._polls.items() if asked.hangs_at <= now]:
            del self._polls[poll]
            self._actions.count(("polls", "hung"))
            self._actions.add(AbandonPoll(poll))

    def _next_count(self, now: float) -> int:
        """Return how much one more poll may bring; 0 where there is no need of it yet."""
        if now < self._rests_until():
            return 0
        most = self._settings.max_number_of_messages
        room = self._can_take(now)
        idle = self._settings.concurrency - self._in_hand() - self._expected()
        # What is received in advance can wait for a full batch.
        return min(most, room) if idle > 0 or room >= most else 0

    def _next_wait(self) -> int:
        """Return how many seconds one more poll waits: as long as it is not known whether SQS answers, few."""
        longest = self._settings.wait_time_seconds
        if self._fifo and self._turns.has_batches and self._held_messages.size:
            # A batch is called as soon as one brings nothing.
            longest = min(_WAIT_BETWEEN_BATCHES, longest) if self._turns.is_dry else 0
        return longest if self.has_received and not self.failures else min(_FIRST_WAIT, longest)

    def _can_take(self, now: float) -> int:
        """Return how many messages could be started soon: the rest is for others."""
        soon = self._settings.concurrency + min(self._settings.received_in_advance, self._recently_finished(now))
        room = soon - self._in_hand() - self._expected()
        return min(room, self._most_in_hand - self._held_messages.size - self._expected())

    @property
    def _most_in_hand(self) -> int:
        """How much is held at most: what waits for its turn, in its group or at a handler, takes no room but this."""
        settings = self._settings
        most = settings.max_number_of_messages * (settings.concurrency + 1) + settings.received_in_advance
        if not self._turns.has_batches:
            return most
        in_flight = limits.FIFO_IN_FLIGHT if self._fifo else limits.IN_FLIGHT
        return min(most + self._turns.batch_room + len(self._held_messages.in_batch), in_flight)

    def _rests_until(self) -> float:
        """Return when to ask again: where half of what can be held is in line, polls are further and further apart."""
        in_line = len(self._held_messages.in_line)
        if in_line:
            in_line -= self._turns.collected
        if not in_line:
            return -math.inf
        return self._asked_at + _LONGEST_REST * max(0.0, 2 * in_line / self._most_in_hand - 1)

    def _recently_finished(self, now: float) -> int:
        return max(self._finished) if now < self._window_ends_at + _WINDOW else 0

    def _in_hand(self) -> int:
        held = self._held_messages
        return len(held.running) + len(held.dead_lettering) + held.startable

    def _expected(self) -> int:
        return sum(poll.count for poll in self._polls.values())

    def _is_silent(self, now: float) -> bool:
        return not self._polls and not self._held_messages.size and now >= self._looked_at + _LOOK_AGAIN
