"""Lookups: from one value to the buckets whose probes it answers."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Hashable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple, TypeAlias
from uuid import UUID

from megaflow.dispatch.buckets import Bucket, Maker, Positions, Visit, Visits
from megaflow.dispatch.probes import How
from megaflow.dispatch.ranges import read_likely_number, visit_dates, visit_datetimes, visit_numbers
from megaflow.match.re2_sets import RegexSet

Filed: TypeAlias = Mapping[How, Mapping[Any, Bucket]]
"""The buckets for the values at one path, by what they are looked up by."""


StepFor: TypeAlias = Callable[[type], Visit | None]
"""Looks up what is to be done with a value of a type."""


class Place(NamedTuple):
    """What is to be done with the value at one path: the step for the type that is expected there, and for others."""

    expected: type
    step: Visit
    step_for: StepFor


def build_place(filed: Filed, below: Mapping[str, Place]) -> Place:
    """Return what takes a value to its buckets in *filed*, and what is in it to the places *below*."""
    steps: dict[type, list[Visit]] = {dict: [_visit_keys(below)]} if below else {}
    for how, buckets in filed.items():
        for type_, step in _MAKERS[how](buckets).items():
            steps.setdefault(type_, []).append(step)
    by_type = {type_: each[0] if len(each) == 1 else _one_by_one(tuple(each)) for type_, each in steps.items()}
    return Place(*next(iter(by_type.items())), by_type.get)


def _visit_keys(below: Mapping[str, Place]) -> Visit:
    """Return what goes through the keys of an object or through those of *below*, whichever are fewer."""
    visit_wanted, look_up, size = _visit_wanted(below), below.get, len(below)

    def visit(value: Any, payload: Any, found: Positions) -> None:
        if size <= len(value):
            visit_wanted(value, payload, found)
            return
        for key, each in value.items():
            place = look_up(key)
            if place is not None:
                expected, step, step_for = place
                if type(each) is expected:
                    step(each, payload, found)
                else:
                    visit_unexpected(step_for, each, payload, found)

    return visit_wanted if size <= _FEW_KEYS else visit


_FEW_KEYS: Final = 3


def _visit_wanted(below: Mapping[str, Place]) -> Visit:
    wanted = [(key, *place) for key, place in below.items()]
    if len(wanted) == 1:
        return _visit_key(*wanted[0])

    def visit(value: Any, payload: Any, found: Positions) -> None:
        for key, expected, step, step_for in wanted:
            if key in value:
                each = value[key]
                if type(each) is expected:
                    step(each, payload, found)
                else:
                    visit_unexpected(step_for, each, payload, found)

    return visit


def _visit_key(key: str, expected: type, step: Visit, step_for: StepFor) -> Visit:
    def visit(value: Any, payload: Any, found: Positions) -> None:
        if key in value:
            each = value[key]
            if type(each) is expected:
                step(each, payload, found)
            else:
                visit_unexpected(step_for, each, payload, found)

    return visit


def visit_unexpected(step_for: StepFor, value: Any, payload: Any, found: Positions) -> None:
    """Visit a value of any type, one of a subclass as its base sees it; the specification speaks of no other types."""
    step = step_for(type(value))
    if step is not None:
        step(value, payload, found)
    elif type(value) not in _KNOWN_TYPES:
        for base, convert in _PLAIN.items():
            if isinstance(value, base):
                step = step_for(base)
                if step is not None:
                    step(convert(value), payload, found)
                return


def _one_by_one(steps: Sequence[Visit]) -> Visit:
    def visit(value: Any, payload: Any, found: Positions) -> None:
        for step in steps:
            step(value, payload, found)

    return visit


_KNOWN_TYPES: Final = frozenset(
    {str, int, float, Decimal, bool, type(None), datetime, date, bytes, UUID, list, tuple, dict}
)
_PLAIN: Final[Mapping[type, Callable[[Any], Any]]] = {
    str: str.__str__,
    int: int,
    float: float.__float__,
    Decimal: Decimal,
    datetime: lambda value: value,
    date: lambda value: value,
    bytes: bytes,
    UUID: lambda value: value,
    list: lambda value: value,
    tuple: lambda value: value,
    dict: lambda value: value,
}


def _equal(types: Sequence[type], key: Callable[[Any], Hashable]) -> Maker:
    """Return what makes a step that looks up the *key* of a value, unless that is None."""

    def make(buckets: Mapping[Any, Bucket]) -> Visits:
        look_up = buckets.get

        def visit(value: Any, payload: Any, found: Positions) -> None:
            bucket = look_up(key(value))
            if bucket is not None:
                bucket(payload, found)

        return dict.fromkeys(types, visit)

    return make


def _texts(buckets: Mapping[Any, Bucket]) -> Visits:
    """Return what `_equal` would, without a call for the key: most of what handlers ask for is text."""
    look_up = buckets.get

    def visit(value: Any, payload: Any, found: Positions) -> None:
        bucket = look_up(value)
        if bucket is not None:
            bucket(payload, found)

    return {str: visit}


def _starts(buckets: Mapping[Any, Bucket]) -> Visits:
    """Return a step that finds the texts a value starts with, in alphabetical order.

    The last of them that is not behind the value either starts it, or shares what starts it with those before.
    """
    texts = sorted(buckets)
    in_order, shorter = [buckets[text] for text in texts], _find_shorter(texts)

    def visit(value: Any, payload: Any, found: Positions) -> None:
        index = bisect_right(texts, value) - 1
        while index >= 0:
            if value.startswith(texts[index]):
                in_order[index](payload, found)
            index = shorter[index]

    return {str: visit}


def _ends(buckets: Mapping[Any, Bucket]) -> Visits:
    visit_start = _starts(buckets)[str]

    def visit(value: Any, payload: Any, found: Positions) -> None:
        visit_start(value[::-1], payload, found)

    return {str: visit}


def _find_shorter(texts: Sequence[str]) -> list[int]:
    """Return for each of the sorted *texts* the position of the longest other that it starts with, or -1."""
    shorter: list[int] = []
    for index, text in enumerate(texts):
        before = index - 1
        while before >= 0 and not text.startswith(texts[before]):
            before = shorter[before]
        shorter.append(before)
    return shorter


def _regexes(buckets: Mapping[Any, Bucket]) -> Visits:
    regexes, in_order = RegexSet(list(buckets)), list(buckets.values())

    def visit(value: Any, payload: Any, found: Positions) -> None:
        for index in regexes.candidates(value):
            in_order[index](payload, found)

    return {str: visit}


def _items(buckets: Mapping[Any, Bucket]) -> Visits:
    """Return a step that looks every item of a list up by itself."""
    by_how: dict[How, dict[Any, Bucket]] = {}
    for (how, what), bucket in buckets.items():
        by_how.setdefault(how, {})[what] = bucket
    step_for = build_place(by_how, {}).step_for

    def visit(value: Any, payload: Any, found: Positions) -> None:
        for item in value:
            visit_unexpected(step_for, item, payload, found)

    return {list: visit, tuple: visit}


def _lists(buckets: Mapping[Any, Bucket]) -> Visits:
    """Return a step for all lists alike."""
    bucket = buckets[None]

    def visit(value: Any, payload: Any, found: Positions) -> None:
        bucket(payload, found)

    return {list: visit, tuple: visit}


_NUMERIC: Final = (int, float, Decimal, str)
_MAKERS: Final[dict[How, Maker]] = {
    How.TEXT: _texts,
    How.CASEFOLDED: _equal([str], str.casefold),
    How.NUMBER: _equal(_NUMERIC, read_likely_number),
    How.CONSTANT: _equal([bool, type(None)], str),
    How.BYTES: _equal([bytes], lambda value: value),
    How.UUID: _equal([str, UUID], str),
    How.NUMBERS: visit_numbers,
    How.DATES: visit_dates,
    How.DATETIMES: visit_datetimes,
    How.START: _starts,
    How.END: _ends,
    How.REGEX: _regexes,
    How.ITEM: _items,
    How.LIST: _lists,
}
