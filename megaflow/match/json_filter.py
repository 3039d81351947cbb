"""A filter of AWS as one condition of a pattern."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from megaflow.match.conditions import Leaf

if TYPE_CHECKING:
    from megaflow.match.dialect import Dialect
    from megaflow.match.filter_tree import Every


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class JsonFilter(Leaf):
    """An object that a filter of AWS accepts, by AWS's rules and not by those of patterns."""

    written: str
    """The call that makes it."""

    test: Callable[[Any], bool]
    """Tells whether it accepts a value. Never raises, and accepts nothing but a dict."""

    tree: Every
    """What it asks."""

    dialect: Dialect
    """In which language."""

    required: Mapping[tuple[str, ...], frozenset[str | bool | None]]
    """What every object that it accepts has at these paths: one of these values, or a list (or a tuple)."""

    @property
    @override
    def key(self) -> Hashable:
        return ("json filter", self.written)

    @override
    def compile(self) -> Callable[[Any], bool]:
        return self.test

    def __repr__(self) -> str:
        return self.written
