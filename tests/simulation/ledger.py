"""What happened to each message, and the rules that must hold whatever happens."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from megaflow.handlers.status import ProcessStatus
from megaflow.processing.verdict import Fate


class Violation(AssertionError):
    """A rule that did not hold."""


@dataclass
class Sent:
    """A message that was sent, and what became of it."""

    body: str
    group: str
    handlers: frozenset[str]
    ended: dict[str, ProcessStatus] = field(default_factory=dict)
    """How each handler ended for good, the last time."""

    is_settled: bool = False
    """Whether a verdict said that nobody needs to see it again."""

    dead_letters: int = 0
    is_deleted: bool = False


@dataclass(frozen=True)
class Run:
    """A handler at work."""

    consumer: str
    message: str
    handler: str


class Ledger:
    """Keeps the books of one simulated day. Messages are known by their ids."""

    def __init__(self, *, fifo: bool, has_dead_letter_queue: bool) -> None:
        self._fifo = fifo
        self._has_dead_letter_queue = has_dead_letter_queue
        self.sent: dict[str, Sent] = {}
        self._groups: dict[str, list[str]] = defaultdict(list)
        self._running: list[Run] = []
        self._saved: dict[tuple[str, str], float] = {}
        self._completed_keys: dict[str, float] = {}
        self._fates: dict[tuple[str, str], Fate] = {}
        self._unretried: dict[str, str] = {}
        self.violation: Violation | None = None
        """What was found where a violation cannot be raised."""

    def note_sent(self, message: str, body: str, group: str, handlers: Iterable[str]) -> None:
        self.sent[message] = Sent(body, group, frozenset(handlers))
        self._groups[group].append(message)

    def note_start(self, run: Run, delivered_at: float, *, together: Collection[str] = ()) -> None:
        """A handler is called, for a message that this process began with at *delivered_at*.

        It gets it *together* with others, which come before it in the batch.
        """
        if any(each.message == run.message and each.consumer == run.consumer for each in self._running):
            raise Violation(f"{run.message}: two handlers at once in {run.consumer}")
        if self._saved.get((run.message, run.handler), math.inf) < delivered_at:
            raise Violation(f"{run.message}: {run.handler} has finished it, and is called again")
        if self._fifo:
            self._check_order(run.message, together)
        self._running.append(run)

    def note_end(self, run: Run, status: ProcessStatus) -> None:
        """A handler has returned, perhaps after nobody listened any more."""
        if run in self._running:
            self._running.remove(run)
        if status in (ProcessStatus.DONE, ProcessStatus.FATAL_ERROR):
            self.sent[run.message].ended[run.handler] = status

    def has_ended(self, message: str, handler: str) -> bool:
        """Tell whether a handler has ended for good, for a message or one with the same idempotency key."""
        key = self.sent[message].body.split()[0]
        return any(handler in each.ended for each in self.sent.values() if each.body.split()[0] == key)

    def note_death(self, consumer: str) -> None:
        """A process is gone, and its handlers with it."""
        self._running = [run for run in self._running if run.consumer != consumer]

    def forget_run(self, consumer: str, message: str) -> None:
        """A handler was given up: it may go on, but nobody listens."""
        self._running = [run for run in self._running if (run.consumer, run.message) != (consumer, message)]

    def is_running(self, consumer: str, message: str) -> bool:
        return any((run.consumer, run.message) == (consumer, message) for run in self._running)

    def note_saved(self, message: str, handler: str, now: float) -> None:
        """A store has remembered that a handler finished."""
        self._saved.setdefault((message, handler), now)

    def note_key_completed(self, key: str, until: float) -> None:
        self._completed_keys[key] = until

    def check_key(self, key: str, now: float) -> None:
        """A handler with this idempotency key is called."""
        if self._completed_keys.get(key, 0.0) > now:
            raise Violation(f"the idempotency key {key} ran already, and runs again")

    def note_verdict(self, consumer: str, message: str, fate: Fate) -> None:
        """Handlers have come to a verdict."""
        self._fates[consumer, message] = fate
        if fate is Fate.DELETE or (fate is Fate.DEAD_LETTER and not self._has_dead_letter_queue):
            self.sent[message].is_settled = True

    def note_dead_letter(self, message: str) -> None:
        self.sent[message].dead_letters += 1
        self.sent[message].is_settled = True

    def note_deleted(self, consumer: str, message: str) -> None:
        """The queue has deleted a message for a consumer."""
        sent = self.sent[message]
        missing = sent.handlers - sent.ended.keys()
        failed = self._fates.get((consumer, message)) is Fate.DEAD_LETTER
        if any(run.message == message for run in self._running) and not sent.is_settled:
            self.violation = Violation(f"{message}: deleted while a handler works on it")
        elif missing:
            self.violation = Violation(f"{message}: deleted, and {', '.join(sorted(missing))} never finished it")
        elif failed and self._has_dead_letter_queue and not sent.dead_letters:
            self.violation = Violation(f"{message}: failed for good, and deleted before it was dead-lettered")
        sent.is_deleted = True

    def note_failed_delete(self, receipt_handle: str, message: str) -> None:
        """A delete failed, and could be tried again."""
        self._unretried[receipt_handle] = message

    def note_delete_tried(self, message: str) -> None:
        self._unretried = {handle: each for handle, each in self._unretried.items() if each != message}

    def check_retried(self, receipt_handle: str) -> None:
        """The lease has ended, its consumer being alive and well all the while."""
        if receipt_handle in self._unretried:
            raise Violation(f"{self._unretried[receipt_handle]}: a delete that failed was not tried again")

    def check_end(self) -> None:
        """Everything must be settled."""
        for message, sent in self.sent.items():
            if not sent.is_deleted:
                raise Violation(f"{message}: still in the queue, {sent}")

    def before(self, message: str) -> list[str]:
        """Return what was sent before this message, in its group."""
        group = self._groups[self.sent[message].group]
        return group[: group.index(message)]

    def _check_order(self, message: str, together: Collection[str]) -> None:
        for earlier in self.before(message):
            if not self.sent[earlier].is_settled and earlier not in together:
                raise Violation(f"{message}: overtakes {earlier} of its group, which is not settled")
