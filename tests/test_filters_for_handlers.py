"""AWS's own filter patterns as patterns: what one accepts, and how handlers get it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megaflow import App, PatternError
from megaflow.dispatch.index import Sizes
from megaflow.dispatch.table import DispatchTable
from megaflow.match.conditions import Condition
from megaflow.match.filters import from_eventbridge, from_sns_filter_policy, read_filter_policy
from megaflow.match.functions import not_
from megaflow.match.json_filter import JsonFilter
from megaflow.message import Attribute, message_with, open_message
from tests.linear_twin import LinearTable
from tests.matching import matches

S3 = {
    "source": "aws.s3",
    "detail-type": "Object Created",
    "detail": {"bucket": {"name": "b"}, "size": 512, "reason": "PutObject", "tags": ["red", "Blue"], "none": None},
}


# https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html
@pytest.mark.parametrize(
    "pattern",
    [
        {"source": ["aws.s3"]},
        {"source": ["aws.ec2", "aws.s3"]},
        {"source": [{"prefix": "aws."}]},
        {"source": [{"prefix": {"equals-ignore-case": "AWS."}}]},
        {"source": [{"suffix": ".s3"}]},
        {"source": [{"equals-ignore-case": "AWS.S3"}]},
        {"source": [{"wildcard": "a*.s*"}]},
        {"source": [{"anything-but": "aws.ec2"}]},
        {"source": [{"anything-but": ["aws.ec2", "aws.sqs"]}]},
        {"source": [{"anything-but": {"prefix": "x"}}]},
        {"source": [{"anything-but": {"prefix": ["x", "y"]}}]},
        {"source": [{"anything-but": {"wildcard": "*ec2"}}]},
        {"source": [{"exists": True}]},
        {"absent": [{"exists": False}]},
        {"detail": {"none": [None]}},
        {"detail": {"none": [{"exists": True}]}},
        {"detail": {"size": [512]}},
        {"detail": {"size": [512.0]}},
        {"detail": {"size": [{"numeric": [">", 0, "<=", 512]}]}},
        {"detail": {"tags": ["red"]}},
        {"detail": {"tags": [{"equals-ignore-case": "blue"}]}},
        {"detail": {"bucket": {"name": ["b"]}, "reason": ["PutObject"]}},
        {"$or": [{"source": ["x"]}, {"detail": {"reason": ["PutObject"]}}]},
        {"detail": {"$or": [{"reason": ["x"]}, {"size": [{"numeric": ["=", 512]}]}]}},
    ],
    ids=json.dumps,
)
def test_an_event_matches_its_event_pattern(pattern: dict[str, Any]) -> None:
    assert matches(from_eventbridge(pattern), S3)
    assert matches(from_eventbridge(json.dumps(pattern)), S3)


@pytest.mark.parametrize(
    "pattern",
    [
        {"source": ["AWS.S3"]},
        {"source": [{"prefix": "s3"}]},
        {"source": [{"anything-but": "aws.s3"}]},
        {"source": [{"exists": False}]},
        {"absent": [{"exists": True}]},
        {"absent": [{"anything-but": "x"}]},
        {"absent": [None]},
        {"detail": {"size": ["512"]}},
        {"detail": {"size": [{"numeric": [">", 512]}]}},
        {"detail": {"none": [""]}},
        {"detail": {"bucket": [{"exists": True}]}},
        {"detail": {"tags": ["green"]}},
        {"detail": ["x"]},
        {"$or": [{"source": ["x"]}, {"source": ["y"]}]},
    ],
    ids=json.dumps,
)
def test_another_event_does_not_match(pattern: dict[str, Any]) -> None:
    assert not matches(from_eventbridge(pattern), S3)


# https://github.com/aws/event-ruler#json-array-matching
def test_fields_of_one_array_match_in_the_same_element() -> None:
    pattern = from_eventbridge({"employees": {"first": ["Anna"], "last": ["Jones"]}})

    assert matches(pattern, {"employees": [{"first": "Jo", "last": "Smith"}, {"first": "Anna", "last": "Jones"}]})
    assert not matches(pattern, {"employees": [{"first": "Anna", "last": "Smith"}, {"first": "Jo", "last": "Jones"}]})


# https://docs.aws.amazon.com/sns/latest/dg/filtering-operations.html: SNS does not ask for that.
def test_to_sns_they_may_match_in_different_elements() -> None:
    pattern = from_sns_filter_policy({"employees": {"first": ["Anna"], "last": ["Jones"]}})

    assert matches(pattern, {"employees": [{"first": "Anna", "last": "Smith"}, {"first": "Jo", "last": "Jones"}]})


@pytest.mark.parametrize("read", [from_eventbridge, from_sns_filter_policy])
@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ({"a": [{"starts-with": "x"}]}, "a"),
        ({"a": {"b": [{"numerics": [">", 1]}]}}, "a.b"),
        ({"a": [{"numeric": [">", "1"]}]}, "a"),
        ({"a": [{"prefix": 5}]}, "a"),
        ({"a": [{"exists": "yes"}]}, "a"),
        ({"a": [{"prefix": "x", "suffix": "y"}]}, "a"),
        ({"a": [{"cidr": "10.0.0.0"}]}, "a"),
        ({"a": "x"}, "a"),
        ({"a": []}, "a"),
        ({"a": {}}, "a"),
        ({"a": [["x"]]}, "a"),
    ],
    ids=repr,
)
def test_a_wrong_pattern_is_refused_with_its_path(read: Any, pattern: dict[str, Any], path: str) -> None:
    with pytest.raises(PatternError) as raised:
        read(pattern)

    assert raised.value.path == path


@pytest.mark.parametrize("read", [from_eventbridge, from_sns_filter_policy])
@pytest.mark.parametrize("pattern", [{}, "{", "[]", "5", '{"a": [NaN]}', {"a": [object()]}], ids=repr)
def test_what_is_no_filter_is_refused(read: Any, pattern: Any) -> None:
    with pytest.raises(PatternError):
        read(pattern)


def test_an_unknown_scope_is_refused() -> None:
    with pytest.raises(PatternError, match="MessageAttributes or MessageBody"):
        from_sns_filter_policy({"a": ["x"]}, scope="Body")  # type: ignore[call-overload]


def test_a_filter_stands_wherever_a_pattern_does() -> None:
    app = App()
    app.on_data({"id": 1, "event": from_eventbridge({"source": ["aws.s3"]})}, handler_name="nested")(lambda data: None)
    app.on_data(not_(from_eventbridge({"source": ["aws.s3"]})), handler_name="not")(lambda data: None)

    assert [each.name for each in app.handlers_for({"id": 1, "event": S3})] == ["nested", "not"]
    assert [each.name for each in app.handlers_for(S3)] == []


def test_explain_shows_the_filter_as_it_was_written() -> None:
    app = App()
    app.on_data(from_eventbridge({"source": ["aws.ec2"]}))(lambda data: None)

    (said,) = app.explain({"source": "aws.s3"})

    assert said.failures[0].wanted == "from_eventbridge({'source': ['aws.ec2']})"


def test_a_policy_for_attributes_is_asked_about_the_message() -> None:
    app = App()
    policy = {"store": ["example_corp"], "price": [{"numeric": [">=", 100]}]}
    app.on_message(from_sns_filter_policy(policy, scope="MessageAttributes"))(lambda message: None)
    cheap, dear = (
        {"store": Attribute("String", "example_corp"), "price": Attribute("Number", price)} for price in ("99", "100.5")
    )

    assert not app.handlers_for(open_message("x", sqs_attributes=cheap))
    assert app.handlers_for(open_message("x", sqs_attributes=dear))
    assert not app.handlers_for(open_message("x"))


def test_attributes_in_an_envelope_count_as_in_raw_delivery() -> None:
    envelope = {
        "Type": "Notification",
        "MessageId": "1",
        "TopicArn": "arn:aws:sns:us-east-2:424566909325:t",
        "Timestamp": "2020-01-01T00:00:00Z",
        "Message": "x",
        "MessageAttributes": {"tags": {"Type": "String.Array", "Value": '["red", "blue"]'}},
    }
    app = App()
    app.on_message(from_sns_filter_policy({"tags": ["blue"]}, scope="MessageAttributes"))(lambda message: None)

    assert app.handlers_for(open_message(json.dumps(envelope)))
    assert app.handlers_for(open_message("x", sqs_attributes={"tags": Attribute("String.Array", '["red", "blue"]')}))


_leaves = st.sampled_from(["a", "b", "", "5", 5, 1.5, True, None])
_alternatives = st.lists(
    _leaves
    | st.sampled_from(
        [{"prefix": "a"}, {"exists": False}, {"exists": True}, {"anything-but": ["a"]}, {"numeric": [">", 1]}]
    ),
    min_size=1,
    max_size=3,
)
_keys = st.sampled_from(["a", "b", "c", "a.b"])
_filters = st.recursive(
    st.dictionaries(_keys, _alternatives, min_size=1, max_size=2),
    lambda below: (
        st.dictionaries(_keys, below | _alternatives, min_size=1, max_size=2)
        | st.lists(below, min_size=2, max_size=2).map(lambda drawn: {"$or": drawn})
    ),
    max_leaves=4,
)
_odd = st.sampled_from([datetime(2020, 1, 1, tzinfo=UTC), b"a", (1, "a"), float("nan"), "\ud800", 10**400])
_payloads = st.dictionaries(
    _keys | st.integers(),
    st.recursive(
        _leaves | _odd,
        lambda below: st.lists(below, max_size=3) | st.dictionaries(_keys, below, max_size=3),
        max_leaves=6,
    ),
    max_size=3,
)


def _read(read: Any, filter_: dict[str, Any]) -> Condition | None:
    try:
        return read(filter_)  # type: ignore[no-any-return]
    except PatternError:  # too complex for SNS, or one field twice
        return None


@pytest.mark.parametrize("read", [from_eventbridge, from_sns_filter_policy])
@given(filter_=_filters, payload=_payloads)
def test_what_is_required_is_there_in_all_that_is_accepted(read: Any, filter_: dict[str, Any], payload: Any) -> None:
    condition = _read(read, filter_)
    if isinstance(condition, JsonFilter) and condition.test(payload):
        for path, allowed in condition.required.items():
            assert _has(payload, path, allowed)


def _has(value: Any, path: tuple[str, ...], allowed: frozenset[Any]) -> bool:
    if isinstance(value, list | tuple):
        return True
    if path:
        return isinstance(value, dict) and path[0] in value and _has(value[path[0]], path[1:], allowed)
    return any(value is each or (type(value) is str and value == each) for each in allowed)


@given(filter_=_filters, payload=st.dictionaries(_keys, _leaves | st.lists(_leaves), max_size=3))
def test_a_policy_for_bodies_says_of_an_object_what_it_says_of_its_json(filter_: Any, payload: Any) -> None:
    condition = _read(from_sns_filter_policy, filter_)
    if condition is not None:
        accepts = read_filter_policy(filter_, "MessageBody")
        assert condition.compile()(payload) == accepts(json.dumps(payload), {})


@pytest.mark.parametrize("value", [None, 5, "x", b"", [], object(), {1: 2}, {("a",): 1}], ids=repr)
def test_no_value_makes_a_filter_raise(value: object) -> None:
    for read in (from_eventbridge, from_sns_filter_policy):
        assert not read({"a": ["x"]}).compile()(value)


@given(filters=st.lists(_filters, min_size=1, max_size=12), payload=_payloads)
def test_filters_that_are_indexed_say_what_they_say_alone(filters: list[Any], payload: Any) -> None:
    app = App()
    for each in filters:
        for read in (from_eventbridge, from_sns_filter_policy):
            condition = _read(read, each)
            if condition is not None:
                app.on_data(condition)(lambda data: None)
    message = message_with(payload)

    found = DispatchTable(app.handlers, Sizes(small=0, large=0)).select(message)

    assert found == LinearTable(app.handlers).select(message)
