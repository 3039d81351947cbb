"""Operators of AWS's filter language: one condition on a value.

Nothing here knows where values are found: a condition is asked about all the values found under one key, and about
none where the key is missing. Conditions never raise, whatever the values.

https://docs.aws.amazon.com/sns/latest/dg/string-value-matching.html
https://docs.aws.amazon.com/sns/latest/dg/numeric-value-matching.html
https://docs.aws.amazon.com/sns/latest/dg/attribute-key-matching.html
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any, Final

from megaflow.errors import PatternError
from megaflow.match.dialect import Dialect, Value, ValueTest
from megaflow.match.filter_numbers import is_number, read_numeric, rounded
from megaflow.match.ip_addresses import is_address_of
from megaflow.match.wildcards import has_pieces


@dataclass(frozen=True, slots=True)
class Alternatives:
    """The list under one key, of which one has to hold."""

    test: ValueTest
    """Tells whether one of them holds for a value."""

    missing: bool
    """Whether one of them holds where there is no value."""

    only: frozenset[str | bool | None]
    """The values themselves, where they are nothing but texts, booleans and null; otherwise nothing."""

    def hold(self, values: Sequence[Value]) -> bool:
        """Tell whether they hold for one of all the *values* found under the key."""
        return any(map(self.test, values)) or (self.missing and not values)


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

_NOTHING: Final = object()
_WILDCARD_TOKEN: Final = re.compile(r"([^*\\]+)|\\([*\\])|(\*)(?!\*)|(.)", re.DOTALL)


def read_alternatives(alternatives: Sequence[object], path: str, dialect: Dialect) -> Alternatives:
    """Return what *alternatives*, the list under the key *path*, say.

    Raises:
        PatternError: one of them is neither a value nor a known operator with an operand it takes.
    """
    if not alternatives:
        raise PatternError("Empty arrays are not allowed", path)
    values: list[Value] = []
    tests: list[ValueTest] = []
    # In the order in which they stand: of several that are wrong, AWS names the first.
    for each in alternatives:
        if isinstance(each, dict):
            tests.append(_read_expression(*only_item(each, path), path, dialect))
        else:
            values.append(_need_value(each, path))
    return Alternatives(
        _any_of([_one_of(values, dialect), *tests]),
        {"exists": False} in alternatives,
        _only(values) if not tests else frozenset(),
    )


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


def _read_expression(name: str, operand: object, path: str, dialect: Dialect) -> ValueTest:
    if name not in dialect.operators:
        raise PatternError(f"Unrecognized match type {name}", path)
    return _OPERATORS[name](operand, path, dialect)


def _exists(operand: object, path: str, dialect: Dialect) -> ValueTest:
    if not isinstance(operand, bool):
        raise PatternError("exists match pattern must be either true or false.", path)
    return dialect.exists if operand else lambda value: False


def _exactly(operand: object, path: str, dialect: Dialect) -> ValueTest:
    return _one_of([_need_text("exact", operand, path)], dialect)


def _prefix(operand: object, path: str, dialect: Dialect) -> ValueTest:
    text, fold = _read_end("prefix", operand, path, dialect)
    return lambda value: isinstance(value, str) and fold(value).startswith(text)


def _suffix(operand: object, path: str, dialect: Dialect) -> ValueTest:
    text, fold = _read_end("suffix", operand, path, dialect)
    return lambda value: isinstance(value, str) and fold(value).endswith(text)


def _read_end(name: str, operand: object, path: str, dialect: Dialect) -> tuple[str, Callable[[str], str]]:
    """Return how values start or end, and what to make of them before they are asked."""
    if not (dialect.combines and isinstance(operand, dict)):
        return _need_text(name, operand, path), str
    inner, text = only_item(operand, path)
    if inner != "equals-ignore-case":
        raise PatternError(f"Unsupported {name} pattern: {inner}", path)
    return _lowered(_need_text(inner, text, path)), _lowered


def _equals_ignore_case(operand: object, path: str, dialect: Dialect) -> ValueTest:
    lowered = _lowered(_need_text("equals-ignore-case", operand, path))
    return lambda value: isinstance(value, str) and _lowered(value) == lowered


def _lowered(text: str) -> str:
    """Return *text* with every letter lowered by itself: Python alone looks at what stands around a Greek sigma."""
    return text.lower() if text.isascii() else "".join(map(str.lower, text))


def _wildcard(operand: object, path: str, dialect: Dialect) -> ValueTest:
    pieces = split_wildcard(_need_text("wildcard", operand, path), path)
    return lambda value: isinstance(value, str) and has_pieces(value, pieces)


def _cidr(operand: object, path: str, dialect: Dialect) -> ValueTest:
    # AWS calls it so here, too.
    network = _read_network(_need_text("prefix", operand, path), path)
    return lambda value: isinstance(value, str) and is_address_of(value, network)


def _read_network(text: str, path: str) -> IPv4Network | IPv6Network:
    address, slash, bits = text.partition("/")
    if not slash or "/" in bits:
        raise PatternError("Malformed CIDR, one '/' required", path)
    if not (bits.isascii() and bits.isdecimal()):
        raise PatternError("Malformed CIDR, mask bits must be an integer", path)
    try:
        longest = ip_address(address).max_prefixlen
    except ValueError:
        raise PatternError(f"Nonstandard IP address: {address}", path) from None
    # A block of one address is none to AWS.
    if len(bits) > 3 or int(bits) >= longest:
        raise PatternError(f"IPv{4 if longest == 32 else 6} mask bits must be < {longest}", path)
    return ip_network(text, strict=False)


def _anything_but(operand: object, path: str, dialect: Dialect) -> ValueTest:
    read = _denied_expression if isinstance(operand, dict) else _denied_values
    denied = read(operand, path, dialect)
    return lambda value: not denied(value)


def _denied_expression(expression: Any, path: str, dialect: Dialect) -> ValueTest:
    name, operand = only_item(expression, path)
    if name not in dialect.denied:
        raise PatternError(f"Unsupported anything-but pattern: {name}", path)
    texts = operand if dialect.combines and isinstance(operand, list) else [operand]
    if not texts:
        raise PatternError("Empty arrays are not allowed", path)
    return _any_of([_denied_text(name, text, path, dialect) for text in texts])


def _denied_text(name: str, operand: object, path: str, dialect: Dialect) -> ValueTest:
    text = _need_text(name, operand, path)
    if not text and name in {"prefix", "suffix"}:
        raise PatternError(f"Null {name} not allowed", path)
    return _OPERATORS[name](text, path, dialect)


def _denied_values(operand: Any, path: str, dialect: Dialect) -> ValueTest:
    values = operand if isinstance(operand, list) else [operand]
    texts = [value for value in values if isinstance(value, str)]
    numbers = [value for value in values if is_number(value)]
    if len(texts) + len(numbers) < len(values):
        raise PatternError("Inside anything but list, start|null|boolean is not supported.", path)
    if bool(texts) == bool(numbers):
        raise PatternError(
            "Inside anything but list, either all values are number or string, mixed type is not supported", path
        )
    return _one_of(values, dialect)


def _any_of(tests: Sequence[ValueTest]) -> ValueTest:
    return tests[0] if len(tests) == 1 else lambda value: any(test(value) for test in tests)


def _one_of(values: Sequence[object], dialect: Dialect) -> ValueTest:
    decimals = dialect.decimals
    wanted = frozenset(_comparable(value, decimals) for value in values)
    return lambda value: _comparable(value, decimals) in wanted


def _only(values: Sequence[Any]) -> frozenset[str | bool | None]:
    return frozenset() if any(map(is_number, values)) else frozenset(values)


def _need_text(name: str, operand: object, path: str) -> str:
    if not isinstance(operand, str):
        raise PatternError(f"{name} match pattern must be a string", path)
    return operand


def _need_value(value: object, path: str) -> Value:
    if value is None or isinstance(value, str | int | float):
        return value
    raise PatternError("Match value must be String, number, true, false, or null", path)


def _comparable(value: Value, decimals: int) -> Hashable:
    """Return what is equal for values that are: 1 and 1.0, and neither 1 and true nor 1 and ``"1"``."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return (value,)  # in Python, True is 1
    return rounded(value, decimals) if is_number(value) else _NOTHING


_OPERATORS: Final[Mapping[str, Callable[[object, str, Dialect], ValueTest]]] = {
    "anything-but": _anything_but,
    "cidr": _cidr,
    "equals-ignore-case": _equals_ignore_case,
    "exactly": _exactly,
    "exists": _exists,
    "numeric": read_numeric,
    "prefix": _prefix,
    "suffix": _suffix,
    "wildcard": _wildcard,
}
