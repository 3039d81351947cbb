"""Fields: where in a MEGA event or an object a pattern finds what it names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final, NamedTuple, TypeAlias

from megaflow.event import Payload
from megaflow.messages.codec import Kind

Path: TypeAlias = tuple[str, ...]
Get: TypeAlias = Callable[[Any], Any]


class Missing:
    """What stands for a value that is not there."""

    __slots__ = ()


MISSING: Final = Missing()


class PayloadField(NamedTuple):
    """A beginning of a path that is no key of an object: how generated code reads it, and any other.

    What reads as None is not set, unless it is the whole payload. Some are objects in every payload.
    """

    source: str
    get: Get
    is_object: bool = False


PayloadFields: TypeAlias = Mapping[Path, PayloadField]


def see(payload: Any) -> Any:
    """Return what patterns see of *payload*: a MEGA event is an object without what is not set."""
    if not isinstance(payload, Payload):
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


def read_path(path: Path, fields: PayloadFields) -> Get:
    """Return the function that reads what stands at *path* of a payload, `MISSING` where nothing does."""
    start = find_field(path, fields)
    get, keys = fields[start].get, path[len(start) :]

    def read(payload: Any) -> Any:
        value = get(payload)
        if value is None and start:
            return MISSING
        for key in keys:
            value = value.get(key, MISSING) if isinstance(value, dict) else MISSING
        return value

    return read


def find_field(path: Path, fields: PayloadFields) -> Path:
    """Return the longest beginning of *path* that is a field."""
    return next(path[:size] for size in (2, 1, 0) if path[:size] in fields)


def _add_what_is_set(seen: dict[str, Any], section: object, names: Sequence[str]) -> None:
    for name in names:
        value = getattr(section, name)
        if value is not None:
            seen[name] = value


def _event_field(name: str, is_object: bool = False) -> PayloadField:
    return PayloadField(f"payload.event.{name}", attrgetter(f"event.{name}"), is_object)


def _object_field(name: str) -> PayloadField:
    def get(payload: Payload) -> Any:
        return None if payload.object is None else getattr(payload.object, name)

    return PayloadField(f"None if payload.object is None else payload.object.{name}", get)


EVENT_FIELDS: Final[PayloadFields] = {
    **{
        ("event", name): _event_field(name)
        for name in ("domain", "name", "version", "timestamp", "subject", "publisher")
    },
    ("event", "attributes"): _event_field("attributes", is_object=True),
    **{("object", name): _object_field(name) for name in ("type", "id", "version", "current", "previous")},
    ("extra",): PayloadField("payload.extra", attrgetter("extra"), is_object=True),
    (): PayloadField("see(payload)", see, is_object=True),
}
"""Those of events: no object is made of one in order to match it."""

DATA_FIELDS: Final[PayloadFields] = {(): PayloadField("payload", lambda payload: payload, is_object=True)}
"""The only one of data objects: they are what patterns see."""

PLAIN_FIELDS: Final[PayloadFields] = {(): PayloadField("payload", lambda payload: payload)}
"""The only one of text and bytes."""

ALWAYS_OBJECTS: Final[Mapping[Kind, frozenset[Path]]] = {
    Kind.MEGA: frozenset({(), ("event",), ("event", "attributes"), ("object",), ("extra",)}),
    Kind.DATA: frozenset({()}),
}
"""What is an object in every payload of a kind."""
