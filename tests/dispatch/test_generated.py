"""Generated functions agree with what patterns compile to, hold nothing that a user wrote, and can be read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from megaflow.dispatch.cuts import Cut, float_from, whole_from
from megaflow.dispatch.fields import DATA_FIELDS
from megaflow.dispatch.generated import Functions
from megaflow.dispatch.index import Index, Sizes
from megaflow.dispatch.lookups import NAMES
from megaflow.dispatch.normal import Clause, Normaliser, Rule
from megaflow.dispatch.residuals import Residuals
from megaflow.handlers.router import Router
from megaflow.match.comparison import read_number
from megaflow.match.conditions import compile_test
from megaflow.match.functions import between, fullmatch, gt, gte, in_, lt, lte, not_, or_, prefix, search
from megaflow.match.pattern import as_condition
from tests.examples import examples
from tests.matching import handle
from tests.pattern_strategies import numbers, payloads, text


def normal_rules(router: Router) -> list[Rule]:
    """Return the rules of the handlers of *router* as the index gets them."""
    normaliser = Normaliser()
    return [normaliser.normalise(position, handler) for position, handler in enumerate(router.handlers)]


class Whole(int):
    """As `bson.int64.Int64` is."""


class Floating(float):
    """As numpy's are, which print otherwise."""

    def __repr__(self) -> str:
        return "np.float64(?)"


class Word(str):
    """Text of a type of its own."""


class Amount(Decimal):
    """A decimal of a type of its own."""


_NEAR = (0.1, 19.99, 1e22, 1e23, 2.0**53, 5e-324, 1.7976931348623157e308)
floats = st.sampled_from(_NEAR).flatmap(
    lambda near: st.sampled_from([near, -near, math.nextafter(near, math.inf), math.nextafter(near, -math.inf)])
)
exact: st.SearchStrategy[Any] = st.one_of(
    numbers.map(read_number).filter(lambda read: read is not None),
    floats.map(read_number),
    st.integers(),
    st.decimals(allow_nan=False),
    st.sampled_from(
        [
            10**400,
            -(10**400),
            Decimal("1e400"),
            Decimal("-1e-400"),
            Decimal("1e99999"),
            Decimal("0.1000000000000000055"),
        ]
    ),
    floats.map(Decimal),
)
plain = st.one_of(floats, st.floats(), st.integers(), numbers)
left = st.one_of(
    plain,
    payloads,
    st.sampled_from([10**400, -(10**400), True, None, [], {}, [5], {"a": 5}]),
    floats.map(str),
    plain.filter(lambda value: isinstance(value, float)).map(Floating),
    st.integers(-1, 6).map(Whole),
    text.map(Word),
    st.sampled_from(["5", "19.99", "NaN"]).map(Amount),
)


@given(bound=exact, after=st.booleans(), value=floats | st.floats(allow_nan=False))
@example(bound=10**23, after=False, value=1e23)
@example(bound=10**23, after=True, value=1e23)
@example(bound=Decimal("0.1000000000000000055"), after=False, value=0.1)
def test_a_float_is_beyond_a_cut_where_its_shortest_text_is(bound: Any, after: bool, value: float) -> None:
    cut = Cut(bound, after)
    first = float_from(cut)

    assert (first is not None and value >= first) is ((read_number(value), False) >= cut)


@given(bound=exact, after=st.booleans(), value=st.integers() | st.sampled_from([10**400, -(10**400)]))
def test_a_whole_number_is_beyond_a_cut_where_it_is_as_exact_as_the_bound(bound: Any, after: bool, value: int) -> None:
    cut = Cut(bound, after)
    first = whole_from(cut)

    assert first is None or (value >= first) is ((value, False) >= cut)


_bounds: st.SearchStrategy[Any] = exact | st.sampled_from([0.1, 19.99, "5", "19.99", 5])
_ranges = st.tuples(st.sampled_from([gt, gte]), _bounds, st.sampled_from([lt, lte]), _bounds)
conditions = st.one_of(
    st.tuples(st.sampled_from([gt, gte, lt, lte]), _bounds).map(lambda drawn: drawn[0](drawn[1])),
    _ranges.map(lambda drawn: drawn[0](drawn[1]) & drawn[2](drawn[3])),
    _ranges.map(lambda drawn: or_(drawn[0](drawn[1]) & drawn[2](drawn[3]), prefix("1"), "ab")),
    st.sampled_from([prefix("a"), search("a+$"), fullmatch("[0-9.]+"), or_(prefix("a"), search("b"))]),
    st.sampled_from([in_([1, 5]), in_(["a", "5"]), as_condition(5), as_condition("a"), as_condition(None)]),
)


