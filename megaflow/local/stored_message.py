"""A stored message: its content, its times, and each time it was received."""

from __future__ import annotations

from dataclasses import dataclass, field

from megaflow.local.content import Content


@dataclass(frozen=True, slots=True)
class SentMessage:
    """What was sent, and what SQS made of it then."""

    id: str
    content: Content
    sent_at: float
    group_id: str | None = None
    deduplication_id: str | None = None
    sequence_number: str | None = None


@dataclass(slots=True)
class Stored:
    """A message in a queue, and what became of it since."""

    number: int
    """Its place in the order of this queue."""

    message: SentMessage
    receive_count: int = 0
    """Over all queues it has been in."""

    received_here: int = 0
    received_at: float = 0.0
    first_received_at: float | None = None
    source_arn: str | None = None
    """The queue it came from, in a dead-letter queue."""

    @property
    def group(self) -> str:
        """The message group, ``""`` where it has none."""
        return self.message.group_id or ""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message as it was handed out once."""

    message: SentMessage
    receipt_handle: str
    receive_count: int
    first_received_at: float
    source_arn: str | None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One message of the answer to a ``ReceiveRequestAttemptId``, as it was then."""

    number: int
    serial: int
    visible_at: float


@dataclass(frozen=True, slots=True)
class MessageRecord:
    """All there is to know of a message in a queue, to be written down."""

    stored: Stored
    aged_from: float
    """From when its retention counts."""

    delayed_to: float | None
    visible_at: float | None

    @property
    def is_waiting(self) -> bool:
        """Whether it can be received, as far as itself is concerned."""
        return self.delayed_to is None and self.visible_at is None


@dataclass(slots=True)
class Unsaved:
    """Which messages of a queue came, changed or went since they were last written down."""

    added: set[int] = field(default_factory=set)
    changed: set[int] = field(default_factory=set)
    """Those that were received, hidden, moved here from another queue, or are gone."""

    purged: bool = False
    """Whether all that was written down is gone."""
