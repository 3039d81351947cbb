"""`App.check`: findings about handlers that never match, match everything, or say the same as another one."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Any, Final

from megaflow.dispatch.buckets import Positions
from megaflow.dispatch.fields import DATA_FIELDS, Path
from megaflow.dispatch.index import Index
from megaflow.dispatch.logic import collect_conditions, find_contradiction, implies, representatives
from megaflow.dispatch.normal import Clause, Normaliser, Rule
from megaflow.dispatch.probes import find_covers
from megaflow.dispatch.table import DispatchTable
from megaflow.handlers.handler import Handler
from megaflow.match.conditions import Condition
from megaflow.match.leaves import Regex
from megaflow.messages.codec import Kind

_MANY_UNINDEXED: Final = 100
"""With more handlers that nothing can be looked up by, only those that share a condition are compared."""

_MOST_COMPARED: Final = 50
"""With so many others a handler is compared: those that were registered first."""


class Oddity(StrEnum):
    """What can be odd about a handler."""

    NEVER_MATCHES = "never matches"
    """Its pattern contradicts itself: ``gt(5) & lt(3)``."""

    MATCHES_EVERYTHING = "matches everything"
    """It takes every message of its kind."""

    DUPLICATE = "duplicate"
    """Another handler has the same pattern, or the same function is registered twice."""

    COVERED = "covered"
    """Every message that it gets reaches another handler as well."""

    UNINDEXED = "not indexed"
    """Its pattern cannot be looked up, so it is asked about every message."""

    BACKTRACKS = "backtracks"
    """A regular expression takes exponential time on some texts, so one message can stop the consumer."""

    UNDECIDED = "retries nothing"
    """Nothing says ``retry_on=`` for it, so any exception dead-letters its message."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is odd about one handler, as `App.check` returns it. ``print`` shows it."""

    oddity: Oddity
    """What is odd."""

    handler: Handler
    """The handler."""

    reason: str
    """Why, in words."""

    other: Handler | None = None
    """The other handler that makes it odd, where there is one."""

    def __str__(self) -> str:
        """Say it in one line, with where the handlers stand."""
        other = f" {self.other.name} ({self.other.where})" if self.other else ""
        return f"{self.handler.name} ({self.handler.where}) {self.reason}{other}"


def check(table: DispatchTable, undecided: Sequence[Handler] = ()) -> tuple[Finding, ...]:
    """Return what is odd about the handlers of *table*, in order of registration.

    *undecided* are those of which nothing says which exceptions are worth another try.
    """
    normaliser = Normaliser()
    rules = [_Known(normaliser.normalise(position, handler)) for position, handler in enumerate(table.handlers)]
    findings: list[Finding] = []
    for each in rules:
        findings += _check_alone(each)
    reasons = (Finding(Oddity.UNINDEXED, handler, f"cannot be indexed: {why}") for handler, why in table.unindexed)
    findings += (*reasons, *_find_duplicates(rules), *_find_covered(rules), *_find_undecided(table, undecided))
    places = {handler: position for position, handler in enumerate(table.handlers)}
    return tuple(sorted(findings, key=lambda finding: places[finding.handler]))


def _find_undecided(table: DispatchTable, undecided: Sequence[Handler]) -> Iterator[Finding]:
    """Find those that retry nothing without saying so; one stands for all where none says anything."""
    are_all = 1 < len(undecided) == len(table.handlers)
    who = ", nor does any other handler" if are_all else ""
    for handler in undecided[:1] if are_all else undecided:
        yield Finding(
            Oddity.UNDECIDED,
            handler,
            f"retries nothing{who}: an exception dead-letters its message, or deletes it; say retry_on=, or "
            "retry_on=() where that is meant",
        )


class _Known:
    """A rule, and what follows from it."""

    def __init__(self, rule: Rule) -> None:
        self.rule: Final = rule
        self.handler: Final = rule.handler
        self.conditions: Final = collect_conditions(rule.clauses)
        self.contradiction: Final = find_contradiction(self.conditions)
        self.key: Final[Hashable] = (rule.handler.kind, frozenset(map(_said, (*rule.clauses, *rule.functions))))

    @property
    def is_comparable(self) -> bool:
        """Whether it can cover others, or be covered: not where it gets everything, or nothing."""
        return not self.contradiction and not self.handler.matches_everything and self.handler.kind is not Kind.ANY


