"""What the consumer's core is told, and what it answers.

Times are in seconds. Every message here was received from the queue, and so has a lease.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from megaflow.message import Message
from megaflow.process import Verdict
from megaflow.sqs import QueueFacts


@dataclass(frozen=True, slots=True)
class Inspected:
    """The queue has said what it is."""

    facts: QueueFacts


@dataclass(frozen=True, slots=True)
class Received:
    """A poll ended and brought these messages, possibly none."""

    messages: Sequence[Message]


@dataclass(frozen=True, slots=True)
class AskFailed:
    """The queue could not be inspected, or polled. What was *refused* fails until someone changes something."""

    error: BaseException
    refused: bool


@dataclass(frozen=True, slots=True)
class Finished:
    """The handlers of a message have come to a verdict."""

    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Crashed:
    """There is no verdict on a message: not a handler failed, but what runs them."""

    message: Message
    error: BaseException


@dataclass(frozen=True, slots=True)
class Settled:
    """What was asked for was carried out, but for these messages, by receipt handle."""

    asked: Delete | Hide | DeadLetter
    problems: Mapping[str, Problem] = field(default_factory=dict)
    refusal: BaseException | None = None
    """The error, where the whole call was refused."""


@dataclass(frozen=True, slots=True)
class Interrupted:
    """Something that handlers left running exited, or was interrupted from the keyboard."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class Problem:
    """Why something was not carried out. What is *final* fails however often it is tried."""

    reason: str
    final: bool = False


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop: let running handlers finish, or with *now* not even that."""

    now: bool = False


@dataclass(frozen=True, slots=True)
class Tick:
    """The time has come that the core wanted to be woken at."""


Event: TypeAlias = Inspected | Received | AskFailed | Finished | Crashed | Settled | Interrupted | Stop | Tick


@dataclass(frozen=True, slots=True)
class Inspect:
    """Ask the queue what it is."""


@dataclass(frozen=True, slots=True)
class Receive:
    """Poll for up to *count* messages."""

    count: int


@dataclass(frozen=True, slots=True)
class AbandonPoll:
    """Wait no longer for the answer to the question under way. What a poll brings is still told, and given back."""


@dataclass(frozen=True, slots=True)
class Start:
    """Take this message through its handlers."""

    message: Message


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete these messages, at most ten."""

    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Hide:
    """Let these messages, at most ten, be seen again after so many seconds each."""

    messages: tuple[Message, ...]
    seconds: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Send this message to the dead-letter queue *queue_url*; *origin* says where it comes from and what failed."""

    message: Message
    queue_url: str
    origin: str

    @property
    def messages(self) -> tuple[Message, ...]:
        """The one message."""
        return (self.message,)


@dataclass(frozen=True, slots=True)
class Report:
    """Something that the people who run this should know, in the words of `logging`."""

    level: int
    text: str
    values: tuple[object, ...] = ()
    error: BaseException | None = None


@dataclass(frozen=True, slots=True)
class Count:
    """Something that happened, for the metrics."""

    name: str
    amount: int = 1


@dataclass(frozen=True, slots=True)
class Exit:
    """The consumer is done. *error* is why, where it was not asked to stop."""

    error: BaseException | None = None


Action: TypeAlias = Inspect | Receive | AbandonPoll | Start | Delete | Hide | DeadLetter | Report | Count | Exit
