"""The SNS filter policy that lets through what the handlers match: never less, and as little more as SNS can say.

A policy is one object, or several in an ``$or``. Here such an object is a `Branch`: for each path the alternatives
under that key, of which one has to hold.

https://docs.aws.amazon.com/sns/latest/dg/sns-subscription-filter-policies.html
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from itertools import combinations, islice
from math import prod
from typing import Any, Final, TypeAlias

from megaflow.dispatch.allowed import branches_of
from megaflow.dispatch.choices import Branch, Choices, loosen, tightness, without_wildcards
from megaflow.dispatch.fields import Path
from megaflow.dispatch.filter_choices import attribute_branches_of, describe_rules
from megaflow.errors import PatternError
from megaflow.handlers.handler import Handler
from megaflow.match.filters import Scope, read_filter_policy
from megaflow.messages.codec import Kind

# https://docs.aws.amazon.com/sns/latest/dg/subscription-filter-policy-constraints.html
_KEYS: Final = 5
_COMBINATIONS: Final = 150

_FEW_BRANCHES: Final = 200
_FEW_STARTS: Final = 8
_MANY_PATHS, _FEW_PATHS = 8, 4
"""Of so many paths, the best, every choice is tried; of fewer, where there are many branches."""

_POINTERS: Final = (
    "large_payloads= lets publishers send pointers, of which SNS sees no payload: register handlers with policies for "
    "attributes, and it can filter by these"
)

Branches: TypeAlias = list[Branch]


@dataclass(frozen=True, slots=True)
class SnsFilterPolicy:
    """The filter policy for a subscription, or why there is none. ``str`` gives the policy as JSON."""

    policy: dict[str, Any] | None
    """The value of ``FilterPolicy``, as a dict; None where any policy would lose messages."""

    reason: str = ""
    """Why there is none: which handler would lose messages, and what it asks for."""

    scope: Scope = "MessageBody"
    """The value of ``FilterPolicyScope``."""

    def __str__(self) -> str:
        """Give the policy as JSON, or the reason."""
        return f"no policy: {self.reason}" if self.policy is None else json.dumps(self.policy)


def derive_sns_filter_policy(
    handlers: Sequence[Handler], *, json_only: bool = False, has_pointers: bool = False
) -> SnsFilterPolicy:
    """Return a policy that lets through every JSON object that one of *handlers* would match.

    With *json_only*, no publisher sends objects as BSON, which no policy for bodies lets through; with *has_pointers*,
    some send pointers to payloads that lie elsewhere, neither. Where all handlers
    ask by policies for attributes, it is one for attributes, and lets through every message that one would match.
    """
    by_attributes = [attribute_branches_of(handler) for handler in handlers]
    if handlers and all(by_attributes):
        return _derive(handlers, [own or [] for own in by_attributes], "MessageAttributes")
    reason = _POINTERS if has_pointers else _find_obstacle(handlers, json_only)
    if reason:
        return SnsFilterPolicy(None, reason)
    return _derive(handlers, list(map(branches_of, handlers)), "MessageBody")


def _derive(handlers: Sequence[Handler], branches_of_each: Sequence[Branches], scope: Scope) -> SnsFilterPolicy:
    branches: Branches = []
    owners: list[Handler] = []
    for handler, own in zip(handlers, branches_of_each, strict=True):
        if not all(own):
            return SnsFilterPolicy(
                None, f"{_name(handler)} asks for nothing that SNS can ask for: {describe_rules(handler)}", scope
            )
        branches += own
        owners += [handler] * len(own)
    if not branches:
        return SnsFilterPolicy(None, "no handler ever matches, and a policy cannot refuse everything", scope)
    policy = _fit(branches, scope) or _fit(_without_wildcards(branches), scope)
    if policy is None:
        return SnsFilterPolicy(
            None,
            f"what {_name(odd := _find_odd_one(branches, owners))} and the others ask for does not fit into a policy "
            f"of five keys and 150 values: {describe_rules(odd)}",
            scope,
        )
    return SnsFilterPolicy(policy, scope=scope)


def _find_odd_one(branches: Branches, owners: Sequence[Handler]) -> Handler:
    """Return a handler that asks at none of the paths at which most others do."""
    paths = set(islice(_cover(branches), _KEYS))
    return next((owner for branch, owner in zip(branches, owners, strict=True) if not paths & branch.keys()), owners[0])


def _find_obstacle(handlers: Sequence[Handler], json_only: bool) -> str:
    if not handlers:
        return "no handler is registered"
    for handler in handlers:
        if handler.kind in (Kind.TEXT, Kind.BINARY):
            return f"{_name(handler)} takes {handler.kind.value}, which a policy for bodies cuts off"
        if attribute_branches_of(handler) is not None:
            return (
                f"{_name(handler)} asks for attributes, and others for bodies: a subscription has a policy for one of "
                "them only"
            )
        if handler.kind is Kind.ANY:
            return f"{_name(handler)} takes messages of every kind, and a policy for bodies cuts off text and bytes"
        if handler.matches_everything and handler.kind is Kind.DATA:
            return f"{_name(handler)} matches every data object"
    if not json_only:
        return (
            f"{_name(handlers[0])} may get objects that travel as BSON, which a policy for bodies cuts off: "
            "if all publishers send JSON, say json_only=True"
        )
    return ""


def _name(handler: Handler) -> str:
    return f"{handler.name} ({handler.where})"


def _without_wildcards(branches: Branches) -> Branches:
    return [{path: without_wildcards(asked) for path, asked in branch.items()} for branch in branches]


def _fit(branches: Branches, scope: Scope) -> dict[str, Any] | None:
    """Return the tightest policy within SNS's limits for *branches*, as far as some choices of keys show."""
    branches = _loosen(branches)
    branches = _drop_doubles(_keep(_find_usable(branches), branches))
    if not all(branches):
        return None
    best: tuple[float, dict[str, Any]] | None = None
    for paths in _choose_paths(branches):
        kept = _keep(paths, branches)
        if not all(kept):
            continue
        merged = _merge(kept)
        for candidate in (merged, _unite(merged)):
            looseness = sum(prod(map(tightness, branch.values())) for branch in candidate)
            if _count(candidate) <= _COMBINATIONS and (best is None or looseness < best[0]):
                policy = _write(candidate)
                with suppress(PatternError):
                    read_filter_policy(policy, scope)
                    best = looseness, policy
    return best[1] if best else None


