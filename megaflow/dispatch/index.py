"""The index: which handlers can match a message at all.

A node of the index files handlers by the values at some paths. What it files together is a node again, while there are
conditions to tell its handlers apart, and at last a leaf, which asks what is left of their patterns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from megaflow.dispatch.buckets import Bucket, Positions, join
from megaflow.dispatch.fields import Path, PayloadFields, find_field
from megaflow.dispatch.filing import Open, Option, chooser, may_be_answered_twice, open_rule
from megaflow.dispatch.generated import Functions
from megaflow.dispatch.lookups import NAMES
from megaflow.dispatch.normal import Clause, Rule
from megaflow.dispatch.probes import Probe
from megaflow.dispatch.residuals import Residuals
from megaflow.dispatch.walks import Trie, make_node
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
        self._functions = Functions(NAMES)
        self._residuals = Residuals(fields, self._functions)
        self.repeats = False

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
        roots: dict[Path, Trie] = {}
        for probe, below in filed.items():
            start = find_field(probe.path, self._fields)
            roots.setdefault(start, Trie()).add(probe, probe.path[len(start) :], self.build(below))
        leaves = self._leaves(unfiled)
        return make_node(leaves, roots, self._fields, self._functions) if roots else join(leaves)

    def _leaves(self, rules: Sequence[Open]) -> list[Bucket]:
        """Return buckets that ask what is left of *rules*, once for those of which the same is left."""
        alike: dict[tuple[Clause, ...], list[int]] = {}
        for each in rules:
            alike.setdefault(each.clauses, []).append(each.rule.position)
        if len(alike) > self._sizes.large:
            shared = _share(list(alike))
            if len(shared) * 2 <= sum(map(len, alike)):
                return [self._shared_leaf(list(alike.values()), shared)]
        return [self._residuals.make_leaf(clauses, positions) for clauses, positions in alike.items()]

    def _shared_leaf(self, positions: Sequence[Sequence[int]], shared: Mapping[Clause, int]) -> Bucket:
        most = sorted(shared.items(), key=lambda each: each[1].bit_count(), reverse=True)
        return _bit_leaf(positions, [(self._residuals.make_test(clause), bits) for clause, bits in most])


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
