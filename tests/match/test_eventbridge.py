from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megaflow import App
from megaflow.errors import PatternError
from megaflow.match.filters import from_eventbridge
from megaflow.match.functions import not_, or_
from megaflow.match.json_filter import JsonFilter
from tests.match.test_filters import alternatives, bodies, keys, scalars, texts, value_holds, wildcards
from tests.matching import handle, matches

Pattern = dict[str, Any]
Event = dict[str, Any]

EC2: Event = {
    "version": "0",
    "detail-type": "EC2 Instance State-change Notification",
    "source": "aws.ec2",
    "time": "2017-10-02T16:24:49Z",
    "resources": ["arn:aws:ec2:us-east-1:123456789012:instance/i-000000aaaaaa00000"],
    "detail": {
        "c-count": 5,
        "d-count": 3,
        "x-limit": 301.8,
        "source-ip": "10.0.0.33",
        "instance-id": "i-000000aaaaaa00000",
        "state": "running",
    },
}

# The examples of https://github.com/aws/event-ruler#ruler-by-example and of
# https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html.
EXAMPLES: list[tuple[Pattern, bool]] = [
    ({"source": ["aws.ec2"], "detail": {"state": ["initializing", "running"]}}, True),
    ({"source": ["aws.ec2"], "detail": {"state": ["terminated"]}}, False),
    ({"source": ["AWS.EC2"]}, False),
    ({"resources": ["arn:aws:ec2:us-east-1:123456789012:instance/i-000000aaaaaa00000", "another"]}, True),
    ({"resources": ["another"]}, False),
    ({"time": [{"prefix": "2017-10-02"}]}, True),
    ({"time": [{"prefix": "2017-10-03"}]}, False),
    ({"source": [{"prefix": {"equals-ignore-case": "AWS."}}]}, True),
    ({"source": [{"suffix": "ec2"}]}, True),
    ({"source": [{"suffix": {"equals-ignore-case": "EC2"}}]}, True),
    ({"source": [{"suffix": "EC2"}]}, False),
    ({"source": [{"equals-ignore-case": "AWS.ec2"}]}, True),
    ({"source": [{"wildcard": "a*.*2"}]}, True),
    ({"source": [{"exactly": "aws.ec2"}]}, True),
    ({"detail": {"state": [{"anything-but": "initializing"}]}}, True),
    ({"detail": {"state": [{"anything-but": "running"}]}}, False),
    ({"detail": {"state": [{"anything-but": ["stopped", "overloaded"]}]}}, True),
    ({"detail": {"state": [{"anything-but": ["stopped", "running"]}]}}, False),
    ({"detail": {"x-limit": [{"anything-but": 123}]}}, True),
    ({"detail": {"x-limit": [{"anything-but": [100, 301.8]}]}}, False),
    ({"detail": {"state": [{"anything-but": {"prefix": "init"}}]}}, True),
    ({"detail": {"state": [{"anything-but": {"prefix": ["init", "run"]}}]}}, False),
    ({"detail": {"state": [{"anything-but": {"suffix": ["ed", "ing"]}}]}}, False),
    ({"detail": {"state": [{"anything-but": {"equals-ignore-case": "Running"}}]}}, False),
    ({"detail": {"state": [{"anything-but": {"equals-ignore-case": ["Stopped", "RUN"]}}]}}, True),
    ({"detail": {"state": [{"anything-but": {"wildcard": "r*g"}}]}}, False),
    ({"detail": {"state": [{"anything-but": {"wildcard": ["s*", "*ed"]}}]}}, True),
    ({"detail": {"c-count": [{"numeric": [">", 0, "<=", 5]}], "d-count": [{"numeric": ["<", 10]}]}}, True),
    ({"detail": {"x-limit": [{"numeric": ["=", 3.018e2]}]}}, True),
    ({"detail": {"x-limit": [{"numeric": [">", 301.8]}]}}, False),
    ({"detail": {"source-ip": [{"cidr": "10.0.0.0/24"}]}}, True),
    ({"detail": {"source-ip": [{"cidr": "10.0.1.0/24"}]}}, False),
    ({"detail": {"c-count": [{"exists": True}]}}, True),
    ({"detail": {"e-count": [{"exists": False}]}}, True),
    ({"detail": {"e-count": [{"exists": True}]}}, False),
    ({"$or": [{"source": ["aws.s3"]}, {"detail": {"c-count": [5]}}]}, True),
    ({"$or": [{"source": ["aws.s3"]}, {"detail": {"c-count": [6]}}]}, False),
    ({"source": ["aws.s3"], "$or": [{"version": ["0"]}, {"version": ["1"]}]}, False),
    ({"detail": {"$or": [{"c-count": [6]}, {"d-count": [3], "$or": [{"state": ["x"]}, {"x-limit": [301.8]}]}]}}, True),
    ({"nothing": ["x"]}, False),
]


