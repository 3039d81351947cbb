"""Batches: ten entries or fewer to a call, within the size limit; what is sent again, and what is known to be sent."""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

from megaflow import forks, limits
from megaflow.errors import FailedEntry, PublishError, UsageError
from megaflow.publishing.outgoing import Prepared
from megaflow.publishing.threads import Threads
from megaflow.telemetry.conventions import name_code, name_error
from megaflow.wire.patience import PATIENCE
from megaflow.wire.pending import Pending

_TRIES: Final = 4
_FIRST_PAUSE: Final = 0.2


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of one message of `App.publish_stream`."""

    index: int
    """Its place in what you gave, from 0."""

    message_id: str = ""
    """Its message id; ``""`` where it did not go."""

    failure: FailedEntry | None = None
    """Why it did not go, or may not have gone; None where it went."""


class EntryAnswer(NamedTuple):
    """What AWS said of one entry of a batch. An entry it said nothing of is *unknown*."""

    message_id: str = ""
    code: str = ""
    reason: str = ""
    retriable: bool = False
    unknown: bool = False

    @property
    def sent(self) -> bool:
        """Whether the message is where it was to go."""
        return bool(self.message_id)


BeginBatch: TypeAlias = Callable[[Sequence[Prepared], float], Pending[Sequence[EntryAnswer]]]
"""Begins to send a batch, until a time of the monotonic clock; whatever goes wrong comes with the answer."""

TraceBatch: TypeAlias = Callable[[Sequence[Prepared]], Sequence[Prepared]]
"""Begins the span of a batch, and returns its messages with what goes along with them."""

Entry: TypeAlias = Prepared | FailedEntry
"""A message, or why it cannot be sent."""

StorePayloads: TypeAlias = Callable[[Sequence[Prepared]], Mapping[int, FailedEntry]]
"""Puts what is too large of a batch elsewhere, and returns what of it failed, by the places of the messages."""

AnyEntry = TypeVar("AnyEntry", bound=Entry)


def _trace_nothing(batch: Sequence[Prepared]) -> Sequence[Prepared]:
    return batch


def _store_nothing(batch: Iterable[Prepared]) -> Mapping[int, FailedEntry]:
    return {}


def _note_nothing(answers: Iterable[EntryAnswer]) -> None:
    """Note nothing."""


class BatchSender:
    """Sends batches, and knows what became of earlier ones.

    Failed entries that are worth it are tried again, four times in all; on *fifo* that would let later messages of the
    group overtake, so its group is stopped instead. After a call that failed as a whole nothing more is sent. *sleep*
    waits between the tries. With *ahead*, the client can send more before it has an answer. *store*, and then *trace*,
    is asked once for each batch, whatever of it is tried again. *note* is told what was said in the end of what was
    sent. A batch takes *patience* seconds at most by *clock*, all its tries included, once *store* has done its part.
    """

    def __init__(
        self,
        begin: BeginBatch,
        *,
        fifo: bool,
        ahead: bool = False,
        trace: TraceBatch = _trace_nothing,
        store: StorePayloads = _store_nothing,
        sleep: Callable[[float], None] = time.sleep,
        randomness: Callable[[], float] = random.random,
        note: Callable[[Iterable[EntryAnswer]], None] = _note_nothing,
        patience: float = PATIENCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._note = note
        self._patience = patience
        self._clock = clock
        self._begin_batch = begin
        self.sends_ahead: Final = ahead
        """Whether what `begin` begins is under way when it returns."""

        self._trace = trace
        self._store = store
        self._fifo = fifo
        self._sleep = sleep
        self._randomness = randomness
        self._stopped_groups: set[str] = set()
        self.cause: Exception | None = None
        """What the call raised that failed as a whole."""

    def send(self, batch: Sequence[Entry]) -> list[Sent]:
        """Send *batch*, and return what became of each. May be called from any thread, on FIFO by one at a time."""
        return self.begin(batch).result()

    def begin(self, batch: Sequence[Entry]) -> Pending[list[Sent]]:
        """Begin to `send`."""
        going: Sequence[Prepared] = [
            entry
            for entry in batch
            if isinstance(entry, Prepared) and entry.source.group_id not in self._stopped_groups
        ]
        if going and self.cause is None:
            if failed := self._store(going):
                going, batch = self._leave_out(failed, going), [failed.get(entry.index, entry) for entry in batch]
            going = self._trace(going) if going else going
        until = self._clock() + self._patience
        return self._begin(going, until).map(partial(self._finish, batch, going, until))

    def _leave_out(self, failed: Mapping[int, FailedEntry], going: Iterable[Prepared]) -> list[Prepared]:
        """Return what goes without those that failed; in order, nothing of their groups goes after them."""
        left: list[Prepared] = []
        for entry in going:
            if entry.index in failed:
                if self._fifo:
                    self._stopped_groups.add(entry.source.group_id)
            elif entry.source.group_id not in self._stopped_groups:
                left.append(entry)
        return left

    def _begin(self, going: Sequence[Prepared], until: float) -> Pending[dict[int, EntryAnswer]]:
        """Begin a call, unless there is nothing to be sent any more."""
        if not going or self.cause is not None:
            return Pending(dict)
        pending = self._begin_batch(going, until)
        return Pending(partial(self._read, going, pending), pending.sent)

    def _read(self, going: Sequence[Prepared], pending: Pending[Sequence[EntryAnswer]]) -> dict[int, EntryAnswer]:
        try:
            answers = pending.result()
        except Exception as error:  # noqa: BLE001 - every error of a client means something for its entries
            self.cause = error
            answers = [read_error(error)] * len(going)
        said = list(zip(going, answers, strict=True))
        if self._fifo:
            self._stopped_groups |= {entry.source.group_id for entry, answer in said if not answer.sent}
        return {entry.index: answer for entry, answer in said}

    def _finish(
        self, batch: Sequence[Entry], going: Sequence[Prepared], until: float, answers: dict[int, EntryAnswer]
    ) -> list[Sent]:
        """Try again what is worth it, as long as there is time, and return what became of each."""
        all_going = going
        for attempt in range(1, _TRIES):
            if self._fifo or self.cause is not None:
                break
            going = [entry for entry in going if answers[entry.index].retriable]
            if not going:
                break
            pause = self._randomness() * _FIRST_PAUSE * 2.0**attempt
            if self._clock() + pause >= until:
                break
            self._sleep(pause)
            answers |= self._begin(going, until).result()
        _end_spans(all_going, answers)
        self._note(answers.values())
        return [self._describe(entry, answers) for entry in batch]

    def _describe(self, entry: Entry, answers: Mapping[int, EntryAnswer]) -> Sent:
        if isinstance(entry, FailedEntry):
            return Sent(entry.index, failure=entry)
        answer = answers.get(entry.index)
        if answer is None:
            group_stopped = entry.source.group_id in self._stopped_groups
            reason = "an earlier message of its group failed" if group_stopped else "an earlier call failed"
            answer = EntryAnswer(code="NotSent", reason=reason)
        if answer.sent:
            return Sent(entry.index, answer.message_id)
        failure = FailedEntry(entry.index, entry.source.payload, answer.code, answer.reason, answer.unknown)
        return Sent(entry.index, failure=failure)


def _end_spans(going: Sequence[Prepared], answers: Mapping[int, EntryAnswer]) -> None:
    """End the spans of what was sent, each with the first failure of its messages, or the id of its only one."""
    for span in dict.fromkeys(entry.span for entry in going if entry.span is not None):
        said = [answers.get(entry.index, _UNANSWERED) for entry in going if entry.span is span]
        if len(said) == 1 and said[0].sent:
            span.note_message(said[0].message_id)
        span.end(next((name_code(answer.code) for answer in said if not answer.sent), ""))


def note_answer(batch: Sequence[Prepared], answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """Note in every span of *batch* which request this was, and return its *answer*."""
    for span in dict.fromkeys(entry.span for entry in batch if entry.span is not None):
        span.note_answer(answer)
    return answer


def send_all(entries: Iterable[Entry], sender: BatchSender, *, max_size: int, in_flight: int = 1) -> Iterator[Sent]:
    """Send *entries* in batches, up to *in_flight* at once, and give what became of each, in order.

    They are taken as they can be sent; where they end with an error, it is raised once what was taken has been given.
    """
    batches = cut_batches(entries, max_size=max_size)
    if in_flight == 1:
        for batch in batches:
            yield from sender.send(batch)
        return
    if sender.sends_ahead:
        # Where there is no connection, the next batch would wait for one just as long.
        yield from _send_ahead(batches, sender.begin, in_flight, goes_on=lambda pending: pending.is_under_way)
        return
    with Threads(in_flight) as threads:
        # One more waits for a thread.
        yield from _send_ahead(batches, lambda batch: Pending(threads.submit(sender.send, batch).result), in_flight + 1)


def _send_ahead(
    batches: Iterator[list[Entry]],
    begin: Callable[[list[Entry]], Pending[list[Sent]]],
    most: int,
    goes_on: Callable[[Pending[list[Sent]]], bool] = lambda pending: True,
) -> Iterator[Sent]:
    """Keep up to *most* batches under way, and give what became of each message, in order.

    *goes_on* tells of a batch that was begun whether others are, before it is answered.
    """
    failure: Exception | None = None
    begun = forks.generation
    under_way: deque[Pending[list[Sent]]] = deque()
    try:
        while failure is None:
            _refuse_in_child(begun)
            try:
                for batch in islice(batches, most - len(under_way)):
                    under_way.append(begin(batch))
                    if not goes_on(under_way[-1]):
                        break
            except Exception as error:  # noqa: BLE001 - whoever gave the entries raises whatever they like
                failure = error
            if not under_way:
                break
            yield from under_way.popleft().result()
        while under_way:
            yield from under_way.popleft().result()
    except (KeyboardInterrupt, SystemExit):
        # Whoever presses Ctrl-C does not wait for what may be slow to be answered, or never is.
        under_way.clear()
        raise
    finally:
        # Where nobody wants to know any more, what was sent is answered all the same; in a child, to the parent.
        for pending in under_way if forks.generation == begun else ():
            pending.result()
    if failure is not None:
        raise failure


def _refuse_in_child(begun: int) -> None:
    if forks.generation != begun:
        raise UsageError("this was begun before a fork, and goes on in the parent: begin another one")


def read_message_ids(sent: Sequence[Sent], cause: Exception | None) -> list[str]:
    """Return the message ids of *sent*; raise `PublishError` with exactly what did not go."""
    failures = [each.failure for each in sent if each.failure is not None]
    message_ids = [each.message_id for each in sent]
    if failures:
        raise PublishError(failures, message_ids) from cause
    return message_ids


def cut_batches(entries: Iterable[AnyEntry], *, max_size: int) -> Iterator[list[AnyEntry]]:
    """Cut *entries* into batches of at most ten that together stay within *max_size* bytes, in their order."""
    batch: list[AnyEntry] = []
    size = 0
    for entry in entries:
        bytes_ = entry.size if isinstance(entry, Prepared) else 0
        if batch and (len(batch) == limits.BATCH_ENTRIES or size + bytes_ > max_size):
            yield batch
            batch, size = [], 0
        batch.append(entry)
        size += bytes_
    if batch:
        yield batch


def read_error(error: Exception) -> EntryAnswer:
    """Return what the failure of a whole call means for each of its entries.

    Only an answer that refuses the first attempt, or an error before anything was sent, proves that nothing went:
    botocore tries again by itself, and tells of the last attempt only.
    """
    from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError

    if isinstance(error, ClientError):
        said, metadata = error.response.get("Error", {}), error.response.get("ResponseMetadata", {})
        refused = metadata.get("HTTPStatusCode", 500) < 500 and not metadata.get("RetryAttempts")
        code, reason = said.get("Code", "Unknown"), said.get("Message", str(error))
        return EntryAnswer(code=code, reason=reason, unknown=not refused)
    # Even where nobody listens: that may have been the last attempt, after one whose answer was lost.
    before_sending = isinstance(error, BotoCoreError) and not isinstance(error, ConnectionError | HTTPClientError)
    return EntryAnswer(code=name_error(error), reason=str(error), unknown=not before_sending)


def read_batch_answer(answer: Mapping[str, Any], entries: Sequence[object]) -> list[EntryAnswer]:
    """Return what a batch call said of each of *entries*, whose ids in the call are their places in it."""
    said = {
        each["Id"]: EntryAnswer(
            code=each.get("Code", "Unknown"), reason=each.get("Message", ""), retriable=not each.get("SenderFault")
        )
        for each in answer.get("Failed", ())
    }
    said |= {each["Id"]: EntryAnswer(each["MessageId"]) for each in answer.get("Successful", ())}
    return [said.get(str(place), _UNANSWERED) for place in range(len(entries))]


_UNANSWERED: Final = EntryAnswer(code="NoAnswer", reason="the answer does not speak of this entry", unknown=True)
