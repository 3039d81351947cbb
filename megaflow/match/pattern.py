"""Any right-hand side to a tree of conditions, which compiles to a plain function; wrong patterns are refused here.

The left side of a condition is a value of a message. Conditions never raise, whatever the value, except for what a
user's function raises.
"""

from __future__ import annotations

import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Any, Final, Literal, TypeAlias, get_origin
from uuid import UUID

from typing_extensions import override

from megaflow.callables import is_async, is_generator
from megaflow.errors import PatternError
from megaflow.match import values

Test: TypeAlias = Callable[[Any], bool]


class Condition(ABC):
    """What a pattern asks of one value.

    ``a & b``, ``a | b`` and ``~a`` make new ones, where either side may be any pattern; ``str(a)`` shows it as it is
    written. Conditions are immutable, and compared by identity.
    """

    __slots__ = ()

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
        """Whether it needs an answer from a user's function."""
        return any(part.asks_functions for part in self.parts)

    @abstractmethod
    def compile(self) -> Test:
        """Return the function that tells whether a value that is there matches."""

    def with_parts(self, parts: tuple[Condition, ...]) -> Condition:
        """Return the same condition made of other parts."""
        raise NotImplementedError(f"{type(self).__name__} has no parts")

    def __and__(self, other: object) -> Condition:
        """Hold where both do."""
        return AllOf((self, as_condition(other)))

    def __rand__(self, other: object) -> Condition:
        """Hold where both do."""
        return AllOf((as_condition(other), self))

    def __or__(self, other: object) -> Condition:
        """Hold where either does."""
        return AnyOf((self, as_condition(other)))

    def __ror__(self, other: object) -> Condition:
        """Hold where either does."""
        return AnyOf((as_condition(other), self))

    def __invert__(self) -> Condition:
        """Hold where there is a value and this does not."""
        return Not(self)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Equals(Condition):
    """The same value, as `megaflow.match.values` compares them."""

    value: Any
    written: str

    @override
    def compile(self) -> Test:
        return values.comparison(self.value)

    def __repr__(self) -> str:
        return self.written


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Comparison(Condition):
    """A number or a moment on one side of *bound*."""

    name: Literal["gt", "gte", "lt", "lte"]
    bound: Any
    compare: Callable[[Any, Any], bool]

    @property
    def is_number(self) -> bool:
        """Whether *bound* is a number, and not a moment."""
        return values.read_number(self.bound) is not None

    @override
    def compile(self) -> Test:
        return self._number_test() if self.is_number else _moment_test(self.compare, self.bound)

    def _number_test(self) -> Test:
        compare, bound = self.compare, values.read_number(self.bound)

        def test(left: object) -> bool:
            number = values.read_number(left)
            return number is not None and compare(number, bound)

        return test

    def __repr__(self) -> str:
        return f"{self.name}({self.bound!r})"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Regex(Condition):
    """Text that a regular expression finds, as the function of module `re` of that name does."""

    name: Literal["match", "search", "fullmatch"]
    regex: re.Pattern[str]

    @override
    def compile(self) -> Test:
        find = getattr(self.regex, self.name)
        return lambda left: isinstance(left, str) and find(left) is not None

    def __repr__(self) -> str:
        return f"{self.name}({self.regex.pattern!r})" if _is_plain(self.regex) else f"{self.name}({self.regex!r})"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Prefix(Condition):
    """Text that starts with *start*."""

    start: str

    @override
    def compile(self) -> Test:
        return lambda left: isinstance(left, str) and left.startswith(self.start)

    def __repr__(self) -> str:
        return f"prefix({self.start!r})"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Check(Condition):
    """Any other test of a value that never raises."""

    written: str
    test: Test

    @override
    def compile(self) -> Test:
        return self.test

    def __repr__(self) -> str:
        return self.written


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Absent(Condition):
    """No value at all."""

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
    def asks_functions(self) -> bool:
        return True

    @override
    def compile(self) -> Test:
        function = self.function
        return lambda left: bool(function(left))

    def __repr__(self) -> str:
        name = getattr(self.function, "__qualname__", None) or repr(self.function)
        code = getattr(self.function, "__code__", None)
        return f"{name} at line {code.co_firstlineno}" if code and "<lambda>" in name else f"{name}()"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class AnyOf(Condition):
    """A value that matches one of several conditions."""

    parts: tuple[Condition, ...]
    name: str = "or_"

    @property
    @override
    def matches_missing(self) -> bool:
        return any(part.matches_missing for part in self.parts)

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
class AllOf(Condition):
    """A value that matches several conditions."""

    parts: tuple[Condition, ...]
    written: str = ""

    @property
    @override
    def matches_missing(self) -> bool:
        return all(part.matches_missing for part in self.parts)

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
class Not(Condition):
    """A value, of whatever type, that does not match."""

    part: Condition
    written: str = ""

    @property
    @override
    def parts(self) -> tuple[Condition, ...]:
        return (self.part,)

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
class Fields(Condition):
    """An object in which every named key matches; keys that are not named do not matter."""

    keys: tuple[str, ...]
    parts: tuple[Condition, ...]

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
class Items(Condition):
    """A scalar that matches one of several conditions, or a list with an item for each of them."""

    parts: tuple[Condition, ...]

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
class Inside(Condition):
    """A condition on what a value holds: an item, all items, the length."""

    name: Literal["contains", "all_items", "length"]
    part: Condition

    @property
    @override
    def parts(self) -> tuple[Condition, ...]:
        return (self.part,)

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


