from __future__ import annotations

import functools
import re
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Any
from uuid import UUID

import pytest

from megaflow.errors import PatternError
from megaflow.match.conditions import Condition, assume, compile_test
from megaflow.match.functions import absent, all_items, and_, any_, contains, gt, length, lt, not_, one_of, or_
from megaflow.match.pattern import as_condition
from tests.matching import Spy, fail, matches, matches_missing, show

ID = UUID("61fcc874-624e-40f8-8fd7-0e663c7837e8")


class Colour(StrEnum):
    RED = "red"


class Level(Enum):
    LOW = 1
    PAIR = ("a", "b")


class Size(IntEnum):
    SMALL = 5


class Users:
    def knows(self, left: Any) -> bool:
        return bool(left == "john")

    @staticmethod
    def likes(left: Any) -> bool:
        return bool(left == "jane")

    def __call__(self, left: Any) -> bool:
        return bool(left == "jim")


@pytest.mark.parametrize(
    ("pattern", "left"),
    [
        ("a", "a"),
        (5, 5.0),
        (19.99, "19.99"),
        (Decimal("0.10"), 0.1),
        (True, True),
        (None, None),
        (b"a", b"a"),
        (date(2020, 1, 1), "2020-01-01T12:00"),
        (datetime(2020, 1, 1, 12, tzinfo=UTC), "2020-01-01 13:00+01:00"),
        ({}, {"a": 1}),
        ({"a": {"b": 1}}, {"a": {"b": 1, "c": 2}, "d": 3}),
        (["a", "b"], "b"),
        ([None], None),
        ([1, 2], [3, 2, "1"]),
        ([{"id": 1}], [{"id": 1, "name": "a"}]),
        (("a",), ["a"]),
        ({"a", "b"}, ["b", "a"]),
        (frozenset({1}), 1),
        ([], [1]),
        ([[1]], [[1, 2]]),
        ([[1]], [1]),
        (re.compile("a"), "abc"),
        (bool, "x"),
        (len, "x"),
        (lambda left: left, 1),
        (Users().knows, "john"),
        (Users.likes, "jane"),
        (Users(), "jim"),
        (functools.partial(max, 0), 1),
        (functools.partial(Users.knows, Users()), "john"),
        ("x".startswith, "x"),
        (Colour.RED, "red"),
        (Level.LOW, "1"),
        (Level.PAIR, "b"),
        (Size.SMALL, 5.0),
        (ID, "61fcc874-624e-40f8-8fd7-0e663c7837e8"),
        (gt(1) & lt(3), 2),
        ("a" | gt(1), "a"),
        (gt(1) | "a", "a"),
        ({"a": 1} & any_(), {"a": 1}),
        (None | gt(1), None),
        (~gt(1), "a"),
    ],
    ids=show,
)
def test_a_pattern_matches(pattern: object, left: object) -> None:
    assert matches(pattern, left)


@pytest.mark.parametrize(
    ("pattern", "left"),
    [
        ("a", "A"),
        ("5", 5),
        (5, True),
        (5, "5 "),
        (5, [5]),
        (float("nan"), float("nan")),
        (True, 1),
        (False, None),
        (None, ""),
        (b"a", "a"),
        (date(2020, 1, 1), "2020-01-01T00:00+01:00"),
        (datetime(2020, 1, 1), None),
        ({}, []),
        ({}, None),
        ({"a": None}, {}),
        ({"a": {"b": 1}}, {"a": {}}),
        (["a", "b"], "c"),
        (["a"], {"a": 1}),
        ([{}], {}),
        ([1, 2], [1]),
        ([], 1),
        ([], None),
        (re.compile("b"), "abc"),
        (re.compile("1"), 1),
        (bool, ""),
        (lambda left: "", 1),
        (Users().knows, "jane"),
        (Colour.RED, "RED"),
        (Level.LOW, "LOW"),
        (ID, str(ID).upper()),
        (gt(1) & lt(3), 3),
        (~gt(1), 2),
    ],
    ids=show,
)
def test_a_pattern_does_not_match(pattern: object, left: object) -> None:
    assert not matches(pattern, left)


