from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from megaflow import App, Message
from megaflow.dispatch.index import Sizes
from megaflow.dispatch.table import DispatchTable
from megaflow.errors import PatternError
from megaflow.match.filters import from_eventbridge, from_sns_filter_policy
from megaflow.match.functions import not_, or_
from megaflow.match.json_filter import JsonFilter
from megaflow.messages.attributes import Attribute
from megaflow.messages.message import message_with, open_message
from tests.linear_twin import LinearTable
from tests.match.test_eventbridge import is_there, odd_payloads
from tests.match.test_filters import CASES, WRONG, bodies, flat_policies, keys, nested_policies, read_unless_too_much
from tests.matching import handle, matches
from tests.messages.test_message import open_enveloped

Policy = dict[str, Any]
Attributes = Mapping[str, tuple[str, str]]


def received_raw(attributes: Attributes) -> Message:
    """Return the message as SQS has it, and SNS with raw message delivery."""
    return open_message("body", sqs_attributes={name: Attribute(*typed) for name, typed in attributes.items()})


def received_in_envelope(attributes: Attributes) -> Message:
    carried = {name: {"Type": kind, "Value": value} for name, (kind, value) in attributes.items()}
    return open_enveloped("body", MessageAttributes=carried)


def read(policy: Policy | str) -> JsonFilter:
    condition = from_sns_filter_policy(policy)
    assert isinstance(condition, JsonFilter)
    return condition


# In bodies.


@pytest.mark.parametrize(("policy", "body", "said"), CASES)
def test_an_example_of_aws_holds_as_a_pattern(policy: Policy, body: Policy, said: bool) -> None:
    assert matches(from_sns_filter_policy(policy), body) is said
    assert matches(from_sns_filter_policy(json.dumps(policy)), body) is said


@given(nested_policies, bodies)
def test_a_pattern_says_what_the_topic_says(policy: Policy, body: Policy) -> None:
    accepts = read_unless_too_much(policy, "MessageBody")

    said = matches(from_sns_filter_policy(policy), body)

    assert said == accepts(json.dumps(body), {})


@pytest.mark.parametrize(
    ("alternative", "accepted", "rejected"),
    [
        (1, [1, 1.0, Decimal("1.0"), (0, 1)], ["1", True, Decimal("sNaN")]),
        ({"exists": True}, [0, b"", object()], [None, "", [], {}]),
        ({"anything-but": 1}, [Decimal("NaN"), b"1", object()], [1, Decimal(1)]),
        ({"numeric": [">", 0]}, [Decimal("0.5"), 10**400], [b"1", Decimal("-Infinity"), float("nan")]),
    ],
)
def test_what_json_does_not_know_is_compared_too(alternative: Any, accepted: list[Any], rejected: list[Any]) -> None:
    pattern = from_sns_filter_policy({"key": [alternative]})

    assert [value for value in accepted if not matches(pattern, {"key": value})] == []
    assert [value for value in rejected if matches(pattern, {"key": value})] == []


@pytest.mark.parametrize("make", [from_sns_filter_policy, from_eventbridge])
@pytest.mark.parametrize("payload", ["x", b"x", None, 1, [], [{}], [{"other": 1}]])
def test_what_is_no_object_is_not_accepted(make: Any, payload: Any) -> None:
    assert matches(make({"key": [{"exists": False}]}), payload) is False


def test_a_policy_selects_a_handler_and_explains_itself() -> None:
    app = App()
    app.on_data(from_sns_filter_policy({"store": ["x"]}))(handle)

    assert [handler.function for handler in app.handlers_for({"store": ["y", "x"]})] == [handle]
    assert "wanted from_sns_filter_policy({'store': ['x']}), found {'store': 'y'}" in str(app.explain({"store": "y"}))


def test_a_policy_stands_wherever_a_pattern_can() -> None:
    policy = from_sns_filter_policy({"store": ["x"]})

    assert matches({"order": policy}, {"order": {"store": "x"}}) is True
    assert matches({"order": not_(policy)}, {"order": "x"}) is True
    assert matches(or_(policy, "x"), "x") is True


@pytest.mark.parametrize(
    ("policy", "required"),
    [
        ({"a": ["x", None], "b": [1], "c": {"d": ["x"]}}, {("a",): {"x", None}}),
        ({"a.b": ["x"], "c": ["x", {"prefix": "y"}]}, {}),
        ({"$or": [{"a": ["x"]}, {"a": ["y"]}], "b": [True]}, {("b",): {True}}),
    ],
)
def test_what_has_to_stand_at_the_top_is_told(policy: Policy, required: dict[tuple[str, ...], set[Any]]) -> None:
    assert read(policy).required == required


@given(nested_policies, st.dictionaries(keys | st.just("a.b"), odd_payloads, max_size=3) | bodies)
def test_what_a_policy_requires_is_in_everything_it_accepts(policy: Policy, body: Policy) -> None:
    read_unless_too_much(policy, "MessageBody")
    condition = read(policy)

    said = condition.test(body)

    assert not said or all(is_there(body, path, allowed) for path, allowed in condition.required.items())


@given(nested_policies, odd_payloads)
def test_no_payload_makes_a_policy_raise(policy: Policy, payload: Any) -> None:
    read_unless_too_much(policy, "MessageBody")

    said = matches(from_sns_filter_policy(policy), payload)

    assert isinstance(payload, dict) or said is False


@pytest.mark.parametrize(("policy", "reason", "path"), WRONG)
def test_a_policy_that_sns_does_not_take_is_no_pattern(policy: Any, reason: str, path: str) -> None:
    with pytest.raises(PatternError) as error:
        from_sns_filter_policy(policy)

    assert (error.value.reason, error.value.path) == (reason, path)


