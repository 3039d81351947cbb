"""Residuals: the conditions that the index left undecided, as generated functions.

Thousands of handlers have a few shapes among them, which differ in constants only: the keys of the paths, and what is
wanted there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from megaflow.dispatch.buckets import Bucket, Positions
from megaflow.dispatch.fields import Path, PayloadFields
from megaflow.dispatch.generated import Functions, indent
from megaflow.dispatch.normal import Clause
from megaflow.dispatch.written import ANYTHING, Written, write_tests
from megaflow.match.conditions import Test


class Residuals:
    """Makes the functions for what is left of patterns, and knows what it has made of which clauses."""

    def __init__(self, fields: PayloadFields, functions: Functions) -> None:
        self._fields = fields
        self._functions = functions
        self._written: dict[Clause, list[Written]] = {}
        self._leaves: dict[tuple[Clause, ...], Callable[[Any], Bucket]] = {}

    def make_test(self, clause: Clause) -> Test:
        """Return the test that *clause* holds for a payload."""
        writer = self._write([clause], "return False")
        return self._functions.make("test(payload)", [*writer.lines, "return True"], writer.constants)  # type: ignore[no-any-return]

    def make_leaf(self, clauses: tuple[Clause, ...], positions: Sequence[int]) -> Bucket:
        """Return a bucket of handlers of which the same *clauses* are left to ask."""
        if not clauses:
            return _sure_leaf(positions)
        make = self._leaves.get(clauses)
        if make is None:
            make = self._leaves[clauses] = self._make_leaf(clauses)
        leaf = make(positions)
        leaf.__doc__ = make.__doc__
        return leaf

    def _make_leaf(self, clauses: Sequence[Clause]) -> Callable[[Any], Bucket]:
        writer = self._write(clauses, "return")
        collect = ["def collect(payload, found):", *indent([*writer.lines, "found += positions"]), "return collect"]
        return self._functions.make("leaf(positions)", collect, writer.constants)  # type: ignore[no-any-return]

    def _write(self, clauses: Sequence[Clause], give_up: str) -> _Writer:
        writer = _Writer(self._fields, give_up)
        for clause in clauses:
            written = self._written.get(clause)
            if written is None:
                written = self._written[clause] = write_tests(clause.condition)
            writer.add(clause.path, written)
        return writer


class _Writer:
    """Writes the lines for a list of clauses, which *give up* where one of them does not hold."""

    def __init__(self, fields: PayloadFields, give_up: str) -> None:
        self.constants: dict[str, Any] = {}
        self.lines: list[str] = []
        self._give_up = give_up
        self._fields = fields
        self._names: dict[Path, str] = {}
        self._objects: set[Path] = set()

    def add(self, path: Path, tests: Sequence[Written]) -> None:
        """Write *tests* of what stands at *path*."""
        name = self._read(path)
        for each in tests:
            self._need(self._write_test(name, each))

    def _write_test(self, name: str, written: Written) -> str:
        test = written.test.format(*(self._bind("wanted", each) for each in written.constants), value=name)
        if written.matches_missing:
            return f"{name} is MISSING or {test}"
        if written.test == ANYTHING:
            return f"{name} is not MISSING"
        return f"{name} is not MISSING and {test}" if written.is_true_of_missing else test

    def _need(self, test: str) -> None:
        self.lines.append(f"if not ({test}): {self._give_up}")

    def _bind(self, name: str, constant: object) -> str:
        name = f"{name}{len(self.constants)}"
        self.constants[name] = constant
        return name

    def _read(self, path: Path) -> str:
        """Return the name of the variable that holds what stands at *path*, and see to it that it does."""
        name = self._names.get(path)
        if name is None:
            name = self._names[path] = self._read_field(path) if path in self._fields else self._read_key(path)
        return name

    def _read_field(self, path: Path) -> str:
        field = self._fields[path]
        if field.is_object:
            self._objects.add(path)
        if field.source == "payload":
            return "payload"
        name = "_".join(path) or "whole"
        self.lines.append(f"{name} = {field.source}")
        if not field.is_object:
            self.lines.append(f"if {name} is None: {name} = MISSING")
        return name

    def _read_key(self, path: Path) -> str:
        above = path[:-1]
        parent = self._read(above)
        # A path leads through objects: where it does not, nothing that is named below can hold, or be missing.
        if above not in self._objects:
            self._objects.add(above)
            self._need(f"isinstance({parent}, dict)")
        name = f"value{len(self._names)}"
        self.lines.append(f"{name} = {parent}.get({self._bind('key', path[-1])}, MISSING)")
        return name


def _sure_leaf(positions: Sequence[int]) -> Bucket:
    """Return a bucket of handlers of which nothing is left to ask."""

    def collect(payload: Any, found: Positions) -> None:
        found += positions

    return collect
