"""Suspects: the conditions that can have taken long over a message, found without asking them again."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from megaflow.dispatch.fields import see
from megaflow.handlers.handler import Handler
from megaflow.match.conditions import Compound, Condition
from megaflow.match.containers import Fields, Inside, Items
from megaflow.match.leaves import Regex
from megaflow.messages.codec import Kind
from megaflow.messages.message import Message

_LONGEST: Final = 200
"""Characters of a condition as it is shown."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """A regular expression or a user's function, and what it was asked about: where, and of how many characters."""

    handler: Handler
    condition: Condition
    path: str
    length: int | None
    """None where it is no text."""

    @property
    def rank(self) -> tuple[int, int]:
        """How likely it is, the lowest first: what backtracks, then functions, then the longest text."""
        if not isinstance(self.condition, Regex):
            return 1, 0
        return 2 if _is_safe(self.condition) else 0, -(self.length or 0)

    def __str__(self) -> str:
        """Say it: ``shop.handle asks match('(a+)+b') of user.email, a text of 28 characters``."""
        what = "" if self.length is None else f", a text of {self.length:,} characters"
        return f"{self.handler.name} asks {_show(self.condition)} of {self.path or 'all of it'}{what}"


def find_suspects(handlers: Sequence[Handler], message: Message) -> Sequence[Suspect]:
    """Return the conditions of *handlers* that can take long and find something in *message*, the likeliest first."""
    payload, found = see(message.payload), []
    for handler in handlers:
        if handler.kind in (message.kind, Kind.ANY):
            left = message if handler.kind is Kind.ANY else payload
            for path, condition, value in _walk(handler.pattern, left, ""):
                found.append(Suspect(handler, condition, path, len(value) if isinstance(value, str) else None))
    return sorted(found, key=lambda suspect: suspect.rank)


def _walk(condition: Condition, left: Any, path: str) -> Iterator[tuple[str, Condition, Any]]:
    if isinstance(condition, Regex):
        if isinstance(left, str):
            yield path, condition, left
    elif isinstance(condition, Fields):
        pairs = zip(condition.keys, condition.parts, strict=True) if isinstance(left, dict) else ()
        for key, part in pairs:
            if key in left:
                yield from _walk(part, left[key], f"{path}.{key}" if path else key)
    elif isinstance(condition, Compound):
        if isinstance(condition, Inside | Items) and isinstance(left, list | tuple):
            # One of the items stands for all: the longest text, where there is any.
            left = max(left, key=lambda item: len(item) if isinstance(item, str) else -1, default=None)
        for part in condition.parts:
            yield from _walk(part, left, path)
    elif condition.asks_functions:
        yield path, condition, left


def _is_safe(condition: Regex) -> bool:
    return _is_safe_of(condition.name, condition.regex)


@lru_cache(maxsize=10_000)
def _is_safe_of(name: Any, regex: re.Pattern[str]) -> bool:
    return Regex(name, regex).is_safe


def _show(condition: Condition) -> str:
    said = repr(condition)
    return said if len(said) <= _LONGEST else f"{said[:_LONGEST]}…"