def as_condition(pattern: object, path: str = "") -> Condition:
    """Return the condition that *pattern* stands for; raise `PatternError`, naming *path*, for what is no pattern."""
    if isinstance(pattern, Condition):
        return pattern
    if isinstance(pattern, Enum):
        return as_condition(pattern.value, path)
    if isinstance(pattern, dict):
        return _fields(pattern, path)
    if isinstance(pattern, list | tuple | set | frozenset):
        return Items(tuple(as_condition(each, f"{path}[]") for each in pattern))
    if isinstance(pattern, re.Pattern):
        return _regex(pattern, path)
    if pattern is None or isinstance(pattern, _SCALARS):
        return Equals(pattern, repr(pattern))
    if pattern is bool:
        return Check("bool", bool)
    if callable(pattern):
        return _call(pattern, path)
    raise PatternError(
        f"{type(pattern).__qualname__} is no pattern: use a value, a dict, a list, a regex or a function",
        path,
    )


def assume(condition: Condition, answer: bool) -> Condition:
    """Return *condition* without its functions: where it holds if they say *answer* in its favour."""
    if not condition.asks_functions:
        return condition
    if isinstance(condition, Call):
        return Check(f"{condition!r}", lambda left: answer)
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


_FUNCTIONS: Final = "megaflow.match.functions"
_SCALARS: Final = (bool, int, float, Decimal, str, bytes, date, UUID)


def _fields(pattern: dict[Any, Any], path: str) -> Fields:
    for key in pattern:
        if not isinstance(key, str):
            raise PatternError(f"the key {key!r} is not text, and messages have no other keys", path)
    parts = (as_condition(each, f"{path}.{key}" if path else key) for key, each in pattern.items())
    return Fields(tuple(pattern), tuple(parts))


def _regex(pattern: re.Pattern[Any], path: str) -> Regex:
    if not isinstance(pattern.pattern, str):
        raise PatternError(f"the regular expression {pattern.pattern!r} is for bytes, and messages hold text", path)
    return Regex("match", pattern)


def _call(function: Callable[..., Any], path: str) -> Call:
    if inspect.isclass(get_origin(function) or function):
        name = getattr(function, "__qualname__", repr(function))
        raise PatternError(
            f"the class {name} is no matcher; use a value, or a function that returns a bool",
            path,
        )
    if getattr(function, "__module__", "") == _FUNCTIONS:
        raise PatternError(f"{function.__name__} is to be called: {function.__name__}(…)", path)
    if is_async(function):
        raise PatternError(f"{function!r} is async, and matching does not wait; use a plain function", path)
    if is_generator(function):
        raise PatternError(f"{function!r} is a generator, and what it gives is always true; return a bool", path)
    try:
        inspect.signature(function).bind(None)
    except TypeError:
        raise PatternError(f"{function!r} must take one argument, the value", path) from None
    except ValueError:  # a built-in function does not tell
        pass
    return Call(function)


def _functions_last(parts: Iterable[Condition]) -> list[Condition]:
    return sorted(parts, key=lambda part: part.asks_functions)


def _is_plain(regex: re.Pattern[str]) -> bool:
    try:
        return regex == re.compile(regex.pattern)
    except re.error:  # the comments of a verbose one need not be valid elsewhere
        return False


def _moment_test(compare: Callable[[Any, Any], bool], bound: object) -> Test:
    wanted = values.read_moment(bound)

    def test(left: object) -> bool:
        moment = values.read_moment(left)
        if moment is None or wanted is None:
            return False
        return compare(*values.alike(moment, wanted))

    return test


def _written(parts: Iterable[Condition]) -> str:
    return ", ".join(map(repr, parts))