@pytest.mark.parametrize(("pattern", "said"), EXAMPLES)
def test_an_example_of_aws_holds(pattern: Pattern, said: bool) -> None:
    assert matches(from_eventbridge(pattern), EC2) is said
    assert matches(from_eventbridge(json.dumps(pattern)), EC2) is said


@pytest.mark.parametrize(
    ("alternatives", "accepted", "rejected"),
    [
        # AWS's page says that 300 and 300.0 differ; AWS was seen to find them equal, as event-ruler does:
        # https://github.com/localstack/localstack, tests/aws/services/events/event_pattern_templates
        ([300], [300, 300.0, 3.0e2, [1, 300]], ["300", True, 300.1, None]),
        ([0.1234567], [0.1234567, 0.1234568], [0.123456, 0.12346]),
        ([123456789012], [123456789012], [123456789013, "123456789012"]),
        ([9007199254740993], [9007199254740993], [9007199254740992]),
        ([1], [Decimal(1), Decimal("1.0")], [True, Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity"), b"1"]),
        (["1"], ["1"], [1, b"1"]),
        ([True], [True, [False, True]], [1, "true", False]),
        ([False], [False], [0, "", None, []]),
        ([None], [None, ["a", None]], ["null", "", 0, [], {}]),
        ([""], [""], [None, [], {}]),
        ([{"numeric": [">", 100]}], [101.0, 6e9, 10**400, Decimal("100.5"), float("inf")], ["101", float("nan"), True]),
        ([{"numeric": [">=", -5e9, "<=", 5_000_000_000]}], [-5e9, 5e9, 0], [5e9 + 1]),
        ([{"numeric": ["=", 0]}], [0, -0.0, 0.0000004], [0.000001, False]),
        # https://github.com/localstack/localstack/pull/9925: null is anything but a text
        ([{"anything-but": "a"}], [None, "b", 1, True, ["a", "b"], datetime.now(UTC), b"a"], ["a", ["a"], [], {}]),
        ([{"anything-but": 5}], ["5", None, 6], [5, 5.0, Decimal(5)]),
        ([{"anything-but": {"prefix": "init"}}], [12, None, "a", "Init"], ["init", "initializing"]),
        ([{"anything-but": {"wildcard": ""}}], ["a", 1], [""]),
        ([{"equals-ignore-case": "ΣΑΣ"}], ["σασ", "ΣΑΣ", "Σασ"], ["sas", 1]),  # noqa: RUF001
        ([{"prefix": {"equals-ignore-case": "ΟΔΟΣ"}}], ["ΟΔΟΣ", "ΟΔΟΣΑ", "οδοσα"], ["ΟΔΟ"]),
        ([{"prefix": ""}], ["", "a"], [1, None]),
        ([{"wildcard": "*"}], ["", "two\nlines"], [1, None, []]),
        ([{"wildcard": r"\*a\\*"}], ["*a\\", "*a\\b"], ["a", "*a"]),
        ([{"cidr": "2001:db8::/32"}], ["2001:db8::1"], ["2001:db9::1", "10.0.0.1", "\ud800", "fe80::1%eth0"]),
        ([{"cidr": "10.0.0.0/8"}, "home"], ["10.1.2.3", "home"], ["11.0.0.0", 167772160]),
        # https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html: only on leaf nodes
        ([{"exists": True}], [None, "", 0, False, [None], [[1]], b""], [[], {}, {"x": 1}, [{"x": 1}], [[], [{}]]]),
        ([{"exists": False}], [[], {}, {"x": 1}, [{"x": 1}], [[]]], [None, "", 0, [None], [[1]]]),
        (["x", {"exists": False}], ["x", [], {"y": 1}], ["y", None]),
    ],
)
def test_a_condition_holds_for_one_of_the_values(
    alternatives: list[Any], accepted: list[Any], rejected: list[Any]
) -> None:
    pattern = from_eventbridge({"key": alternatives})

    assert [value for value in accepted if not matches(pattern, {"key": value})] == []
    assert [value for value in rejected if matches(pattern, {"key": value})] == []


# https://github.com/aws/event-ruler#caveat-compiled-rules-and-json-keys-with-dots
@pytest.mark.parametrize("pattern", [{"detail": {"state": {"now": ["on"]}}}, {"detail": {"state.now": ["on"]}}])
@pytest.mark.parametrize("event", [{"detail": {"state": {"now": "on"}}}, {"detail.state": {"now": "on"}}])
def test_dots_in_keys_do_not_matter(pattern: Pattern, event: Event) -> None:
    assert matches(from_eventbridge(pattern), event) is True


SONGS: Event = {
    "Year": 1966,
    "Genres": [{"Pop": True}, {"Classical": False}],
    "Songs": [
        {"Name": "Paperback Writer", "Writers": [{"First": "John", "Last": "Lennon"}, {"First": "Paul"}]},
        {"Name": "Paint It Black", "Writers": [{"First": "Mick", "Last": "Jagger"}, {"First": "Keith"}]},
    ],
}


# https://github.com/aws/event-ruler#json-array-matching
@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ({"Songs": {"Writers": {"First": ["John"], "Last": ["Lennon"]}}}, True),
        ({"Songs": {"Writers": {"First": ["Paul"], "Last": ["Lennon"]}}}, False),
        ({"Songs": {"Writers": {"First": ["Mick"], "Last": ["Lennon"]}}}, False),
        ({"Songs": {"Name": ["Paint It Black"], "Writers": {"First": ["Keith"]}}}, True),
        ({"Songs": {"Name": ["Paint It Black"], "Writers": {"First": ["Paul"]}}}, False),
        ({"Genres": {"Pop": [True]}, "Songs": {"Name": ["Paint It Black"]}}, True),
        ({"Genres": {"Pop": [True], "Classical": [False]}}, False),
        ({"Songs": {"Name": [{"anything-but": "Paint It Black"}], "Writers": {"Last": ["Jagger"]}}}, False),
        ({"Songs": {"$or": [{"Name": ["None"]}, {"Writers": {"First": ["Keith"]}}]}}, True),
        ({"Songs": {"Writers": {"First": ["Paul"], "Last": [{"exists": False}]}}}, True),
        ({"Songs": {"Writers": {"First": ["John"], "Last": [{"exists": False}]}}}, False),
        ({"Songs": {"Writers": {"First": ["John"], "Last": ["Jagger", {"exists": False}]}}}, False),
        ({"Songs": {"Writers": {"Last": [{"exists": False}]}}}, False),
        ({"Songs": {"Length": [{"exists": False}], "Name": ["Paint It Black"]}}, True),
    ],
)
def test_fields_in_an_array_match_within_one_element(pattern: Pattern, said: bool) -> None:
    assert matches(from_eventbridge(pattern), SONGS) is said


