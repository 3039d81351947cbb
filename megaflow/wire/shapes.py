"""Shapes of parameters and answers: quick checks that botocore would leave a value as it is, compiled once.

Parameters that are plainly of their shape need no more checking; others are left to botocore, which takes more kinds of
values, and whose words about what is wrong are the ones that people know. An answer that is `plain` needs no parsing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any, Final, NamedTuple, TypeAlias

Fits: TypeAlias = Callable[[Any], bool]
ArePlain: TypeAlias = Callable[[Sequence[Any]], bool]


class _Member(NamedTuple):
    type: type
    fits: Fits | None
    """A look inside; None where the type says all."""


_SCALARS: Final[Mapping[str, type]] = {"string": str, "integer": int, "boolean": bool, "blob": bytes}

_LIST: Final = frozenset({list})
_DICT: Final = frozenset({dict})
_flatten: Final = chain.from_iterable


def compile_fits(shape: Any) -> Fits:
    """Return a function that tells whether parameters are plainly of *shape*.

    Raises `ValueError` for a shape that holds something it does not know.
    """
    type_, fits = _compile(shape)
    return lambda value: type(value) is type_ and (fits is None or fits(value))


def compile_plain(shape: Any) -> Fits:
    """Return a function that tells whether botocore's parser would give an answer of *shape* back as it came.

    It drops what it does not know, and what is null, and decodes binary values; what is no list, object or map where
    there should be one is not for us to read either.
    """
    is_plain = _compile_plain(shape)
    return lambda value: is_plain is None or is_plain((value,))


def _compile(shape: Any) -> _Member:
    if shape.metadata.get("min") is not None or shape.serialization.get("name") is not None:
        raise ValueError(f"the shape {shape.name} has rules that are not known")
    scalar = _SCALARS.get(shape.type_name)
    if scalar is not None:
        return _Member(scalar, None)
    match shape.type_name:
        case "list":
            return _Member(list, _every(_compile(shape.member)))
        case "map":
            return _Member(dict, _every_value(_compile(shape.value)))
        case "structure" if not (getattr(shape, "is_tagged_union", False) or shape.is_document_type):
            known = {name: _compile(each) for name, each in shape.members.items()}
            return _Member(dict, _has_members(known, frozenset(shape.required_members)))
    raise ValueError(f"the shape {shape.name} is of a type that is not known: {shape.type_name}")


def _every(member: _Member) -> Fits:
    type_, fits = member
    if fits is None:
        return lambda values: all([type(each) is type_ for each in values])
    return lambda values: all([type(each) is type_ and fits(each) for each in values])


def _every_value(member: _Member) -> Fits:
    every = _every(member)
    return lambda values: every(values.values()) and all([type(name) is str for name in values])


def _has_members(known: Mapping[str, _Member], required: frozenset[str]) -> Fits:
    def has_members(values: dict[str, Any]) -> bool:
        for name, value in values.items():
            member = known.get(name)
            if member is None or type(value) is not member[0]:
                return False
            fits = member[1]
            if fits is not None and not fits(value):
                return False
        return required <= values.keys()

    return has_members


def _compile_plain(shape: Any) -> ArePlain | None:
    """Return what looks at all the values that stand in one place, which Python does in C; None needs no look."""
    match shape.type_name:
        case "blob":
            return lambda values: not values
        case "list":
            return _plain_lists(_compile_plain(shape.member))
        case "map":
            return _plain_maps(_compile_plain(shape.value))
        case "structure":
            members = {name: _compile_plain(each) for name, each in shape.members.items()}
            return _plain_structures(frozenset(members), {name: each for name, each in members.items() if each})
    return None


def _plain_lists(members: ArePlain | None) -> ArePlain:
    return lambda values: _LIST.issuperset(map(type, values)) and (members is None or members([*_flatten(values)]))


def _plain_maps(members: ArePlain | None) -> ArePlain:
    return lambda values: (
        _DICT.issuperset(map(type, values)) and (members is None or members([*_flatten(map(dict.values, values))]))
    )


def _plain_structures(known: frozenset[str], inner: Mapping[str, ArePlain]) -> ArePlain:
    def are_plain(values: Sequence[Any]) -> bool:
        if not (_DICT.issuperset(map(type, values)) and known.issuperset(_flatten(values))):
            return False
        if None in _flatten(map(dict.values, values)):
            return False
        for name, are in inner.items():
            column = [value[name] for value in values if name in value]
            if column and not are(column):
                return False
        return True

    return are_plain