def _check_alone(known: _Known) -> Iterator[Finding]:
    if known.contradiction:
        yield Finding(Oddity.NEVER_MATCHES, known.handler, f"never matches: {known.contradiction}")
    if known.handler.matches_everything:
        kind = known.handler.kind
        what = "every message" if kind is Kind.ANY else f"every message of kind {kind.value}"
        yield Finding(Oddity.MATCHES_EVERYTHING, known.handler, f"matches {what}")
    several = [(clause.path, regex) for clause in _all_clauses(known) for regex in _unsafe_regexes(clause.condition)]
    for path, written in dict.fromkeys((path, repr(regex)) for path, regex in several):
        where = f" at {'.'.join(path)}" if path else ""
        yield Finding(Oddity.BACKTRACKS, known.handler, f"backtracks: {written}{where} {_EXPLODES}")


_EXPLODES: Final = (
    "can take hours on a text of some dozen characters, while nothing else is handled; write it so that what is "
    "repeated reads no text in two ways, as [a-z]+ in place of ([a-z]+)*"
)


def _all_clauses(known: _Known) -> tuple[Clause, ...]:
    return known.rule.clauses + known.rule.functions


def _unsafe_regexes(condition: Condition) -> Iterator[Regex]:
    if isinstance(condition, Regex) and not condition.is_safe:
        yield condition
    for part in condition.parts:
        yield from _unsafe_regexes(part)


def _find_duplicates(rules: Sequence[_Known]) -> Iterator[Finding]:
    first: dict[Hashable, _Known] = {}
    for each in rules:
        other = first.setdefault(each.key, each)
        if other is not each:
            yield Finding(Oddity.DUPLICATE, each.handler, f"has the same pattern as{_same(each, other)}", other.handler)


def _same(one: _Known, other: _Known) -> str:
    return " the same function, which runs once:" if one.handler.function == other.handler.function else ""


def _find_covered(rules: Sequence[_Known]) -> Iterator[Finding]:
    """Find the handlers whose messages another one gets, too; those that are the same are duplicates."""
    for kind in Kind:
        several = [each for each in rules if each.handler.kind is kind and each.is_comparable]
        candidates = _Candidates(several)
        for each in several:
            compared = islice((one for one in candidates.find(each) if one.key != each.key), _MOST_COMPARED)
            other = next((one for one in compared if _covers(one, each)), None)
            if other is not None:
                reason = f"gets only what also reaches{_same(each, other)}"
                yield Finding(Oddity.COVERED, each.handler, reason, other.handler)


def _covers(one: _Known, other: _Known) -> bool:
    """Tell whether *one* matches whenever *other* does."""
    asked = set(map(_said, other.rule.functions))
    return asked.issuperset(map(_said, one.rule.functions)) and all(
        implies(other.conditions, clause.path, clause.condition) for clause in one.rule.clauses
    )


class _Candidates:
    """Finds the handlers that may cover another, without comparing each with each.

    Whoever covers a handler matches all that this one matches, and so whatever example of it: an index of the rules,
    in which each stands under what it is looked up by, is asked about some.
    """

    def __init__(self, rules: Sequence[_Known]) -> None:
        self._rules = {each.rule.position: each for each in rules}
        index = Index([each.rule for each in rules], DATA_FIELDS, asks=False)
        self._collect = index.collect
        self._always = [rule.position for rule in index.unfiled] if len(index.unfiled) <= _MANY_UNINDEXED else []
        self._by_clause: dict[tuple[Path, Hashable], list[int]] = {}
        for each in rules:
            if all(isinstance(clause.condition, Regex) or not _is_indexed(clause) for clause in each.rule.clauses):
                for clause in each.rule.clauses:
                    self._by_clause.setdefault(_said(clause), []).append(each.rule.position)

    def find(self, known: _Known) -> Iterator[_Known]:
        found: Positions = list(self._always)
        for example in _build_examples(known):
            self._collect(example, found)
        for clause in known.rule.clauses:
            found += self._by_clause.get(_said(clause), ())
        return (self._rules[position] for position in sorted(set(found)) if position != known.rule.position)


def _is_indexed(clause: Clause) -> bool:
    return any(find_covers(clause.condition, clause.path))


def _said(clause: Clause) -> tuple[Path, Hashable]:
    return clause.path, clause.condition.key


def _build_examples(known: _Known) -> Iterator[Any]:
    """Give objects that hold, at each path, a value that one of the conditions there allows."""
    values = {path: list(representatives(several)) for path, several in known.conditions.items()}
    named = {path: several for path, several in values.items() if several}
    most = max(map(len, named.values()), default=0)
    for turn in range(most):
        example: dict[str, Any] = {}
        for path, several in named.items():
            _put(example, path, several[turn % len(several)])
        yield example


def _put(example: dict[str, Any], path: Path, value: Any) -> None:
    for key in path[:-1]:
        if not isinstance(example.setdefault(key, {}), dict):
            return
        example = example[key]
    if path:
        example.setdefault(path[-1], value)
