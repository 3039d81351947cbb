"""The index: which handlers can match a message at all.

A node of the index files handlers by the values at some paths. What it files together is a node again, while there are
conditions to tell its handlers apart, and at last a leaf, which asks what is left of their patterns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from megaflow.dispatch.buckets import Bucket, Positions
from megaflow.dispatch.compile import Residuals
from megaflow.dispatch.fields import Get, Path, PayloadFields, find_field
from megaflow.dispatch.filing import Open, Option, chooser, may_be_answered_twice, open_rule
from megaflow.dispatch.lookups import Place, build_place, visit_unexpected
from megaflow.dispatch.normal import Clause, Rule
from megaflow.dispatch.probes import How, Probe
from megaflow.match.conditions import Test


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many handlers make a difference to the form of an index, and to nothing else."""

    small: int = 8
    """So many are asked one after the other, rather than filed."""

    large: int = 32
    """From more on, each condition that several of them share is asked only once."""


USUAL_SIZES: Final = Sizes()


class Index:
    """The rules for payloads of one kind. Immutable: may be asked from any thread.

    One that does not ask gives the rules that can be looked up, where what they are looked up by is there.
    """

    def __init__(
        self, rules: Iterable[Rule], fields: PayloadFields, sizes: Sizes = USUAL_SIZES, *, asks: bool = True
    ) -> None:
        options: dict[Clause, tuple[Option, ...]] = {}
        opened = [open_rule(rule, options) for rule in rules]
        self.unfiled: Final = tuple(each.rule for each in opened if not each.options)
        """The rules that cannot be looked up, and are asked about every payload."""

        if not asks:
            opened = [replace(each, clauses=()) for each in opened if each.options]
        builder = _Builder(fields, sizes)
        self.collect: Final[Bucket] = builder.build(opened)
        """Adds the positions of the rules whose clauses all hold for a payload, in no order."""

        self.repeats: Final = builder.repeats
        """Whether it may add the same position several times."""


class _Builder:
    """Builds the nodes of one index."""

    def __init__(self, fields: PayloadFields, sizes: Sizes) -> None:
        self._fields = fields
        self._sizes = sizes
        self._residuals = Residuals(fields)
        self.repeats = False
        self._tests: dict[tuple[Clause, ...], Test] = {}

    def build(self, rules: Sequence[Open]) -> Bucket:
        """Return the bucket of *rules*: a leaf, or a node."""
        filed: dict[Probe, list[Open]] = {}
        unfiled: list[Open] = []
        choose = chooser(rules) if len(rules) > self._sizes.small else lambda _: None
        for each in rules:
            choice = choose(each)
            if choice is None:
                unfiled.append(each)
                continue
            rest = each.without(choice)
            self.repeats |= may_be_answered_twice(choice.cover.probes)
            for probe in choice.cover.probes:
                filed.setdefault(probe, []).append(rest)
        visits = self._visits({probe: self.build(below) for probe, below in filed.items()})
        leaves = [self._leaf(unfiled)] if unfiled else []
        return _one_by_one([*leaves, *(_visit_root(get, place) for get, place in visits)])

    def _leaf(self, rules: Sequence[Open]) -> Bucket:
        """Return a bucket that asks what is left of *rules*, once for those of which the same is left."""
        alike: dict[tuple[Clause, ...], list[Open]] = {}
        for each in rules:
            alike.setdefault(each.clauses, []).append(each)
        positions = [[each.rule.position for each in group] for group in alike.values()]
        if len(alike) > self._sizes.large:
            shared = _share(list(alike))
            if len(shared) * 2 <= sum(map(len, alike)):
                return self._shared_leaf(positions, shared)
        return _one_by_one([_leaf(*each) for each in zip(positions, map(self._compile, alike.values()), strict=True)])

    def _compile(self, group: Sequence[Open]) -> Test | None:
        clauses = group[0].clauses
        if clauses and clauses not in self._tests:
            self._tests[clauses] = self._residuals.compile(clauses, group[0].rule.handler.pattern)
        return self._tests[clauses] if clauses else None

    def _shared_leaf(self, positions: Sequence[Sequence[int]], shared: Mapping[Clause, int]) -> Bucket:
        most = sorted(shared.items(), key=lambda each: each[1].bit_count(), reverse=True)
        return _bit_leaf(positions, [(self._residuals.compile([clause]), bits) for clause, bits in most])

    def _visits(self, filed: Mapping[Probe, Bucket]) -> list[tuple[Get | None, Place]]:
        """Return how to read each part of a payload that is looked at, and what visits it."""
        roots: dict[Path, _Trie] = {}
        for probe, bucket in filed.items():
            start = find_field(probe.path, self._fields)
            roots.setdefault(start, _Trie()).add(probe, probe.path[len(start) :], bucket)
        return [(self._get(start), trie.build()) for start, trie in roots.items()]

    def _get(self, start: Path) -> Get | None:
        """Return how to read the field *start*; None where that is the payload itself."""
        field = self._fields[start]
        return None if field.source == "payload" else field.get


