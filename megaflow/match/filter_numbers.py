"""Numbers in AWS's filter language: the ranges that ``numeric`` takes, and how they compare.

https://docs.aws.amazon.com/sns/latest/dg/numeric-value-matching.html
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Final, TypeAlias, TypeGuard

from megaflow.errors import PatternError
from megaflow.match.dialect import Dialect, ValueTest

AnyNumber: TypeAlias = int | float | Decimal


def is_number(value: object) -> TypeGuard[AnyNumber]:
    """Tell whether *value* is a number, which neither true is nor a `Decimal` that is not finite."""
    if isinstance(value, Decimal):
        return value.is_finite()
    return isinstance(value, int | float) and not isinstance(value, bool)


def rounded(number: AnyNumber, decimals: int) -> float:
    """Return *number* as numbers are compared: up to so many decimals, a `Decimal` as the float it would be in JSON."""
    return round(float(number) if isinstance(number, Decimal) else number, decimals)


def read_numeric(operand: object, path: str, dialect: Dialect) -> ValueTest:
    """Return the test that *operand*, the list of one or two comparisons, asks for; raise `PatternError` for others."""
    if not isinstance(operand, list):
        raise PatternError("Value of numeric must be an array.", path)
    name, bound = _read_first(operand, path, dialect)
    first = _comparison(name, bound, dialect)
    if len(operand) < 3:
        return first
    if name not in {">", ">="}:
        raise PatternError("Too many elements in numeric expression", path)
    top_name, top = _read_second(operand[2:], path, dialect)
    if len(operand) > 4:
        raise PatternError("Too many terms in numeric range expression", path)
    if bound >= top:
        raise PatternError("Bottom must be less than top", path)
    second = _comparison(top_name, top, dialect)
    return lambda value: first(value) and second(value)


def _read_first(terms: Sequence[object], path: str, dialect: Dialect) -> tuple[str, AnyNumber]:
    name = terms[0] if terms else "]"
    if not terms or not isinstance(name, str):
        raise PatternError(f"Invalid member in numeric match: {name}", path)
    if name not in _COMPARISONS:
        raise PatternError(f"Unrecognized numeric range operator: {name}", path)
    return name, _read_bound(name, terms[1:2], path, dialect)


def _read_second(terms: Sequence[object], path: str, dialect: Dialect) -> tuple[str, AnyNumber]:
    name = terms[0]
    if not isinstance(name, str):
        raise PatternError(f"Bad value in numeric range: {name}", path)
    if name not in {"<", "<="}:
        raise PatternError(f"Bad numeric range operator: {name}", path)
    return name, _read_bound(name, terms[1:2], path, dialect)


def _read_bound(name: str, terms: Sequence[object], path: str, dialect: Dialect) -> AnyNumber:
    bound = terms[0] if terms else None
    if not is_number(bound):
        raise PatternError(f"Value of {'equals' if name == '=' else name} must be numeric", path)
    if not -dialect.limit <= bound <= dialect.limit:
        raise PatternError(f"Value must be between {-dialect.limit} and {dialect.limit}, inclusive", path)
    return bound


def _comparison(name: str, bound: AnyNumber, dialect: Dialect) -> ValueTest:
    compare, decimals = _COMPARISONS[name], dialect.decimals
    limit = rounded(bound, decimals)
    return lambda value: is_number(value) and compare(rounded(value, decimals), limit)


_COMPARISONS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