@pytest.mark.parametrize(
    "pattern",
    ["a", 5, None, {}, [], [absent()], {"x": absent()}, bool, len, lambda left: True, re.compile("")],
    ids=show,
)
def test_a_key_that_is_named_and_missing_does_not_match(pattern: object) -> None:
    assert not matches_missing(pattern)


def test_a_missing_key_does_not_ask_a_function() -> None:
    asked = Spy()

    assert not matches({"a": asked}, {})
    assert not matches({"a": not_(asked)}, {})
    assert matches({"a": or_(asked, absent())}, {})
    assert asked.asked == []


class Asynchronous:
    async def __call__(self, left: Any) -> bool:
        return True


async def is_known(left: Any) -> bool:
    return True


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        (object(), "object is no pattern: use a value, a dict, a list, a regex or a function"),
        (..., "ellipsis is no pattern"),
        (range(3), "range is no pattern"),
        (iter([]), "list_iterator is no pattern"),
        (re.compile(b"a"), "the regular expression b'a' is for bytes, and messages hold text"),
        ({5: "a"}, "the key 5 is not text, and messages have no other keys"),
        (int, "the class int is no matcher; use a value, or a function that returns a bool"),
        (Colour, "the class Colour is no matcher"),
        (list[int], "the class list is no matcher"),
        (is_known, "<function is_known at "),
        (functools.partial(functools.partial(is_known), 1), "functools.partial("),
        (Asynchronous(), "<tests.match.test_pattern.Asynchronous object at "),
        (functools.partial(Asynchronous(), 1), "functools.partial("),
        (lambda: True, "<function <lambda> at "),
        (lambda one, other: True, "<function <lambda> at "),
        (lambda *, left: True, "<function <lambda> at "),
    ],
)
def test_what_is_no_pattern_is_refused_with_its_path(pattern: object, said: str) -> None:
    with pytest.raises(PatternError) as caught:
        as_condition({"event": {"attributes": pattern}})

    assert caught.value.path == "event.attributes"
    assert caught.value.reason.startswith(said)


def test_the_reason_names_the_remedy_for_functions() -> None:
    with pytest.raises(PatternError, match="is async, and matching does not wait; use a plain function"):
        as_condition(is_known)
    with pytest.raises(PatternError, match="must take one argument, the value"):
        as_condition(lambda: True)


def test_the_path_goes_through_lists() -> None:
    with pytest.raises(PatternError) as caught:
        as_condition({"items": [{"id": ({"deep": object()},)}]})

    assert caught.value.path == "items[].id[].deep"


def test_a_condition_is_taken_as_it_is() -> None:
    condition = gt(5)

    assert as_condition(condition) is condition


def test_a_pattern_that_is_changed_afterwards_is_not_another() -> None:
    pattern = {"a": [1]}
    condition = as_condition(pattern)

    pattern["a"].append(2)
    pattern["b"] = []

    assert compile_test(condition)({"a": [1]})


def test_conditions_are_compared_by_identity() -> None:
    assert gt(5) != gt(5)
    assert len({gt(5), gt(5)}) == 2


def test_payloads_deeper_than_the_stack_are_no_error() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]

    assert not matches({"a": [[5]]}, {"a": deep})
    assert matches({"a": not_(5)}, {"a": deep})
    while deep:  # or Python would take it apart recursively
        deep = deep[0]


@pytest.mark.parametrize(
    ("pattern", "left"),
    [
        (lambda spy: {"a": spy, "b": 5}, {"a": 1, "b": 6}),
        (
            lambda spy: {"a": {"x": spy, "y": 1}, "b": {"x": spy, "y": 2}},
            {"a": {"x": 0, "y": 1}, "b": {"x": 0, "y": 1}},
        ),
        (lambda spy: and_(spy, 5), 6),
        (lambda spy: and_(or_(spy, 5), 7), 6),
        (lambda spy: or_(spy, 5), 5),
        (lambda spy: not_(or_(spy, 5)), 5),
        (lambda spy: [spy, 5], [6]),
        (lambda spy: and_(contains(and_(spy, 5)), any_()), [6]),
        (lambda spy: all_items(and_(spy, 5)), [5, 6]),
        (lambda spy: length(and_(spy, 5)), [6]),
    ],
)
def test_a_function_is_not_asked_where_the_rest_does_not_hold(pattern: Any, left: object) -> None:
    spy = Spy()

    matches(pattern(spy), left)

    assert spy.asked == []


