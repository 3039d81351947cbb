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
    """The rules of `Router.on_event`: any pattern for each; those that are not given are not asked."""

    event_name: object
    event_domain: object
    event_version: object
    event_timestamp: object
    event_subject: object
    event_publisher: object
    event_attributes: object
    object_type: object
    object_version: object
    object_id: object
    object_current: object
    object_previous: object
    name: object
    domain: object
    version: object
    timestamp: object
    subject: object
    publisher: object
    attributes: object
    current_object: object
    previous_object: object
    extra: object


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