def test_a_field_is_missing_where_the_fields_before_it_match_and_from_the_whole_array_before_them() -> None:
    event = {"items": [{"b": "x"}, {"a": 1, "c": 1}]}

    assert matches(from_eventbridge({"items": {"b": ["x"], "c": [{"exists": False}]}}), event) is True
    assert matches(from_eventbridge({"items": {"b": ["x"], "a": [{"exists": False}]}}), event) is False


def test_scalars_stand_beside_every_element_of_their_array() -> None:
    pattern = from_eventbridge({"tags": ["red"], "tags.id": [2]})

    assert matches(pattern, {"tags": ["blue", {"id": 1}, {"id": 2}, "red"]}) is True
    assert matches(pattern, {"tags": [["red", {"id": 1}], ["blue", {"id": 2}]]}) is False


def test_a_key_that_is_no_text_is_no_key_of_json() -> None:
    assert matches(from_eventbridge({"a": {"1": ["x"]}}), {"a": {1: "x"}}) is False


def test_many_arrays_of_many_elements_do_not_multiply() -> None:
    pattern = from_eventbridge({"a": {"x": [1]}, "b": {"x": [1]}, "c": {"x": [1], "y": [2]}})
    ones = [{"x": 1}, {"y": 2}] * 2000

    assert matches(pattern, {"a": ones, "b": ones, "c": ones}) is False