@dataclass(slots=True)
class _Trie:
    """The paths that a node looks at, key by key, and what is filed at their ends."""

    filed: dict[How, dict[Any, Bucket]] = field(default_factory=dict)
    below: dict[str, _Trie] = field(default_factory=dict)

    def add(self, probe: Probe, path: Path, bucket: Bucket) -> None:
        if path:
            self.below.setdefault(path[0], _Trie()).add(probe, path[1:], bucket)
        else:
            self.filed.setdefault(probe.how, {})[probe.what] = bucket

    def build(self) -> Place:
        return build_place(self.filed, {key: trie.build() for key, trie in self.below.items()})


def _one_by_one(buckets: Sequence[Bucket]) -> Bucket:
    if len(buckets) == 1:
        return buckets[0]

    def collect(payload: Any, found: Positions) -> None:
        for bucket in buckets:
            bucket(payload, found)

    return collect


def _visit_root(get: Get | None, place: Place) -> Bucket:
    expected, step, step_for = place

    def collect(payload: Any, found: Positions) -> None:
        value = payload if get is None else get(payload)
        if type(value) is expected:
            step(value, payload, found)
        elif value is not None:  # which is how a field reads that is not set
            visit_unexpected(step_for, value, payload, found)

    return collect


def _leaf(positions: Sequence[int], test: Test | None) -> Bucket:
    """Return a bucket of handlers of which the same is left to ask."""
    if test is None:
        return _sure_leaf(positions)

    def collect(payload: Any, found: Positions) -> None:
        if test(payload):
            found.extend(positions)

    return collect


def _sure_leaf(positions: Sequence[int]) -> Bucket:
    if len(positions) == 1:
        position = positions[0]
        return lambda payload, found: found.append(position)
    return lambda payload, found: found.extend(positions)


def _share(groups: Sequence[tuple[Clause, ...]]) -> dict[Clause, int]:
    """Return the different clauses of *groups*, with a bit for each group that has it."""
    shared: dict[Clause, int] = {}
    for bit, clauses in enumerate(groups):
        for clause in clauses:
            shared[clause] = shared.get(clause, 0) | 1 << bit
    return shared


def _bit_leaf(positions: Sequence[Sequence[int]], checks: Sequence[tuple[Test, int]]) -> Bucket:
    """Return a bucket that asks each condition once, and drops all groups that have it where it does not hold."""
    everyone = (1 << len(positions)) - 1

    def collect(payload: Any, found: Positions) -> None:
        alive = everyone
        for test, bits in checks:
            if alive & bits and not test(payload):
                alive &= ~bits
                if not alive:
                    return
        for group, bit in zip(positions, f"{alive:b}"[::-1], strict=False):
            if bit == "1":
                found.extend(group)

    return collect
