"""Filter policies compared: what is said to be wider is, whatever the message; and the likely cases are found."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from megaflow.errors import PatternError
from megaflow.match.filters import read_filter_policy
from megaflow.provision.filters import lets_through_all, widen


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        ({"a": ["x", "y"]}, {"a": ["x"]}),
        ({"a": ["x"]}, {"a": ["x"], "b": ["y"]}),
        ({"a": [{"exists": True}]}, {"a": ["x", {"prefix": "y"}, {"numeric": [">", 1]}]}),
        ({"a": [{"exists": True}, "", None]}, {"a": [{"anything-but": ["b"]}, None]}),
        ({"a": [{"prefix": "item."}]}, {"a": ["item.added", {"prefix": "item.removed"}]}),
        ({"a": [{"suffix": ".png"}]}, {"a": ["x.png", {"suffix": "x.png"}]}),
        ({"a": [{"wildcard": "a*b"}, "c"]}, {"a": ["ab", "axxb", {"wildcard": "a*b"}]}),
        ({"a": [{"equals-ignore-case": "ABC"}]}, {"a": ["abc", "aBc"]}),
        ({"a": [{"cidr": "10.0.0.0/8"}]}, {"a": ["10.1.2.3"]}),
        ({"a": [{"numeric": [">=", 0]}]}, {"a": [{"numeric": [">", 0, "<", 10]}, 7, {"numeric": ["=", 0]}]}),
        ({"a": [{"numeric": [">", 0, "<=", 10]}]}, {"a": [{"numeric": [">=", 1, "<=", 10]}]}),
        ({"a": [{"anything-but": ["x"]}]}, {"a": [{"anything-but": ["y", "x"]}, "z"]}),
        ({"a": [{"exists": False}, "x"]}, {"a": [{"exists": False}]}),
        ({"a": {"b": ["x", "y"]}}, {"a": {"b": ["y"], "c": [1]}}),
        ({"$or": [{"a": ["x"]}, {"b": ["y"]}]}, {"a": ["x"]}),
        ({"$or": [{"a": ["x"]}, {"b": ["y"]}]}, {"c": [1], "$or": [{"b": ["y"]}, {"a": ["x"], "d": [1]}]}),
    ],
)
def test_what_is_wider_is_found(wide: dict[str, Any], narrow: dict[str, Any]) -> None:
    assert lets_through_all(wide, narrow)
    assert lets_through_all(wide, wide)
    assert not lets_through_all(narrow, wide)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": ["x"]}, {"b": ["x"]}),
        ({"a": ["x"]}, {"a": ["y"]}),
        ({"a": [{"exists": True}]}, {"a": [""]}),
        ({"a": [{"exists": True}]}, {"a": [{"anything-but": ["b"]}]}),
        ({"a": [{"exists": True}]}, {"a": [{"exists": False}]}),
        ({"a": [{"anything-but": ["x"]}]}, {"a": [{"exists": False}]}),
        ({"a": [{"prefix": "ab"}]}, {"a": [{"prefix": "a"}]}),
        ({"a": [{"numeric": [">", 0]}]}, {"a": [{"numeric": [">=", 0]}]}),
        ({"a": [{"numeric": ["<", 9]}]}, {"a": [{"numeric": ["<=", 9]}]}),
        ({"a": [{"anything-but": ["x", "y"]}]}, {"a": [{"anything-but": ["x"]}]}),
        ({"a": ["1"]}, {"a": [1]}),
        ({"a": [True]}, {"a": [1]}),
        ({"a": ["x"]}, {"unreadable": [{"regex": "x"}]}),
    ],
)
def test_what_is_not_wider_is_not_said_to_be(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert not lets_through_all(one, other)


def test_a_policy_is_widened_by_what_it_lacks() -> None:
    assert widen({"a": ["x"]}, {"a": ["x"], "b": ["y"]}, "MessageBody") == {"a": ["x"]}
    assert widen({"a": ["x"]}, {"b": ["y"]}, "MessageBody") == {"$or": [{"a": ["x"]}, {"b": ["y"]}]}


def test_alternatives_stand_beside_each_other_and_not_within() -> None:
    policy = {"e": {"d": ["shop"]}, "$or": [{"e": {"n": ["a"]}}, {"e": {"n": ["b"]}}]}

    assert widen(policy, {"$or": [{"e": {"n": ["b"], "d": ["shop"]}}, {"f": [1]}]}, "MessageBody") == {
        "$or": [{"e": {"d": ["shop"], "n": ["a"]}}, {"e": {"d": ["shop"], "n": ["b"]}}, {"f": [1]}]
    }


def test_what_sns_has_no_room_for_is_no_policy() -> None:
    one = {key: ["x"] for key in "abcd"}
    other = {key: ["x"] for key in "efgh"}

    assert widen(one, other, "MessageBody") is None


_VALUES = st.sampled_from(["", "a", "ab", "abc", "b", "A", "1", None, True, False, 0, 1, 2, 1.5, 1.000001, "10.0.0.1"])
_TEXTS = st.sampled_from(["a", "ab", "b", "c"])
_BOUNDS = st.sampled_from([0, 1, 1.5, 2])
_OPERATORS = st.one_of(
    st.fixed_dictionaries({"exists": st.booleans()}),
    st.fixed_dictionaries({"prefix": st.sampled_from(["", "a", "ab"])}),
    st.fixed_dictionaries({"suffix": st.sampled_from(["", "b", "ab"])}),
    st.fixed_dictionaries({"wildcard": st.sampled_from(["*", "a*", "a*c"])}),
    st.fixed_dictionaries({"equals-ignore-case": st.sampled_from(["a", "A", "ab"])}),
    st.fixed_dictionaries({"cidr": st.sampled_from(["10.0.0.0/8", "10.0.0.0/16"])}),
    st.fixed_dictionaries({"anything-but": st.lists(_TEXTS, min_size=1, max_size=2)}),
    st.fixed_dictionaries({"anything-but": st.lists(_BOUNDS, min_size=1, max_size=2)}),
    st.fixed_dictionaries({"anything-but": st.fixed_dictionaries({"prefix": _TEXTS})}),
    st.fixed_dictionaries({"numeric": st.tuples(st.sampled_from(["=", "<", "<=", ">", ">="]), _BOUNDS).map(list)}),
    st.fixed_dictionaries(
        {
            "numeric": st.tuples(
                st.sampled_from([">", ">="]), st.just(0), st.sampled_from(["<", "<="]), st.sampled_from([1, 2])
            ).map(list)
        }
    ),
)
_FIELD = st.lists(_VALUES | _OPERATORS, min_size=1, max_size=2)
_OBJECT = st.dictionaries(st.sampled_from("ab"), _FIELD, min_size=1, max_size=2)
_POLICY = st.one_of(
    _OBJECT,
    st.lists(_OBJECT, min_size=2, max_size=2).map(lambda several: {"$or": several}),
    st.tuples(_OBJECT, st.lists(_OBJECT, min_size=2, max_size=2)).map(lambda both: {**both[0], "$or": both[1]}),
    _OBJECT.map(lambda inner: {"a": inner}),
)
_LEAF = st.one_of(_VALUES, st.lists(_VALUES, max_size=2))
_BODY = st.dictionaries(st.sampled_from("ab"), st.one_of(_LEAF, st.dictionaries(st.sampled_from("ab"), _LEAF)))


@settings(max_examples=200, deadline=None)
@given(one=_POLICY, other=_POLICY, bodies=st.lists(_BODY, min_size=3, max_size=10))
def test_a_wider_policy_lets_through_every_message_that_the_other_does(
    one: dict[str, Any], other: dict[str, Any], bodies: list[dict[str, Any]]
) -> None:
    try:
        accepts, accepts_other = (read_filter_policy(each, "MessageBody") for each in (one, other))
    except PatternError:
        return
    widened = widen(one, other, "MessageBody")
    accepts_widened = read_filter_policy(widened, "MessageBody") if widened else None
    for body in map(json.dumps, bodies):
        if lets_through_all(one, other) and accepts_other(body, {}):
            assert accepts(body, {})
        if accepts_widened and (accepts(body, {}) or accepts_other(body, {})):
            assert accepts_widened(body, {})