def test_a_function_is_asked_once() -> None:
    spy = Spy()

    assert matches({"a": not_(not_(and_(or_(spy, 7), any_()))), "b": 5}, {"a": 1, "b": 5})
    assert spy.asked == [1]


def test_functions_run_in_the_order_in_which_they_are_written() -> None:
    asked: list[str] = []

    def note(name: str) -> Any:
        def answer(left: object) -> bool:
            asked.append(name)
            return True

        return answer

    matches(
        {"a": note("a"), "b": {"c": and_(note("b"), 5), "d": 5}, "e": note("e")},
        {"a": 1, "b": {"c": 5, "d": 5}, "e": 1},
    )

    assert asked == ["a", "b", "e"]


@pytest.mark.parametrize("pattern", [fail, {"a": fail}, not_(fail), or_(fail, 5), [fail], contains(fail)], ids=show)
def test_what_a_function_raises_comes_through(pattern: object) -> None:
    left: Any = {"a": 1} if isinstance(pattern, dict) else [1]

    with pytest.raises(ConnectionError):
        matches(pattern, left)


def test_an_answer_that_is_neither_true_nor_false_raises() -> None:
    class Unclear:
        def __bool__(self) -> bool:
            raise ValueError("which of them?")

    with pytest.raises(ValueError, match="which of them"):
        matches(lambda left: Unclear(), 1)


@pytest.mark.parametrize("answer", [True, False])
def test_to_assume_leaves_conditions_without_functions_alone(answer: bool) -> None:
    condition = as_condition({"a": gt(5)})

    assert assume(condition, answer) is condition


@pytest.mark.parametrize(
    "pattern",
    [
        lambda left: True,
        {"a": len},
        not_(len),
        and_(len, 5),
        or_(len, 5),
        [len, 5],
        one_of(len, 5),
        contains(len),
        all_items(len),
        length(bool) & len,
    ],
)
def test_what_is_assumed_asks_nothing_and_shows_the_same(pattern: object) -> None:
    condition = as_condition(pattern)

    assumed = assume(condition, True)

    assert condition.asks_functions
    assert not assumed.asks_functions
    assert str(assumed) == str(condition)


@pytest.mark.parametrize(
    ("pattern", "written"),
    [
        ({"a": 1, "b": ["x", None]}, "{'a': 1, 'b': ['x', None]}"),
        (ID, repr(ID)),
        (Colour.RED, "'red'"),
        (Users().knows, "Users.knows()"),
        (Users.likes, "Users.likes()"),
        (Spy(), "spy()"),
        (len, "len()"),
        (re.compile("a", re.VERBOSE), "match(re.compile('a', re.VERBOSE))"),
    ],
    ids=show,
)
def test_a_pattern_shows_as_it_is_written(pattern: object, written: str) -> None:
    assert str(as_condition(pattern)) == written


def test_a_lambda_shows_where_it_stands() -> None:
    pattern: Any = lambda left: True  # noqa: E731

    written = str(as_condition(pattern))

    assert written.endswith(f"<lambda> at line {pattern.__code__.co_firstlineno}")


def test_a_condition_of_ones_own_needs_no_more_than_a_test() -> None:
    class Even(Condition):
        def compile(self) -> Any:
            return lambda left: isinstance(left, int) and left % 2 == 0

    assert matches({"a": Even()}, {"a": 2})
    assert not matches({"a": ~Even()}, {"a": 2})
    assert as_condition({"a": Even()}).asks_functions
