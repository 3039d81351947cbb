"""SNS filter policies: where in a message the values are found, and what a policy may ask of them.

https://docs.aws.amazon.com/sns/latest/dg/sns-subscription-filter-policies.html
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from math import prod
from typing import Any, Final, Literal, TypeAlias, TypeGuard, get_args

from megaflow.errors import PatternError
from megaflow.match.operators import KEYWORDS, Condition, Value, only_item, read_alternatives, split_wildcard

Scope: TypeAlias = Literal["MessageAttributes", "MessageBody"]
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)

Attributes: TypeAlias = Mapping[str, tuple[str, str | bytes]]
"""The message attributes by name, each with its data type and its value."""

FilterPolicy: TypeAlias = Callable[[str, Attributes], bool]
"""Tells of a body and its attributes whether a message is accepted. Never raises."""

Found: TypeAlias = Mapping[str, Sequence[Value]]
"""The values in a message, under keys joined by dots."""

# https://docs.aws.amazon.com/sns/latest/dg/subscription-filter-policy-constraints.html
_SIZE: Final = 262_144
_KEYS: Final = 5
_COMBINATIONS: Final = 150
_WILDCARDS: Final = 3
_WILDCARD_POINTS: Final = 100


@dataclass(frozen=True, slots=True)
class _Leaf:
    """A key with the list of alternatives under it; *depth* is 1 at the top of the policy."""

    name: str
    depth: int
    alternatives: Sequence[object]
    condition: Condition

    def holds(self, found: Found) -> bool:
        return self.condition(found.get(self.name, ()))

    def leaves(self) -> Iterator[_Leaf]:
        yield self

    def combinations(self) -> int:
        return len(self.alternatives) * self.depth


@dataclass(frozen=True, slots=True)
class _AllOf:
    """An object of a policy: all its keys have to match."""

    parts: Sequence[_Part]

    def holds(self, found: Found) -> bool:
        return all(part.holds(found) for part in self.parts)

    def leaves(self) -> Iterator[_Leaf]:
        return (leaf for part in self.parts for leaf in part.leaves())

    def combinations(self) -> int:
        return prod(part.combinations() for part in self.parts)


@dataclass(frozen=True, slots=True)
class _AnyOf:
    """The objects in an ``$or``: one of them has to match."""

    parts: Sequence[_Part]

    def holds(self, found: Found) -> bool:
        return any(part.holds(found) for part in self.parts)

    def leaves(self) -> Iterator[_Leaf]:
        return (leaf for part in self.parts for leaf in part.leaves())

    def combinations(self) -> int:
        return sum(part.combinations() for part in self.parts)


_Part: TypeAlias = _Leaf | _AllOf | _AnyOf


def read_filter_policy(policy: str | dict[str, Any], scope: Scope = "MessageAttributes") -> FilterPolicy:
    """Return the function that tells which messages *policy*, as JSON or as the dict, accepts.

    Values in a message that is no JSON are found nowhere, so that no policy for bodies accepts it.

    Raises:
        PatternError: the policy is not one that SNS takes, in the words of SNS where they are known.
    """
    try:
        part = _read_object(_read_json(policy), scope, "", 1)
        _check_limits(part)
    except RecursionError:
        raise PatternError("Filter policy is too complex") from None
    names = frozenset(leaf.name for leaf in part.leaves())
    return _on_bodies(part, names) if scope == "MessageBody" else _on_attributes(part, names)


def _read_json(policy: str | dict[str, Any]) -> dict[str, object]:
    try:
        text = policy if isinstance(policy, str) else json.dumps(policy)
        read = _load(text)
    except (TypeError, ValueError):
        raise PatternError("failed to parse JSON.") from None
    if len(text.encode(errors="surrogatepass")) > _SIZE:
        raise PatternError(f"Filter policy can not have more than {_SIZE} bytes")
    if not isinstance(read, dict):
        raise PatternError("Filter is not an object")
    return read


def _read_object(policy: Mapping[str, object], scope: Scope, path: str, depth: int) -> _AllOf:
    if not policy:
        raise PatternError("Empty objects are not allowed", path)
    return _AllOf([_read_entry(key, value, scope, path, depth) for key, value in policy.items()])


def _read_entry(key: str, value: object, scope: Scope, path: str, depth: int) -> _Part:
    if key == "$or" and _is_or(value):
        return _AnyOf([_read_object(each, scope, path, depth) for each in value])
    name = f"{path}.{key}" if depth > 1 else key
    if isinstance(value, list):
        return _Leaf(name, depth, value, read_alternatives(value, name))
    if not isinstance(value, dict):
        raise PatternError(f'"{key}" must be an object or an array', name)
    if scope == "MessageAttributes":
        raise PatternError("Filter policy scope MessageAttributes does not support nested filter policy", name)
    return _read_object(value, scope, name, depth + 1)


def _is_or(value: object) -> TypeGuard[list[dict[str, object]]]:
    """Tell whether what stands under ``$or`` makes that an operator, and not a key like any other.

    https://docs.aws.amazon.com/sns/latest/dg/and-or-logic.html
    """
    return (
        isinstance(value, list)
        and len(value) > 1
        and all(isinstance(each, dict) and not KEYWORDS & each.keys() for each in value)
    )


def _check_limits(part: _AllOf) -> None:
    """Refuse what SNS finds too much.

    https://docs.aws.amazon.com/sns/latest/dg/subscription-filter-policy-constraints.html
    """
    if len({leaf.name for leaf in part.leaves()}) > _KEYS:
        raise PatternError(f"Filter policy can not have more than {_KEYS} keys")
    if part.combinations() > _COMBINATIONS:
        raise PatternError("Filter policy is too complex")
    _check_wildcards(part)


def _check_wildcards(part: _AllOf) -> None:
    leaves = list(part.leaves())
    stars = [[_count_wildcards(each, leaf.name) for each in leaf.alternatives] for leaf in leaves]
    most = max(map(max, stars))
    if most > _WILDCARDS:
        raise PatternError(f"Wildcard pattern can not have more than {_WILDCARDS} wildcards")
    if most and sum(map(_wildcard_points, leaves, stars)) > _WILDCARD_POINTS:
        raise PatternError("Filter policy is too complex")


def _count_wildcards(alternative: Any, path: str) -> int:
    if not isinstance(alternative, dict):
        return 0
    name, operand = only_item(alternative, path)
    if name == "anything-but":
        return _count_wildcards(operand, path)
    return len(split_wildcard(operand, path)) - 1 if name == "wildcard" else 0


def _wildcard_points(leaf: _Leaf, stars: Sequence[int]) -> int:
    """Return the points of all patterns of *leaf*, times the number of these.

    A wildcard is one point, several together are three; ``anything-but`` is another one.
    """
    wildcards = (3 if count > 1 else count for count in stars)
    denials = (isinstance(each, dict) and "anything-but" in each for each in leaf.alternatives)
    points = [sum(each) for each in zip(wildcards, denials, strict=True)]
    return sum(points) * (len(points) - points.count(0))


def _on_attributes(part: _Part, names: frozenset[str]) -> FilterPolicy:
    def accepts(body: str, attributes: Attributes) -> bool:
        # To SNS, binary attributes are not there; and without any attribute not even "exists": false holds.
        texts = {name: (kind, value) for name, (kind, value) in attributes.items() if isinstance(value, str)}
        return bool(texts) and part.holds({name: _read_attribute(*texts[name]) for name in names & texts.keys()})

    return accepts


def _read_attribute(data_type: str, value: str) -> Sequence[Value]:
    kind, _, label = data_type.partition(".")
    if label == "Array":
        return _read_array(value)
    return [_read_number(value) if kind == "Number" else _escaped(value)]


def _read_array(text: str) -> Sequence[Value]:
    """Return the items of a ``String.Array``; what is no array is a text."""
    try:
        items = _load(text)
    except (ValueError, RecursionError):
        items = None
    if not isinstance(items, list):
        return [_escaped(text)]
    leaves = _find({"": items}, {""}).get("", ())
    return [_escaped(leaf) if isinstance(leaf, str) else leaf for leaf in leaves]


def _read_number(text: str) -> Value:
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            pass
    return text


def _escaped(text: str) -> str:
    r"""Return *text* as policies for attributes have to write it, where ``"`` and ``\`` are escaped twice.

    https://docs.aws.amazon.com/sns/latest/dg/subscription-filter-policy-constraints.html
    """
    return text.replace("\\", r"\\").replace('"', r"\"")


def _on_bodies(part: _Part, names: frozenset[str]) -> FilterPolicy:
    ways = {name[:at] for name in names for at, character in enumerate(name) if character == "."}
    wanted = names | ways

    def accepts(body: str, attributes: Attributes) -> bool:
        try:
            read = _load(body)
        except (ValueError, RecursionError):
            return False
        return isinstance(read, dict) and part.holds(_find(read, wanted))

    return accepts


def _find(body: dict[str, Any], wanted: Set[str]) -> dict[str, list[Value]]:
    """Return the values under the *wanted* keys and, where SNS looks too, in lists and in objects within lists."""
    found: dict[str, list[Value]] = {}
    todo: list[tuple[str | None, Any]] = [(None, body)]
    while todo:
        path, value = todo.pop()
        if isinstance(value, dict):
            inner = ((key if path is None else f"{path}.{key}", each) for key, each in value.items())
            todo += ((name, each) for name, each in inner if name in wanted)
        elif isinstance(value, list):
            todo += ((path, each) for each in value)
        else:
            found.setdefault(path or "", []).append(value)
    return found


def _load(text: str) -> Any:
    return json.loads(text, parse_constant=_refuse_constant)


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is no JSON")