def test_deep_arrays_are_searched_without_recursion() -> None:
    deep: Any = {"x": 2}
    for _ in range(50_000):
        deep = [deep, 1]

    assert matches(from_eventbridge({"key": {"x": [2]}, "other": [{"exists": False}]}), {"key": deep}) is True
    assert matches(from_eventbridge({"key": [1], "other": [{"exists": False}]}), {"key": deep}) is True


@pytest.mark.parametrize(
    ("pattern", "event"),
    [
        ({"$or": ["x", "y"]}, {"$or": "y"}),
        ({"$or": [{"prefix": "x"}, {"prefix": "y"}]}, {"$or": "yes"}),
        ({"$or": {"a": ["x"]}}, {"$or": {"a": "x"}}),
    ],
)
def test_an_or_is_a_key_like_others_where_aws_sees_no_operator(pattern: Pattern, event: Event) -> None:
    assert matches(from_eventbridge(pattern), event) is True


@pytest.mark.parametrize(
    ("pattern", "reason", "path"),
    [
        ({}, "Empty objects are not allowed", ""),
        ({"detail": {}}, "Empty objects are not allowed", "detail"),
        ({"detail": {"state": []}}, "Empty arrays are not allowed", "detail.state"),
        ({"detail": {"state": "on"}}, '"state" must be an object or an array', "detail.state"),
        ({"source": [["aws.ec2"]]}, "Match value must be String, number, true, false, or null", "source"),
        ({"detail": {"x": [{"between": [1, 2]}]}}, "Unrecognized match type between", "detail.x"),
        ({"$or": [{"a": ["x"]}]}, "Unrecognized match type a", "$or"),
        ({"a": [{"exactly": 33}]}, "exact match pattern must be a string", "a"),
        ({"a": [{"prefix": ["x"]}]}, "prefix match pattern must be a string", "a"),
        ({"a": [{"prefix": {"suffix": "x"}}]}, "Unsupported prefix pattern: suffix", "a"),
        ({"a": [{"suffix": {"equals-ignore-case": ["x"]}}]}, "equals-ignore-case match pattern must be a string", "a"),
        ({"a": [{"suffix": {}}]}, "Match expression name not found", "a"),
        ({"a": [{"prefix": "x", "suffix": "y"}]}, "Only one key allowed in match expression", "a"),
        ({"a": [{"equals-ignore-case": ["x"]}]}, "equals-ignore-case match pattern must be a string", "a"),
        ({"a": [{"wildcard": "a**b"}]}, "Consecutive wildcard characters at pos 1", "a"),
        ({"a": [{"wildcard": ["a*"]}]}, "wildcard match pattern must be a string", "a"),
        ({"a": [{"exists": "true"}]}, "exists match pattern must be either true or false.", "a"),
        ({"a": [{"anything-but": {"numeric": [">", 1]}}]}, "Unsupported anything-but pattern: numeric", "a"),
        ({"a": [{"anything-but": {"prefix": ""}}]}, "Null prefix not allowed", "a"),
        ({"a": [{"anything-but": {"suffix": ["x", ""]}}]}, "Null suffix not allowed", "a"),
        ({"a": [{"anything-but": {"prefix": []}}]}, "Empty arrays are not allowed", "a"),
        ({"a": [{"anything-but": {"prefix": [1]}}]}, "prefix match pattern must be a string", "a"),
        (
            {"a": [{"anything-but": {"prefix": {"equals-ignore-case": "x"}}}]},
            "prefix match pattern must be a string",
            "a",
        ),
        ({"a": [{"anything-but": None}]}, "Inside anything but list, start|null|boolean is not supported.", "a"),
        ({"a": [{"numeric": [">", "1"]}]}, "Value of > must be numeric", "a"),
        (
            {"a": [{"numeric": [">", 5_000_000_001]}]},
            "Value must be between -5000000000 and 5000000000, inclusive",
            "a",
        ),
        ({"a": [{"numeric": [">", 3, "<", 1]}]}, "Bottom must be less than top", "a"),
        ({"a": [{"cidr": "10.0.0.0"}]}, "Malformed CIDR, one '/' required", "a"),
        ({"a": [{"cidr": "10.0.0.7/32"}]}, "IPv4 mask bits must be < 32", "a"),
        ('{"a": {"x": ["1"], "x": ["2"]}}', "the key stands twice in one object", "x"),
        ({"a": {"b": ["x"]}, "a.b": ["y"]}, "the field is asked twice", "a.b"),
        ({"a": ["x"], "$or": [{"a": ["y"]}, {"b": ["z"]}]}, "the field is asked twice", "a"),
        (
            {name: {"$or": [{str(i): ["x"]} for i in range(11)]} for name in "abc"},
            "$or makes over 1000 rule combinations",
            "",
        ),
        ({"$or": [{"a": [i]} for i in range(1001)]}, "$or makes over 1000 rule combinations", ""),
        ("{", "failed to parse JSON.", ""),
        ('{"a": [NaN]}', "failed to parse JSON.", ""),
        ({"a": [b"x"]}, "failed to parse JSON.", ""),
        (b'{"a": ["x"]}', "failed to parse JSON.", ""),
        (["a"], "Filter is not an object", ""),
        (None, "Filter is not an object", ""),
        ('{"a":' * 900 + '["x"]' + "}" * 900, "Event pattern is nested too deep", ""),
    ],
)
def test_a_wrong_pattern_is_refused(pattern: Any, reason: str, path: str) -> None:
    with pytest.raises(PatternError) as error:
        from_eventbridge(pattern)

    assert error.value.reason.startswith(reason)
    assert error.value.path == path


