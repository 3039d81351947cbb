"""The tree of conditions that every pattern becomes: each compiles to a plain function of one value.

The left side of a condition is a value of a message. Conditions never raise, whatever the value, except for what a
user's function raises.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal, TypeAlias

from typing_extensions import override

from megaflow.match import comparison

Test: TypeAlias = Callable[[Any], bool]


class Condition(ABC):
    """What a pattern asks of one value.

    ``a & b``, ``a | b`` and ``~a`` make new ones, where either side may be any pattern; ``str(a)`` shows it as it is
    written. Conditions are immutable, and compared by identity.
    """

    __slots__ = ()

    read: ClassVar[Callable[[object], Condition]]
    """What makes a condition of the other side of an operator: `pattern.as_condition`, which stands above this tree."""

    @property
    def parts(self) -> tuple[Condition, ...]:
        """The conditions it is made of."""
        return ()

    @property
    def matches_missing(self) -> bool:
        """Whether it holds where there is no value at all. Only `absent()` does, also inside `or_`."""
        return False

    @property
    def asks_functions(self) -> bool:
        """Whether it needs an answer from a user's function; a condition of a user's own is taken for one."""
        return True

    @property
    def key(self) -> Hashable:
        """What is equal for conditions that say the same, and so hold for the same values."""
        return self

    @abstractmethod
    def compile(self) -> Test:
        """Return the function that tells whether a value that is there matches."""

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
class Equals(Leaf):
    """The same value, as `megaflow.match.comparison` compares them."""

    value: Any
    written: str

    @property
    @override
    def key(self) -> Hashable:
        return ("equals", comparison.identify(self.value))

    @override
    def compile(self) -> Test:
        return comparison.comparison(self.value)

    def __repr__(self) -> str:
        return self.written


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Comparison(Leaf):
    """A number or a moment on one side of *bound*."""

    name: Literal["gt", "gte", "lt", "lte"]
    bound: Any
    compare: Callable[[Any, Any], bool]

    @property
    def is_number(self) -> bool:
        """Whether *bound* is a number, and not a moment."""
        return comparison.read_number(self.bound) is not None

    @property
    def moment(self) -> comparison.Moment | None:
        """*bound* as a date, or as a datetime in UTC; None where it is a number, or beyond the calendar."""
        return None if self.is_number else comparison.read_moment(self.bound)

    @property
    @override
    def key(self) -> Hashable:
        number = comparison.read_number(self.bound)
        return (self.name, *comparison.identify(self.moment if number is None else number))

    @override
    def compile(self) -> Test:
        return self._number_test() if self.is_number else _moment_test(self.compare, self.bound)

    def _number_test(self) -> Test:
        compare, bound = self.compare, comparison.read_number(self.bound)

        def test(left: object) -> bool:
            number = comparison.read_number(left)
            return number is not None and compare(number, bound)

        return test

    def __repr__(self) -> str:
        return f"{self.name}({self.bound!r})"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Regex(Leaf):
    """Text that a regular expression finds, as the function of module `re` of that name does."""

    name: Literal["match", "search", "fullmatch"]
    regex: re.Pattern[str]

    @property
    @override
    def key(self) -> Hashable:
        return (self.name, self.regex.pattern, self.regex.flags)

    @override
    def compile(self) -> Test:
        find = getattr(self.regex, self.name)
        return lambda left: isinstance(left, str) and find(left) is not None

    def __repr__(self) -> str:
        return f"{self.name}({self.regex.pattern!r})" if _is_plain(self.regex) else f"{self.name}({self.regex!r})"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Text(Leaf):
    """Text of a certain form, which *form* tells: how it starts or ends, what it is apart from its case."""

    name: Literal["prefix", "suffix", "wildcard", "iequals", "cidr"]
    text: str
    form: Callable[[str], bool]

    @property
    @override
    def key(self) -> Hashable:
        return (self.name, self.text)

    @override
    def compile(self) -> Test:
        form = self.form
        return lambda left: isinstance(left, str) and form(left)

    def __repr__(self) -> str:
        return f"{self.name}({self.text!r})"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Check(Leaf):
    """A test that never raises, and is the same wherever it is *written* the same."""

    written: str
    test: Test

    @property
    @override
    def key(self) -> Hashable:
        return ("check", self.written)

    @override
    def compile(self) -> Test:
        return self.test

    def __repr__(self) -> str:
        return self.written


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
class Absent(Leaf):
    """No value at all."""

    @property
    @override
    def key(self) -> Hashable:
        return "absent"

    @property
    @override
    def matches_missing(self) -> bool:
        return True

    @override
    def compile(self) -> Test:
        return lambda left: False

    def __repr__(self) -> str:
        return "absent()"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Call(Condition):
    """What a user's function says. It may raise anything."""

    function: Test

    @property
    @override
    def key(self) -> Hashable:
        return ("call", id(self.function))

    @override
    def compile(self) -> Test:
        function = self.function
        return lambda left: bool(function(left))

    def __repr__(self) -> str:
        name = getattr(self.function, "__qualname__", None) or repr(self.function)
        code = getattr(self.function, "__code__", None)
        return f"{name} at line {code.co_firstlineno}" if code and "<lambda>" in name else f"{name}()"


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
        return ("any of", _keys(self.parts))

    @override
    def with_parts(self, parts: tuple[Condition, ...]) -> Condition:
        return AnyOf(parts, self.name)

    @override
    def compile(self) -> Test:
        tests = [compile_test(part) for part in _functions_last(self.parts)]
        return lambda left: any(test(left) for test in tests)

    def __repr__(self) -> str:
        written = _written(self.parts)
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
        return ("all of", _keys(self.parts))

    @override
    def with_parts(self, parts: tuple[Condition, ...]) -> Condition:
        return AllOf(parts, self.written)

    @override
    def compile(self) -> Test:
        tests = [part.compile() for part in _functions_last(self.parts)]
        return lambda left: all(test(left) for test in tests)

    def __repr__(self) -> str:
        return self.written or f"and_({_written(self.parts)})"


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


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Fields(Compound):
    """An object in which every named key matches; keys that are not named do not matter."""

    keys: tuple[str, ...]
    parts: tuple[Condition, ...]

    @property
    @override
    def key(self) -> Hashable:
        return ("fields", frozenset((key, part.key) for key, part in zip(self.keys, self.parts, strict=True)))

    @override
    def with_parts(self, parts: tuple[Condition, ...]) -> Condition:
        return Fields(self.keys, parts)

    @override
    def compile(self) -> Test:
        pairs = sorted(zip(self.keys, self.parts, strict=True), key=lambda pair: pair[1].asks_functions)
        checks = [(key, part.compile(), part.matches_missing) for key, part in pairs]

        def test(left: object) -> bool:
            if not isinstance(left, dict):
                return False
            for key, check, matches_missing in checks:  # noqa: SIM110 - a generator would double what matching costs
                if not (check(left[key]) if key in left else matches_missing):
                    return False
            return True

        return test

    def __repr__(self) -> str:
        return "{" + ", ".join(f"{key!r}: {part!r}" for key, part in zip(self.keys, self.parts, strict=True)) + "}"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Items(Compound):
    """A scalar that matches one of several conditions, or a list with an item for each of them."""

    parts: tuple[Condition, ...]

    @property
    @override
    def key(self) -> Hashable:
        return ("items", _keys(self.parts))

    @override
    def with_parts(self, parts: tuple[Condition, ...]) -> Condition:
        return Items(parts)

    @override
    def compile(self) -> Test:
        tests = [compile_test(part) for part in _functions_last(self.parts)]

        def test(left: object) -> bool:
            if isinstance(left, list | tuple):
                return all(any(each(item) for item in left) for each in tests)
            return not isinstance(left, dict) and any(each(left) for each in tests)

        return test

    def __repr__(self) -> str:
        return f"[{_written(self.parts)}]"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Inside(Compound):
    """A condition on what a value holds: an item, all items, the length."""

    name: Literal["contains", "all_items", "length"]
    part: Condition

    @property
    @override
    def parts(self) -> tuple[Condition, ...]:
        return (self.part,)

    @property
    @override
    def key(self) -> Hashable:
        return (self.name, self.part.key)

    @override
    def with_parts(self, parts: tuple[Condition, ...]) -> Condition:
        return Inside(self.name, parts[0])

    @override
    def compile(self) -> Test:
        test = compile_test(self.part)
        if self.name == "length":
            return lambda left: isinstance(left, str | list | tuple | dict) and test(len(left))
        quantify = any if self.name == "contains" else all
        return lambda left: isinstance(left, list | tuple) and quantify(test(item) for item in left)

    def __repr__(self) -> str:
        return f"{self.name}({self.part!r})"


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


def _keys(parts: Iterable[Condition]) -> frozenset[Hashable]:
    return frozenset(part.key for part in parts)


def _functions_last(parts: Iterable[Condition]) -> list[Condition]:
    return sorted(parts, key=lambda part: part.asks_functions)


def _is_plain(regex: re.Pattern[str]) -> bool:
    try:
        return regex == re.compile(regex.pattern)
    except re.error:  # the comments of a verbose one need not be valid elsewhere
        return False


def _moment_test(compare: Callable[[Any, Any], bool], bound: object) -> Test:
    wanted = comparison.read_moment(bound)

    def test(left: object) -> bool:
        moment = comparison.read_moment(left)
        if moment is None or wanted is None:
            return False
        return compare(*comparison.alike(moment, wanted))

    return test


def _written(parts: Iterable[Condition]) -> str:
    return ", ".join(map(repr, parts))
