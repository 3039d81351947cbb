"""The protocol of the core: the inputs that it is told, and the actions that it answers with.

Times are in seconds. Every message here was received from the queue, and so has a lease; messages are told apart by
their ids.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from megaflow.handlers.handler import Handler
from megaflow.messages.batch import BatchMessage
from megaflow.messages.message import Message
from megaflow.messages.pointers import Pointer
from megaflow.processing.verdict import Outcome, Verdict
from megaflow.telemetry.metrics import Told
from megaflow.transport.queue import QueueFacts


@dataclass(frozen=True, slots=True)
class Inspected:
    """The queue has said what it is."""

    facts: QueueFacts


@dataclass(frozen=True, slots=True)
class Received:
    """A poll ended and brought these messages, possibly none."""

    messages: Sequence[Message]
    poll: int = 0
    seconds: float | None = None
    """For how long somebody waited for it; None is since it was asked for."""

    took: float | None = field(default=None, repr=False, compare=False)
    """Seconds from when it was begun to when its answer was read, for the metrics; None is not known."""


@dataclass(frozen=True, slots=True)
class AskFailed:
    """The queue could not be inspected, or polled. What was *refused* fails until someone changes something."""

    error: BaseException
    refused: bool
    over_limit: bool = False
    """Whether too many of the queue's messages are in flight."""

    poll: int = 0
    took: float | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Called:
    """A handler with a time limit was called; without *seconds*, it has returned, or one that so many may be in."""

    message: Message
    handler: Handler
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Finished:
    """The handlers of these messages have come to verdicts."""

    verdicts: Sequence[Verdict]


@dataclass(frozen=True, slots=True)
class Crashed:
    """There is no verdict on a message: not a handler failed, but what runs them."""

    message: Message
    error: BaseException


@dataclass(frozen=True, slots=True)
class LinedUp:
    """Messages have come to a handler at which they have to wait for their turns, and so for a `Resume` or `CallBatch`.

    Without a *handler* they wait until those before them in their groups have ended.
    *last* is what the handler made of a message, there alone, that had its turn before, if any: where that is the same
    one, it has failed as something was away, and this is for another try.
    """

    messages: Sequence[Message]
    handler: Handler | None
    last: Outcome | None = None


@dataclass(frozen=True, slots=True)
class StoreFailed:
    """A store failed in the midst of this message, whose handlers wait for a `Resume`."""

    message: Message
    error: BaseException


@dataclass(frozen=True, slots=True)
class StoresChecked:
    """The stores were checked, and are well, or there is an *error*."""

    error: BaseException | None = None


@dataclass(frozen=True, slots=True)
class Settled:
    """What was asked for was carried out, but for these messages, by id."""

    asked: Extend | Delete | Hide | DeadLetter
    problems: Mapping[str, Problem] = field(default_factory=dict)
    refusal: BaseException | None = None
    """The error, where the whole call was refused."""

    took: float | None = field(default=None, repr=False, compare=False)
    error_type: str = ""
    """Of what the whole call failed with, for the metrics."""


@dataclass(frozen=True, slots=True)
class Interrupted:
    """Something that handlers left running exited, or was interrupted from the keyboard."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class Problem:
    """Why something was not carried out. What is *final* fails however often it is tried.

    *of_message* is that the message itself is refused: it is too large, mostly.
    """

    reason: str
    final: bool = False
    of_message: bool = False


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop: let running handlers finish, or with *now* not even that."""

    now: bool = False


@dataclass(frozen=True, slots=True)
class Pause:
    """Receive nothing, until this *is over*. What is in hand is handled."""

    is_over: bool = False


@dataclass(frozen=True, slots=True)
class Flush:
    """Call batch handlers with what waits for them now."""


@dataclass(frozen=True, slots=True)
class Tick:
    """The time has come that the core wanted to be woken at."""


Input: TypeAlias = (
    Inspected
    | Received
    | AskFailed
    | Called
    | Finished
    | Crashed
    | LinedUp
    | StoreFailed
    | StoresChecked
    | Settled
    | Interrupted
    | Pause
    | Stop
    | Flush
    | Tick
)


@dataclass(frozen=True, slots=True)
class Inspect:
    """Ask the queue what it is, or, where that is known, how much it holds."""

    depth_alone: bool = False


@dataclass(frozen=True, slots=True)
class Receive:
    """Poll for up to *count* messages for up to *wait* seconds; *poll* is what its answer is known by."""

    count: int
    wait: int
    poll: int = 0


@dataclass(frozen=True, slots=True)
class AbandonPoll:
    """Wait no longer for the answer to a poll. What it brings is still told, and given back."""

    poll: int


@dataclass(frozen=True, slots=True)
class Start:
    """Take these messages through their handlers, each of them for itself."""

    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Wait no longer for the handlers of this message: go on with another thread. What they still say is not told."""

    message: Message
    handler: Handler


@dataclass(frozen=True, slots=True)
class CheckStores:
    """Find out whether the stores read and write."""


@dataclass(frozen=True, slots=True)
class Resume:
    """Go on with these messages: their turn has come, or the store that failed is to be asked once more.

    With *failed*, the store is taken as having failed, and the turn as one that does not come: the lease is lost, or
    there is no other try.
    """

    messages: tuple[Message, ...]
    failed: bool = False


@dataclass(frozen=True, slots=True)
class CallBatch:
    """Call a handler with these messages, all in line for it, and then go on with each of them.

    *batch* stands for them as long as that lasts: a time limit, a store that fails and a crash are told of that one.
    """

    batch: BatchMessage
    handler: Handler
    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Drop:
    """Forget these messages, all in line: they are given back, as one before them in their group comes again."""

    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Extend:
    """Let nobody else see these messages, at most ten, for so many seconds each from now on."""

    messages: tuple[Message, ...]
    receipt_handles: tuple[str, ...]
    seconds: tuple[float, ...]
    asked_at: float


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete these messages, at most ten, and then those *discards*: what lay outside of some, by their ids."""

    messages: tuple[Message, ...]
    discards: Mapping[str, Pointer] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Hide:
    """Let these messages, at most ten, be seen again after so many seconds each."""

    messages: tuple[Message, ...]
    seconds: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Send this message to the dead-letter queue *queue_url*; *origin* says where it comes from and what failed.

    It is sent along where *with_origin* says that there is room for it.
    """

    message: Message
    queue_url: str
    origin: str
    with_origin: bool = True

    @property
    def messages(self) -> tuple[Message, ...]:
        """The one message."""
        return (self.message,)


@dataclass(frozen=True, slots=True)
class Report:
    """Something that the people who run this should know, in the words of `logging`."""

    level: int
    text: str
    values: tuple[str | float, ...] = ()
    error: BaseException | None = None
    keys: Mapping[str, str | float] = field(default_factory=dict)
    """What its record has besides, see `log_lines`; the driver adds the queue."""


@dataclass(frozen=True, slots=True)
class Measure:
    """What happened, how often, and what was measured, for the metrics; the driver knows the queue."""

    counts: Mapping[Told, int]
    values: Mapping[Told, Sequence[float]]


@dataclass(frozen=True, slots=True)
class Exit:
    """The consumer is done. *error* is why, where it was not asked to stop."""

    error: BaseException | None = None


Settlement: TypeAlias = Extend | Delete | Hide | DeadLetter
Action: TypeAlias = (
    Inspect
    | Receive
    | AbandonPoll
    | Start
    | GiveUp
    | CheckStores
    | Resume
    | CallBatch
    | Drop
    | Settlement
    | Report
    | Measure
    | Exit
)
