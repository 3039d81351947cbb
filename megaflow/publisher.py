"""What publishing to a queue and to a topic have in common: batches, what is tried again, what is known to be sent."""

from __future__ import annotations

import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, Unpack

from megaflow import limits
from megaflow.errors import FailedEntry, PublishError
from megaflow.outgoing import Outgoing, Prepared, PublishOptions, prepare, prepare_all, prepare_raw

_TRIES: Final = 4
_FIRST_PAUSE: Final = 0.2


@dataclass(frozen=True, slots=True)
class EntryAnswer:
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


SendBatch: TypeAlias = Callable[[Sequence[Prepared]], Sequence[EntryAnswer]]


class Publisher(ABC):
    """Publishes payloads to one place. May be used from any thread.

    *max_size* is what a message, and a batch, may have in bytes; *sleep* waits between the tries of a batch.
    """

    def __init__(self, *, max_size: int, sleep: Callable[[float], None]) -> None:
        self._max_size = max_size
        self._sleep = sleep

    def publish(self, payload: Any, **options: Unpack[PublishOptions]) -> str:
        """Publish *payload*, a `Payload`, dict, str or bytes, and return its message id.

        `Outgoing` says what the options mean. Raises `EncodeError` before any call to AWS for what AWS would refuse;
        AWS's own errors pass through as botocore's.
        """
        return self._publish(prepare(Outgoing(payload, **options), max_size=self._max_size))

    def publish_raw_message(self, body: str, **options: Unpack[PublishOptions]) -> str:
        """Publish the text *body* exactly as it is, and return its message id."""
        return self._publish(prepare_raw(body, Outgoing(body, **options), max_size=self._max_size))

    def publish_batch(self, items: Iterable[object], **options: Unpack[PublishOptions]) -> list[str]:
        """Publish *items*, payloads or `Outgoing`, ten to a call, and return their message ids in order.

        The options hold for the payloads; an `Outgoing` brings its own. Raises `EncodeError`, with nothing sent, where
        one cannot be sent, and `PublishError` with exactly those that did not go, or of which that is not known.
        """
        entries = prepare_all(items, Outgoing(None, **options), max_size=self._max_size, check=self._check)
        return send_all(entries, self._batch_sender(), max_size=self._max_size, fifo=self._is_fifo, sleep=self._sleep)

    def _publish(self, message: Prepared) -> str:
        self._check(message.source)
        return self._send(message)

    @property
    @abstractmethod
    def _is_fifo(self) -> bool:
        """Whether messages of a group must arrive in order."""

    @abstractmethod
    def _check(self, source: Outgoing) -> None:
        """Raise `EncodeError` for what only another kind of place takes."""

    @abstractmethod
    def _send(self, message: Prepared) -> str:
        """Send one message, and return its id."""

    @abstractmethod
    def _batch_sender(self) -> SendBatch:
        """Return what sends a batch; raise `ConfigurationError` where nothing can be sent at all."""


def cut_batches(entries: Iterable[Prepared], *, max_size: int) -> Iterator[list[Prepared]]:
    """Cut *entries* into batches of at most ten that together stay within *max_size* bytes, in their order."""
    batch: list[Prepared] = []
    size = 0
    for entry in entries:
        if batch and (len(batch) == limits.BATCH_ENTRIES or size + entry.size > max_size):
            yield batch
            batch, size = [], 0
        batch.append(entry)
        size += entry.size
    if batch:
        yield batch


def send_all(
    entries: Sequence[Prepared],
    send: SendBatch,
    *,
    max_size: int,
    fifo: bool,
    sleep: Callable[[float], None] = time.sleep,
    randomness: Callable[[], float] = random.random,
) -> list[str]:
    """Send *entries* in batches, and return their message ids in order.

    Failed entries that are worth it are tried again, four times in all; on FIFO that would let later messages of the
    group overtake, so its group is stopped instead. After a call that failed as a whole nothing more is sent. Raises
    `PublishError` with exactly what did not go.
    """
    shipment = _Shipment(send, fifo, sleep, randomness)
    for batch in cut_batches(entries, max_size=max_size):
        shipment.take(batch)
    return shipment.read_message_ids(entries)


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
    return EntryAnswer(code=type(error).__name__, reason=str(error), unknown=not before_sending)


def read_batch_answer(answer: Mapping[str, Any], entries: Sequence[Prepared]) -> list[EntryAnswer]:
    """Return what a batch call said of each of *entries*, whose ids in the call are their places in it."""
    sent = {each["Id"]: EntryAnswer(message_id=each["MessageId"]) for each in answer.get("Successful", ())}
    failed = {
        each["Id"]: EntryAnswer(
            code=each.get("Code", "Unknown"), reason=each.get("Message", ""), retriable=not each.get("SenderFault")
        )
        for each in answer.get("Failed", ())
    }
    unanswered = EntryAnswer(code="NoAnswer", reason="the answer does not speak of this entry", unknown=True)
    return [{**failed, **sent}.get(str(place), unanswered) for place in range(len(entries))]


class _Shipment:
    """What has become of the entries so far."""

    def __init__(
        self, send: SendBatch, fifo: bool, sleep: Callable[[float], None], randomness: Callable[[], float]
    ) -> None:
        self._send = send
        self._fifo = fifo
        self._sleep = sleep
        self._randomness = randomness
        self._answers: dict[int, EntryAnswer] = {}
        self._stopped_groups: set[str] = set()
        self._cause: Exception | None = None

    def take(self, batch: Sequence[Prepared]) -> None:
        """Send *batch*, again what is worth it."""
        going = [entry for entry in batch if entry.source.group_id not in self._stopped_groups]
        for attempt in range(_TRIES):
            if not going or self._cause is not None:
                return
            if attempt:
                self._sleep(self._randomness() * _FIRST_PAUSE * 2.0**attempt)
            self._call(going)
            if self._fifo:
                self._stopped_groups |= {entry.source.group_id for entry in going if not self._was_sent(entry)}
                return
            going = [entry for entry in going if self._answers[entry.index].retriable]

    def read_message_ids(self, entries: Sequence[Prepared]) -> list[str]:
        failures = [self._describe_failure(entry) for entry in entries if not self._was_sent(entry)]
        message_ids = [self._answers[entry.index].message_id if self._was_sent(entry) else "" for entry in entries]
        if failures:
            raise PublishError(failures, message_ids) from self._cause
        return message_ids

    def _call(self, going: Sequence[Prepared]) -> None:
        try:
            answers = self._send(going)
        except Exception as error:  # noqa: BLE001 - every error of a client means something for its entries
            self._cause = error
            answers = [read_error(error)] * len(going)
        self._answers |= {entry.index: answer for entry, answer in zip(going, answers, strict=True)}

    def _was_sent(self, entry: Prepared) -> bool:
        return entry.index in self._answers and self._answers[entry.index].sent

    def _describe_failure(self, entry: Prepared) -> FailedEntry:
        group_stopped = entry.source.group_id in self._stopped_groups
        reason = "an earlier message of its group failed" if group_stopped else "an earlier call failed"
        answer = self._answers.get(entry.index, EntryAnswer(code="NotSent", reason=reason))
        return FailedEntry(entry.index, entry.source.payload, answer.code, answer.reason, answer.unknown)
