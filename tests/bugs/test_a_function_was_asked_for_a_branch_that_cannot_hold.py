"""Inside `or_`, `not_` and lists a function ran before what stood next to it, and could fail the message in vain."""

from __future__ import annotations

from typing import Any

import pytest

from megaflow.handlers.router import Router
from megaflow.match.functions import contains, not_, or_
from tests.matching import Spy, fail, handle, matches, select

LEFT = {"x": {"p": 1}, "y": {"q": 1, "r": 2}}
BOTH = {"x": {"p": 1}, "y": {"q": 1, "r": 1}}


def branch(function: Any) -> dict[str, Any]:
    """Ask *function* first, and then hold for `BOTH` alone: ``y`` asks one too, and comes second."""
    return {"x": {"p": function}, "y": {"q": lambda left: True, "r": 1}}


@pytest.mark.parametrize("wrap", [lambda p: or_(p, {"y": {"r": 2}}), not_])
def test_the_function_of_a_branch_that_cannot_hold_is_not_asked(wrap: Any) -> None:
    spy = Spy()

    matches(wrap(branch(spy)), LEFT)

    assert spy.asked == []


def test_the_function_of_an_item_that_cannot_match_is_not_asked() -> None:
    spy = Spy()

    assert matches(contains(branch(spy)), [LEFT, BOTH])
    assert spy.asked == [1]


def test_a_branch_that_cannot_hold_does_not_fail_the_handler() -> None:
    router = Router()
    router.on_data(or_(branch(fail), {"y": {"q": lambda left: left == 1}}))(handle)

    selection = select(router, LEFT)

    assert len(selection.matched) == 1
    assert selection.raised == {}
