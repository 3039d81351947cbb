"""The tree of an AWS filter: keys with alternatives, all or some of which have to match.

https://docs.aws.amazon.com/sns/latest/dg/and-or-logic.html
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern.html
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import count
from math import prod
from typing import Any, NamedTuple, TypeAlias, TypeGuard

from megaflow.errors import PatternError
from megaflow.match.dialect import Dialect, Value
from megaflow.match.operators import KEYWORDS, Alternatives, read_alternatives

Found: TypeAlias = Mapping[str, Sequence[Value]]
"""The values in a message, under keys joined by dots."""


@dataclass(frozen=True, slots=True)
class Field:
    """A key with the list of alternatives under it; *depth* is 1 at the top of the filter."""

    name: str
    depth: int
    written: Sequence[object]
    alternatives: Alternatives

    @property
    def only(self) -> frozenset[str | bool | None]:
        """The values themselves, where there are no other alternatives."""
        return self.alternatives.only

    def holds(self, found: Found) -> bool:
        """Tell whether one of the alternatives holds for the values *found* under the key."""
        return self.alternatives.hold(found.get(self.name, ()))

    def fields(self) -> Iterator[Field]:
        """Go through the field itself."""
        yield self

    def combinations(self) -> int:
        """Count the alternatives, times the depth."""
        return len(self.written) * self.depth


@dataclass(frozen=True, slots=True)
class Every:
    """An object of a filter: all its keys have to match."""

    parts: Sequence[Part]

    def holds(self, found: Found) -> bool:
        """Tell whether all parts hold for what was *found*."""
        return all(part.holds(found) for part in self.parts)

    def fields(self) -> Iterator[Field]:
        """Go through the fields in it."""
        return (field for part in self.parts for field in part.fields())

    def combinations(self) -> int:
        """Count the ways in which it can match."""
        return prod(part.combinations() for part in self.parts)


@dataclass(frozen=True, slots=True)
class Either:
    """The objects in an ``$or``: one of them has to match."""

    parts: Sequence[Part]

    def holds(self, found: Found) -> bool:
        """Tell whether one of the parts holds for what was *found*."""
        return any(part.holds(found) for part in self.parts)

    def fields(self) -> Iterator[Field]:
        """Go through the fields in it."""
        return (field for part in self.parts for field in part.fields())

    def combinations(self) -> int:
        """Count the ways in which it can match."""
        return sum(part.combinations() for part in self.parts)


Part: TypeAlias = Field | Every | Either


@dataclass(frozen=True, slots=True, eq=False)
class Element:
    """An object or array as an element of an array, which has a number; it may be inside another element."""

    array: int
    inside: Element | None


class Occurrence(NamedTuple):
    """A value in a message, and the innermost element of an array that it is inside of."""

    value: Value
    element: Element | None


def read_json(filter: str | Mapping[str, Any], **options: Any) -> dict[str, object]:
    """Return the object that *filter*, as JSON or as the dict, is; *options* are those of `json.loads`.

    Raises:
        PatternError: it is none.
    """
    try:
        text = filter if isinstance(filter, str) else json.dumps(filter)
        read = load_json(text, **options)
    except PatternError:
        raise
    except (TypeError, ValueError):
        raise PatternError("failed to parse JSON.") from None
    if not isinstance(read, dict):
        raise PatternError("Filter is not an object")
    return read


def load_json(text: str, **options: Any) -> Any:
    """Return what the JSON *text* says; NaN and the infinities are no JSON."""
    return json.loads(text, parse_constant=_refuse_constant, **options)


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is no JSON")


def read_tree(filter: Mapping[str, object], dialect: Dialect) -> Every:
    """Return the tree of *filter*.

    Raises:
        PatternError: it is not one that AWS takes, in the words of AWS.
    """
    return _Reader(dialect).read_object(filter, "", 1)


@dataclass(frozen=True, slots=True)
class _Reader:
    dialect: Dialect

    def read_object(self, filter: Mapping[str, object], path: str, depth: int) -> Every:
        if not filter:
            raise PatternError("Empty objects are not allowed", path)
        return Every([self._read_entry(key, value, path, depth) for key, value in filter.items()])

    def _read_entry(self, key: str, value: object, path: str, depth: int) -> Part:
        if key == "$or" and _is_or(value):
            return Either([self.read_object(each, path, depth) for each in value])
        name = f"{path}.{key}" if depth > 1 else key
        if isinstance(value, list):
            return Field(name, depth, value, read_alternatives(value, name, self.dialect))
        if not isinstance(value, dict):
            raise PatternError(f'"{key}" must be an object or an array', name)
        return self.read_object(value, name, depth + 1)


def _is_or(value: object) -> TypeGuard[list[dict[str, object]]]:
    """Tell whether what stands under ``$or`` makes that an operator, and not a key like any other.

    https://docs.aws.amazon.com/sns/latest/dg/and-or-logic.html
    """
    return (
        isinstance(value, list)
        and len(value) > 1
        and all(isinstance(each, dict) and not KEYWORDS & each.keys() for each in value)
    )


def finder(names: Iterable[str]) -> Callable[[object], dict[str, list[Occurrence]]]:
    """Return the function that finds, in an object, what stands under the *names*, keys joined by dots.

    It looks into arrays, and into objects within arrays, as AWS does. Keys that hold dots are not told from objects
    in objects: https://github.com/aws/event-ruler#caveat-compiled-rules-and-json-keys-with-dots
    """
    wanted = frozenset(path for name in names for path in _paths_to(name))
    return lambda body: _find(body, wanted)


def _paths_to(name: str) -> Iterator[str]:
    yield name
    yield from (name[:at] for at, character in enumerate(name) if character == ".")


def _find(body: object, wanted: Set[str]) -> dict[str, list[Occurrence]]:
    found: dict[str, list[Occurrence]] = {}
    arrays = count()
    todo: list[tuple[str | None, object, Element | None]] = [(None, body, None)]
    while todo:
        path, value, element = todo.pop()
        if isinstance(value, dict):
            inner = ((_join(path, key), each) for key, each in value.items() if isinstance(key, str))
            todo += ((name, each, element) for name, each in inner if name in wanted)
        elif isinstance(value, list | tuple):
            array = next(arrays)
            todo += ((path, each, _enter(each, array, element)) for each in value)
        else:
            found.setdefault(path or "", []).append(Occurrence(value, element))
    return found


def _join(path: str | None, key: str) -> str:
    return key if path is None else f"{path}.{key}"


def _enter(value: object, array: int, inside: Element | None) -> Element | None:
    """Return the element that *value* is; a scalar is none, so that scalars of one array go together."""
    return Element(array, inside) if isinstance(value, dict | list | tuple) else inside