def test_a_pattern_selects_a_handler_and_explains_itself() -> None:
    app = App()
    pattern = {"source": ["aws.ec2"], "detail": {"state": [{"prefix": "run"}]}}
    app.on_data(from_eventbridge(pattern))(handle)

    assert [handler.function for handler in app.handlers_for(EC2)] == [handle]
    assert app.handlers_for({"source": "aws.ec2"}) == ()
    assert f"wanted from_eventbridge({pattern!r}), found " in str(app.explain({"source": "aws.ec2"}))


def test_a_pattern_stands_wherever_a_pattern_can() -> None:
    on = from_eventbridge({"state": ["on"]})

    assert matches({"detail": on}, {"detail": {"state": "on"}}) is True
    assert matches({"detail": on}, {"detail": "on"}) is False
    assert matches({"detail": from_eventbridge({"state": [{"exists": False}]})}, {}) is False
    assert matches({"detail": not_(on)}, {"detail": {"state": "off"}}) is True
    assert matches(or_(on, {"power": 1}), {"power": 1}) is True
    assert matches(on & {"power": 1}, {"state": "on", "power": "1"}) is True


@pytest.mark.parametrize(
    ("pattern", "required"),
    [
        ({"source": ["aws.ec2", "aws.s3"], "detail": {"x": ["y"]}}, {("source",): {"aws.ec2", "aws.s3"}}),
        ({"a": [True, None, ""], "b": [1], "c": ["x", {"exists": True}]}, {("a",): {True, None, ""}}),
        ({"a.b": ["x"]}, {}),
        ({"$or": [{"a": ["x"], "b": ["y"]}, {"a": ["z"]}]}, {("a",): {"x", "z"}}),
        ({"$or": [{"a": ["x"]}, {"a": [1]}]}, {}),
        ({"$or": [{"a": ["x"]}, {"b": ["x"]}]}, {}),
    ],
)
def test_what_has_to_stand_at_the_top_is_told(pattern: Pattern, required: dict[tuple[str, ...], set[Any]]) -> None:
    assert read(pattern).required == required


