"""Residuals: the conditions that the index left undecided, as one generated function for each shape.

Thousands of handlers have a few shapes among them, which differ in constants only. Python compiles each shape once, to
a function that binds the constants: the keys of the paths, and what is wanted there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from megaflow.dispatch.fields import MISSING, Path, PayloadFields, see
from megaflow.dispatch.normal import OBJECT, Clause
from megaflow.match.conditions import AllOf, AnyOf, Condition, Not, Present, Test, compile_test
from megaflow.match.leaves import Comparison, Equals, Regex, Text


class Residuals:
    """Compiles what is left of patterns, and knows the shapes and the conditions that it has compiled."""

    def __init__(self, fields: PayloadFields) -> None:
        self._fields = fields
        self._shapes: dict[tuple[Any, ...], tuple[str, Callable[..., Test]]] = {}
        self._written: dict[Clause, list[_Written]] = {}

    def compile(self, clauses: Sequence[Clause], pattern: object = None) -> Test:
        """Return the test that all *clauses* hold for a payload.

        It carries its ``source``, and the *pattern* it comes from.
        """
        writer = _Writer(self._fields)
        for clause in clauses:
            writer.add(clause.path, self._write(clause))
        shape = tuple(writer.steps)
        known = self._shapes.get(shape)
        if known is None:
            source = writer.write()
            known = self._shapes[shape] = source, _load(source)
        source, bind = known
        test: Any = bind(*writer.constants)
        test.source, test.pattern = source, pattern
        return test  # type: ignore[no-any-return]

    def _write(self, clause: Clause) -> list[_Written]:
        """Return how the condition is tested; for those that say the same it is the same."""
        written = self._written.get(clause)
        if written is None:
            condition = clause.condition
            parts = condition.parts if isinstance(condition, AllOf) else (condition,)
            written = self._written[clause] = [_write_test(part) for part in parts]
        return written


class _Written(NamedTuple):
    """The text of a test of ``{value}``, in which constants are to be put."""

    test: str
    constants: tuple[Any, ...]
    is_true_of_missing: bool
    matches_missing: bool


class _Writer:
    """Writes the function for one list of clauses: its steps at once, its text only where they are new."""

    def __init__(self, fields: PayloadFields) -> None:
        self.constants: list[Any] = []
        self.steps: list[tuple[Any, ...]] = []
        self._fields = fields
        self._names: dict[Path, str] = {}
        self._objects: set[Path] = set()

    def add(self, path: Path, tests: Sequence[_Written]) -> None:
        name = self._read(path)
        for test in tests:
            names = [self._bind(constant) for constant in test.constants]
            self.steps.append(("test", name, test.test, test.is_true_of_missing, test.matches_missing, *names))

    def write(self) -> str:
        lines = [line for kind, *step in self.steps for line in _WRITE[kind](*step)]
        body = "".join(f"        {line}\n" for line in lines)
        bound = ", ".join(f"c{number}" for number in range(len(self.constants)))
        return f"def bind({bound}):\n    def test(payload):\n{body}        return True\n    return test\n"

    def _bind(self, constant: object) -> str:
        self.constants.append(constant)
        return f"c{len(self.constants) - 1}"

    def _read(self, path: Path) -> str:
        """Return the name of the variable that holds what stands at *path*, and see to it that it does."""
        name = self._names.get(path)
        if name is None:
            name = self._names[path] = self._read_field(path) if path in self._fields else self._read_key(path)
        return name

    def _read_field(self, path: Path) -> str:
        field = self._fields[path]
        if field.source == "payload":
            name = "payload"
        else:
            name = "_".join(path) or "whole"
            self.steps.append(("field", name, field.source, not field.is_object))
        if field.is_object:
            self._objects.add(path)
        return name

    def _read_key(self, path: Path) -> str:
        above = path[:-1]
        parent = self._read(above)
        # A path leads through objects: where it does not, nothing that is named below can hold, or be missing.
        if above not in self._objects:
            self._objects.add(above)
            self.steps.append(("object", parent))
        name = f"value{len(self._names)}"
        self.steps.append(("key", name, parent, self._bind(path[-1])))
        return name


def _write_field(name: str, source: str, may_be_missing: bool) -> list[str]:
    return [f"{name} = {source}", *([f"if {name} is None: {name} = MISSING"] if may_be_missing else [])]


def _write_object(name: str) -> list[str]:
    return [f"if not isinstance({name}, dict): return False"]


def _write_key(name: str, parent: str, key: str) -> list[str]:
    return [f"{name} = {parent}.get({key}, MISSING)"]


def _write_condition(name: str, test: str, is_true_of_missing: bool, matches_missing: bool, *names: str) -> list[str]:
    said = test.format(*names, value=name)
    if matches_missing:
        return [f"if {name} is not MISSING and not ({said}): return False"]
    if test == _ANYTHING:
        return [f"if {name} is MISSING: return False"]
    missing = f"{name} is MISSING or " if is_true_of_missing else ""
    return [f"if {missing}not ({said}): return False"]


_WRITE: Final[Mapping[str, Callable[..., list[str]]]] = {
    "field": _write_field,
    "object": _write_object,
    "key": _write_key,
    "test": _write_condition,
}
_ANYTHING: Final = "True"
_SIGNS: Final = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


def _write_test(condition: Condition) -> _Written:
    """Return the test of *condition*: written out where it is a common one, or as a call of what it compiles to."""
    inline = _write_inline(condition)
    if inline is not None:
        return _Written(*inline, is_true_of_missing=False, matches_missing=False)
    denied = _write_inline(condition.part) if isinstance(condition, Not) else None
    if denied is not None:
        return _Written(f"not ({denied[0]})", denied[1], is_true_of_missing=True, matches_missing=False)
    # Nothing equals what is missing, nor is it text or a number; what is denied of it, it is.
    false_of_missing = isinstance(condition, Equals | Comparison | Regex | Text)
    return _Written("{0}({value})", (compile_test(condition),), not false_of_missing, condition.matches_missing)


def _write_inline(condition: Condition) -> tuple[str, tuple[Any, ...]] | None:
    if isinstance(condition, Present):
        return _ANYTHING, ()
    if condition is OBJECT:
        return "isinstance({value}, dict)", ()
    if isinstance(condition, Equals):
        return _write_equality(condition)
    if isinstance(condition, AnyOf):
        return _write_alternatives(condition)
    if isinstance(condition, Comparison) and _is_whole(condition.bound):
        return _write_for_whole("{value} " + _SIGNS[condition.name] + " {0}", int(condition.bound), condition)
    return None


def _write_equality(condition: Equals) -> tuple[str, tuple[Any, ...]] | None:
    value = condition.value
    if isinstance(value, str):
        return "isinstance({value}, str) and {value} == {0}", (str.__str__(value),)
    if value is None or isinstance(value, bool):
        return "{value} is {0}", (value,)
    return _write_for_whole("{value} == {0}", int(value), condition) if _is_whole(value) else None


def _write_alternatives(condition: AnyOf) -> tuple[str, tuple[Any, ...]] | None:
    values = [part.value for part in condition.parts if isinstance(part, Equals)]
    if len(values) < len(condition.parts):
        return None
    if all(isinstance(value, str) for value in values):
        return "isinstance({value}, str) and {value} in {0}", (frozenset(map(str.__str__, values)),)
    if all(_is_whole(value) for value in values):
        return _write_for_whole("{value} in {0}", frozenset(map(int, values)), condition)
    return None


def _write_for_whole(test: str, constant: object, condition: Condition) -> tuple[str, tuple[Any, ...]]:
    """Return *test* for whole numbers, which most numbers are, with a call for what else reads as a number."""
    return test + " if type({value}) is int else {1}({value})", (constant, compile_test(condition))


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _load(source: str) -> Callable[..., Test]:
    # Names apart from globals: a function that its own globals hold would never be let go without the collector.
    names: dict[str, Any] = {}
    exec(compile(source, "<what is left of a pattern>", "exec"), {"MISSING": MISSING, "see": see}, names)  # noqa: S102 - our own text
    return names["bind"]  # type: ignore[no-any-return]
