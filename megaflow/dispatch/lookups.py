"""Lookups: from one value to the buckets whose probes it answers, as lines of a generated function.

In these lines, ``value`` is what is looked up, ``payload`` what it comes from, and ``found`` what a bucket adds to.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple, TypeAlias
from uuid import UUID

from megaflow.dispatch.buckets import Bucket, Positions, Visit
from megaflow.dispatch.cuts import as_float
from megaflow.dispatch.fields import MISSING, see
from megaflow.dispatch.generated import Functions, indent
from megaflow.dispatch.probes import How
from megaflow.dispatch.ranges import (
    Segments,
    cut_day,
    cut_moment,
    cut_number,
    cuts_of_floats,
    cuts_of_wholes,
    is_day,
    list_points,
    read_datetime,
    read_day,
    read_likely_number,
)
from megaflow.match.comparison import read_number

Filed: TypeAlias = Mapping[How, Mapping[Any, Bucket]]
"""The buckets for the values at one path, by what they are looked up by."""


class Step(NamedTuple):
    """What is to be done with a value of one type, and the constants of these lines."""

    lines: Sequence[str]
    constants: Mapping[str, object]


Steps: TypeAlias = Mapping[type, Step]
"""What is to be done with a value, by its type; nothing, where its type is not there."""

Maker: TypeAlias = Callable[[Mapping[Any, Bucket], Functions], Steps]
"""Makes the steps for what is looked up in one way."""


def make_visit(filed: Filed, functions: Functions, below: Step | None = None) -> Visit:
    """Return what takes a value to its buckets in *filed*, and an object to what is *below* it."""
    steps: dict[type, list[Step]] = {dict: [below]} if below else {}
    for how, buckets in filed.items():
        for type_, step in _MAKERS[how](buckets, functions).items():
            steps.setdefault(type_, []).append(step)
    lines: list[str] = []
    for type_ in sorted(steps, key=_LIKELY.index):
        lines.append(f"{'elif' if lines else 'if'} kind is {type_.__name__}:")
        lines += indent(line for step in steps[type_] for line in step.lines)
    lines += ["elif kind not in KNOWN_TYPES:", "    return True"]
    constants = {name: each for many in steps.values() for step in many for name, each in step.constants.items()}
    return functions.make("visit(kind, value, payload, found)", lines, constants)  # type: ignore[no-any-return]


def visit_as_base(visit: Visit, value: Any, payload: Any, found: Positions) -> None:
    """Visit a value of a subclass as its base sees it; the specification speaks of no other types."""
    for base, convert in _PLAIN.items():
        if isinstance(value, base):
            visit(base, convert(value), payload, found)
            return


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
_LIKELY: Final = (str, int, float, dict, bool, type(None), list, Decimal, datetime, date, bytes, UUID, tuple)
"""The types that the specification speaks of, the likely ones first."""

NAMES: Final[Mapping[str, object]] = {
    "MISSING": MISSING,
    "see": see,
    "KNOWN_TYPES": frozenset(_LIKELY),
    **{type_.__name__: type_ for type_ in _LIKELY},
    **{
        each.__name__: each
        for each in (bisect_right, visit_as_base, is_day, read_datetime, read_day, read_likely_number)
    },
}
"""What generated functions know by name."""

_VISIT_BUCKET: Final = ("if bucket is not None:", "    bucket(payload, found)")
_VISIT_REACHED: Final = ("for bucket in reached:", "    bucket(payload, found)")


def _equal(how: How, key: str, types: Sequence[type]) -> Maker:
    """Return what makes a step that looks up the *key* of a value."""
    name = f"by_{how}"
    lines = (f"bucket = {name}({key})", *_VISIT_BUCKET)
    return lambda buckets, functions: dict.fromkeys(types, Step(lines, {name: buckets.get}))


def _constants(buckets: Mapping[Any, Bucket], functions: Functions) -> Steps:
    by_value = {value: buckets[str(value)] for value in (True, False, None) if str(value) in buckets}
    step = Step(("bucket = by_constant(value)", *_VISIT_BUCKET), {"by_constant": by_value.get})
    return {bool: step, type(None): step}


def _numbers(buckets: Mapping[Any, Bucket], functions: Functions) -> Steps:
    """Return steps that look up a number as it is: a float, too, unless no float says the number that is wanted."""
    floats = [(as_float(number), number) for number in buckets]
    by_float = {nearest: buckets[number] for nearest, number in floats if read_number(nearest) == number}
    whole = Step(("bucket = by_number(value)", *_VISIT_BUCKET), {"by_number": buckets.get})
    exact = Step(("bucket = by_number(read_likely_number(value))", *_VISIT_BUCKET), whole.constants)
    floating = Step(("bucket = by_float(value)", *_VISIT_BUCKET), {"by_float": by_float.get})
    return {int: whole, float: floating, Decimal: exact, str: exact}


def _ranges(buckets: Mapping[Any, Bucket], functions: Functions) -> Steps:
    """Return steps that look for a number among the cuts of all ranges: as it is, where it is a plain one."""
    segments = Segments(buckets, cut_number)
    covers = {"ranges": segments.covers}
    read = ("number = read_likely_number(value)", "if number is not None:")
    place = "reached = ranges[bisect_right(cuts, (number, False))]"
    exact = Step((*read, *indent((place, *_VISIT_REACHED))), {"cuts": segments.cuts, **covers})
    steps = {int: exact, float: exact, Decimal: exact, str: exact}
    wholes, floats = cuts_of_wholes(segments.cuts), cuts_of_floats(segments.cuts)
    if wholes is not None:
        steps[int] = _whole_ranges(wholes, segments.covers)
    if floats is not None:
        place = "reached = ranges[bisect_right(float_cuts, value)]"
        # All but the one that is no number.
        lines = ("if value == value:", *indent((place, *_VISIT_REACHED)))
        steps[float] = Step(lines, {"float_cuts": floats, **covers})
    return steps


def _whole_ranges(cuts: Sequence[float], covers: Sequence[tuple[Bucket, ...]]) -> Step:
    points = list_points(cuts, covers)
    if points is not None:
        return Step(("reached = whole_numbers(value, ())", *_VISIT_REACHED), {"whole_numbers": points.get})
    place = "reached = ranges[bisect_right(whole_cuts, value)]"
    return Step((place, *_VISIT_REACHED), {"whole_cuts": cuts, "ranges": covers})


def _dates(buckets: Mapping[Any, Bucket], functions: Functions) -> Steps:
    """Return steps for dates: text of a date alone sorts like the date, and is read only where it lies in a range."""
    segments = Segments(buckets, cut_day)
    days = {"days": segments.covers, "day_cuts": segments.cuts}
    read = ("day = read_day(value)", f"reached = {_DAYS}", *_VISIT_REACHED)
    find, constants = _find_day_texts(segments)
    text = (
        f"if len(value) == {_DATE_LENGTH}:",
        *indent(find),
        "else:",
        '    day = read_day(value) if value[4:5] == "-" else None',
        f"    reached = {_DAYS}",
        *_VISIT_REACHED,
    )
    return {str: Step(text, {**days, **constants}), date: Step(read, days), datetime: Step(read, days)}


def _find_day_texts(segments: Segments) -> tuple[Sequence[str], dict[str, object]]:
    points = list_points(segments.cuts, segments.covers)
    if points is not None:
        texts = {_write_day(day): covers for day, covers in points.items()}
        return ("reached = day_texts(value, ())",), {"day_texts": texts.get}
    lines = ("reached = days[bisect_right(day_texts, value)]", "reached = reached if reached and is_day(value) else ()")
    return lines, {"day_texts": list(map(_write_day, segments.cuts))}


def _write_day(day: int) -> str:
    """Return the text of a day, or one that is behind those of all days."""
    return date.fromordinal(day).isoformat() if day <= _LAST_DAY else ":"


_DAYS: Final = "() if day is None else days[bisect_right(day_cuts, day)]"
_LAST_DAY: Final = date.max.toordinal()
_DATE_LENGTH: Final = len("2020-01-01")


def _datetimes(buckets: Mapping[Any, Bucket], functions: Functions) -> Steps:
    """Return steps that compare datetimes with datetimes, and dates with the dates of the bounds."""
    moments, days = Segments(buckets, cut_moment), Segments(buckets, cut_day)
    of_moments = {"moments": moments.covers, "moment_cuts": moments.cuts}
    of_days = {"days_of_moments": days.covers, "cuts_of_days": days.cuts}
    moment = (
        "moment = read_datetime(value)",
        "reached = () if moment is None else moments[bisect_right(moment_cuts, (moment, False))]",
        *_VISIT_REACHED,
    )
    day = (
        "day = read_day(value)",
        "reached = () if day is None else days_of_moments[bisect_right(cuts_of_days, day)]",
        *_VISIT_REACHED,
    )
    text = (f"if len(value) > {_DATE_LENGTH}:", *indent(moment), "else:", *indent(day))
    return {
        str: Step(('if value[4:5] == "-":', *indent(text)), {**of_moments, **of_days}),
        datetime: Step(moment, of_moments),
        date: Step(day, of_days),
    }


def _starts(buckets: Mapping[Any, Bucket], functions: Functions) -> Steps:
    """Return a step that finds the texts a value starts with, in alphabetical order.

    The last of them that is not behind the value either starts it, or shares what starts it with those before.
    """
    return {str: _find_starts(buckets, "start", "value")}


def _ends(buckets: Mapping[Any, Bucket], functions: Functions) -> Steps:
    step = _find_starts(buckets, "end", "turned")
    return {str: Step(("turned = value[::-1]", *step.lines), step.constants)}


def _find_starts(buckets: Mapping[Any, Bucket], name: str, value: str) -> Step:
    texts = sorted(buckets)
    lines = (
        f"index = bisect_right({name}s, {value}) - 1",
        "while index >= 0:",
        f"    if {value}.startswith({name}s[index]):",
        f"        by_{name}[index](payload, found)",
        f"    index = shorter_{name}[index]",
    )
    in_order = [buckets[text] for text in texts]
    return Step(lines, {f"{name}s": texts, f"by_{name}": in_order, f"shorter_{name}": _find_shorter(texts)})


def _find_shorter(texts: Sequence[str]) -> list[int]:
    """Return for each of the sorted *texts* the position of the longest other that it starts with, or -1."""
    shorter: list[int] = []
    for index, text in enumerate(texts):
        before = index - 1
        while before >= 0 and not text.startswith(texts[before]):
            before = shorter[before]
        shorter.append(before)
    return shorter


def _regexes(buckets: Mapping[Any, Bucket], functions: Functions) -> Steps:
    from megaflow.match.re2_sets import RegexSet

    lines = ("for index in regexes(value):", "    by_regex[index](payload, found)")
    return {str: Step(lines, {"regexes": RegexSet(list(buckets)).candidates, "by_regex": list(buckets.values())})}


def _items(buckets: Mapping[Any, Bucket], functions: Functions) -> Steps:
    """Return a step that looks every item of a list up by itself."""
    by_how: dict[How, dict[Any, Bucket]] = {}
    for (how, what), bucket in buckets.items():
        by_how.setdefault(how, {})[what] = bucket
    lines = (
        "for item in value:",
        "    if visit_item(type(item), item, payload, found):",
        "        visit_as_base(visit_item, item, payload, found)",
    )
    step = Step(lines, {"visit_item": make_visit(by_how, functions)})
    return {list: step, tuple: step}


def _lists(buckets: Mapping[Any, Bucket], functions: Functions) -> Steps:
    """Return a step for all lists alike."""
    step = Step(("visit_list(payload, found)",), {"visit_list": buckets[None]})
    return {list: step, tuple: step}


_MAKERS: Final[Mapping[How, Maker]] = {
    How.TEXT: _equal(How.TEXT, "value", [str]),
    How.CASEFOLDED: _equal(How.CASEFOLDED, "value.casefold()", [str]),
    How.NUMBER: _numbers,
    How.CONSTANT: _constants,
    How.BYTES: _equal(How.BYTES, "value", [bytes]),
    How.UUID: _equal(How.UUID, "str(value)", [str, UUID]),
    How.NUMBERS: _ranges,
    How.DATES: _dates,
    How.DATETIMES: _datetimes,
    How.START: _starts,
    How.END: _ends,
    How.REGEX: _regexes,
    How.ITEM: _items,
    How.LIST: _lists,
}