def test_patterns_are_known_by_what_they_say() -> None:
    one, same = {"a": ["x"]}, '{"a" : ["x"]}'

    assert read(one).key == read(same).key
    assert len({read(each).key for each in ({"a": [1]}, {"a": [True]}, {"a": ["1"]}, {"b": [1]})}) == 4


def read(pattern: Pattern | str) -> JsonFilter:
    condition = from_eventbridge(pattern)
    assert isinstance(condition, JsonFilter)
    return condition


# A second matcher, as plain as can be: every way to match, every choice of values.

Place = tuple[tuple[int, int], ...]
"""The arrays that a value is inside of, each with the index of the element."""


def flatten(value: Any, name: str = "", place: Place = ()) -> Iterator[tuple[str, Any, Place]]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield from flatten(each, f"{name}.{key}" if name else key, place)
    elif isinstance(value, list):
        for index, each in enumerate(value):
            inside = (*place, (id(value), index)) if isinstance(each, dict | list) else place
            yield from flatten(each, name, inside)
    else:
        yield name, value, place


def ways(pattern: Pattern, path: str = "") -> list[dict[str, list[Any]]]:
    found: list[dict[str, list[Any]]] = [{}]
    for key, value in pattern.items():
        name = f"{path}.{key}" if path else key
        if key == "$or":
            more = [way for each in value for way in ways(each, path)]
        elif isinstance(value, dict):
            more = ways(value, name)
        else:
            more = [{name: value}]
        found = [{**one, **other} for one in found for other in more]
    return found


def holds(value: Any, condition: Any) -> bool:
    if not isinstance(condition, dict):
        return value_holds(value, condition)
    ((name, operand),) = condition.items()
    if name == "exists":
        return bool(operand)
    if name == "anything-but" and isinstance(operand, dict):
        ((name, denied),) = operand.items()
        return not any(holds(value, {name: text}) for text in (denied if isinstance(denied, list) else [denied]))
    if name in {"prefix", "suffix"} and isinstance(operand, dict):
        return isinstance(value, str) and holds(value.lower(), {name: operand["equals-ignore-case"].lower()})
    return value_holds(value, condition)


def agree(one: Mapping[int, int], other: Place) -> bool:
    return all(one.get(array, index) == index for array, index in other)


def can_match(way: list[tuple[str, list[Any]]], fields: list[tuple[str, Any, Place]], chosen: dict[int, int]) -> bool:
    if not way:
        return True
    (name, alternatives), *rest = way
    there = [(value, place) for at, value, place in fields if at == name and agree(chosen, place)]
    if not there and {"exists": False} in alternatives and can_match(rest, fields, chosen):
        return True
    return any(
        can_match(rest, fields, {**chosen, **dict(place)})
        for value, place in there
        if any(holds(value, condition) for condition in alternatives)
    )


def reference(pattern: Pattern, event: Event) -> bool:
    fields = list(flatten(event))
    return any(can_match(sorted(way.items()), fields, {}) for way in ways(pattern))


some_texts = st.lists(texts.filter(bool), min_size=1, max_size=2)
more_conditions = st.one_of(
    texts.map(lambda text: {"prefix": {"equals-ignore-case": text}}),
    texts.map(lambda text: {"suffix": {"equals-ignore-case": text}}),
    some_texts.map(lambda denied: {"anything-but": {"prefix": denied}}),
    some_texts.map(lambda denied: {"anything-but": {"suffix": denied}}),
    (some_texts | texts).map(lambda denied: {"anything-but": {"equals-ignore-case": denied}}),
    st.lists(wildcards, min_size=1, max_size=2).map(lambda denied: {"anything-but": {"wildcard": denied}}),
)


