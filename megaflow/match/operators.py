"""One condition on a value, in the words of AWS's own filter language.

Nothing here knows where values are found: a condition is asked about all the values found under one key, and about
none where the key is missing.

https://docs.aws.amazon.com/sns/latest/dg/string-value-matching.html
https://docs.aws.amazon.com/sns/latest/dg/numeric-value-matching.html
https://docs.aws.amazon.com/sns/latest/dg/attribute-key-matching.html
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any, Final, TypeAlias, TypeGuard

from megaflow.errors import PatternError

Value: TypeAlias = str | int | float | bool | None
"""What JSON has at its leaves."""

Test: TypeAlias = Callable[[Value], bool]
"""Asked about one value."""

Condition: TypeAlias = Callable[[Sequence[Value]], bool]
"""Asked about all the values found under one key."""

Number: TypeAlias = int | float

KEYWORDS: Final = frozenset(
    {
        *("exists", "anything-but", "exactly", "prefix", "suffix", "equals-ignore-case", "wildcard", "numeric", "cidr"),
        *("=", "<", "<=", ">", ">=", "regex", "not-wildcard", "not-equals-ignore-case"),
        *("date-after", "date-on-or-after", "date-before", "date-on-or-before", "in-date-range"),
        *("ip-address-in-range", "ip-address-not-in-range"),
    }
)
"""Names that AWS keeps for operators, some of them for later: no keys of what stands in ``$or``.

https://github.com/aws/event-ruler
"""

_DECIMALS: Final = 5
_RANGE: Final = 10**9
"""Numbers of a ``numeric`` lie between minus this and this, and are compared up to so many decimals.

