"""Propagation: the names of the attributes that go on from the message in hand to what is published on its behalf."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from megaflow import limits
from megaflow.errors import ConfigurationError

_OURS: Final = "megaflow-"


class Propagation:
    """The names of what is propagated, in the order in which they were given. May be used from any thread."""

    def __init__(self) -> None:
        self.names: tuple[str, ...] = ()

    def add(self, names: Iterable[str]) -> None:
        """Propagate *names*, too; raise `ConfigurationError` for what cannot be the name of a user's attribute."""
        for name in names:
            if not isinstance(name, str) or not limits.allows_attribute_name(name):
                raise ConfigurationError(
                    f"propagate() takes names of message attributes, one after another, not {name!r}: a name is up to "
                    "256 letters, digits, '_', '-' and single dots inside, not 'AWS.'"
                )
        check_names(names)
        self.names = tuple(dict.fromkeys((*self.names, *names)))


def check_names(names: Iterable[str]) -> None:
    """Raise `ConfigurationError` for a name of megaflow's own."""
    for name in names:
        if str(name).startswith(_OURS):
            raise ConfigurationError(f"{name} is megaflow's own, and speaks of one message alone: choose another name")
