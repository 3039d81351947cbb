"""Filing: the condition under which a handler is indexed, the one that the fewest other handlers share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from megaflow.dispatch.fields import Path
from megaflow.dispatch.normal import Clause, Rule
from megaflow.dispatch.probes import EQUALITIES, RANGES, Cover, How, Probe, find_covers

_FEW: Final = 4
"""Buckets of so many are as good as those of one."""

_COPIES: Final = 16
"""So often a handler stands in the index at most that is filed under several values, and there under several others."""

_COPIES_AT_FIRST: Final = 64
"""So often where that is all there is to file it under."""

_MANY_REGEXES: Final = 16
"""So many at one path are worth a set that is asked for all of them at once."""


@dataclass(frozen=True, slots=True)
class Open:
    """A rule on its way into the index: the clauses that nothing has decided yet, and the ways to look each up."""

    rule: Rule
    clauses: tuple[Clause, ...]
    options: tuple[Option, ...]
    copies: int = 1

    def without(self, option: Option) -> Open:
        """Return what is left of the rule where the cover of *option* was answered."""
        clauses = self.clauses
        if option.cover.exact:
            clauses = tuple(each for each in clauses if each is not option.clause)
        options = tuple(each for each in self.options if each.clause is not option.clause)
        return Open(self.rule, clauses, options, self.copies * len(option.cover.probes))


class Option(NamedTuple):
    """One way to look a clause up."""

    clause: Clause
    cover: Cover


def open_rule(rule: Rule, options: dict[Clause, tuple[Option, ...]]) -> Open:
    """Return *rule* as it comes to the root of an index; *options* are those of the clauses seen before."""
    for clause in rule.clauses:
        if clause not in options:
            covers = find_covers(clause.condition, clause.path)
            options[clause] = tuple(Option(clause, cover) for cover in covers)
    return Open(rule, rule.clauses, tuple(option for clause in rule.clauses for option in options[clause]))


def chooser(rules: Sequence[Open]) -> Callable[[Open], Option | None]:
    """Return what tells under which of its covers one of *rules* is filed best; None where it is filed under none."""
    alike = Counter(probe for each in rules for probe in {probe for _, cover in each.options for probe in cover.probes})
    size = _estimate(rules, alike)
    paths = ({cover.probes[0].path for _, cover in each.options if cover.probes} for each in rules)
    popular = Counter(path for each in paths for path in each)

    def rate(option: Option) -> tuple[float, int, bool]:
        probes, exact = option.cover
        largest = max(map(size, probes), default=0)
        return max(largest, _FEW) + len(probes) / 16, -popular[probes[0].path] if probes else 0, not exact

    def is_worth_it(each: Open, probes: Sequence[Probe]) -> bool:
        if len(probes) == 1:
            # A payload meets each range once at the most; only one that most rules share is better asked than filed.
            return probes[0].how in EQUALITIES or alike[probes[0]] * 2 <= len(rules)
        if sum(map(size, probes)) * 2 <= len(rules):
            return each.copies == 1 or each.copies * len(probes) <= _COPIES
        return each.copies == 1 and len(probes) <= _COPIES_AT_FIRST and max(map(size, probes)) * 4 <= len(rules)

    def choose(each: Open) -> Option | None:
        options = (option for option in each.options if is_worth_it(each, option.cover.probes))
        return min(options, key=rate, default=None)

    return choose


def _estimate(rules: Sequence[Open], probes: Mapping[Probe, int]) -> Callable[[Probe], float]:
    """Return what tells how many of *rules*, which have *probes* so often, a payload meets that answers a probe."""
    covers = (cover for each in rules for _, cover in each.options)
    only_lists = {cover.probes[0] for cover in covers if len(cover.probes) == 1 and cover.probes[0].how is How.LIST}
    regexes = Counter(probe.path for probe in probes if probe.how is How.REGEX)
    scales: dict[tuple[Path, How], _Scale] = {}
    for probe, count in probes.items():
        if probe.how in RANGES:
            scales.setdefault((probe.path, probe.how), _Scale()).add(probe, count)

    def size(probe: Probe) -> float:
        if probe.how is How.LIST and probe not in only_lists:
            return 0  # few payloads have a list where a pattern allows something else
        if probe.how is How.REGEX:
            return probes[probe] + _FEW if regexes[probe.path] >= _MANY_REGEXES else len(rules)
        scale = scales.get((probe.path, probe.how))
        return probes[probe] if scale is None else scale.share(probe) * scale.count

    return size


@dataclass(slots=True)
class _Scale:
    """The ranges at one path: how many there are, and where their bounds lie."""

    count: int = 0
    bounds: set[Any] = field(default_factory=set)
    ranks: dict[Any, int] = field(default_factory=dict)

    def add(self, probe: Probe, count: int) -> None:
        self.count += count
        low, _, high, _ = probe.what
        self.bounds |= {low, high} - {None}

    def share(self, probe: Probe) -> float:
        """Return which part of all that the bounds tell apart lies in the range of *probe*."""
        if not self.ranks:
            self.ranks = {bound: rank for rank, bound in enumerate(sorted(self.bounds))}
        low, _, high, _ = probe.what
        first = -1 if low is None else self.ranks[low]
        last = len(self.ranks) if high is None else self.ranks[high]
        return max(last - first, 1) / (len(self.ranks) + 1)


def may_be_answered_twice(probes: Sequence[Probe]) -> bool:
    """Tell whether one payload can answer *probes* several times: a value equals only one of different values."""
    ways = {(probe.path, probe.how) for probe in probes}
    if any(probe.how is How.ITEM for probe in probes):
        return True
    return len(probes) > 1 and (len(ways) > 1 or not ways <= {(probes[0].path, how) for how in _ANSWERED_ONCE})


_ANSWERED_ONCE: Final = EQUALITIES - {How.ITEM}
