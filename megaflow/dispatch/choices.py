"""Choices: the values and operators under one key of an SNS filter policy, and how much they let through.

https://docs.aws.amazon.com/sns/latest/dg/string-value-matching.html
https://docs.aws.amazon.com/sns/latest/dg/attribute-key-matching.html
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final, TypeAlias

from megaflow.dispatch.fields import Path
from megaflow.match.dialect import SNS
from megaflow.match.operators import KEYWORDS, read_alternatives

Choices: TypeAlias = frozenset[str]
"""The values and operators under one key, as JSON."""

Branch: TypeAlias = Mapping[Path, Choices]
"""The alternatives at some paths, of which one has to hold each."""

NULL: Final = "null"
BLANK: Final = '""'
THERE: Final = '{"exists": true}'
"""Anything but null and empty text."""

NOT_THERE: Final = '{"exists": false}'
SOMETHING: Final[Choices] = frozenset({THERE})
ANY_TEXT: Final[Choices] = frozenset({THERE, BLANK})
PRESENT: Final[Choices] = frozenset({THERE, NULL, BLANK})
ANYTHING: Final[Choices] = PRESENT | {NOT_THERE}

LONGEST: Final = 200
"""Longer alternatives would fill a policy by themselves."""

_LOOSENESS: Final = {
    '{"exists': 0.5,
    '{"anythi': 0.5,
    '{"prefix': 0.1,
    '{"suffix': 0.1,
    '{"wildca': 0.1,
    '{"cidr":': 0.1,
    '{"equals': 0.02,
    '{"numeri': 0.2,
}

_WHATEVER_IS_THERE: Final = 0.99


def tightness(alternatives: Choices) -> float:
    """Return roughly which part of all values *alternatives* let through: the less, the better.

    Whatever they are, they keep out what lacks the key, unless they ask for that.
    """
    most = 1.0 if NOT_THERE in alternatives else _WHATEVER_IS_THERE
    return min(most, sum(_LOOSENESS.get(each[:8], 0.01) for each in alternatives))


def is_key(key: str) -> bool:
    """Tell whether a policy can have *key*, and for no operator."""
    return bool(key) and "." not in key and not key.startswith("$") and key not in KEYWORDS and len(key) < LONGEST


def without_what_is_said(alternatives: Choices) -> Choices:
    """Return the same without what is there anyway, where anything that is there will do."""
    return frozenset().union(*map(_loosest, alternatives)) if THERE in alternatives else alternatives


def loosen(asked: Collection[str], most: int) -> dict[str, Choices]:
    """Return what takes the place of each alternative: one of *most* starts of texts, or that there is a value."""
    values = {each: json.loads(each) for each in asked}
    for size in (32, 16, 8, 6, 5, 4, 3, 2, 1):
        starts = {each: _cut(each, value, size) for each, value in values.items()}
        if len(set(starts.values())) <= most:
            return {each: frozenset({start}) for each, start in starts.items()}
    return {each: _loosest(each) for each in asked}


def without_wildcards(alternatives: Choices) -> Choices:
    """Return the same without wildcards, of which a policy can have few, and with what lets through more."""
    return frozenset().union(*map(_loosest_wildcard, alternatives))


def _cut(alternative: str, value: Any, size: int) -> str:
    start = value.get("prefix") if isinstance(value, dict) else value
    if isinstance(start, str) and len(start) > size:
        return json.dumps({"prefix": start[:size]})
    return alternative


def _loosest_wildcard(alternative: str) -> Choices:
    return _loosest(alternative) if "wildcard" in alternative[:30] else frozenset({alternative})


def _loosest(alternative: str) -> Choices:
    """Return what lets through all that *alternative* does: null and empty text are not there, to SNS."""
    if alternative in ANYTHING:
        return frozenset({alternative})
    return frozenset({THERE, *_empty_values(alternative)})


def _empty_values(alternative: str) -> Iterator[str]:
    test = read_alternatives([json.loads(alternative)], "", SNS).test
    if test(None):
        yield NULL
    if test(""):
        yield BLANK
