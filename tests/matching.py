"""How the tests ask for one pattern and one value, and what they ask it about."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from megaflow.dispatch.explain import Explanation, explain
from megaflow.dispatch.table import DispatchTable, Selection
from megaflow.handlers.router import Router
from megaflow.match.conditions import compile_test
from megaflow.match.pattern import as_condition
from megaflow.messages.message import message_with


def show(value: object) -> str:
    """Return what a test with *value* is called: the same in every process."""
    if isinstance(value, set | frozenset):
        return f"{{{', '.join(sorted(map(repr, value)))}}}"
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def matches(pattern: object, left: object) -> bool:
    """Tell whether *left* matches *pattern*; anything but a bool is a mistake."""
    found = compile_test(as_condition(pattern))(left)
    assert isinstance(found, bool)
    return found


def matches_missing(pattern: object) -> bool:
    """Tell whether *pattern* holds for a key that is not there."""
    return matches({"key": pattern}, {})


def select(router: Router, payload: object) -> Selection:
    """Return what the dispatch table makes of *payload*."""
    return DispatchTable(router.handlers).select(message_with(payload))


def explained(router: Router, payload: object) -> Explanation:
    """Return the explanation for *payload*."""
    return explain(DispatchTable(router.handlers), message_with(payload))


def handle(payload: Any) -> None:
    """Do nothing with *payload*: a handler that is there to be selected."""


class Spy:
    """A user's function that keeps what it was asked, and answers what it was told to."""

    def __init__(self, answer: Callable[[Any], object] = lambda left: True) -> None:
        self.asked: list[Any] = []
        self._answer = answer

    def __call__(self, left: Any) -> Any:
        self.asked.append(left)
        return self._answer(left)

    def __repr__(self) -> str:
        return "spy"


def fail(left: Any) -> bool:
    """Raise, as a function does whose database is away."""
    raise ConnectionError("the database is away")