@settings(max_examples=examples(500))
@given(condition=conditions | conditions.map(not_), value=left)
def test_what_is_left_of_a_pattern_is_tested_as_the_pattern_says(condition: Any, value: Any) -> None:
    test = Residuals(DATA_FIELDS, Functions(NAMES)).make_test(Clause(("a",), condition))

    assert test({"a": value}) is compile_test(condition)(value)
    assert test({}) is False


@settings(max_examples=examples(300))
@given(several=st.lists(conditions, min_size=1, max_size=12), value=left)
def test_what_is_looked_up_is_what_the_patterns_say(several: Sequence[Any], value: Any) -> None:
    router = Router()
    for condition in several:
        router.on_data({"a": condition})(handle)
    rules = normal_rules(router)
    found: list[int] = []

    Index(rules, DATA_FIELDS, Sizes(small=0, large=0)).collect({"a": value}, found)

    expected = [position for position, condition in enumerate(several) if compile_test(condition)(value)]
    assert sorted(set(found)) == expected


HOSTILE = "\"'''\n{value} {0} \\ '); raise SystemExit #"


def test_nothing_that_a_user_wrote_is_part_of_a_text() -> None:
    router = Router()
    for form in (HOSTILE, prefix(HOSTILE), search("raise"), between(0.125, 0.625), {HOSTILE: HOSTILE}):
        router.on_data({HOSTILE: form})(handle)
    functions = Functions(NAMES)
    residuals = Residuals(DATA_FIELDS, functions)
    rules = normal_rules(router)

    texts = [residuals.make_test(clause).__doc__ or "" for rule in rules for clause in rule.clauses]
    found: list[int] = []
    Index(rules, DATA_FIELDS, Sizes(small=0)).collect({HOSTILE: HOSTILE}, found)

    assert sorted(found) == [0, 1, 2]
    assert not any(part in each for each in texts for part in ("raise", "SystemExit", "0.125", "0.625"))


def test_a_generated_function_can_be_read() -> None:
    test = Residuals(DATA_FIELDS, Functions(NAMES)).make_test(Clause(("a", "b"), between(0.5, 2.5)))

    assert test.__doc__ == (
        "def bind(key0, key1, wanted2, wanted3, wanted4, wanted5, wanted6):\n"
        "    def test(payload):\n"
        "        value1 = payload.get(key0, MISSING)\n"
        "        if not (isinstance(value1, dict)): return False\n"
        "        value2 = value1.get(key1, MISSING)\n"
        "        if not ((wanted2 <= value2 < wanted3 if type(value2) is float"
        " else wanted4 <= value2 < wanted5 if type(value2) is int else wanted6(value2))): return False\n"
        "        return True\n"
        "    return test\n"
    )


@pytest.mark.parametrize("bound", [Decimal("1e999999999"), Decimal("-1e999999999"), Decimal("1e-999999999")])
def test_no_bound_is_too_long_to_be_looked_up(bound: Decimal) -> None:
    router = Router()
    for condition in (gt(bound), lt(bound)):
        router.on_data({"a": condition})(handle)
    rules = normal_rules(router)
    collect = Index(rules, DATA_FIELDS, Sizes(small=0)).collect

    for value in (5, 5.0, "5", Decimal(5)):
        found: list[int] = []
        collect({"a": value}, found)
        assert found == [0 if bound < 5 else 1]


@pytest.mark.parametrize("depth", [9, 10, 11, 150])
def test_objects_in_each_other_are_gone_through_however_many_there_are(depth: int) -> None:
    router = Router()
    for wanted in (1, 2):
        pattern: Any = wanted
        for _ in range(depth):
            pattern = {"a": pattern}
        router.on_data(pattern)(handle)
    value: Any = 2
    for _ in range(depth):
        value = {"a": value}
    rules = normal_rules(router)
    found: list[int] = []

    Index(rules, DATA_FIELDS, Sizes(small=0)).collect(value, found)

    assert found == [1]
