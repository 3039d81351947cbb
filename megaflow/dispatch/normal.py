"""The normal form of a pattern: conditions on paths, all of which have to hold."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from megaflow.dispatch.fields import ALWAYS_OBJECTS, Path
from megaflow.handlers.handler import Handler
from megaflow.match.conditions import AllOf, AnyOf, Condition, Present, assume
from megaflow.match.containers import Fields
from megaflow.match.leaves import Comparison

OBJECT: Final = Fields((), ())
"""The condition that a value is an object, whatever it holds."""


@dataclass(frozen=True, slots=True, eq=False)
class Clause:
    """A condition on what stands at *path*, or on its being missing."""

    path: Path
    condition: Condition


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """A handler's pattern in its normal form.

    ``clauses`` ask no functions: where one is asked, they hold what has to hold whatever it says. ``functions`` are to
    be asked where all clauses hold, in their order.
    """

    position: int
    handler: Handler
    clauses: tuple[Clause, ...]
    functions: tuple[Clause, ...]


class Normaliser:
    """Brings patterns into their normal form. Clauses that say the same are the same, in all rules that have them."""

    def __init__(self) -> None:
        self._clauses: dict[tuple[Path, Hashable], Clause] = {}
        self._paths: dict[Path, Path] = {}

    def normalise(self, position: int, handler: Handler) -> Rule:
        """Return the rule of *handler*, the one at *position* in order of registration."""
        objects = ALWAYS_OBJECTS.get(handler.kind, frozenset())
        flat = [each for each in required_conditions(handler.pattern) if not (each[1] is OBJECT and each[0] in objects)]
        clauses = dict.fromkeys(self._share(path, assume(condition, True)) for path, condition in flat)
        functions = tuple(Clause(path, condition) for path, condition in flat if condition.asks_functions)
        return Rule(position, handler, tuple(self._simplify(clauses)), functions)

    def _share(self, path: Path, condition: Condition) -> Clause:
        key = path, condition.key
        clause = self._clauses.get(key)
        if clause is None:
            clause = self._clauses[key] = Clause(self._paths.setdefault(path, path), condition)
        return clause

    def _simplify(self, clauses: Collection[Clause]) -> Iterator[Clause]:
        """Leave out what is said already, and take the bounds of one range together."""
        needed = {each.path for each in clauses if not each.condition.matches_missing}
        said = {
            each.path
            for each in clauses
            if not each.condition.matches_missing and not isinstance(each.condition, Present)
        }
        ranges: dict[tuple[Path, str], list[Clause]] = {}
        for clause in clauses:
            condition = clause.condition
            if isinstance(condition, Comparison):
                ranges.setdefault((clause.path, scale_of(condition)), []).append(clause)
            elif not (isinstance(condition, Present) and _is_said(clause.path, said, needed)):
                yield clause
        for bounds in ranges.values():
            both = len(bounds) > 1
            yield self._share(bounds[0].path, AllOf(tuple(each.condition for each in bounds))) if both else bounds[0]


def required_conditions(condition: Condition, path: Path = ()) -> list[tuple[Path, Condition]]:
    """Return the conditions that have to hold, with the path of each; alternatives stay one condition."""
    flat: list[tuple[Path, Condition]] = []
    _flatten(condition, path, flat)
    return flat


def scale_of(comparison: Comparison) -> str:
    """Return on which scale *comparison* compares; those on one scale can be the bounds of one range."""
    if comparison.is_number:
        return "number"
    return "datetime" if isinstance(comparison.moment, datetime) else "date"


def _flatten(condition: Condition, path: Path, flat: list[tuple[Path, Condition]]) -> None:
    if isinstance(condition, Fields):
        for key, part in zip(condition.keys, condition.parts, strict=True):
            _flatten(part, (*path, key), flat)
        # Where every key may be missing, none of them says that they are looked for in an object.
        if all(part.matches_missing for part in condition.parts):
            flat.append((path, OBJECT))
    elif isinstance(condition, AllOf):
        for part in condition.parts:
            _flatten(part, path, flat)
    elif isinstance(condition, AnyOf) and len(condition.parts) == 1:
        _flatten(condition.parts[0], path, flat)
    else:
        flat.append((path, condition))


def _is_said(path: Path, said: set[Path], needed: set[Path]) -> bool:
    """Tell whether something else than `any_()` says that there is a value at *path*."""
    return not path or path in said or any(len(each) > len(path) and each[: len(path)] == path for each in needed)
