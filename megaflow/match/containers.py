"""Containers: conditions on what an object or a list holds."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Literal

from typing_extensions import override

from megaflow.match.conditions import Compound, Condition, Test, compile_test, functions_last, set_of_keys, show_all


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
        return ("items", set_of_keys(self.parts))

    @override
    def with_parts(self, parts: tuple[Condition, ...]) -> Condition:
        return Items(parts)

    @override
    def compile(self) -> Test:
        tests = [compile_test(part) for part in functions_last(self.parts)]

        def test(left: object) -> bool:
            if isinstance(left, list | tuple):
                return all(any(each(item) for item in left) for each in tests)
            return not isinstance(left, dict) and any(each(left) for each in tests)

        return test

    def __repr__(self) -> str:
        return f"[{show_all(self.parts)}]"


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
