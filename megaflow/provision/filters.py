"""Filter policies compared: whether one lets through all that another does, and one that lets through what both do.

Where that is not certain, the answer is no: a filter that is taken for a narrower one is only changed when that is
asked for, and one that was wrongly taken for a wider one would lose messages.

https://docs.aws.amazon.com/sns/latest/dg/sns-subscription-filter-policies.html
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any, Final, TypeAlias

from megaflow.errors import PatternError
from megaflow.match.dialect import SNS
from megaflow.match.filter_numbers import is_number, rounded
from megaflow.match.filter_tree import Either, Field, Part, read_json, read_tree
from megaflow.match.filters import Scope, read_filter_policy
from megaflow.match.operators import Alternatives, read_alternatives

Policy: TypeAlias = Mapping[str, Any]

_THERE: Final = {"exists": True}
_NOT_THERE: Final = {"exists": False}
_NOT_THERE_VALUES: Final = (None, "")
"""What ``"exists": true`` does not let through, although there is a value."""


def lets_through_all(policy: Policy, other: Policy) -> bool:
    """Tell whether *policy* lets through everything that *other* does, both of one scope: False where unsure."""
    try:
        wide, narrow = list(_ways(_read(policy))), list(_ways(_read(other)))
    except PatternError:
        return False
    return all(any(_includes(one, way) for one in wide) for way in narrow)


def widen(policy: Policy, by: Policy, scope: Scope) -> dict[str, Any] | None:
    """Return the policy that lets through what *policy* or *by* does; None where SNS has no room for it."""
    added = [each for each in _alternatives(by) if not lets_through_all(policy, each)]
    alternatives = [*_alternatives(policy), *added]
    widened: dict[str, Any] = {"$or": alternatives} if len(alternatives) > 1 else dict(policy)
    try:
        read_filter_policy(widened, scope)
    except PatternError:
        return None
    is_sound = lets_through_all(widened, policy) and lets_through_all(widened, by)
    return widened if is_sound else None


def _read(policy: Policy) -> Part:
    return read_tree(read_json(dict(policy)), SNS)


def _ways(part: Part) -> Iterator[tuple[Field, ...]]:
    """Give the ways to match *part*: fields, all of which have to."""
    if isinstance(part, Field):
        yield (part,)
    elif isinstance(part, Either):
        for each in part.parts:
            yield from _ways(each)
    else:
        for chosen in product(*map(_ways, part.parts)):
            yield tuple(field for fields in chosen for field in fields)


def _includes(wide: Iterable[Field], narrow: Sequence[Field]) -> bool:
    """Tell whether whatever matches all of *narrow* matches all of *wide*."""
    return all(any(field.name == asked.name and _allows(asked, field.written) for field in narrow) for asked in wide)


def _allows(field: Field, alternatives: Iterable[object]) -> bool:
    """Tell whether *field* holds wherever one of the *alternatives* under the same key does."""
    return all(_allows_one(field, each) for each in alternatives)


def _allows_one(field: Field, alternative: object) -> bool:
    if not isinstance(alternative, dict):
        return field.alternatives.test(alternative)
    if alternative in field.written:
        return True
    if alternative == _NOT_THERE:
        return False
    if _THERE in field.written:
        own = _read_one(alternative).test
        return all(field.alternatives.test(value) for value in _NOT_THERE_VALUES if own(value))
    return any(isinstance(each, dict) and _is_wider(each, alternative) for each in field.written)


def _read_one(alternative: object) -> Alternatives:
    return read_alternatives([alternative], "", SNS)


def _is_wider(operator: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Tell whether *operator* holds wherever *other*, of the same name, does."""
    ((name, operand),), ((other_name, other_operand),) = operator.items(), other.items()
    if name != other_name:
        return False
    if name == "prefix":
        return str(other_operand).startswith(operand)
    if name == "suffix":
        return str(other_operand).endswith(operand)
    if name == "numeric":
        low, high = _read_range(operand)
        other_low, other_high = _read_range(other_operand)
        return low <= other_low and other_high <= high
    if name == "anything-but":
        return _denied(operand) <= _denied(other_operand)
    return False


def _read_range(terms: Sequence[Any]) -> tuple[tuple[float, int], tuple[float, int]]:
    """Return where a ``numeric`` begins and ends; what does not belong to it is next to it, by one."""
    low, high = (-math.inf, 0), (math.inf, 0)
    for name, bound in zip(terms[::2], map(_round, terms[1::2]), strict=True):
        if name in ("=", ">", ">="):
            low = bound, int(name == ">")
        if name in ("=", "<", "<="):
            high = bound, -int(name == "<")
    return low, high


def _round(bound: Any) -> float:
    return rounded(bound, SNS.decimals)


def _denied(operand: object) -> frozenset[str]:
    """Return the values, or the one operator, that an ``anything-but`` denies, each as it compares."""
    several = operand if isinstance(operand, list) else [operand]
    return frozenset(json.dumps(_round(each) if is_number(each) else each, sort_keys=True) for each in several)


def _alternatives(policy: Policy) -> list[dict[str, Any]]:
    """Return the objects of which one has to match, as far as they can be told apart at the top."""
    inner = policy.get("$or")
    if not (isinstance(inner, list) and len(inner) > 1 and all(isinstance(each, dict) for each in inner)):
        return [dict(policy)]
    common = {key: value for key, value in policy.items() if key != "$or"}
    joined = [_join(common, each) for each in inner]
    several = [each for each in joined if each is not None]
    return several if len(several) == len(inner) else [dict(policy)]


def _join(one: Policy, other: Policy) -> dict[str, Any] | None:
    """Return the object that asks for what both ask; None where both ask at one key."""
    joined = dict(one)
    for key, value in other.items():
        if key in joined:
            both = isinstance(value, dict) and isinstance(joined[key], dict)
            value = _join(joined[key], value) if both else None
            if value is None:
                return None
        joined[key] = value
    return joined