https://docs.aws.amazon.com/sns/latest/dg/subscription-filter-policy-constraints.html
"""

_WILDCARD_TOKEN: Final = re.compile(r"([^*\\]+)|\\([*\\])|(\*)(?!\*)|(.)", re.DOTALL)


def read_alternatives(alternatives: Sequence[object], path: str) -> Condition:
    """Return the condition that one of *alternatives*, the list under the key *path*, holds for one of the values.

    Raises:
        PatternError: one of them is neither a value nor a known operator with an operand it takes.
    """
    if not alternatives:
        raise PatternError("Empty arrays are not allowed", path)
    conditions = [_read_expression(each, path) for each in alternatives if isinstance(each, dict)]
    exact = frozenset(_comparable(_need_value(each, path)) for each in alternatives if not isinstance(each, dict))

    def holds(values: Sequence[Value]) -> bool:
        return any(_comparable(value) in exact for value in values) or any(each(values) for each in conditions)

    return holds


def only_item(expression: Mapping[str, Any], path: str) -> tuple[str, Any]:
    """Return the operator and the operand of *expression*, an object with one key."""
    if not expression:
        raise PatternError("Match expression name not found", path)
    if len(expression) > 1:
        raise PatternError("Only one key allowed in match expression", path)
    return next(iter(expression.items()))


def split_wildcard(text: str, path: str) -> list[str]:
    """Return what stands between the ``*`` of *text*; a backslash lets one, or a backslash, stand for itself."""
    pieces = [""]
    for token in _WILDCARD_TOKEN.finditer(text):
        plain, escaped, star, wrong = token.groups()
        if wrong:
            what = "Consecutive wildcard characters" if wrong == "*" else "Invalid escape character"
            raise PatternError(f"{what} at pos {token.start()}", path)
        if star:
            pieces.append("")
        else:
            pieces[-1] += plain or escaped
    return pieces


def _read_expression(expression: Mapping[str, object], path: str) -> Condition:
    name, operand = only_item(expression, path)
    if name == "exists":
        return _exists(operand, path)
    if name not in _OPERATORS:
        raise PatternError(f"Unrecognized match type {name}", path)
    test = _OPERATORS[name](operand, path)
    return lambda values: any(test(value) for value in values)


def _exists(operand: object, path: str) -> Condition:
    if not isinstance(operand, bool):
        raise PatternError("exists match pattern must be either true or false.", path)
    # What is null or empty is neither there nor missing.
    return (lambda values: any(value not in {None, ""} for value in values)) if operand else (lambda values: not values)


def _prefix(operand: object, path: str) -> Test:
    start = _need_text("prefix", operand, path)
    return lambda value: isinstance(value, str) and value.startswith(start)


def _suffix(operand: object, path: str) -> Test:
    end = _need_text("suffix", operand, path)
    return lambda value: isinstance(value, str) and value.endswith(end)


def _equals_ignore_case(operand: object, path: str) -> Test:
    lowered = _need_text("equals-ignore-case", operand, path).lower()
    return lambda value: isinstance(value, str) and value.lower() == lowered


def _wildcard(operand: object, path: str) -> Test:
    pieces = split_wildcard(_need_text("wildcard", operand, path), path)
    return lambda value: isinstance(value, str) and _has_pieces(value, pieces)


def _has_pieces(text: str, pieces: Sequence[str]) -> bool:
    if len(pieces) == 1:
        return text == pieces[0]
    start, *between, end = pieces
    at, stop = len(start), len(text) - len(end)
    if at > stop or not text.startswith(start) or not text.endswith(end):
        return False
    for piece in between:
        found = text.find(piece, at, stop)
        if found < 0:
            return False
        at = found + len(piece)
    return True


def _cidr(operand: object, path: str) -> Test:
    network = _read_network(_need_text("cidr", operand, path), path)

    def test(value: Value) -> bool:
        try:
            return isinstance(value, str) and ip_address(value) in network
        except ValueError:
            return False

    return test


def _read_network(text: str, path: str) -> IPv4Network | IPv6Network:
    address, slash, bits = text.partition("/")
    if not slash or "/" in bits:
        raise PatternError("Malformed CIDR, one '/' required", path)
    if not (bits.isascii() and bits.isdecimal()):
        raise PatternError("Malformed CIDR, mask bits must be an integer", path)
    try:
        return ip_network(text, strict=False)
    except ValueError:
        raise PatternError(f"Nonstandard IP address: {address}, or too many mask bits: {bits}", path) from None


def _numeric(operand: object, path: str) -> Test:
    if not isinstance(operand, list):
        raise PatternError("Value of numeric must be an array.", path)
    name, bound = _read_first(operand, path)
    first = _comparison(name, bound)
    if len(operand) < 3:
        return first
    if name not in {">", ">="}:
        raise PatternError("Too many elements in numeric expression", path)
    top_name, top = _read_second(operand[2:], path)
    if len(operand) > 4:
        raise PatternError("Too many terms in numeric range expression", path)
    if bound >= top:
        raise PatternError("Bottom must be less than top", path)
    second = _comparison(top_name, top)
    return lambda value: first(value) and second(value)


def _read_first(terms: Sequence[object], path: str) -> tuple[str, Number]:
    name = terms[0] if terms else "]"
    if not terms or not isinstance(name, str):
        raise PatternError(f"Invalid member in numeric match: {name}", path)
    if name not in _COMPARISONS:
        raise PatternError(f"Unrecognized numeric range operator: {name}", path)
    return name, _read_bound(name, terms[1:2], path)


def _read_second(terms: Sequence[object], path: str) -> tuple[str, Number]:
    name = terms[0]
    if not isinstance(name, str):
        raise PatternError(f"Bad value in numeric range: {name}", path)
    if name not in {"<", "<="}:
        raise PatternError(f"Bad numeric range operator: {name}", path)
    return name, _read_bound(name, terms[1:2], path)


def _read_bound(name: str, terms: Sequence[object], path: str) -> Number:
    bound = terms[0] if terms else None
    if not _is_number(bound):
        raise PatternError(f"Value of {'equals' if name == '=' else name} must be numeric", path)
    if abs(bound) > _RANGE:
        raise PatternError(f"Value must be between {-_RANGE} and {_RANGE}, inclusive", path)
    return bound


def _comparison(name: str, bound: Number) -> Test:
    compare, limit = _COMPARISONS[name], round(bound, _DECIMALS)
    return lambda value: _is_number(value) and compare(round(value, _DECIMALS), limit)


def _anything_but(operand: object, path: str) -> Test:
    denied = _denied_expression(operand, path) if isinstance(operand, dict) else _denied_values(operand, path)
    return lambda value: not denied(value)


def _denied_expression(expression: Mapping[str, object], path: str) -> Test:
    name, operand = only_item(expression, path)
    if name not in {"prefix", "suffix", "wildcard"}:
        raise PatternError(f"Unsupported anything-but pattern: {name}", path)
    if operand == "":
        raise PatternError(f"Null {name} not allowed", path)
    return _OPERATORS[name](operand, path)


def _denied_values(operand: object, path: str) -> Test:
    values = operand if isinstance(operand, list) else [operand]
    texts = [value for value in values if isinstance(value, str)]
    numbers = [value for value in values if _is_number(value)]
    if len(texts) + len(numbers) < len(values):
        raise PatternError("Inside anything but list, start|null|boolean is not supported.", path)
    if bool(texts) == bool(numbers):
        raise PatternError(
            "Inside anything but list, either all values are number or string, mixed type is not supported", path
        )
    denied = frozenset(map(_comparable, texts or numbers))
    return lambda value: _comparable(value) in denied


def _need_text(name: str, operand: object, path: str) -> str:
    if not isinstance(operand, str):
        raise PatternError(f"{name} match pattern must be a string", path)
    return operand


def _need_value(value: object, path: str) -> Value:
    if value is None or isinstance(value, str | int | float):
        return value
    raise PatternError("Match value must be String, number, true, false, or null", path)


def _is_number(value: object) -> TypeGuard[Number]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _comparable(value: Value) -> Hashable:
    """Return what is equal for values that are: 1 and 1.0, and neither 1 and true nor 1 and ``"1"``."""
    if isinstance(value, bool):
        return (value,)  # in Python, True is 1
    return round(value, _DECIMALS) if isinstance(value, int | float) else value


_COMPARISONS: Final[Mapping[str, Callable[[Number, Number], bool]]] = {
    "=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_OPERATORS: Final[Mapping[str, Callable[[object, str], Test]]] = {
    "anything-but": _anything_but,
    "cidr": _cidr,
    "equals-ignore-case": _equals_ignore_case,
    "numeric": _numeric,
    "prefix": _prefix,
    "suffix": _suffix,
    "wildcard": _wildcard,
}
