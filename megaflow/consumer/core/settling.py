"""Settling: which messages are deleted or hidden, in batches, and how often that is tried.

A few milliseconds of patience fill the batches; a failed entry is tried again while its lease lasts.
"""

from __future__ import annotations

import logging
import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from megaflow import limits
from megaflow.consumer.core.actions import Actions
from megaflow.consumer.core.held_messages import Held
from megaflow.consumer.core.protocol import Delete, Hide, Problem
from megaflow.messages.message import Message
from megaflow.messages.pointers import Pointer

LINGER: Final = 0.05
"""Seconds that a delete waits for others to share its call, while there is other work."""

MOST_UNDER_WAY: Final = 40
"""Messages that are being settled at a time: a batch of thousands needs no more connections than others do."""

REMEMBERED: Final = 10_000
"""So many handled messages are known again, should they come again all the same."""

_CALL_TIME: Final = 1.0
"""Seconds that a call may take."""

_SHORTEST: Final = 0.5
"""Seconds that a lease must still have for another try."""

_LAST_TRIES: Final = 3
_LAST_PAUSE: Final = 0.25
"""To settle a message, once the consumer is stopping and no handler is waited for."""


@dataclass(slots=True, eq=False)
class _Unsettled:
    """A message that is to be deleted or hidden."""

    held: Held
    pause: float | None
    """Seconds to hide it for; None is to delete it."""

    not_before: float
    not_after: float
    tries: int = 0
    has_come_again: bool = False
    """Whether it was delivered again before it was hidden, which is then of no use any more."""

    is_overdue: bool = False
    """Whether it was found that its lease ended before it was said to be deleted."""

    @property
    def is_ordered_delete(self) -> bool:
        """Whether it is to be deleted, and others wait for their turn behind it."""
        return self.pause is None and bool(self.held.group)


