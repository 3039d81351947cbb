"""The policy derived from handlers that ask by filters of AWS's: it sees into these."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from megaflow import App, PatternError
from megaflow.local import Account, SnsClient, SqsClient
from megaflow.match.filters import from_eventbridge, from_sns_filter_policy, read_filter_policy
from megaflow.match.functions import absent, contains, gt, not_, or_
from megaflow.messages.message import open_message
from tests.dispatch.test_sns_policy import on_data, on_event, policy_of
from tests.examples import examples
from tests.match.test_eventbridge import events, patterns
from tests.match.test_filters import bodies, flat_policies, nested_policies, read_unless_too_much
from tests.matching import handle
from tests.pattern_strategies import object_patterns
from tests.reference_matcher import build

THERE, NOT_THERE = {"exists": True}, {"exists": False}
PRESENT = ["", None, THERE]


def alike(some: object, other: object) -> bool:
    """Tell whether two policies are the same but for the order of their lists."""
    if isinstance(some, dict) and isinstance(other, dict):
        return some.keys() == other.keys() and all(alike(some[key], other[key]) for key in some)
    if isinstance(some, list) and isinstance(other, list):
        return sorted(map(json.dumps, some)) == sorted(map(json.dumps, other))
    return some == other


# Policies of SNS's


@pytest.mark.parametrize(
    "policy",
    [
        {"store": ["x"]},
        {"store": ["x", None, True, 5, 1.5]},
        {"store": [{"anything-but": ["x", "y"]}]},
        {"store": [{"anything-but": {"prefix": "order-"}}]},
        {"store": [{"prefix": "a"}, {"suffix": "b"}, {"wildcard": "a*b*c"}]},
        {"price": [{"numeric": [">", 0, "<=", 100]}], "ip": [{"cidr": "10.0.0.0/8"}]},
        {"store": [{"equals-ignore-case": "straße"}]},
        {"store": [NOT_THERE], "customer": [THERE]},
        {"detail": {"state": ["open"], "note": [NOT_THERE]}},
        {"kind": ["order"], "$or": [{"a": ["x"]}, {"b": [{"numeric": ["=", 5]}]}]},
    ],
    ids=str,
)
def test_a_policy_is_said_again_as_it_is(policy: dict[str, Any]) -> None:
    assert alike(policy_of(on_data(from_sns_filter_policy(policy))), policy)


def check_that_nothing_wanted_is_kept_out(app: App, several: list[dict[str, Any]]) -> None:
    derived = app.sns_filter_policy(json_only=True)

    event("no policy" if derived.policy is None else "policy")
    if derived.policy is None:
        return
    says = read_filter_policy(derived.policy, "MessageBody")
    for body in map(json.dumps, several):
        matched = app.handlers_for(open_message(body))
        event(f"matched: {bool(matched)}")
        assert says(body, {}) or not matched, (str(derived), body)


@settings(max_examples=examples(200))
@given(nested_policies, st.lists(bodies, min_size=1, max_size=4))
def test_it_accepts_what_the_policy_accepts(policy: dict[str, Any], several: list[dict[str, Any]]) -> None:
    accepts = read_unless_too_much(policy, "MessageBody")
    app = on_data(from_sns_filter_policy(policy))

    derived = app.sns_filter_policy(json_only=True)

    event("no policy" if derived.policy is None else "policy")
    if derived.policy is None:
        return
    says = read_filter_policy(derived.policy, "MessageBody")
    for body in map(json.dumps, several):
        event(f"accepted: {accepts(body, {})}")
        assert says(body, {}) or not accepts(body, {}), (str(derived), body)


@settings(max_examples=examples(200))
@given(flat_policies, st.lists(bodies, min_size=1, max_size=4))
def test_it_accepts_no_more_where_each_key_is_asked_once(policy: dict[str, Any], several: list[dict[str, Any]]) -> None:
    accepts = read_unless_too_much(policy, "MessageBody")
    asked = [key for each in [policy, *policy.get("$or", [])] for key in each if key != "$or"]
    derived = on_data(from_sns_filter_policy(policy)).sns_filter_policy(json_only=True)
    if len(set(asked)) < len(asked) or derived.policy is None:
        return
    says = read_filter_policy(derived.policy, "MessageBody")

    for body in map(json.dumps, several):
        assert says(body, {}) == accepts(body, {}), (str(derived), body)


# Event patterns of EventBridge's


@settings(max_examples=examples(300))
@given(patterns, st.lists(events, min_size=1, max_size=4))
def test_it_lets_through_what_an_event_pattern_matches(pattern: dict[str, Any], several: list[dict[str, Any]]) -> None:
    app = App()
    try:
        app.on_data(from_eventbridge(pattern))(handle)
    except PatternError:
        return

    check_that_nothing_wanted_is_kept_out(app, several)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (["x", None, True], ["x", None, True]),
        ([5, 1.5], [5, 1.5]),
        ([1.000001], [THERE]),
        ([4 * 10**9], [THERE]),
        ([THERE], PRESENT),
        ([{"prefix": "a"}, {"suffix": "b"}], [{"prefix": "a"}, {"suffix": "b"}]),
        ([{"prefix": {"equals-ignore-case": "a"}}], ["", THERE]),
        ([{"equals-ignore-case": "a"}, {"cidr": "10.0.0.0/8"}], [{"equals-ignore-case": "a"}, {"cidr": "10.0.0.0/8"}]),
        ([{"exactly": "x"}], ["x"]),
        ([{"wildcard": "a*b*c*d"}], [{"wildcard": "a*b*c*d"}]),
        ([{"wildcard": "a*b*c*d*e"}], [{"prefix": "a"}]),
        ([{"wildcard": "*b*c*d*e"}], [{"suffix": "e"}]),
        ([{"wildcard": "*b*c*d*"}], ["", THERE]),
        ([{"anything-but": ["x", "y"]}], [{"anything-but": ["x", "y"]}]),
        ([{"anything-but": 5}], PRESENT),
        ([{"anything-but": {"prefix": ["x", "y"]}}], [{"anything-but": {"prefix": "x"}}]),
        ([{"anything-but": {"wildcard": "a*b"}}], [{"anything-but": {"wildcard": "a*b"}}]),
        ([{"anything-but": {"wildcard": "*a*b*c*"}}], PRESENT),
        ([{"anything-but": {"equals-ignore-case": "x"}}], PRESENT),
        ([{"numeric": [">", 0, "<", 10]}], [{"numeric": [">=", 0, "<=", 10]}]),
        ([{"numeric": ["=", 5]}], [5]),
        ([{"numeric": [">", 4 * 10**9]}], [{"numeric": [">=", 10**9]}]),
        ([{"numeric": [">", -4 * 10**9]}], [THERE]),
        ([{"numeric": [">=", 0.000001, "<=", 0.000002]}], [{"numeric": [">=", 0.0, "<=", 0.0001]}]),
        ([{"numeric": ["<", -4 * 10**9]}], [{"numeric": ["<=", -(10**9)]}]),
    ],
    ids=str,
)
def test_what_only_eventbridge_says_becomes_what_lets_through_more(written: list[Any], said: list[Any]) -> None:
    policy = policy_of(on_data(from_eventbridge({"type": ["t"], "a": written})))

    assert policy["type"] == ["t"]
    assert alike(policy["a"], said)


@pytest.mark.parametrize(
    ("bounds", "value"),
    [([">", 1], 1.000001), (["<", 1], 0.999999), ([">=", 0.0000051, "<=", 0.1], 0.000005), (["=", 1], 1.0000004)],
)
def test_a_number_of_six_decimals_is_not_lost(bounds: list[Any], value: float) -> None:
    app = on_data(from_eventbridge({"a": [{"numeric": bounds}]}))
    body = json.dumps({"a": value})

    assert app.handlers_for({"a": value}) == app.handlers
    assert read_filter_policy(policy_of(app), "MessageBody")(body, {})


def test_what_is_missing_from_one_element_of_a_list_only_is_not_asked_for() -> None:
    app = on_data(from_eventbridge({"detail": {"state": ["open"], "until": [NOT_THERE]}, "late": [NOT_THERE]}))
    body = {"detail": [{"state": "open"}, {"state": "shut", "until": "x"}]}

    assert app.handlers_for(body) == app.handlers
    assert policy_of(app) == {"detail": {"state": ["open"]}, "late": [NOT_THERE]}


# Among other patterns


def test_it_stands_beside_other_handlers() -> None:
    """The issue: one such handler was enough for "asks for nothing that SNS can ask for"."""
    app = on_data(
        {"type": "order"},
        from_sns_filter_policy({"type": ["refund"]}),
        from_eventbridge({"type": ["parcel", {"prefix": "letter-"}]}),
    )

    assert policy_of(app) == {"type": ["order", "parcel", "refund", {"prefix": "letter-"}]}


@pytest.mark.parametrize(
    ("pattern", "policy"),
    [
        ({"type": "t", "order": from_sns_filter_policy({"id": ["x"]})}, {"type": ["t"], "order": {"id": ["x"]}}),
        ({"type": "t", "order": from_sns_filter_policy({"id": [NOT_THERE]})}, {"type": ["t"]}),
        ({"items": contains(from_sns_filter_policy({"id": ["x"]}))}, {"items": {"id": ["x"]}}),
        (or_({"a": "x"}, from_sns_filter_policy({"a": ["y"]})), {"a": ["x", "y"]}),
        (from_sns_filter_policy({"a": ["x"]}) & from_eventbridge({"b": ["y"]}), {"a": ["x"], "b": ["y"]}),
        ({"type": "t", "order": not_(from_sns_filter_policy({"id": ["x"]}))}, {"type": ["t"]}),
        ({"n": gt(0), "order": from_eventbridge({"id": [5]})}, {"n": [THERE], "order": {"id": [5]}}),
        (
            {"a": absent(), "o": from_sns_filter_policy({"$or": [{"a": ["x"]}, {"b": ["y"]}]})},
            {
                "a": [NOT_THERE],
                "$or": [{"o": {"a": ["x"]}}, {"o": {"b": ["y"]}}],
            },
        ),
    ],
    ids=str,
)
def test_it_is_seen_wherever_it_stands(pattern: object, policy: dict[str, Any]) -> None:
    assert policy_of(on_data(pattern)) == policy


def test_it_is_seen_in_the_rules_of_an_event() -> None:
    app = on_event(name="n", current_object=from_sns_filter_policy({"user": ["x"]}))
    stray = on_event(attributes=from_sns_filter_policy({"tenant": ["acme"], "name": ["x"]}))
    beside = {"name": "n", "timestamp": "2020-01-01T00:00:00Z", "tenant": "acme", "attributes": {"name": "x"}}

    assert policy_of(app) == {"protocol": ["mega"], "event": {"name": ["n"]}, "object": {"current": {"user": ["x"]}}}
    body = json.dumps({"protocol": "mega", "version": 1, "event": beside})
    assert stray.handlers_for(open_message(body)) == stray.handlers
    assert read_filter_policy(policy_of(stray), "MessageBody")(body, {})


def test_an_attribute_with_a_dot_beside_a_field_is_not_lost() -> None:
    app = on_event(attributes=from_sns_filter_policy({"name": {"first": ["x"]}, "tenant": ["a"]}))
    section = {"name": "n", "timestamp": "2020-01-01T00:00:00Z", "name.first": "x", "tenant": "a"}
    body = json.dumps({"protocol": "mega", "version": 1, "event": section})

    assert app.handlers_for(open_message(body)) == app.handlers
    assert read_filter_policy(policy_of(app), "MessageBody")(body, {})


_filters: st.SearchStrategy[Callable[[], object]] = st.one_of(
    nested_policies.map(lambda policy: lambda: from_sns_filter_policy(policy)),
    patterns.map(lambda pattern: lambda: from_eventbridge(pattern)),
    object_patterns.map(lambda pattern: lambda: build(pattern)),
)


@settings(max_examples=examples(200))
@given(
    st.lists(_filters, min_size=1, max_size=4),
    st.sampled_from([None, "key", "list", "or"]),
    st.lists(bodies | events | bodies.map(lambda body: {"a": body}), min_size=1, max_size=4),
)
def test_whatever_some_handler_matches_is_let_through(
    makes: list[Callable[[], object]], where: str | None, several: list[dict[str, Any]]
) -> None:
    try:
        asked: list[Any] = [make() for make in makes]
    except PatternError:
        return
    if where == "key":
        asked = [{"a": each} for each in asked]
    elif where == "list":
        asked = [{"a": contains(each)} for each in asked]
    elif where == "or":
        asked = [or_(*asked)]
    app = on_data(*asked)

    check_that_nothing_wanted_is_kept_out(app, several)


# Limits


def test_wildcards_that_are_too_many_for_a_policy_become_presence() -> None:
    app = on_data(*(from_sns_filter_policy({"a": [{"wildcard": f"{n}*x*y*z"}]}) for n in range(20)))

    assert policy_of(app) == {"a": [THERE]}


def test_values_that_are_too_many_keep_null_and_empty_text() -> None:
    denied = [from_sns_filter_policy({"a": [{"anything-but": f"{n}"}]}) for n in range(200)]

    assert alike(policy_of(on_data(*denied))["a"], PRESENT)


def test_presence_beside_a_denial_keeps_null_and_empty_text() -> None:
    assert alike(policy_of(on_data(from_sns_filter_policy({"a": [THERE, {"anything-but": "x"}]})))["a"], PRESENT)


def test_ways_that_are_very_many_let_through_more() -> None:
    either = [[{f"k{n}": ["x"]}, {f"k{n}": ["y"]}] for n in range(7)]
    asked: Any = from_eventbridge({"type": ["t"]})
    for each in either:
        asked = asked & from_eventbridge({"$or": each})
    app = on_data(asked)

    says = read_filter_policy(policy_of(app), "MessageBody")

    assert says(json.dumps({"type": "t", **{f"k{n}": "x" for n in range(7)}}), {})
    assert not says(json.dumps({"type": "u", **{f"k{n}": "x" for n in range(7)}}), {})


# Reasons


@pytest.mark.parametrize(
    ("pattern", "rule"),
    [
        ({"a": not_("x")}, "a: not_('x')"),
        ({"a": {"b": lambda left: True}, "c": not_(5)}, "a.b: <lambda> at line"),
        (from_eventbridge({"d": {"a": [NOT_THERE], "b": [NOT_THERE]}}), "from_eventbridge({'d': {'a': [{'exists': Fa"),
        ({"a": from_sns_filter_policy({"b": [NOT_THERE]})}, "a: from_sns_filter_policy({'b': [{'exists': False}]})"),
    ],
)
def test_the_reason_names_the_handler_and_its_rules(pattern: object, rule: str) -> None:
    app = on_data({"type": "t"}, pattern)

    derived = app.sns_filter_policy(json_only=True)

    assert derived.policy is None
    assert f"({app.handlers[1].where}) asks for nothing that SNS can ask for: " in derived.reason
    assert rule in derived.reason


def test_of_many_rules_the_reason_names_the_first() -> None:
    reason = on_data({f"k{n}": not_("x") for n in range(8)}).sns_filter_policy(json_only=True).reason

    assert reason.endswith("k4: not_('x'), and 3 more")


# Policies for attributes


def for_attributes(*policies: dict[str, Any]) -> App:
    app = App()
    for policy in policies:
        app.on_message(from_sns_filter_policy(policy, scope="MessageAttributes"))(lambda message: None)
    return app


def test_handlers_that_ask_for_attributes_have_a_policy_for_attributes() -> None:
    app = for_attributes({"store": ["x"]}, {"store": [{"prefix": "y"}], "store.id": [NOT_THERE]})

    derived = app.sns_filter_policy()

    assert derived.scope == "MessageAttributes"
    assert derived.policy == {"$or": [{"store": ["x"]}, {"store": [{"prefix": "y"}], "store.id": [NOT_THERE]}]}


@settings(max_examples=examples(200))
@given(
    st.lists(flat_policies, min_size=1, max_size=3),
    st.lists(
        st.dictionaries(
            st.sampled_from(["a", "b", "c"]),
            st.tuples(st.just("String"), st.sampled_from(["a", "b", "ab", "1", '["a"]']))
            | st.tuples(st.just("Number"), st.sampled_from(["0", "1", "1.5", "2"])),
            max_size=3,
        ),
        min_size=1,
        max_size=4,
    ),
)
def test_it_accepts_what_one_of_the_policies_accepts(policies: list[dict[str, Any]], several: list[Any]) -> None:
    accepted = [read_unless_too_much(policy, "MessageAttributes") for policy in policies]

    derived = for_attributes(*policies).sns_filter_policy()

    event("no policy" if derived.policy is None else "policy")
    if derived.policy is None:
        assert "does not fit" in derived.reason
        return
    says = read_filter_policy(derived.policy, "MessageAttributes")
    for attributes in several:
        assert says("", attributes) or not any(each("", attributes) for each in accepted), (str(derived), attributes)


def test_a_topic_that_filters_by_attributes_delivers_what_the_handlers_want() -> None:
    account = Account()
    sns, sqs = SnsClient(account), SqsClient(account)
    topic = sns.create_topic(Name="stores")["TopicArn"]
    url = sqs.create_queue(QueueName="stores")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    derived = for_attributes({"store": ["x"]}, {"price": [{"numeric": [">", 5]}]}).sns_filter_policy()
    attributes = {"FilterPolicy": str(derived), "FilterPolicyScope": derived.scope}
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes=attributes)
    app = App(topic_arn=topic, sns_client=sns)

    app.publish("wanted", attributes={"store": "x"})
    app.publish("wanted, too", attributes={"store": "y", "price": 6})
    app.publish("not wanted", attributes={"store": "y"})

    received = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    assert {json.loads(each["Body"])["Message"] for each in received} == {"wanted", "wanted, too"}


def test_a_subscription_filters_by_attributes_or_by_bodies() -> None:
    app = for_attributes({"store": ["x"]})
    app.on_data({"type": "t"})(handle)

    derived = app.sns_filter_policy(json_only=True)

    assert derived.policy is None
    assert app.handlers[0].where in derived.reason
    assert "asks for attributes, and others for bodies: a subscription has a policy for one of them" in derived.reason


def test_two_denials_for_one_key_still_ask_for_the_key() -> None:
    policy = {"a": [""], "b": [{"anything-but": ""}, {"anything-but": {"prefix": "a"}}]}

    derived = on_data(from_sns_filter_policy(policy)).sns_filter_policy(json_only=True)

    assert alike(derived.policy, policy)