def is_simple(pattern: Pattern) -> bool:
    """Tell whether EventBridge does not find it too complex."""
    try:
        from_eventbridge(pattern)
    except PatternError as error:
        return "too complex" not in error.reason
    return True


# Exact texts and absence come often, because they are what arrays are about.
usual = st.lists(st.sampled_from(["a", "b", {"exists": False}]), min_size=1, max_size=2)
fields = st.dictionaries(keys, usual | alternatives | st.lists(more_conditions, min_size=1), min_size=1, max_size=3)
patterns = st.recursive(
    fields | st.lists(fields, min_size=2, max_size=2).map(lambda either: {"$or": either}),
    lambda below: st.dictionaries(keys, below | usual, min_size=1, max_size=3),
    max_leaves=4,
).filter(is_simple)
small = st.sampled_from(["a", "b", 1, None])
objects = st.recursive(
    st.dictionaries(keys, small, max_size=3),
    lambda below: st.dictionaries(keys, below | small | st.lists(below | small, max_size=3), max_size=3),
    max_leaves=8,
)
events = bodies | st.dictionaries(keys, objects | st.lists(objects | st.lists(objects, max_size=3), max_size=3))
odd_leaves = st.one_of(
    *(scalars, st.floats(), st.integers(), st.decimals(), st.binary(), st.datetimes(), st.uuids(), st.text()),
    *(st.just("\ud800"), st.builds(object), st.just(10**400), st.just(bytearray(b"x")), st.just({1, 2})),
)
odd_payloads = st.recursive(
    odd_leaves,
    lambda below: st.one_of(
        st.lists(below, max_size=3),
        st.lists(below, max_size=3).map(tuple),
        st.dictionaries(keys | st.sampled_from(["a.b", "", "\ud800", 1, None, (1,), b"a"]), below, max_size=3),
    ),
    max_leaves=10,
)


@given(patterns, events)
def test_events_are_matched_as_by_trying_everything(pattern: Pattern, event: Event) -> None:
    said = matches(from_eventbridge(pattern), event)

    assert said == reference(pattern, event)


@given(patterns, odd_payloads)
def test_no_payload_makes_a_pattern_raise(pattern: Pattern, payload: Any) -> None:
    said = matches(from_eventbridge(pattern), payload)

    assert said in (True, False)
    assert isinstance(payload, dict) or not said


def is_there(payload: Any, path: tuple[str, ...], allowed: frozenset[Any]) -> bool:
    for key in path:
        if not isinstance(payload, dict) or key not in payload:
            return isinstance(payload, list | tuple)
        payload = payload[key]
    return isinstance(payload, list | tuple) or any(
        type(payload) is type(value) and payload == value for value in allowed
    )


@given(patterns, st.dictionaries(keys | st.just("a.b"), odd_payloads, max_size=3) | events)
def test_what_a_pattern_requires_is_in_everything_it_matches(pattern: Pattern, event: Event) -> None:
    condition = read(pattern)

    said = condition.test(event)

    assert not said or all(is_there(event, path, allowed) for path, allowed in condition.required.items())


@given(st.lists(patterns, min_size=12, max_size=20), events)
def test_an_index_of_patterns_finds_what_each_alone_would(many: list[Pattern], event: Event) -> None:
    app = App()
    conditions = [from_eventbridge(pattern) for pattern in many]
    for condition in conditions:
        app.on_data(condition)(lambda payload: None)

    found = app.handlers_for(event)

    assert [handler.pattern for handler in found] == [each for each in conditions if matches(each, event)]


@given(st.recursive(scalars, lambda below: st.lists(below) | st.dictionaries(keys | texts, below)))
def test_what_is_no_pattern_is_a_pattern_error(pattern: Any) -> None:
    with suppress(PatternError):
        from_eventbridge(json.dumps(pattern))


def test_a_value_of_bson_is_there_and_equals_nothing() -> None:
    event = {"id": UUID(int=1), "at": datetime.now(UTC)}

    assert matches(from_eventbridge({"id": [{"exists": True}], "at": [{"anything-but": 1}]}), event) is True
    assert matches(from_eventbridge({"id": [str(UUID(int=1))]}), event) is False