def test_policies_are_known_by_what_they_say() -> None:
    assert read({"a": ["x"]}).key == read('{"a" : ["x"]}').key
    assert len({read(each).key for each in ({"a": [1]}, {"a": [True]}, {"a": ["1"]}, {"b": [1]})}) == 4


# In attributes.

ATTRIBUTES: list[tuple[Policy, Attributes, bool]] = [
    ({"store": ["x"]}, {"store": ("String", "x")}, True),
    ({"store": ["x"]}, {"store": ("String", "y")}, False),
    ({"store": ["x"]}, {"store": ("String.Array", '["y", "x"]')}, True),
    ({"store": [True]}, {"store": ("String.Array", "[true]")}, True),
    ({"store": [5]}, {"store": ("String.Array", " [5]")}, True),
    ({"store": [5]}, {"store": ("String", "5")}, False),
    ({"price": [{"numeric": [">", 4.5]}]}, {"price": ("Number", "5")}, True),
    ({"price": [5]}, {"price": ("Number.float", "0.05e2")}, True),
    ({"price": ["5"]}, {"price": ("Number", "5")}, False),
    ({"price": [{"exists": True}]}, {"price": ("Number", "five")}, True),
    ({"picture": [{"exists": True}]}, {"picture": ("Binary", "eA==")}, False),
    ({"store": [{"exists": False}]}, {"price": ("Number", "5")}, True),
    # https://docs.aws.amazon.com/sns/latest/dg/attribute-key-matching.html
    ({"store": [{"exists": False}]}, {}, False),
    ({"$or": [{"a": ["x"]}, {"b": ["x"]}]}, {"b": ("String", "x")}, True),
]


@pytest.mark.parametrize(("policy", "attributes", "said"), ATTRIBUTES)
def test_a_policy_for_attributes_is_a_predicate(policy: Policy, attributes: Attributes, said: bool) -> None:
    accepts = from_sns_filter_policy(policy, scope="MessageAttributes")

    assert accepts(received_in_envelope(attributes)) is said
    if "picture" not in attributes:  # SQS gives bytes
        assert accepts(received_raw(attributes)) is said


def test_the_envelope_leaves_no_type_and_raw_delivery_does() -> None:
    accepts = from_sns_filter_policy({"store": ["x"]}, scope="MessageAttributes")
    text_that_is_an_array: Attributes = {"store": ("String", '["x"]')}

    assert accepts(received_in_envelope(text_that_is_an_array)) is True
    assert accepts(received_raw(text_that_is_an_array)) is False


def test_a_binary_attribute_is_not_there() -> None:
    message = open_message(
        "body", sqs_attributes={"picture": Attribute("Binary", b"x"), "store": Attribute("String", "x")}
    )

    assert from_sns_filter_policy({"picture": [{"exists": False}]}, scope="MessageAttributes")(message) is True


@pytest.mark.parametrize("receive", [received_raw, received_in_envelope])
@given(
    policy=flat_policies,
    attributes=st.dictionaries(
        keys,
        st.tuples(st.sampled_from(["String", "String.Array", "Number", "Number.x"]), st.text() | st.just('["a", 1]')),
    ),
)
def test_a_predicate_says_what_the_topic_says(receive: Any, policy: Policy, attributes: Attributes) -> None:
    said_by_topic = read_unless_too_much(policy, "MessageAttributes")("body", attributes)
    assume(receive is received_raw or not any("[" in text for kind, text in attributes.values() if "Array" not in kind))

    said = from_sns_filter_policy(policy, scope="MessageAttributes")(receive(attributes))

    assert said == said_by_topic


def test_a_predicate_selects_messages_of_any_kind() -> None:
    app = App()
    app.on_message(from_sns_filter_policy({"store": ["x"]}, scope="MessageAttributes"))(handle)
    message = received_in_envelope({"store": ("String", "x")})

    assert [handler.function for handler in app.handlers_for(message)] == [handle]
    assert app.handlers_for("without attributes") == ()
    assert "wanted from_sns_filter_policy(), found" in str(app.explain("without attributes"))


def test_a_policy_for_attributes_that_sns_does_not_take_is_refused() -> None:
    with pytest.raises(PatternError, match="does not support nested filter policy"):
        from_sns_filter_policy({"a": {"b": ["x"]}}, scope="MessageAttributes")


def test_an_unknown_scope_is_refused() -> None:
    with pytest.raises(
        PatternError, match="a filter policy has the scope MessageAttributes or MessageBody, not 'Body'"
    ):
        from_sns_filter_policy({"a": ["x"]}, scope="Body")  # type: ignore[call-overload]


def test_to_sns_fields_of_one_array_may_match_in_different_elements() -> None:
    policy = read({"employees": {"first": ["Anna"], "last": ["Jones"]}})

    assert matches(policy, {"employees": [{"first": "Anna", "last": "Smith"}, {"first": "Jo", "last": "Jones"}]})


@given(st.lists(nested_policies, min_size=1, max_size=12), bodies)
def test_an_index_of_policies_finds_what_each_alone_would(policies: list[Policy], body: Policy) -> None:
    app = App()
    for policy in policies:
        read_unless_too_much(policy, "MessageBody")
        app.on_data(read(policy))(handle)
    message = message_with(body)

    found = DispatchTable(app.handlers, Sizes(small=0, large=0)).select(message)

    assert found == LinearTable(app.handlers).select(message)