class Settling:
    """Settles messages that are no longer in hand: their handlers have finished, or are not to be started.

    *pause* is how long to wait after so many tries; *patience_ends_at* until when to wait for another call about the
    same message.
    """

    def __init__(
        self, actions: Actions, pause: Callable[[int], float], patience_ends_at: Callable[[str], float]
    ) -> None:
        self._actions = actions
        self._pause = pause
        self._patience_ends_at = patience_ends_at
        self._due: dict[str, _Unsettled] = {}
        self._under_way: dict[str, _Unsettled] = {}
        self._done: OrderedDict[str, None] = OrderedDict()
        self._discards: dict[str, Pointer] = {}
        """The payloads outside of messages that are deleted after these, as long as such a message is known."""

        self._has_deleted = False
        self._undeleted: list[Held] = []
        self.overdue_at = math.inf
        """When `take_undeleted` has something to look at, at the earliest."""

    @property
    def is_empty(self) -> bool:
        """Whether everything is settled."""
        return not (self._due or self._under_way)

    @property
    def has_deleted(self) -> bool:
        """Whether a message was ever deleted, so that it is allowed."""
        return self._has_deleted

    @property
    def wake_at(self) -> float:
        """When `flush` has something to do again, at the latest."""
        if not self._due or self._is_full:
            # What waits for the answers to others is settled as soon as these are told.
            return math.inf
        idle = (each for each in self._due.values() if each.held.id not in self._under_way)
        return min(map(self._flush_at, idle), default=math.inf)

    def is_done(self, message_id: str) -> bool:
        """Tell whether a message was handled to its end here, and not long ago."""
        return message_id in self._done

    def has_none_of(self, message_ids: Sequence[str]) -> bool:
        """Tell whether none of these messages was handled to its end here not long ago, or is not settled."""
        places: tuple[Mapping[str, object], ...] = (self._done, self._due, self._under_way)
        return all(place.keys().isdisjoint(message_ids) for place in places)

    def finish(self, several: Iterable[Held], now: float) -> None:
        """Delete messages that were handled to their end, sooner or later, and know them should they come again."""
        for held in several:
            self.delete(held, now)
            self._done[held.id] = None
        while len(self._done) > REMEMBERED:
            self._discards.pop(self._done.popitem(last=False)[0], None)

    def discard_with(self, message: Message) -> None:
        """Delete the payload that lay outside of *message*, which was handled, once that is deleted."""
        if message.pointer is not None:
            self._discards[message.id] = message.pointer

    def forget_hiding(self, message_id: str) -> None:
        """Do not hide a message that has come again already, nor try to do so once more."""
        if message_id in self._due and self._due[message_id].pause is not None:
            del self._due[message_id]
        if message_id in self._under_way:
            self._under_way[message_id].has_come_again = True

    def delete(self, held: Held, now: float) -> None:
        """Delete a message, sooner or later."""
        self._due[held.id] = _Unsettled(held, None, now, now + LINGER)
        if held.group:
            ends_at = now if held.lease.is_refused else held.lease.expires_at
            self.overdue_at = min(self.overdue_at, ends_at)

    def take_undeleted(self, now: float) -> list[Held]:
        """Take out what has a group, was to be deleted, and comes again, or may do so: its lease is over."""
        undeleted, self._undeleted, self.overdue_at = self._undeleted, [], math.inf
        # What has come again meanwhile is due with its newer lease.
        for each in (self._under_way | self._due).values():
            if not each.is_ordered_delete or each.is_overdue:
                continue
            if each.held.lease.is_over(now):
                each.is_overdue = True
                undeleted.append(each.held)
            else:
                self.overdue_at = min(self.overdue_at, each.held.lease.expires_at)
        return undeleted

    def hide(self, held: Held, seconds: float, now: float) -> None:
        """Let a message be seen again after so many seconds."""
        self._due[held.id] = _Unsettled(held, max(0.0, seconds), now, now + LINGER)

    def hurry(self, now: float) -> None:
        """Wait no longer for anything."""
        for each in self._due.values():
            each.not_before = each.not_after = now

    def flush(self, now: float, *, lingers: bool) -> None:
        """Settle what is due; while other work goes on, what *lingers* waits for full batches."""
        if not self._due or (lingers and len(self._due) < limits.BATCH_ENTRIES and now < self.wake_at):
            return
        ready_ones = self._drop_expired(self._find_ready(now), now)
        for ready in (
            [each for each in ready_ones if each.pause is None],
            [each for each in ready_ones if each.pause is not None],
        ):
            if not lingers or len(ready) >= limits.BATCH_ENTRIES or any(each.not_after <= now for each in ready):
                for start in range(0, len(ready), limits.BATCH_ENTRIES):
                    self._settle(ready[start : start + limits.BATCH_ENTRIES], now)

    def note(
        self,
        asked: Delete | Hide,
        problems: Mapping[str, Problem],
        now: float,
        *,
        stopping: bool,
        last: bool,
    ) -> None:
        """Take note of what came of a call; with *last* few tries are left, since nothing else is waited for."""
        settled = [self._under_way.pop(message.id) for message in asked.messages]
        if problems:
            for each in settled:
                if each.held.id in problems:
                    self._try_again(each, problems[each.held.id], now, stopping=stopping, last=last)
            settled = [each for each in settled if each.held.id not in problems]
        if settled and isinstance(asked, Delete):
            self._has_deleted = True
            for each in settled if asked.discards else ():
                self._discards.pop(each.held.id, None)
            self._actions.count(("deleted",), len(settled))
        elif settled:
            self._actions.count(("hidden",), len(settled))

    @property
    def _is_full(self) -> bool:
        return len(self._under_way) >= MOST_UNDER_WAY

    def _find_ready(self, now: float) -> list[_Unsettled]:
        """Return what can be settled now, in order, as far as there may be more calls under way."""
        room = max(0, MOST_UNDER_WAY - len(self._under_way))
        found = (each for each in self._due.values() if self._is_ready(each, now) or each.held.lease.is_over(now))
        return list(islice(found, room))

    def _drop_expired(self, several: Sequence[_Unsettled], now: float) -> list[_Unsettled]:
        # Somebody else may have them by now, and the receipt handle may be theirs to undo.
        for each in [each for each in several if each.held.lease.is_over(now)]:
            del self._due[each.held.id]
            self._report_unsettled(each, "its lease is lost")
        return [each for each in several if not each.held.lease.is_over(now)]

    def _is_ready(self, unsettled: _Unsettled, now: float) -> bool:
        message_id = unsettled.held.id
        is_free = message_id not in self._under_way and self._patience_ends_at(message_id) <= now
        return is_free and unsettled.not_before <= now

    def _flush_at(self, unsettled: _Unsettled) -> float:
        return max(unsettled.not_after, unsettled.not_before, self._patience_ends_at(unsettled.held.id))

    def _settle(self, batch: Sequence[_Unsettled], now: float) -> None:
        for each in batch:
            self._under_way[each.held.id] = self._due.pop(each.held.id)
        messages = tuple([each.held.message for each in batch])
        pauses = tuple([_clamp_pause(each.held, each.pause, now) for each in batch if each.pause is not None])
        self._actions.add(Hide(messages, pauses) if pauses else Delete(messages, self._find_discards(batch)))

    def _find_discards(self, batch: Sequence[_Unsettled]) -> Mapping[str, Pointer]:
        if not self._discards:
            return {}
        ids = (each.held.id for each in batch)
        return {message_id: self._discards[message_id] for message_id in ids if message_id in self._discards}

    def _try_again(self, unsettled: _Unsettled, problem: Problem, now: float, *, stopping: bool, last: bool) -> None:
        unsettled.tries += 1
        time_left = unsettled.held.lease.expires_at - now
        pause = min(self._pause(unsettled.tries), time_left / 2, _LAST_PAUSE if stopping else math.inf)
        if problem.final or time_left < _SHORTEST or (last and unsettled.tries > _LAST_TRIES):
            self._report_unsettled(unsettled, problem.reason)
        elif unsettled.held.id not in self._due and not unsettled.has_come_again:
            unsettled.not_before = unsettled.not_after = now + pause
            self._due[unsettled.held.id] = unsettled

    def _report_unsettled(self, unsettled: _Unsettled, reason: str) -> None:
        verb = "deleted" if unsettled.pause is None else "hidden"
        if unsettled.is_ordered_delete and not unsettled.is_overdue:
            self._undeleted.append(unsettled.held)
            self.overdue_at = -math.inf
        self._actions.count(("not_deleted",) if unsettled.pause is None else ("not_hidden",))
        text = "message %s could not be %s and comes again: %s"
        self._actions.report_message(logging.WARNING, text, unsettled.held.message, verb, reason)


def _clamp_pause(held: Held, pause: float, now: float) -> float:
    # A visibility timeout ends at the latest 12 hours after the message was received; the call takes its time too.
    longest = limits.VISIBILITY_TIMEOUT - (now - held.lease.received_at) - _CALL_TIME
    return max(0.0, min(pause, longest))
