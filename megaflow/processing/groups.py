"""Message groups: within which messages keep their order, on a FIFO queue."""

from __future__ import annotations

from megaflow.messages.message import Message
from megaflow.transport.addresses import is_fifo


def group_of(message: Message) -> tuple[str, str] | None:
    """Return the queue and the group within which *message* has its place; None where there is no order."""
    is_ordered = bool(message.group_id) and is_fifo(message.queue_url)
    return (message.queue_url, message.group_id) if is_ordered else None
