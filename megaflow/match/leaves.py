"""Leaves of the tree of conditions: what is asked of one value by itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Literal

from typing_extensions import override

from megaflow.match import comparison
from megaflow.match.backtracking import can_explode, is_safe_once_found
from megaflow.match.conditions import Condition, Leaf, Test


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
        if self.can_explode:
            from megaflow.match.re2_sets import make_screen

            may_match = make_screen(self.name, self.regex)
            if may_match is not None:
                return lambda left: isinstance(left, str) and may_match(left) and find(left) is not None
        return lambda left: isinstance(left, str) and find(left) is not None

    @property
    def can_explode(self) -> bool:
        """Whether there are short texts that module `re` does not come to an end with."""
        return can_explode(self.name, self.regex)

    @property
    def is_safe(self) -> bool:
        """Whether no text does that, because RE2 is asked before."""
        if not self.can_explode:
            return True
        from megaflow.match.re2_sets import is_available

        return is_available() and is_safe_once_found(self.name, self.regex)

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
class UserFunction(Condition):
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
