"""The diagnosis of a consumer: its health, from the state of its core."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from megaflow.consumer.core.circuits import Circuits
from megaflow.consumer.core.health import Health
from megaflow.consumer.core.held_messages import Held, HeldMessages
from megaflow.consumer.core.leases import Leases
from megaflow.consumer.core.polling import Polling
from megaflow.consumer.core.store_outages import StoreOutages
from megaflow.consumer.core.timeouts import Timeouts
from megaflow.settings import ConsumerSettings

_SILENCE: Final = 60.0
"""Seconds without a word of the core's driver, which otherwise speaks several times in each, after which it is dead."""

_QUIET: Final = 60.0
"""Seconds beyond its wait without an answer of SQS, after which the consumer counts as not ready."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What there is to know of a consumer's core at *now*; what belongs to its driver is at worst a moment old."""

    now: float
    stopping: bool
    told_at: float
    polling: Polling
    held_messages: HeldMessages
    leases: Leases
    timeouts: Timeouts
    outages: StoreOutages
    circuits: Circuits
    settings: ConsumerSettings

    def describe(self) -> Health:
        """Say it in `Health`'s words."""
        polling, now = self.polling, self.now
        live = not (self._is_silent or polling.is_hung(now) or self._is_stalled)
        return Health(
            live=live,
            ready=live and not (self.stopping or polling.failures or self.outages.problem) and self._hears,
            problems=tuple(self._problems()),
            stopping=self.stopping,
            heard_ago=tuple(None if at is None else now - at for at in self._heard),
            finished_ago=None if polling.finished_at is None else now - polling.finished_at,
            in_hand=self.held_messages.size,
            running=len(self._at_work),
            in_line=len(self.held_messages.in_line),
            longest_running=max((now - held.started_at for held in self._at_work), default=0.0),
            lost_leases=self.leases.losses,
            failed_extensions=self.leases.failures,
            stuck_threads=self.timeouts.stuck,
            over_limit=polling.over_limit,
            paused=polling.is_paused,
            open_breakers=self.circuits.open_ones,
        )

    def _problems(self) -> Iterator[str]:
        polling = self.polling
        found = {
            f"the consumer's own thread has said nothing for {self.now - self.told_at:.0f} s": self._is_silent,
            "a poll has not returned in its time": polling.is_hung(self.now),
            "every handler has run for so long that its message is lost to others": self._is_stalled,
            f"polls fail: the last {polling.failures}": bool(polling.failures),
            self.outages.problem: bool(self.outages.problem),
            "it is paused": polling.is_paused,
            f"circuit breakers are open: {', '.join(self.circuits.open_ones)}": bool(self.circuits.open_ones),
            "SQS has not answered yet": not (polling.has_received or polling.failures or polling.is_paused),
            "SQS has not answered for long": polling.has_received and not self._hears,
            f"extensions of visibility timeouts fail: the last {self.leases.failures}": bool(self.leases.failures),
            "the queue's limit of messages in flight is reached": polling.over_limit,
            f"handlers that did not return in their time hold {self.timeouts.stuck} threads": bool(self.timeouts.stuck),
        }
        return (problem for problem, is_there in found.items() if is_there)

    @property
    def _at_work(self) -> tuple[Held, ...]:
        running = tuple(self.held_messages.running.values())
        return tuple(held for held in running if held.id not in self.outages.parked)

    @property
    def _heard(self) -> tuple[float | None, ...]:
        return tuple(self.polling.heard_at.values())

    @property
    def _is_silent(self) -> bool:
        return self.now - self.told_at > _SILENCE

    @property
    def _is_stalled(self) -> bool:
        # What waits for a store goes on by itself.
        is_full = len(self._at_work) >= self.settings.concurrency
        parts = (part for held in self._at_work for part in self.held_messages.parts_of(held))
        return is_full and all(map(self.leases.is_lost, parts))

    @property
    def _hears(self) -> bool:
        # Where every handler is at work, nothing is asked, nor where it is paused.
        latest = max((at for at in self._heard if at is not None), default=self.now)
        is_recent = self.now - latest <= self.settings.wait_time_seconds + _QUIET
        return is_recent and (self.polling.has_received or self.polling.is_paused)