def _loosen(branches: Branches) -> Branches:
    """Ask for less at paths where more is asked than fits into a policy."""
    looser = {
        path: loosen(asked, _FEW_STARTS)
        for path, asked in _collect(branches).items()
        if len(asked) * len(path) > _COMBINATIONS
    }
    return [
        {
            path: frozenset().union(*(looser[path][each] for each in asked)) if path in looser else asked
            for path, asked in one.items()
        }
        for one in branches
    ]


def _find_usable(branches: Branches) -> set[Path]:
    """Return the paths at which all that is asked fits into a policy: each alternative is counted once at the least."""
    return {path for path, asked in _collect(branches).items() if len(asked) * len(path) <= _COMBINATIONS}


def _collect(branches: Branches) -> dict[Path, set[str]]:
    """Return all that is asked at each path."""
    asked: dict[Path, set[str]] = {}
    for branch in branches:
        for path, alternatives in branch.items():
            asked.setdefault(path, set()).update(alternatives)
    return asked


def _keep(paths: Set[Path], branches: Branches) -> Branches:
    return [{path: each for path, each in branch.items() if path in paths} for branch in branches]


def _choose_paths(branches: Branches) -> Iterator[frozenset[Path]]:
    """Give choices of paths that a policy has keys for: some that every branch has one of, and the best others."""
    worth: Counter[Path] = Counter()
    for branch in branches:
        for path, alternatives in branch.items():
            worth[path] += round(1_000 * (1 - tightness(alternatives)))
    most = _MANY_PATHS if len(branches) <= _FEW_BRANCHES else _FEW_PATHS
    best = [path for path, _ in worth.most_common()]
    paths = [*dict.fromkeys([*_cover(branches), *best])][:most]
    for size in range(1, min(_KEYS, len(paths)) + 1):
        yield from map(frozenset, combinations(paths, size))


def _cover(branches: Branches) -> Iterator[Path]:
    """Give paths of which every branch has one, the most common first."""
    left = branches
    while left:
        ((path, _),) = Counter(path for branch in left for path in branch).most_common(1)
        yield path
        left = [branch for branch in left if path not in branch]


def _merge(branches: Iterable[Branch]) -> Branches:
    """Join branches that differ at one path only, which loses nothing."""
    merged = _drop_doubles(branches)
    while True:
        before = len(merged)
        for path in sorted({path for branch in merged for path in branch}):
            merged = _merge_at(path, merged)
        if len(merged) == before:
            return merged


def _merge_at(path: Path, branches: Branches) -> Branches:
    alike: dict[frozenset[tuple[Path, Choices]], list[Branch]] = {}
    for branch in branches:
        rest = frozenset(item for item in branch.items() if item[0] != path)
        alike.setdefault(rest, []).append(branch)
    merged: Branches = []
    for group in alike.values():
        if all(path in branch for branch in group):
            merged.append({**group[0], path: frozenset().union(*(branch[path] for branch in group))})
        else:
            # Whoever does not ask at that path lets through what the others do.
            merged.append(next(branch for branch in group if path not in branch))
    return merged


def _drop_doubles(branches: Iterable[Branch]) -> Branches:
    return list({frozenset(branch.items()): branch for branch in branches}.values())


def _unite(branches: Branches) -> Branches:
    """Make one branch of all that ask at the same paths, which lets through more."""
    united: dict[frozenset[Path], dict[Path, Choices]] = {}
    for branch in branches:
        whole = united.setdefault(frozenset(branch), dict(branch))
        for path, alternatives in branch.items():
            whole[path] |= alternatives
    return _merge(united.values())


def _count(branches: Branches) -> int:
    """Return the combinations of values, as SNS counts them: those under deeper keys several times."""
    return sum(prod(len(each) * len(path) for path, each in branch.items()) for branch in branches)


def _write(branches: Branches) -> dict[str, Any]:
    """Return the policy, in which what all branches ask for stands outside of the ``$or``."""
    common = frozenset.intersection(*(frozenset(branch.items()) for branch in branches)) if len(branches) > 1 else ()
    policy = _nest({path: branches[0][path] for path in branches[0] if (path, branches[0][path]) in common})
    rest = [{path: each for path, each in branch.items() if (path, each) not in common} for branch in branches]
    if len(rest) == 1:
        return _nest(rest[0])
    return policy | ({"$or": [_nest(branch) for branch in rest]} if all(rest) else {})


def _nest(branch: Mapping[Path, Choices]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for path, alternatives in branch.items():
        inner = nested
        for key in path[:-1]:
            inner = inner.setdefault(key, {})
        inner[path[-1]] = [json.loads(each) for each in sorted(alternatives, key=_readable)]
    return nested


def _readable(alternative: str) -> tuple[bool, int, str]:
    """Sort values before operators, and short ones before long ones."""
    return alternative.startswith("{"), len(alternative), alternative
