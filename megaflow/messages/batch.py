"""Batches of messages: several that one call of a handler gets, and the one message that stands for them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from megaflow.messages.message import Lease, Message


@dataclass(frozen=True)
class BatchMessage(Message):
    """The message that stands for a batch wherever a handler's call has one message.

    Its payload is the list that the handler gets. It has no attributes, as those of its messages may differ.
    """

    arguments: Mapping[str, Sequence[Any]] = field(default_factory=dict, repr=False)
    """What the handler gets, by the names of its parameters."""

    @property
    def size(self) -> int:
        """How many messages the handler gets."""
        return len(self.payload)


def stand_for(messages: Sequence[Message]) -> BatchMessage:
    """Return the message that stands for *messages*. Its lease is lost only where nobody waits for the call."""
    first = messages[0]
    lease = None if first.lease is None else Lease("", first.lease.received_at, math.inf, first.lease.clock)
    return BatchMessage(
        # Never the id of a message: what is at work is found by it.
        id=f"{first.id} and {len(messages) - 1} more" if len(messages) > 1 else f"{first.id} alone",
        body="",
        kind=first.kind,
        payload=[],
        receive_count=min([message.receive_count for message in messages]),
        queue_url=first.queue_url,
        lease=lease,
    )
