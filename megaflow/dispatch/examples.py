"""Examples: bodies that a handler matches, made of values that its pattern allows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from decimal import Decimal
from typing import Any, Final

from megaflow.dispatch.fields import Path
from megaflow.dispatch.logic import representatives
from megaflow.dispatch.normal import OBJECT, Normaliser
from megaflow.dispatch.table import DispatchTable
from megaflow.event import PROTOCOL, VERSION
from megaflow.handlers.handler import Handler
from megaflow.match.conditions import AnyOf, Condition, compile_test
from megaflow.messages.codec import Kind
from megaflow.messages.message import open_message
from megaflow.readable import write_readable

_OTHERS: Final = ("a", 1, True, "2026-01-01", [1], {"a": 1})
"""Values that are tried where a pattern names none."""

_MOST: Final = 20
_TIMESTAMP: Final = "2026-01-01T00:00:00Z"


def make_examples(handler: Handler) -> Iterator[str]:
    """Give bodies, as JSON, that *handler* matches. There may be none, as functions of users are not called."""
    rule = Normaliser().normalise(0, handler)
    if rule.functions or handler.kind not in (Kind.DATA, Kind.MEGA):
        return
    conditions: dict[Path, list[Condition]] = {}
    for clause in rule.clauses:
        if clause.condition is not OBJECT and not clause.condition.matches_missing:
            conditions.setdefault(clause.path, []).append(clause.condition)
    values = {path: list(_find_values(several)) for path, several in conditions.items()}
    if not all(values.values()):
        return
    table, most = DispatchTable([handler]), max(map(len, values.values()), default=1)
    turns = ({path: own[turn % len(own)] for path, own in values.items()} for turn in range(min(_MOST, most)))
    for body in dict.fromkeys(write_readable(_build(handler.kind, each)) for each in turns):
        # Whether it is one is not for this module to say.
        if table.handlers_for(open_message(body)):
            yield body


def _find_values(conditions: Sequence[Condition]) -> Iterator[Any]:
    """Give values for which all *conditions* hold."""
    tests = [compile_test(each) for each in conditions]
    tried = (*representatives(list(_open(conditions))), *_OTHERS)
    return (_plain(value) for value in tried if all(test(value) for test in tests))


def _open(conditions: Iterable[Condition]) -> Iterator[Condition]:
    for each in conditions:
        if isinstance(each, AnyOf):
            yield from _open(each.parts)
        else:
            yield each


def _plain(value: Any) -> Any:
    return float(value) if isinstance(value, Decimal) else value


def _build(kind: Kind, values: dict[Path, Any]) -> dict[str, Any]:
    body: dict[str, Any] = {}
    if kind is Kind.MEGA:
        body = {"protocol": PROTOCOL, "version": VERSION, "event": {"name": "a", "timestamp": _TIMESTAMP}}
    for path, value in values.items():
        _put(body, path, value)
    return body


def _put(body: dict[str, Any], path: Path, value: Any) -> None:
    for key in path[:-1]:
        if not isinstance(body.setdefault(key, {}), dict):
            return
        body = body[key]
    if path:
        body[path[-1]] = deepcopy(value)
