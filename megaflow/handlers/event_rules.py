"""Rules of ``on_event``: their names, their aliases, and the pattern that they make together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypedDict

from megaflow.errors import PatternError
from megaflow.match.conditions import Condition
from megaflow.match.pattern import as_condition

# https://github.com/mega-distributed/sqs-mega-python: "all supported pattern-matching class attributes"
EVENT_RULES: Final[Mapping[str, tuple[str, str]]] = {
    "event_name": ("event", "name"),
    "event_domain": ("event", "domain"),
    "event_version": ("event", "version"),
    "event_timestamp": ("event", "timestamp"),
    "event_subject": ("event", "subject"),
    "event_publisher": ("event", "publisher"),
    "event_attributes": ("event", "attributes"),
    "object_type": ("object", "type"),
    "object_version": ("object", "version"),
    "object_id": ("object", "id"),
    "object_current": ("object", "current"),
    "object_previous": ("object", "previous"),
}
"""Where in an event each rule looks."""

EVENT_ALIASES: Final[Mapping[str, str]] = {
    "event_name": "name",
    "event_domain": "domain",
    "event_version": "version",
    "event_timestamp": "timestamp",
    "event_subject": "subject",
    "event_publisher": "publisher",
    "event_attributes": "attributes",
    "object_current": "current_object",
    "object_previous": "previous_object",
}


class EventRules(TypedDict, total=False):
    """The rules of `Router.on_event`, each with any pattern. What has no rule is not looked at."""

    event_name: object
    """A pattern for ``event.name``."""

    event_domain: object
    """A pattern for ``event.domain``."""

    event_version: object
    """A pattern for ``event.version``."""

    event_timestamp: object
    """A pattern for ``event.timestamp``."""

    event_subject: object
    """A pattern for ``event.subject``."""

    event_publisher: object
    """A pattern for ``event.publisher``."""

    event_attributes: object
    """A pattern for ``event.attributes``."""

    object_type: object
    """A pattern for ``object.type``."""

    object_version: object
    """A pattern for ``object.version``."""

    object_id: object
    """A pattern for ``object.id``."""

    object_current: object
    """A pattern for ``object.current``."""

    object_previous: object
    """A pattern for ``object.previous``."""

    name: object
    """The same as ``event_name``."""

    domain: object
    """The same as ``event_domain``."""

    version: object
    """The same as ``event_version``."""

    timestamp: object
    """The same as ``event_timestamp``."""

    subject: object
    """The same as ``event_subject``."""

    publisher: object
    """The same as ``event_publisher``."""

    attributes: object
    """The same as ``event_attributes``."""

    current_object: object
    """The same as ``object_current``."""

    previous_object: object
    """The same as ``object_previous``."""

    extra: object
    """A pattern for ``extra``."""


def event_pattern(rules: Mapping[str, object]) -> Condition:
    """Return the condition for *rules*, by their long names; its paths are those of the event."""
    pattern: dict[str, Any] = {}
    for rule, wanted in rules.items():
        if rule == "extra":
            pattern["extra"] = wanted
        else:
            section, key = EVENT_RULES[rule]
            pattern.setdefault(section, {})[key] = wanted
    return as_condition(pattern)


def resolve_aliases(given: Mapping[str, object]) -> dict[str, object]:
    """Return the rules *given*, by their long names."""
    long_names = {alias: rule for rule, alias in EVENT_ALIASES.items()}
    rules: dict[str, object] = {}
    for name, pattern in given.items():
        rule = long_names.get(name, name)
        if rule in rules:
            raise PatternError(f"on_event() got both {rule!r} and its alias {EVENT_ALIASES[rule]!r}; give one")
        rules[rule] = pattern
    return rules
