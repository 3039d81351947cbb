"""Declarations: the queues, topics and subscriptions that are to be there, as plain data in AWS's words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from megaflow.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is declared: ``queues.orders``."""

    path: str
    parts: Mapping[str, str] = field(default_factory=dict)
    """The paths of its parts, by what AWS calls them."""

    def of(self, words: str) -> str:
        """Return the path of the part that AWS's *words* name, or that of the whole where they name none."""
        named = [name for name in self.parts if name in words]
        # The name of a filter policy's scope has that of the policy in it.
        return self.parts[max(named, key=len)] if named else self.path


@dataclass(frozen=True, slots=True)
class DeclaredQueue:
    """A queue; what *attributes* and *tags* do not name stays as it is."""

    name: str
    attributes: Mapping[str, str]
    tags: Mapping[str, str]
    place: Place
    topics: tuple[str, ...] = ()
    """The ARNs of those that its policy is to let in, beside what it says already."""


@dataclass(frozen=True, slots=True)
class DeclaredTopic:
    """A topic; what *attributes* and *tags* do not name stays as it is."""

    name: str
    attributes: Mapping[str, str]
    tags: Mapping[str, str]
    place: Place


@dataclass(frozen=True, slots=True)
class DeclaredSubscription:
    """A subscription of the *endpoint*, the ARN of a queue or a URL, which has the *attributes* and no others."""

    topic_arn: str
    endpoint: str
    attributes: Mapping[str, str]
    place: Place
    protocol: str = "sqs"


@dataclass(frozen=True, slots=True)
class Declarations:
    """All that is declared."""

    queues: tuple[DeclaredQueue, ...] = ()
    topics: tuple[DeclaredTopic, ...] = ()
    subscriptions: tuple[DeclaredSubscription, ...] = ()
    passed_by: tuple[str, ...] = ()
    """What a template has beside these."""


def wrong(path: str, what: str) -> ConfigurationError:
    """Make the error for *what* is wrong at *path*."""
    return ConfigurationError(f"{path}: {what}" if path else what)


def within(path: str, key: str) -> str:
    """Return the path of *key* in the table at *path*, in quotes where it would be read as several."""
    shown = key if key and key.replace("-", "").replace("_", "").isalnum() else json.dumps(key, ensure_ascii=False)
    return f"{path}.{shown}" if path else shown
