"""When a message has been received too often, for queues that have no redrive policy."""

from __future__ import annotations

from megaflow.messages.message import Message
from megaflow.verdict import Verdict


def why_unhandled(message: Message, max_receives: int | None) -> str:
    """Return why *message* is not handled any more; ``""`` where it is."""
    if max_receives is None or message.receive_count <= max_receives:
        return ""
    return f"received {message.receive_count} times, and max_receives is {max_receives}"


def why_not_kept(verdict: Verdict, max_receives: int | None) -> str:
    """Return why a message that is kept does not come again; ``""`` where it does."""
    count = verdict.message.receive_count
    if max_receives is None or count < max_receives or verdict.interruption is not None:
        return ""
    return f"kept at delivery {count}, and max_receives is {max_receives}"
