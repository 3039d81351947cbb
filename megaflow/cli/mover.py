"""The mover of messages between queues: each is sent first and deleted then, so that none is ever in neither."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, TypeAlias

from megaflow import limits
from megaflow.cli.held_messages import HIDDEN_FOR, HeldMessages, handle_of
from megaflow.errors import ConfigurationError
from megaflow.messages.message import Message
from megaflow.publishing.batches import EntryAnswer, read_batch_answer, read_error
from megaflow.transport.addresses import is_fifo, is_same_queue
from megaflow.transport.entries import measure, write_attributes, write_trace_header
from megaflow.transport.errors import is_refusal, is_refused_message
from megaflow.transport.protocols import SqsClient
from megaflow.transport.queue import Failed, OpenQueue

_WAIT: Final = 1
"""Seconds that a receive waits, so that SQS asks all its servers before it says that there is nothing."""

_LATE_BATCHES: Final = 20
"""After so many receives that brought nothing but what was sent since, there is nothing else left."""

_FAILURES_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class Nowhere:
    """What is said of a message that has no place to go: the *reason*."""

    reason: str


FindTarget: TypeAlias = Callable[[Message], str | Nowhere]
"""Where a message goes: the URL of a queue, or nowhere."""


@dataclass
class Tally:
    """What has become of the messages so far."""

    moved: Counter[str] = field(default_factory=Counter)
    """How many went, by the URL of the queue."""

    skipped: int = 0
    """How many the pattern left out."""

    lost_track: int = 0
    """How many have no place to go."""

    late: int = 0
    """How many were sent since it began: what failed again, after it had been moved, would go round for ever."""

    failed: int = 0
    repeated: int = 0
    """How many went, but could not be deleted, and so are in both queues."""

    reasons: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        """How many messages have gone."""
        return self.moved.total()

    def note_reason(self, message_id: str, reason: str) -> None:
        """Remember why a message did not go, of the first few."""
        if len(self.reasons) < _FAILURES_SHOWN:
            self.reasons.append(f"{message_id}: {reason}")


class Pace:
    """Lets so many messages a second pass, and so many in all."""

    def __init__(self, rate: float, count: float, clock: Callable[[], float], sleep: Callable[[float], object]) -> None:
        self.at_once = max(1, min(limits.RECEIVED_MESSAGES, math.floor(min(rate, limits.RECEIVED_MESSAGES))))
        self._rate = rate
        self._left = count
        self._clock = clock
        self._sleep = sleep
        self._next_at = clock()
        self._lock = threading.Lock()

    def take(self) -> int:
        """Wait until it is time, and return how many may go; 0 where no more may."""
        with self._lock:
            count = int(min(self.at_once, self._left))
            self._left -= count
            now = self._clock()
            begin = max(now, self._next_at)
            self._next_at = begin + count / self._rate
        if count and begin > now:
            self._sleep(begin - now)
        return count

    def give_back(self, count: int) -> None:
        """Let others have *count* that did not go."""
        with self._lock:
            self._left += count
            self._next_at -= count / self._rate


class Mover:
    """Moves the messages of *source* that *matches* to where *find_target* says, by the client that *connect* gives.

    What was sent after *before* stays, as does what does not match. A message that stays is hidden while others move,
    so that it does not come again and again, and is given back at the end. Whenever it ends, however it ends, every
    message is in one queue at least; what was in hand may be in both. Order is kept on FIFO: of each group one message
    goes at a time, and where one does not go, no later one does.
    """

    def __init__(
        self,
        connect: Callable[[str], SqsClient],
        source: OpenQueue,
        find_target: FindTarget,
        *,
        before: datetime,
        matches: Callable[[Message], bool] = lambda message: True,
        count: float = math.inf,
        rate: float = math.inf,
        dry: bool = False,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] | None = None,
        tell: Callable[[Tally], None] = lambda tally: None,
    ) -> None:
        self.tally = Tally()
        self._connect = connect
        self._source = source
        self._find_target = find_target
        self._before = before
        self._matches = matches
        self._dry = dry
        self._stopping = threading.Event()
        self._pace = Pace(rate, count, clock, sleep or self._stopping.wait)
        self._held = HeldMessages(source, clock)
        self._tell = tell
        self._closed: set[str] = set()
        self._lock = threading.Lock()

    def stop(self) -> None:
        """End `run` once what is in hand is done. May be called from any thread."""
        self._stopping.set()

    def run(self, at_once: int = 1) -> None:
        """Move what there is, *at_once* batches at a time, one on FIFO."""
        try:
            if at_once == 1 or self._source.fifo:
                self._work()
                return
            with ThreadPoolExecutor(at_once, thread_name_prefix="megaflow-mover") as threads:
                works = [threads.submit(self._work) for _ in range(at_once)]
                try:
                    for work in works:
                        work.result()
                except BaseException:
                    self.stop()
                    raise
        finally:
            self._held.give_back()

    def _work(self) -> None:
        try:
            late_batches = 0
            while late_batches < _LATE_BATCHES and (messages := self._move_some()):
                late_batches = late_batches + 1 if all(map(self._is_late, messages)) else 0
                self._held.hide_again()
        except BaseException:
            self.stop()
            raise

    def _move_some(self) -> Sequence[Message]:
        """Move a batch, and return what was received: nothing is that there is no more."""
        count = self._pace.take()
        if not count or self._stopping.is_set():
            return ()
        messages = self._source.receive(count, wait_time_seconds=_WAIT, visibility_timeout=HIDDEN_FOR)
        try:
            gone = self._move(messages)
        except BaseException:
            # What has gone is not there to be given back; whatever else was received is.
            for message in messages:
                self._held.add(message)
            raise
        self._pace.give_back(count - gone)
        self._tell(self.tally)
        return messages

    def _move(self, messages: Sequence[Message]) -> int:
        """Move those of *messages* that are to go, and return how many did."""
        going = [(message, target) for message in messages if (target := self._choose(message))]
        if self._dry:
            self._note(going)
            return len(going)
        gone = 0
        stopped: set[str] = set()
        for target, batch in _cut(going, by_group=self._source.fifo):
            for late in (each for each in batch if each.group_id in stopped):
                self._held.add(late)
            trying = [each for each in batch if each.group_id not in stopped]
            sent = self._send(target, trying)
            gone += len(sent)
            self._delete(sent)
            if self._source.fifo:
                stopped |= {each.group_id for each in trying if each not in sent}
        return gone

    def _choose(self, message: Message) -> str:
        """Return where *message* goes; ``""`` where it stays."""
        if self._is_late(message):
            return self._hold(message, "late")
        if not self._matches(message):
            return self._hold(message, "skipped")
        target = self._find_target(message)
        if isinstance(target, Nowhere):
            return self._hold(message, "lost_track", target.reason)
        if is_same_queue(target, self._source.url):
            return self._hold(message, "lost_track", "it would go to where it is")
        return target

    def _is_late(self, message: Message) -> bool:
        return message.sent_at is not None and message.sent_at > self._before

    def _hold(self, message: Message, why: str, reason: str = "") -> str:
        """Let *message* stay, count it once, by the name of what the tally calls it, and return ``""``."""
        if self._held.add(message):
            with self._lock:
                setattr(self.tally, why, getattr(self.tally, why) + 1)
                if reason:
                    self.tally.note_reason(message.id, reason)
        return ""

    def _note(self, going: Sequence[tuple[Message, str]]) -> None:
        for message, target in going:
            if self._held.add(message):
                with self._lock:
                    self.tally.moved[target] += 1

    def _send(self, target: str, batch: Sequence[Message]) -> list[Message]:
        """Send *batch*, and return what went; what did not stays."""
        answers = self._ask(target, batch) if batch else []
        with self._lock:
            for message, answer in zip(batch, answers, strict=True):
                if answer.sent:
                    self.tally.moved[target] += 1
                else:
                    self.tally.failed += 1
                    self.tally.note_reason(message.id, f"{answer.code}: {answer.reason}")
                    self._held.add(message)
        return [message for message, answer in zip(batch, answers, strict=True) if answer.sent]

    def _ask(self, target: str, batch: Sequence[Message]) -> list[EntryAnswer]:
        if target in self._closed:
            return [EntryAnswer(code="NotSent", reason=f"{target} took none before")] * len(batch)
        entries = [write_entry(message, target, str(place)) for place, message in enumerate(batch)]
        try:
            answer = self._connect(target).send_message_batch(QueueUrl=target, Entries=entries)
        except Exception as error:
            if is_refused_message(error):
                # One of them is why, and the others are to go.
                alone = [read_error(error)] if len(batch) == 1 else []
                return alone or [answer for message in batch for answer in self._ask(target, [message])]
            if not (is_refusal(error) or isinstance(error, ConfigurationError)):
                raise
            self._closed.add(target)
            return [read_error(error)] * len(batch)
        return read_batch_answer(answer, batch)

    def _delete(self, messages: Sequence[Message]) -> None:
        failed: Sequence[Failed] = ()
        handles = [handle_of(message) for message in messages]
        for _ in range(3):
            if not handles:
                return
            failed = self._source.delete(handles)
            handles = [each.receipt_handle for each in failed if not each.final]
        with self._lock:
            self.tally.repeated += len(failed)


def write_entry(message: Message, target: str, id_: str) -> dict[str, Any]:
    """Return *message* as it goes to *target*: body, attributes and trace as they are, its group if it has one."""
    entry: dict[str, Any] = {"Id": id_, "MessageBody": message.body}
    if message.sqs_attributes:
        entry["MessageAttributes"] = write_attributes(message.sqs_attributes)
    if message.trace_header:
        entry["MessageSystemAttributes"] = write_trace_header(message.trace_header)
    if message.group_id:
        entry["MessageGroupId"] = message.group_id
    if is_fifo(target):
        entry.setdefault("MessageGroupId", message.id)
        # Not the one it was sent with: within five minutes SQS would take it for the message that it once was.
        entry["MessageDeduplicationId"] = message.id
    return entry


def _cut(going: Sequence[tuple[Message, str]], *, by_group: bool) -> Iterator[tuple[str, list[Message]]]:
    """Cut what goes into batches for one queue each, within SQS's limits; *by_group*, with one message of each group.

    The batches of a group come in the order of its messages.
    """
    left = list(going)
    while left:
        target, size = left[0][1], 0
        batch: list[Message] = []
        later: list[tuple[Message, str]] = []
        groups: set[str] = set()
        for message, its_target in left:
            bytes_ = measure(message.body, message.sqs_attributes)
            fits = its_target == target and (not batch or size + bytes_ <= limits.SQS_MESSAGE_SIZE)
            if fits and not (by_group and message.group_id in groups):
                batch.append(message)
                size += bytes_
            else:
                later.append((message, its_target))
            groups.add(message.group_id)
        yield target, batch
        left = later
