"""Whether a value is plainly of a shape of botocore's service model.

A quick look, compiled once: what passes needs no more checking, what does not is left to botocore, which takes more
kinds of values, and whose words about what is wrong are the ones that people know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

Fits: TypeAlias = Callable[[Any], bool]


class _Member(NamedTuple):
    type: type
    fits: Fits | None
    """A look inside; None where the type says all."""


_SCALARS: Final[Mapping[str, type]] = {"string": str, "integer": int, "boolean": bool, "blob": bytes}


def compile_fits(shape: Any, *, without: str = "") -> Fits:
    """Return a function that tells whether a value is plainly of *shape*; what holds a *without* does not fit.

    Raises `ValueError` for a shape that holds something it does not know.
    """
    member = _compile(shape, without)
    if member is None:
        return lambda value: False
    type_, fits = member
    return lambda value: type(value) is type_ and (fits is None or fits(value))


def _compile(shape: Any, without: str) -> _Member | None:
    if shape.type_name == without:
        return None
    if shape.metadata.get("min") is not None or shape.serialization.get("name") is not None:
        raise ValueError(f"the shape {shape.name} has rules that are not known")
    scalar = _SCALARS.get(shape.type_name)
    if scalar is not None:
        return _Member(scalar, None)
    match shape.type_name:
        case "list":
            return _Member(list, _every(_compile(shape.member, without)))
        case "map":
            return _Member(dict, _every_value(_compile(shape.value, without)))
        case "structure" if not (getattr(shape, "is_tagged_union", False) or shape.is_document_type):
            known = {name: _compile(each, without) for name, each in shape.members.items()}
            return _Member(dict, _has_members(known, frozenset(shape.required_members)))
    raise ValueError(f"the shape {shape.name} is of a type that is not known: {shape.type_name}")


def _every(member: _Member | None) -> Fits:
    if member is None:
        return lambda values: not values
    type_, fits = member
    if fits is None:
        return lambda values: all([type(each) is type_ for each in values])
    return lambda values: all([type(each) is type_ and fits(each) for each in values])


def _every_value(member: _Member | None) -> Fits:
    every = _every(member)
    return lambda values: every(values.values()) and all([type(name) is str for name in values])


def _has_members(known: Mapping[str, _Member | None], required: frozenset[str]) -> Fits:
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
