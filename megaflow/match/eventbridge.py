"""EventBridge event patterns: what one accepts, as a condition of a pattern.

https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern.html
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any, Final, TypeAlias

from megaflow.errors import PatternError
from megaflow.match.dialect import EVENTBRIDGE
from megaflow.match.filter_tree import Either, Field, Part, finder, read_json, read_tree
from megaflow.match.json_filter import JsonFilter
from megaflow.match.same_elements import match_together
from megaflow.match.wildcard_complexity import is_too_complex

Way: TypeAlias = Mapping[str, Field]
"""One way to match: fields by name, all of which have to."""

_WAYS: Final = 1000
"""EventBridge refuses patterns whose ``$or`` make more of them.

https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html
"""


def from_eventbridge(pattern: str | dict[str, Any]) -> JsonFilter:
    """Return a pattern that matches what the EventBridge event *pattern* matches: JSON text, or the dict.

    It matches objects only, and compares as EventBridge does: numbers are not text, a list matches if one of its items
    does, and ``exists`` asks for a value that is no object and no list.

    Raises:
        PatternError: EventBridge does not take it, or one field stands in it twice; with the path, in AWS's own words.

    Example:
        ``@app.on_data(from_eventbridge({"source": ["aws.s3"], "detail": {"reason": [{"prefix": "Put"}]}}))``
    """
    try:
        read = read_json(pattern, object_pairs_hook=_read_pairs)
        tree = read_tree(read, EVENTBRIDGE)
        _check_wildcards(tree)
        ways = _ways_of(tree)
    except RecursionError:
        raise PatternError("Event pattern is nested too deep") from None
    # Absence depends on what was chosen before it, and so on the order, which is that of the names.
    sequences = [[way[name] for name in sorted(way)] for way in ways]
    find = finder(name for way in ways for name in way)

    def test(left: Any) -> bool:
        if not isinstance(left, dict):
            return False
        found = find(left)
        return any(match_together(fields, found) for fields in sequences)

    return JsonFilter(f"from_eventbridge({read!r})", test, tree, EVENTBRIDGE, _required(ways))


def _check_wildcards(tree: Part) -> None:
    for field in tree.fields():
        wildcards = [texts for each in field.written if (texts := _wildcards(each))]
        if wildcards and is_too_complex(wildcards):
            raise PatternError(
                "Rule is too complex - try using fewer wildcard characters or fewer repeating character sequences "
                "after a wildcard character",
                field.name,
            )


def _wildcards(alternative: object) -> Sequence[str]:
    """Return the wildcards of an alternative: one, or those that it denies."""
    if not isinstance(alternative, dict):
        return ()
    ((name, operand),) = alternative.items()
    if name == "anything-but":
        return _wildcards(operand)
    if name != "wildcard":
        return ()
    return operand if isinstance(operand, list) else (operand,)


def _read_pairs(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    read: dict[str, object] = {}
    for key, value in pairs:
        if key in read:
            raise PatternError("the key stands twice in one object, where only the last would count: write one", key)
        read[key] = value
    return read


def _ways_of(part: Part) -> Sequence[Way]:
    if isinstance(part, Field):
        return [{part.name: part}]
    inner = [_ways_of(each) for each in part.parts]
    if isinstance(part, Either):
        _check_number(sum(map(len, inner)))
        return [way for ways in inner for way in ways]
    return reduce(_combine, inner)


def _combine(some: Sequence[Way], others: Sequence[Way]) -> Sequence[Way]:
    _check_number(len(some) * len(others))
    return [_merge(one, other) for one in some for other in others]


def _check_number(ways: int) -> None:
    if ways > _WAYS:
        raise PatternError(f"$or makes over {_WAYS} rule combinations, more than EventBridge takes: write two patterns")


def _merge(one: Way, other: Way) -> Way:
    for name in one.keys() & other.keys():
        raise PatternError("the field is asked twice, where only the last would count: write one list", name)
    return {**one, **other}


def _required(ways: Sequence[Way]) -> dict[tuple[str, ...], frozenset[str | bool | None]]:
    """Return what stands at the top in every way to match.

    Only there, because dots in keys are not told from objects: nothing has to be at ``("detail", "state")`` where
    ``{"detail.state": "open"}`` matches as well.
    """
    names = {name for name in ways[0] if "." not in name and all(name in way and way[name].only for way in ways)}
    return {(name,): frozenset().union(*(way[name].only for way in ways)) for name in names}
