"""The two languages that AWS filters are written in, and where they differ.

https://docs.aws.amazon.com/sns/latest/dg/sns-subscription-filter-policies.html
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html
"""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass
from typing import Final, TypeAlias

Value: TypeAlias = object
"""A leaf of a message: what JSON has there, and what else may stand in a payload."""

ValueTest: TypeAlias = Callable[[Value], bool]
"""Asked about one value. Never raises."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """What one of the services makes of the language that they share."""

    operators: Set[str]
    """The operators there are."""

    denied: Set[str]
    """Those that ``anything-but`` takes."""

    combines: bool
    """Whether ``prefix`` and ``suffix`` take ``equals-ignore-case``, and the operators in ``anything-but`` lists."""

    limit: int
    """Numbers of a ``numeric`` lie between minus this and this."""

    decimals: int
    """Numbers are compared up to so many decimals."""

    exists: ValueTest
    """What ``"exists": true`` asks."""


_OPERATORS: Final = frozenset(
    ("anything-but", "cidr", "equals-ignore-case", "exists", "numeric", "prefix", "suffix", "wildcard")
)

# https://docs.aws.amazon.com/sns/latest/dg/subscription-filter-policy-constraints.html
SNS: Final = Dialect(
    operators=_OPERATORS,
    denied=frozenset(("prefix", "suffix", "wildcard")),
    combines=False,
    limit=10**9,
    decimals=5,
    # What is null or empty is neither there nor missing.
    exists=lambda value: value is not None and not (isinstance(value, str) and not value),
)

# The limits are those of the AWS page. The rest is as in https://github.com/aws/event-ruler, which has "exactly" too.
EVENTBRIDGE: Final = Dialect(
    operators=_OPERATORS | {"exactly"},
    denied=frozenset(("equals-ignore-case", "prefix", "suffix", "wildcard")),
    combines=True,
    limit=5 * 10**9,
    decimals=6,
    exists=lambda value: True,
)
