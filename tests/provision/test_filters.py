"""Filter policies compared: what is said to be wider is, whatever the message; and the likely cases are found."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from megaflow.match.filters import read_filter_policy
from megaflow.provision.filters import lets_through_all, widen
from tests.examples import examples


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


VALUES = ["", "a", "ab", "abc", "b", "A", "1", None, True, False, 0, 1, 2, 1.5, 1.000001, -1, "10.0.0.1", "10.9.9.9"]
RANGES = [[name, bound] for name in ("=", "<", "<=", ">", ">=") for bound in (0, 1, 1.5)]
OPERATORS: list[dict[str, Any]] = [
    {"exists": True},
    {"exists": False},
    *({"prefix": text} for text in ("", "a", "ab")),
    *({"suffix": text} for text in ("", "b", "ab")),
    *({"wildcard": text} for text in ("*", "a*", "a*c")),
    *({"equals-ignore-case": text} for text in ("a", "A", "")),
    *({"cidr": block} for block in ("10.0.0.0/8", "10.0.0.0/16")),
    *({"anything-but": denied} for denied in (["a"], ["a", "b"], "a", [1], [1, 0], [""])),
    *({"anything-but": {name: text}} for name in ("prefix", "suffix") for text in ("a", "ab")),
    *({"numeric": terms} for terms in RANGES),
    *({"numeric": [low, 0, high, top]} for low in (">", ">=") for high in ("<", "<=") for top in (1, 2)),
]
BODIES = [
    "{}",
    *(json.dumps({"a": value}) for value in VALUES),
    *(json.dumps({"a": [value, other]}) for value in VALUES for other in VALUES[:8]),
]


def test_of_any_two_alternatives_the_one_that_is_said_to_be_wider_is() -> None:
    alternatives = [*([each] for each in [*OPERATORS, *VALUES]), [{"exists": True}, ""], [{"exists": True}, "", None]]
    accepted = [
        {body for body in BODIES if accepts(body, {})}
        for accepts in (read_filter_policy({"a": each}, "MessageBody") for each in alternatives)
    ]
    said = 0
    for wide, by_wide in zip(alternatives, accepted, strict=True):
        for narrow, by_narrow in zip(alternatives, accepted, strict=True):
            if lets_through_all({"a": wide}, {"a": narrow}):
                said += 1
                assert by_narrow <= by_wide, f"{wide} is not wider than {narrow}"

    assert said > len(alternatives) * 2


_FIELD = st.lists(st.sampled_from(["x", "y", {"prefix": "x"}, {"exists": True}]), min_size=1, max_size=2)
_OBJECT = st.dictionaries(st.sampled_from("ab"), _FIELD, min_size=1, max_size=2)
_POLICY = st.one_of(
    _OBJECT,
    st.lists(_OBJECT, min_size=2, max_size=2).map(lambda several: {"$or": several}),
    st.tuples(_OBJECT, st.lists(_OBJECT, min_size=2, max_size=2)).map(lambda both: {**both[0], "$or": both[1]}),
    _OBJECT.map(lambda inner: {"a": inner}),
)
_LEAVES = [None, "x", "y", "xy", "z", ["x", "z"], {"a": "x"}, {"a": "x", "b": "y"}]
_OBJECTS = [
    json.dumps({key: value for key, value in (("a", a), ("b", b)) if value is not None})
    for a in _LEAVES
    for b in _LEAVES
]


@settings(max_examples=examples(200), deadline=None)
@given(one=_POLICY, other=_POLICY)
def test_a_wider_policy_lets_through_every_message_that_the_other_does(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    accepts, accepts_other = (read_filter_policy(each, "MessageBody") for each in (one, other))
    widened = widen(one, other, "MessageBody")
    assert widened is not None
    accepts_widened = read_filter_policy(widened, "MessageBody")
    is_wider = lets_through_all(one, other)
    for body in _OBJECTS:
        if is_wider and accepts_other(body, {}):
            assert accepts(body, {})
        assert accepts_widened(body, {}) == (accepts(body, {}) or accepts_other(body, {}))
