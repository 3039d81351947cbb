from __future__ import annotations

from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from megaflow.handlers.router import Router
from megaflow.match.functions import and_, not_, or_
from megaflow.match.pattern import as_condition
from tests.matching import Spy, handle, matches, select
from tests.pattern_strategies import (
    object_patterns,
    objects,
    patterns,
    patterns_with_functions,
    payloads,
    scalar_payloads,
    simple_patterns,
)
from tests.reference_matcher import USERS, Ask, build, holds


@given(simple_patterns, scalar_payloads)
def test_an_operator_says_what_its_row_in_the_specification_says(pattern: Any, payload: Any) -> None:
    said = matches(build(pattern), payload)

    assert said == holds(pattern, payload)


@given(patterns, payloads)
def test_a_pattern_says_what_the_tables_of_the_specification_say(pattern: Any, payload: Any) -> None:
    said = matches(build(pattern), payload)

    assert said == holds(pattern, payload)


@given(patterns_with_functions, payloads)
def test_functions_that_run_last_change_no_answer(pattern: Any, payload: Any) -> None:
    said = matches(build(pattern), payload)

    assert said == holds(pattern, payload)


@given(
    patterns,
    st.recursive(
        st.binary() | st.floats() | st.text() | st.integers() | st.dates() | st.datetimes(),
        lambda below: st.lists(below) | st.dictionaries(st.text(), below),
        max_leaves=5,
    ),
)
def test_no_payload_makes_a_pattern_raise(pattern: Any, payload: Any) -> None:
    said = matches(build(pattern), payload)

    assert said in (True, False)


@given(patterns_with_functions, patterns_with_functions, payloads)
def test_de_morgan_holds_where_there_is_a_value(one: Any, other: Any, payload: Any) -> None:
    p, q = build(one), build(other)

    assert matches(not_(and_(p, q)), payload) == matches(or_(not_(p), not_(q)), payload)
    assert matches(not_(or_(p, q)), payload) == matches(and_(not_(p), not_(q)), payload)


@given(patterns_with_functions, payloads)
def test_what_is_negated_twice_is_the_same_where_there_is_a_value(pattern: Any, payload: Any) -> None:
    p = build(pattern)

    assert matches(not_(not_(p)), payload) == matches(p, payload)
    assert matches(~as_condition(p), payload) != matches(p, payload)


@given(st.lists(object_patterns, max_size=6), objects)
def test_handlers_are_selected_in_order_of_registration(wanted: list[Any], payload: Any) -> None:
    router = Router()
    for position, pattern in enumerate(wanted):
        router.on_data(build(pattern), handler_name=str(position))(handle)

    matched = select(router, payload).matched

    expected = [str(position) for position, pattern in enumerate(wanted) if holds(pattern, payload)]
    assert [handler.name for handler in matched] == expected


@given(patterns_with_functions, payloads)
@example({"a": Ask("user", ("always",)), "b": 5}, {"a": 1, "b": 6})
def test_no_function_is_asked_where_no_answer_could_help(pattern: Any, payload: Any) -> None:
    spies = {name: Spy(answer) for name, answer in USERS.items()}
    could_help = _can_hold(pattern, payload)

    matches(build(pattern, spies.__getitem__), payload)

    assert could_help or not any(spy.asked for spy in spies.values())


def _can_hold(pattern: Any, payload: Any) -> bool:
    """Tell whether some answers make *pattern* hold: each place of a function gets the answer that helps."""
    return holds(_answered(pattern, helps=True), payload)


def _answered(pattern: Any, *, helps: bool) -> Any:
    if isinstance(pattern, dict):
        return {key: _answered(each, helps=helps) for key, each in pattern.items()}
    if isinstance(pattern, list | tuple):
        return type(pattern)(_answered(each, helps=helps) for each in pattern)
    if not isinstance(pattern, Ask):
        return pattern
    if pattern.name == "user":
        return Ask("user", ("always" if helps else "never",))
    if pattern.name in ("eq", "neq"):
        return pattern
    turned = helps != (pattern.name == "not_")
    return Ask(pattern.name, tuple(_answered(each, helps=turned) for each in pattern.args))
