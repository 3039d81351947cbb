"""Conditions: the tree that every pattern becomes, and what joins them; each compiles to a function of one value.

The left side of a condition is a value of a message. Conditions never raise, whatever the value, except for what a
user's function raises.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Final, TypeAlias

from typing_extensions import override

Test: TypeAlias = Callable[[Any], bool]


class Condition(ABC):
    """A pattern as `megaflow.match.functions` returns it. ``a & b``, ``a | b`` and ``~a`` make new ones.

    On either side may stand any pattern. ``repr`` shows a condition as you write it. Conditions never change.
    """

    __slots__ = ()

    read: ClassVar[Callable[[object], Condition]]
    """Makes a condition of the pattern on the other side of an operator."""

    @property
    def parts(self) -> tuple[Condition, ...]:
        """The conditions that it is made of."""
        return ()

    @property
    def matches_missing(self) -> bool:
        """Whether it matches a missing key. Only `absent()` does, also inside `or_`."""
        return False

    @property
    def asks_functions(self) -> bool:
        """Whether it calls functions of yours."""
        return True

    @property
    def key(self) -> Hashable:
        """A value that is equal for conditions that match the same."""
        return self

    @abstractmethod
    def compile(self) -> Test:
        """Return a function that tells whether a value matches."""

    def __and__(self, other: object) -> Condition:
        """Hold where both do."""
        return AllOf((self, Condition.read(other)))

    def __rand__(self, other: object) -> Condition:
        """Hold where both do."""
        return AllOf((Condition.read(other), self))

    def __or__(self, other: object) -> Condition:
        """Hold where either does."""
        return AnyOf((self, Condition.read(other)))

    def __ror__(self, other: object) -> Condition:
        """Hold where either does."""
        return AnyOf((Condition.read(other), self))

    def __invert__(self) -> Condition:
        """Hold where there is a value and this does not."""
        return Not(self)


class Leaf(Condition):
    """A condition that is not made of others, and never raises."""

    __slots__ = ()

    @property
    @override
    def asks_functions(self) -> bool:
        return False


class Compound(Condition):
    """A condition made of others."""

    __slots__ = ()

    @property
    @override
    def asks_functions(self) -> bool:
        return any(part.asks_functions for part in self.parts)

    @abstractmethod
    def with_parts(self, parts: tuple[Condition, ...]) -> Condition:
        """Return the same condition made of other parts."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Present(Leaf):
    """Any value at all."""

    written: str

    @property
    @override
    def key(self) -> Hashable:
        return "present"

    @override
    def compile(self) -> Test:
        return lambda left: True

    def __repr__(self) -> str:
        return self.written


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class AnyOf(Compound):
    """A value that matches one of several conditions."""

    parts: tuple[Condition, ...]
    name: str = "or_"

    @property
    @override
    def matches_missing(self) -> bool:
        return any(part.matches_missing for part in self.parts)

    @property
    @override
    def key(self) -> Hashable:
        return ("any of", set_of_keys(self.parts))

    @override
    def with_parts(self, parts: tuple[Condition, ...]) -> Condition:
        return AnyOf(parts, self.name)

    @override
    def compile(self) -> Test:
        tests = [compile_test(part) for part in functions_last(self.parts)]
        return lambda left: any(test(left) for test in tests)

    def __repr__(self) -> str:
        written = show_all(self.parts)
        return f"in_([{written}])" if self.name == "in_" else f"{self.name}({written})"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class AllOf(Compound):
    """A value that matches several conditions."""

    parts: tuple[Condition, ...]
    written: str = ""

    @property
    @override
    def matches_missing(self) -> bool:
        return all(part.matches_missing for part in self.parts)

    @property
    @override
    def key(self) -> Hashable:
        return ("all of", set_of_keys(self.parts))

    @override
    def with_parts(self, parts: tuple[Condition, ...]) -> Condition:
        return AllOf(parts, self.written)

    @override
    def compile(self) -> Test:
        tests = [part.compile() for part in functions_last(self.parts)]
        return lambda left: all(test(left) for test in tests)

    def __repr__(self) -> str:
        return self.written or f"and_({show_all(self.parts)})"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Not(Compound):
    """A value, of whatever type, that does not match."""

    part: Condition
    written: str = ""

    @property
    @override
    def parts(self) -> tuple[Condition, ...]:
        return (self.part,)

    @property
    @override
    def key(self) -> Hashable:
        return ("not", self.part.key)

    @override
    def with_parts(self, parts: tuple[Condition, ...]) -> Condition:
        return Not(parts[0], self.written)

    @override
    def compile(self) -> Test:
        test = compile_test(self.part)
        return lambda left: not test(left)

    def __repr__(self) -> str:
        return self.written or f"not_({self.part!r})"


EVERYTHING: Final = Present("everything")


def assume(condition: Condition, answer: bool) -> Condition:
    """Return *condition* without its functions: where it holds if they say *answer* in its favour."""
    if not condition.asks_functions:
        return condition
    if not isinstance(condition, Compound):
        anything = Present(repr(condition))
        return anything if answer else Not(anything, repr(condition))
    turned = answer != isinstance(condition, Not)
    return condition.with_parts(tuple(assume(part, turned) for part in condition.parts))


def compile_test(condition: Condition) -> Test:
    """Return the test for *condition*, which asks a user's function only when everything else holds.

    The parts of which any may hold, or which are negated, are compiled so in their turn.
    """
    test = condition.compile()
    if not condition.asks_functions:
        return test
    can_match = assume(condition, True).compile()
    return lambda left: can_match(left) and test(left)


def functions_last(parts: Iterable[Condition]) -> list[Condition]:
    """Return *parts* in their order, but those last that ask users' functions."""
    return sorted(parts, key=lambda part: part.asks_functions)


def set_of_keys(parts: Iterable[Condition]) -> frozenset[Hashable]:
    """Return the keys of *parts*, in which their order does not count."""
    return frozenset(part.key for part in parts)


def show_all(parts: Iterable[Condition]) -> str:
    """Return *parts* as they are written, one after another."""
    return ", ".join(map(repr, parts))
