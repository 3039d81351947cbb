"""Places in a filter policy: where SNS's parser stands when it refuses one, and what it says of text that is no JSON.

SNS reads with Jackson, whose place is behind the last character that it has read: of a number, ``true``, ``false`` or
``null`` all of it, of a text, a list or an object the first character alone.
https://github.com/FasterXML/jackson-core
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from megaflow.errors import PatternError
from megaflow.match.dialect import SNS
from megaflow.match.operators import read_alternatives

_SHOWN: Final = 500
"""Characters of a policy that are shown."""

_DECODER: Final = json.JSONDecoder()
_TOKEN: Final = re.compile(r"\w+")
_EXPECTED: Final = {
    "Expecting property name enclosed in double quotes": "double-quote to start field name",
    "Expecting ':' delimiter": "a colon to separate field name and value",
    "Expecting ',' delimiter": "comma to separate entries",
}
"""What Jackson was expecting, by what Python says."""


@dataclass(frozen=True, slots=True)
class _Node:
    """A value of a JSON text, and where it starts and ends."""

    value: _Value
    start: int
    end: int

    @property
    def reached(self) -> int:
        """Where the parser stands once it knows what it has before it."""
        return self.start + 1 if isinstance(self.value, str | list | dict) else self.end

    @property
    def items(self) -> list[_Node]:
        return self.value if isinstance(self.value, list) else []

    @property
    def entries(self) -> list[tuple[str, _Node]]:
        return list(self.value.items()) if isinstance(self.value, dict) else []


_Value: TypeAlias = str | int | float | bool | list[_Node] | dict[str, _Node] | None


def with_place(policy: str, reason: str) -> str:
    """Return what SNS says of a *policy* that is refused for *reason*: with the place, where it names one."""
    at = None if reason.startswith(("Malformed CIDR", "Nonstandard IP", "IPv")) else _find(policy, reason)
    if at is None:
        return reason
    more = f"[truncated {len(policy) - _SHOWN} chars]" if len(policy) > _SHOWN else ""
    return f'{reason}\n at [Source: (String)"{policy[:_SHOWN]}"{more}; {_line_and_column(policy, at)}]'


def why_no_json(text: str) -> str:
    """Return what SNS says of *text*, which is no JSON."""
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        said = _explain(text, error)
        return f"failed to parse JSON. {said}" if said else "failed to parse JSON."
    except RecursionError:
        pass
    return "failed to parse JSON."


def _explain(text: str, error: json.JSONDecodeError) -> str | None:
    at = error.pos
    token = _TOKEN.match(text, at)
    if error.msg == "Expecting value" and token:
        wanted = "(JSON String, Number, Array, Object or token 'null', 'true' or 'false')"
        return f"Unrecognized token '{token.group()}': was expecting {wanted}{_hidden(text, token.end())}"
    if error.msg in _EXPECTED and at < len(text):
        character = f"Unexpected character ('{text[at]}' (code {ord(text[at])}))"
        return f"{character}: was expecting {_EXPECTED[error.msg]}{_hidden(text, at)}"
    return None


def _hidden(text: str, at: int) -> str:
    source = "REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled)"
    return f"\n at [Source: {source}; {_line_and_column(text, at)}]"


def _line_and_column(text: str, at: int) -> str:
    return f"line: {text.count(chr(10), 0, at) + 1}, column: {at - text.rfind(chr(10), 0, at)}"


def _find(policy: str, reason: str) -> int | None:
    try:
        root = _parse(policy, 0)
    except (ValueError, IndexError, RecursionError):
        return None
    return next(_places(root, reason), None)


def _parse(text: str, at: int) -> _Node:
    """Read the value at *at*, of a text that is known to be JSON."""
    start = _skip(text, at)
    if text[start] == "[":
        return _parse_list(text, start)
    if text[start] == "{":
        return _parse_object(text, start)
    value, end = _DECODER.raw_decode(text, start)
    return _Node(value, start, end)


def _parse_list(text: str, start: int) -> _Node:
    items: list[_Node] = []
    at = _skip(text, start + 1)
    while text[at] != "]":
        items.append(_parse(text, at))
        at = _skip(text, items[-1].end, ",")
    return _Node(items, start, at + 1)


def _parse_object(text: str, start: int) -> _Node:
    entries: dict[str, _Node] = {}
    at = _skip(text, start + 1)
    while text[at] != "}":
        key, end = _DECODER.raw_decode(text, at)
        entries[key] = _parse(text, _skip(text, end, ":"))
        at = _skip(text, entries[key].end, ",")
    return _Node(entries, start, at + 1)


def _skip(text: str, at: int, delimiter: str = "") -> int:
    while text[at] in f" \t\n\r{delimiter}":
        at += 1
    return at


def _places(part: _Node, reason: str) -> Iterator[int]:
    """Go through the places within an object of the policy at which it may be refused for *reason*."""
    if not part.entries and reason == "Empty objects are not allowed":
        yield part.end
    for key, inner in part.entries:
        if key == "$or" and all(isinstance(each.value, dict) for each in inner.items):
            for each in inner.items:
                yield from _places(each, reason)
        if isinstance(inner.value, list):
            yield from _places_in_list(inner, reason)
        elif isinstance(inner.value, dict):
            yield from _places(inner, reason)
        elif reason == f'"{key}" must be an object or an array':
            yield inner.reached


def _places_in_list(part: _Node, reason: str) -> Iterator[int]:
    if not part.items and reason == "Empty arrays are not allowed":
        yield part.end
    for each in part.items:
        try:
            read_alternatives([_plain(each)], "", SNS)
        except PatternError as error:
            if error.reason == reason:
                yield _place_in(each, reason)


def _plain(node: _Node) -> Any:
    if isinstance(node.value, list):
        return [_plain(each) for each in node.value]
    if isinstance(node.value, dict):
        return {key: _plain(each) for key, each in node.value.items()}
    return node.value


def _place_in(alternative: _Node, reason: str) -> int:
    """Return the place within an alternative that is refused for *reason*."""
    if not isinstance(alternative.value, dict):
        return alternative.reached
    if len(alternative.entries) != 1:
        return alternative.entries[1][1].reached if alternative.entries else alternative.end
    ((name, operand),) = alternative.entries
    if name == "numeric" and isinstance(operand.value, list):
        return _place_in_numeric(operand, reason)
    if name == "anything-but" and isinstance(operand.value, dict):
        return _place_in(operand, reason)
    if name == "anything-but" and isinstance(operand.value, list):
        return _place_in_denied(operand)
    # What is wrong with a text is known once it is read to its end.
    return operand.end if isinstance(operand.value, str) and "must be" not in reason else operand.reached


def _place_in_denied(operand: _Node) -> int:
    wrong = (each for each in operand.items if isinstance(each.value, bool | list | dict | None))
    return next((each.reached for each in wrong), operand.end)


def _place_in_numeric(operand: _Node, reason: str) -> int:
    terms = operand.items
    if reason.startswith("Invalid member"):
        return _reached(operand, 0)
    if reason.startswith("Unrecognized"):
        return _reached(operand, 1)
    if reason.startswith("Value of"):
        return _reached(operand, 3 if len(terms) > 2 and isinstance(terms[1].value, int | float) else 1)
    if reason.startswith(("Too many elements", "Bad value")):
        return _reached(operand, 2)
    if reason.startswith("Bad numeric"):
        return terms[2].end
    return _reached(operand, 4) if reason.startswith("Too many terms") else operand.end


def _reached(terms: _Node, place: int) -> int:
    """Return where the parser stands at a term, or behind the list that has none there."""
    return terms.items[place].reached if place < len(terms.items) else terms.end
