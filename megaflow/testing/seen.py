"""Handled messages, as a `TestClient` shows them when an assertion fails."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Final

from megaflow.event import Payload, serialize_payload
from megaflow.handlers.status import ProcessStatus
from megaflow.messages.message import Message

_SHOWN: Final = 300
"""Characters of a payload."""


@dataclass(frozen=True, slots=True)
class Handled:
    """One call of a handler, as `TestClient.handled` has it."""

    handler: str
    """The name of the handler."""

    payload: Any
    """The payload as the handler got it, whatever the handler has done to it since."""

    status: ProcessStatus
    """What it returned, or what its exception means."""

    error: BaseException | None = field(default=None, compare=False)
    """What it raised."""

    message: Message | None = field(default=None, repr=False, compare=False)
    """The message."""


class Unmet(AssertionError):
    """What a client was to have seen, and has not; it says why by itself."""


def show_payload(payload: Any) -> str:
    """Return a payload in one line, and not too long a one; an event without what is the same for all."""
    if isinstance(payload, Payload):
        written = serialize_payload(payload)
        payload = {name: value for name, value in written.items() if name not in ("protocol", "version")}
        payload["event"].pop("timestamp", None)
    text = json.dumps(payload, default=str) if isinstance(payload, dict) else repr(payload)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
