"""The MEGA event, protocol 1: its model, its builder, and reading and writing it as plain objects.

The protocol: https://github.com/mega-distributed/event-mega
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timezone
from typing import Any, ClassVar, Final, Self

from megaflow.errors import ProtocolError
from megaflow.frozen import make_record
from megaflow.readable import write_readable

__all__ = ["Event", "ObjectData", "Payload", "PayloadBuilder"]

PROTOCOL: Final = "mega"
VERSION: Final = 1
_VERSIONS: Final = (VERSION, str(VERSION))
_SHOWN: Final = 1_000
"""A version below it is said where it is wrong."""


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Event:
    """What happened: the part ``event`` of a MEGA event. Raises `ProtocolError` for a field of the wrong type.

    Attributes read like fields where no field has the name: ``event.item_id`` is ``event.attributes["item_id"]``.
    """

    name: str
    """What happened: ``order.placed``."""

    timestamp: datetime = field(default_factory=_now)
    """When. Without an offset it is UTC; by default it is now."""

    version: int = 1
    """The version of the event, for its readers."""

    domain: str | None = None
    """The part of your business: ``shop``."""

    subject: str | None = None
    """Whom it is about, such as the id of a user."""

    publisher: str | None = None
    """Who says so, such as the name of a service."""

    attributes: dict[str, Any] = field(default_factory=dict)
    """Whatever else there is to say."""

    def __post_init__(self) -> None:
        """Check the fields, and give the timestamp a fixed offset."""
        if self.name is None:
            raise ProtocolError("is missing: every event has a name", "event.name")
        for name in ("name", "domain", "subject", "publisher"):
            _check_text(getattr(self, name), f"event.{name}")
        _check_whole(self.version, "event.version")
        _check_object(self.attributes, "event.attributes")
        object.__setattr__(self, "timestamp", _with_fixed_offset(self.timestamp))

    def __getattr__(self, name: str) -> Any:
        """Read an attribute of the event as if it were a field."""
        attributes = self.__dict__.get("attributes", {})
        # What copy and pickle ask for is never to be found in a message.
        if name in attributes and not name.startswith("__"):
            return attributes[name]
        raise AttributeError(f"event has no field and no attribute {name!r}; its attributes: {list(attributes)}")


@dataclass(frozen=True)
class ObjectData:
    """The object that an event is about: the part ``object`` of a MEGA event."""

    type: str | None = None
    """What kind of object: ``order``."""

    id: str | None = None
    """Which one."""

    version: int = 1
    """The version of the object."""

    current: dict[str, Any] | None = None
    """What it is like now. An empty dict becomes None."""

    previous: dict[str, Any] | None = None
    """What it was like before. An empty dict becomes None."""

    def __post_init__(self) -> None:
        """Check the fields; an empty object is the same as none, since neither is sent."""
        _check_text(self.type, "object.type")
        _check_text(self.id, "object.id")
        _check_whole(self.version, "object.version")
        for name in ("current", "previous"):
            state = getattr(self, name)
            if state is not None:
                _check_object(state, f"object.{name}")
            object.__setattr__(self, name, state or None)


@dataclass(frozen=True)
class Payload:
    """A MEGA event, as `PayloadBuilder.build` returns it and handlers of `App.on_event` get it."""

    protocol: ClassVar[str] = PROTOCOL
    """The name of the protocol, ``mega``."""

    version: ClassVar[int] = VERSION
    """The version of the protocol."""

    event: Event
    """What happened."""

    object: ObjectData | None = None
    """The object that the event is about, where there is one."""

    extra: dict[str, Any] = field(default_factory=dict)
    """Whatever else travels along."""

    def __post_init__(self) -> None:
        """Check the type of what is free in form."""
        _check_object(self.extra, "extra")

    def to_json(self) -> str:
        """Return the event as JSON text, for logs and tests: as it is published, with bytes as Base64.

        Raises `EncodeError` for what contains itself, is nested too deeply, or has keys that are no text.
        """
        return write_readable(serialize_payload(self))


_EVENT_FIELDS: Final = frozenset(each.name for each in fields(Event))
_OBJECT_FIELDS: Final = frozenset(each.name for each in fields(ObjectData))


class PayloadBuilder:
    """Builds a `Payload`. Calls add up, and a later value replaces an earlier one.

    Args:
        now: Gives the timestamp of an event that has none.

    Example:
        ``PayloadBuilder().with_event(name="user.created", subject="987650").with_extra(channel="web").build()``
    """

    def __init__(self, *, now: Callable[[], datetime] = _now) -> None:
        self._now = now
        self._event: dict[str, Any] = {}
        self._object: dict[str, Any] | None = None
        self._extra: dict[str, Any] = {}

    def with_event(self, /, **fields: Any) -> Self:
        """Set fields of the `Event`; what is no field becomes one of its attributes. Return the builder."""
        self._event |= fields
        return self

    def with_object(self, /, **fields: Any) -> Self:
        """Set fields of the `ObjectData`. Return the builder. Raises `TypeError` for what is no field."""
        unknown = fields.keys() - _OBJECT_FIELDS
        if unknown:
            raise TypeError(f"with_object() got {sorted(unknown)}; an object has {sorted(_OBJECT_FIELDS)}")
        self._object = (self._object or {}) | fields
        return self

    def with_extra(self, /, **extra: Any) -> Self:
        """Add to `Payload.extra`. Return the builder."""
        self._extra |= extra
        return self

    def build(self) -> Payload:
        """Return the payload. The builder can be used again: the payload is a copy.

        Raises `ProtocolError` for the first field that breaks the protocol.
        """
        event = {"timestamp": self._now()} | _without_none(self._event)
        return Payload(
            event=_read_event(copy.deepcopy(event)),
            object=None if self._object is None else _read_object(copy.deepcopy(self._object)),
            extra=copy.deepcopy(self._extra),
        )


def claims_protocol(data: Mapping[str, Any]) -> bool:
    """Tell whether *data* says that it is a MEGA event, of whatever version."""
    return data.get("protocol") == PROTOCOL


def matches_payload(data: Mapping[str, Any]) -> bool:
    """Tell whether *data* is a valid MEGA event, which `deserialize_payload` can read."""
    try:
        deserialize_payload(data)
    except ProtocolError:
        return False
    return True


def deserialize_payload(data: Mapping[str, Any]) -> Payload:
    """Read a MEGA event from a plain object.

    Raises `ProtocolError` naming the first field that breaks the protocol.
    """
    if not claims_protocol(data):
        raise ProtocolError(f"must be {PROTOCOL!r}, not {_describe(data.get('protocol'))}", "protocol")
    version = data.get("version")
    # The README of sqs-mega sends the version as text, its protocol as a number.
    if version not in _VERSIONS or isinstance(version, bool):
        raise ProtocolError(f"must be {VERSION}, not {_describe(version)}", "version")
    event, subject, extra = data.get("event"), data.get("object"), data.get("extra")
    if event is None:
        raise ProtocolError("is missing", "event")
    if type(event) is not dict:
        _check_object(event, "event")
    if event.get("timestamp") is None:
        raise ProtocolError("is missing", "event.timestamp")
    if subject is not None and type(subject) is not dict:
        _check_object(subject, "object")
    fields = {
        "event": _read_event(event),
        "object": None if subject is None else _read_object(subject),
        "extra": {} if extra is None else extra,
    }
    if extra is not None and type(extra) is not dict:
        _check_object(extra, "extra")
    return make_record(Payload, fields)


def serialize_payload(payload: Payload) -> dict[str, Any]:
    """Return *payload* as a plain object, without what is None or empty; `deserialize_payload` gives it back."""
    event = payload.event
    data: dict[str, Any] = {
        "protocol": PROTOCOL,
        "version": VERSION,
        "event": _without_empty(
            {
                "domain": event.domain,
                "name": event.name,
                "version": event.version,
                "timestamp": event.timestamp.isoformat(),
                "subject": event.subject,
                "publisher": event.publisher,
                "attributes": event.attributes,
            }
        ),
    }
    if payload.object is not None:
        data["object"] = _without_empty(
            {name: getattr(payload.object, name) for name in ("type", "id", "version", "current", "previous")}
        )
    if payload.extra:
        data["extra"] = payload.extra
    return data


def _read_event(data: Mapping[str, Any]) -> Event:
    get = data.get
    name, version, explicit = get("name"), get("version"), get("attributes")
    domain, subject, publisher = get("domain"), get("subject"), get("publisher")
    if explicit is not None and type(explicit) is not dict:
        _check_object(explicit, "event.attributes")
    timestamp = _read_timestamp(get("timestamp"))
    attributes = {**explicit} if explicit else {}
    if not data.keys() <= _EVENT_FIELDS:
        attributes = {key: data[key] for key in data if key not in _EVENT_FIELDS} | attributes
    fields: dict[str, Any] = {
        "name": name,
        "timestamp": timestamp,
        "version": 1 if version is None else version,
        "domain": domain,
        "subject": subject,
        "publisher": publisher,
        "attributes": attributes,
    }
    if (
        type(name) is str
        and (version is None or type(version) is int)
        and (domain is None or type(domain) is str)
        and (subject is None or type(subject) is str)
        and (publisher is None or type(publisher) is str)
        and timestamp.tzinfo is UTC
    ):
        return make_record(Event, fields)
    return Event(**fields)


def _read_object(data: Mapping[str, Any]) -> ObjectData:
    get = data.get
    type_, id_, version, current, previous = get("type"), get("id"), get("version"), get("current"), get("previous")
    fields: dict[str, Any] = {
        "type": type_,
        "id": id_,
        "version": 1 if version is None else version,
        "current": current or None,
        "previous": previous or None,
    }
    if (
        (type_ is None or type(type_) is str)
        and (id_ is None or type(id_) is str)
        and (version is None or type(version) is int)
        and (current is None or type(current) is dict)
        and (previous is None or type(previous) is dict)
    ):
        return make_record(ObjectData, fields)
    return ObjectData(**(fields | {"current": current, "previous": previous}))


def _read_timestamp(value: object) -> datetime:
    if type(value) is not str and isinstance(value, datetime):
        return value
    try:
        moment = datetime.fromisoformat(value)  # type: ignore[arg-type]
        return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    except (TypeError, ValueError):
        raise ProtocolError(f"must be an ISO 8601 time, not {_describe(value)}", "event.timestamp") from None


def _with_fixed_offset(moment: datetime) -> datetime:
    if not isinstance(moment, datetime):
        raise ProtocolError(f"must be a datetime, not {type(moment).__name__}", "event.timestamp")
    offset = moment.utcoffset()
    # A zone's name is lost on the way, its offset is not.
    return moment.replace(tzinfo=UTC if not offset else timezone(offset), fold=0)


def _check_text(value: object, path: str) -> None:
    if value is not None and not isinstance(value, str):
        raise ProtocolError(f"must be text, not {type(value).__name__}", path)


def _check_whole(value: object, path: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ProtocolError(f"must be a whole number, not {type(value).__name__}", path)


def _check_object(value: object, path: str) -> None:
    if not isinstance(value, dict):
        raise ProtocolError(f"must be an object, not {type(value).__name__}", path)


def _without_none(data: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in data.items() if value is not None or key not in _EVENT_FIELDS}


def _without_empty(data: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in data.items() if value is not None and value != {}}


def _describe(value: object) -> str:
    """Return what *value* is, without its words: what is wrong with an event is logged, and no body may be."""
    if value is None or (isinstance(value, int) and abs(value) < _SHOWN):
        return str(value)
    return "another text" if isinstance(value, str) else type(value).__name__
