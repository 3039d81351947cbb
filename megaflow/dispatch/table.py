"""The dispatch table: built once from the handlers, immutable, asked for every message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from megaflow.codec import Kind
from megaflow.event import Payload
from megaflow.match.conditions import Test, compile_test
from megaflow.message import Message
from megaflow.router import Handler

_MESSAGE_KINDS: Final = (Kind.MEGA, Kind.DATA, Kind.TEXT, Kind.BINARY)


@dataclass(frozen=True, slots=True)
class Selection:
    """The handlers of one message, in order of registration, and those whose user's function raised."""

    matched: tuple[Handler, ...]
    raised: Mapping[Handler, Exception]


class DispatchTable:
    """Which handlers a message reaches. Immutable: may be asked from any thread."""

    def __init__(self, handlers: Sequence[Handler]) -> None:
        tests = [(handler, compile_test(handler.pattern)) for handler in handlers]
        self.handlers: Final = tuple(handlers)
        self._by_kind: Final[Mapping[Kind, Sequence[tuple[Handler, Test]]]] = {
            kind: [(handler, test) for handler, test in tests if handler.kind in (kind, Kind.ANY)]
            for kind in _MESSAGE_KINDS
        }

    def select(self, message: Message) -> Selection:
        """Return the handlers that *message* reaches. Never raises for what a user's function raises."""
        if not message.has_payload:
            return Selection((), {})
        left = left_side(message)
        matched, raised = [], {}
        for handler, test in self._by_kind[message.kind]:
            try:
                if test(message if handler.kind is Kind.ANY else left):
                    matched.append(handler)
            except Exception as error:  # noqa: BLE001 - a user's function raises whatever it likes
                raised[handler] = error
        return Selection(tuple(matched), raised)


def left_side(message: Message) -> Any:
    """Return what patterns see of *message*: its payload, where a MEGA event is an object without what is not set."""
    payload = message.payload
    if message.kind is not Kind.MEGA or not isinstance(payload, Payload):
        return payload
    event, subject = payload.event, payload.object
    seen: dict[str, Any] = {
        "event": {
            "name": event.name,
            "version": event.version,
            "timestamp": event.timestamp,
            "attributes": event.attributes,
        },
        "object": {},
        "extra": payload.extra,
    }
    _add_what_is_set(seen["event"], event, ("domain", "subject", "publisher"))
    if subject is not None:
        seen["object"]["version"] = subject.version
        _add_what_is_set(seen["object"], subject, ("type", "id", "current", "previous"))
    return seen


def _add_what_is_set(seen: dict[str, Any], section: object, names: Sequence[str]) -> None:
    for name in names:
        value = getattr(section, name)
        if value is not None:
            seen[name] = value
