from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from megaflow import App
from megaflow.dispatch.fields import see
from megaflow.event import Payload
from megaflow.local import Account, SnsClient, SqsClient
from megaflow.match.filters import read_filter_policy
from megaflow.match.functions import (
    absent,
    all_items,
    any_,
    between,
    cidr,
    contains,
    empty,
    gt,
    gte,
    iequals,
    length,
    lt,
    match,
    not_,
    one_of,
    or_,
    prefix,
    search,
    suffix,
    wildcard,
)
from megaflow.messages.message import open_message
from tests.examples import examples
from tests.matching import show
from tests.pattern_strategies import object_patterns, patterns_with_functions
from tests.reference_matcher import build

THERE, NOT_THERE = {"exists": True}, {"exists": False}
DEFAULT_VERSION = [None, NOT_THERE]


def policy_of(app: App) -> dict[str, Any]:
    derived = app.sns_filter_policy(json_only=True)
    assert derived.policy is not None, derived
    assert derived.scope == "MessageBody"
    return derived.policy


def on_data(*patterns: object) -> App:
    app = App()
    for pattern in patterns:
        app.on_data(pattern)(lambda payload: None)
    return app


def on_event(**rules: Any) -> App:
    app = App()
    app.on_event(**rules)(lambda payload: None)
    return app


@pytest.mark.parametrize(
    ("pattern", "allowed"),
    [
        ("x", ["x"]),
        (None, [None]),
        (True, [True]),
        (5, [THERE]),
        (Decimal("19.99"), [THERE]),
        (gt(0), [THERE]),
        (date(2020, 1, 1), [THERE]),
        (one_of("x", "y"), ["x", "y"]),
        (one_of("x", 5), [THERE]),
        (["x", "y"], ["x", "y"]),
        (contains("x"), ["x"]),
        (prefix("ab"), [{"prefix": "ab"}]),
        (prefix(""), ["", THERE]),
        (suffix("ab"), [{"suffix": "ab"}]),
        (wildcard("ab*cd"), [{"prefix": "ab"}]),
        (wildcard("*cd"), [{"suffix": "cd"}]),
        (wildcard("a"), ["a"]),
        (match("ab.*"), [{"prefix": "ab"}]),
        (search("ab"), ["", THERE]),
        (iequals("Abc"), [{"equals-ignore-case": "Abc"}]),
        (iequals("Gas"), ["", THERE]),
        (cidr("10.0.0.0/8"), [THERE]),
        (absent(), [NOT_THERE]),
        (empty(), ["", None, NOT_THERE]),
        (or_(absent(), "x"), ["x", NOT_THERE]),
    ],
    ids=show,
)
def test_a_condition_becomes_what_sns_can_say_of_it(pattern: object, allowed: list[Any]) -> None:
    policy = policy_of(on_data({"type": "t", "a": pattern}))

    assert policy["type"] == ["t"]
    assert sorted(map(json.dumps, policy["a"])) == sorted(map(json.dumps, allowed))


@pytest.mark.parametrize(
    "pattern",
    [
        any_(),
        not_("x"),
        {},
        [],
        all_items("x"),
        length(3),
        bool,
        lambda left: True,
        contains(empty()),
    ],
    ids=show,
)
def test_what_sns_cannot_say_is_left_out(pattern: object) -> None:
    assert policy_of(on_data({"type": "t", "a": pattern})) == {"type": ["t"]}


@pytest.mark.parametrize("key", ["a.b", "$or", "", "prefix", "numeric"])
def test_keys_that_mean_something_else_to_sns_are_left_out(key: str) -> None:
    assert policy_of(on_data({"type": "t", key: "x"})) == {"type": ["t"]}


def test_an_event_is_told_by_its_fields() -> None:
    policy = policy_of(on_event(domain="cart", name=prefix("item."), object_type="cart", current_object={"user": "x"}))

    assert policy == {
        "protocol": ["mega"],
        "event": {"domain": ["cart"], "name": [{"prefix": "item."}]},
        "object": {"type": ["cart"], "current": {"user": ["x"]}},
    }


@pytest.mark.parametrize(
    ("version", "allowed"),
    [
        (1, [1, *DEFAULT_VERSION]),
        (2, [2]),
        (one_of(1, 2), [1, 2, *DEFAULT_VERSION]),
        (between(2, 5), [{"numeric": [">=", 2, "<=", 4]}]),
        (between(2, 3), [2]),
        (gt(1), [THERE]),
        (10**12, [THERE]),
        (between(2, 10**12), [THERE]),
    ],
    ids=show,
)
def test_versions_are_whole_numbers_and_1_where_they_are_absent(version: object, allowed: list[Any]) -> None:
    policy = policy_of(on_event(name="n", version=version))

    assert sorted(map(json.dumps, policy["event"]["version"])) == sorted(map(json.dumps, allowed))


@pytest.mark.parametrize("version", [gte(1), not_(2), any_()], ids=show)
def test_a_version_that_is_1_or_nearly_any_other_says_nothing(version: object) -> None:
    assert policy_of(on_event(name="n", version=version)) == {"protocol": ["mega"], "event": {"name": ["n"]}}


def test_a_field_that_has_to_be_missing_may_be_null() -> None:
    policy = policy_of(on_event(name="n", domain=absent()))

    assert policy["event"]["domain"] == [None, NOT_THERE]


def test_an_attribute_may_stand_in_two_places() -> None:
    policy = policy_of(on_event(name="n", attributes={"tenant": "acme"}))

    assert policy == {
        "protocol": ["mega"],
        "event": {"name": ["n"]},
        "$or": [{"event": {"attributes": {"tenant": ["acme"]}}}, {"event": {"tenant": ["acme"]}}],
    }


def test_an_attribute_that_has_the_name_of_a_field_stands_in_one() -> None:
    policy = policy_of(on_event(attributes={"name": "x"}))

    assert policy == {"protocol": ["mega"], "event": {"attributes": {"name": ["x"]}}}


def test_several_handlers_are_alternatives() -> None:
    assert policy_of(on_data({"type": "a", "id": "1"}, {"type": "b", "id": "2"})) == {
        "$or": [{"type": ["a"], "id": ["1"]}, {"type": ["b"], "id": ["2"]}]
    }


def test_handlers_that_differ_at_one_key_are_taken_together() -> None:
    assert policy_of(on_data(*({"type": "a", "id": str(number)} for number in range(3)))) == {
        "type": ["a"],
        "id": ["0", "1", "2"],
    }


def test_a_handler_that_gets_only_what_another_one_gets_adds_nothing() -> None:
    assert policy_of(on_data({"type": "a"}, {"type": "a", "id": "1"})) == {"type": ["a"]}


def test_a_handler_that_never_matches_adds_nothing() -> None:
    assert policy_of(on_data({"type": "a"}, {"type": "b", "n": gt(5) & lt(3)})) == {"type": ["a"]}


@pytest.mark.parametrize(
    ("register", "reason"),
    [
        (lambda app: app.on_text("ping"), "takes text, which a policy for bodies cuts off"),
        (lambda app: app.on_binary(), "takes binary, which"),
        (lambda app: app.on_message(), "takes messages of every kind"),
        (lambda app: app.on_message(lambda message: True), "takes messages of every kind"),
        (lambda app: app.on_data(), "matches every data object"),
        (lambda app: app.on_data({"a": not_("x")}), "asks for nothing that SNS can ask for"),
    ],
)
def test_there_is_no_policy_where_a_handler_would_lose_messages(register: Any, reason: str) -> None:
    app = on_data({"type": "a"})
    register(app)(handle)

    derived = app.sns_filter_policy(json_only=True)

    assert derived.policy is None
    assert reason in derived.reason
    assert f"{handle.__module__}.handle (" in derived.reason
    assert str(derived).startswith("no policy: ")


def handle(payload: Any) -> None:
    """Do nothing with *payload*."""


def test_there_is_no_policy_where_objects_may_travel_as_bson() -> None:
    derived = on_data({"type": "a"}).sns_filter_policy()

    assert derived.policy is None
    assert "say json_only=True" in derived.reason


def test_without_handlers_or_without_a_match_there_is_no_policy() -> None:
    assert App().sns_filter_policy(json_only=True).reason == "no handler is registered"
    assert "no handler ever matches" in on_data({"a": gt(5) & lt(3)}).sns_filter_policy(json_only=True).reason


def test_an_app_for_all_events_lets_all_events_through() -> None:
    assert policy_of(on_event()) == {"protocol": ["mega"]}
    assert str(on_event().sns_filter_policy(json_only=True)) == '{"protocol": ["mega"]}'


@pytest.mark.parametrize("count", [10, 100, 1_000])
def test_many_handlers_fit_into_the_limits(count: int) -> None:
    app = App()
    for number in range(count):
        app.on_event(domain=f"d{number % 10}", name=f"n{number}", version=1, object_type="t", subject=f"s{number}")(
            handle
        )
        app.on_data({"type": f"t{number}", "a": str(number), "b": {"c": str(number)}, "kind": "order"})(handle)

    policy = policy_of(app)

    accepts = read_filter_policy(policy, "MessageBody")
    assert accepts(json.dumps({"type": "t3", "a": "3", "b": {"c": "3"}, "kind": "order"}), {})
    assert not accepts(json.dumps({"type": "x", "kind": "payment"}), {})


def test_what_fits_into_no_policy_is_told() -> None:
    app = on_data(*({f"key-{number}": "x"} for number in range(9)))

    assert "does not fit into a policy" in app.sns_filter_policy(json_only=True).reason


def test_a_topic_that_filters_by_the_policy_delivers_what_the_handlers_want() -> None:
    account = Account()
    sns, sqs = SnsClient(account), SqsClient(account)
    topic = sns.create_topic(Name="carts")["TopicArn"]
    url = sqs.create_queue(QueueName="carts")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    app = App(url, topic, client=sqs, sns_client=sns)
    app.on_data({"type": "order", "total": gt(100)})(handle)
    derived = app.sns_filter_policy(json_only=True)
    attributes = {"FilterPolicy": str(derived), "FilterPolicyScope": derived.scope, "RawMessageDelivery": "true"}
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes=attributes)

    app.publish({"type": "order", "total": "120.00"})
    app.publish({"type": "refund", "total": "120.00"})

    received = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    assert [json.loads(each["Body"])["type"] for each in received] == ["order"]


# What stands in bodies and in patterns, so that they often meet.
_keys = st.sampled_from(["a", "b", "name", "version", "item.id", "$or"])
_scalars = st.sampled_from(
    [
        None,
        True,
        False,
        0,
        1,
        5,
        5.0,
        1.5,
        10**12,
        "",
        "a",
        "ab",
        "b",
        "5",
        "5.0",
        "19.99",
        "2020-01-01",
        "ß",
        "SS",
        "\u017f",
        "10.0.0.1",
        "a\nb",
        '"',
        "\\",
        "a*b",
    ]
)
_bodies = st.recursive(
    _scalars,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(_keys, below, max_size=3),
    max_leaves=6,
)
_objects = st.dictionaries(_keys, _bodies, max_size=4)
_texts = st.none() | st.sampled_from(["", "a", "ab", "5"])
_versions = st.sampled_from([1, 2, 5, 10**12, None])


def _without(document: dict[str, Any], dropped: set[str]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key not in dropped}


_dropped = st.sets(st.sampled_from(["domain", "subject", "version", "attributes", "type", "id", "current", "previous"]))
_sections = st.builds(
    _without,
    st.fixed_dictionaries(
        {"domain": _texts, "subject": _texts, "version": _versions, "attributes": st.none() | _objects},
        optional={"a": _bodies, "b": _bodies, "item.id": _bodies},
    ),
    _dropped,
)
_event_bodies = st.builds(
    lambda section, name, version, about, extra: {
        "protocol": "mega",
        "version": version,
        "event": {"timestamp": datetime(2020, 1, 1, tzinfo=UTC).isoformat()} | section | {"name": name},
        **about,
        **extra,
    },
    _sections,
    st.sampled_from(["", "a", "ab", "5"]),
    st.sampled_from([1, "1"]),
    st.fixed_dictionaries(
        {},
        optional={
            "object": st.none()
            | st.builds(
                _without,
                st.fixed_dictionaries(
                    {
                        "type": _texts,
                        "id": _texts,
                        "version": _versions,
                        "current": st.none() | _objects,
                        "previous": st.none() | _objects,
                    }
                ),
                _dropped,
            )
        },
    ),
    st.fixed_dictionaries({}, optional={"extra": _objects}),
)
_rules = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("name", "domain", "subject", "object_type", "extra", "timestamp"), patterns_with_functions),
        **{rule: patterns_with_functions | st.integers(1, 5) for rule in ("version", "object_version")},
        **dict.fromkeys(("attributes", "current_object", "previous_object"), object_patterns),
    },
)
_equal_objects = st.dictionaries(_keys, _scalars | st.dictionaries(_keys, _scalars, max_size=2), max_size=2)


@settings(max_examples=examples(300))
@given(
    data_patterns=st.lists(object_patterns | _equal_objects, max_size=3),
    rules=st.lists(_rules | _equal_objects.map(lambda attributes: {"attributes": attributes}), max_size=3),
    bodies=st.lists(_event_bodies | _objects, min_size=1, max_size=6),
)
def test_a_policy_lets_through_every_body_that_some_handler_matches(
    data_patterns: list[Any], rules: list[Any], bodies: list[Any]
) -> None:
    app = on_data(*map(build, data_patterns))
    for each in rules:
        app.on_event(**{name: build(pattern) for name, pattern in each.items()})(handle)
    derived = app.sns_filter_policy(json_only=True)
    if derived.policy is None:
        event("no policy")
        return

    accepts = read_filter_policy(derived.policy, "MessageBody")

    for body in map(json.dumps, bodies):
        matched = app.handlers_for(open_message(body))
        event("matched" if matched else "not matched")
        assert accepts(body, {}) or not matched, (str(derived), body)


def _pattern_for(draw: st.DrawFn, value: Any) -> Any:
    """Draw a pattern that *value* matches."""
    if isinstance(value, dict) and value and draw(st.booleans()):
        keys = draw(st.sets(st.sampled_from(sorted(value)), min_size=1))
        return {key: _pattern_for(draw, value[key]) for key in keys}
    if isinstance(value, list) and value and draw(st.booleans()):
        items = [_pattern_for(draw, item) for item in draw(st.lists(st.sampled_from(value), min_size=1, max_size=2))]
        return contains(items[0]) if draw(st.booleans()) else items
    choices: list[Any] = [any_(), not_("zz"), one_of("zz", any_())]
    if value in (None, "", [], {}):
        choices.append(empty())
    if isinstance(value, str):
        choices += [
            value,
            prefix(value[:1]),
            suffix(value[-1:]),
            iequals(value.swapcase().casefold()),
            one_of(value, 7),
        ]
        choices += [wildcard("*" + value), search(re.escape(value)), match(re.escape(value)), or_(absent(), value)]
    if isinstance(value, str) and re.fullmatch(r"[0-9]+(\.[0-9]+)?", value):
        choices += [Decimal(value), gte(Decimal(value))] * 2
    if value is None or isinstance(value, bool):
        choices += [value, one_of(value, "zz")]
    elif isinstance(value, int | float):
        choices += [value, gte(value), between(value, value + 2), one_of(value, value + 1), one_of(value, "zz")]
    return draw(st.sampled_from(choices))


@st.composite
def handlers_and_a_body(draw: st.DrawFn) -> tuple[App, str]:
    """Draw a body, a handler that matches it, and maybe others."""
    body = json.dumps(draw(_event_bodies | _objects.filter(bool)))
    message, app = open_message(body), App()
    for pattern in draw(st.lists(object_patterns, max_size=2)):
        app.on_data({"type": "t", "other": build(pattern)})(handle)
    if not isinstance(message.payload, Payload):
        pattern = _pattern_for(draw, message.payload)
        app.on_data({"type": absent()} if not isinstance(pattern, dict) else pattern)(handle)
        return app, body
    rules: dict[str, Any] = {}
    seen = see(message.payload)
    for section, key, rule in _FIELDS:
        if draw(st.booleans()):
            there = key in seen[section]
            rules[rule] = _pattern_for(draw, seen[section][key]) if there else absent()
    if draw(st.booleans()) and seen["extra"]:
        rules["extra"] = _pattern_for(draw, seen["extra"])
    app.on_event(**rules)(handle)
    return app, body


_FIELDS = [
    *(
        ("event", name, f"event_{name}")
        for name in ("name", "domain", "subject", "version", "attributes", "attributes")
    ),
    *(("object", name, f"object_{name}") for name in ("type", "id", "version", "current", "previous")),
]


@settings(max_examples=examples(300))
@given(handlers_and_a_body())
def test_a_policy_lets_through_the_body_that_its_handler_was_made_for(drawn: tuple[App, str]) -> None:
    app, body = drawn
    derived = app.sns_filter_policy(json_only=True)
    event("matched" if app.handlers_for(open_message(body)) else "not matched")
    event("no policy" if derived.policy is None else "policy")

    if derived.policy is not None and app.handlers_for(open_message(body)):
        assert read_filter_policy(derived.policy, "MessageBody")(body, {}), (str(derived), body)


def test_stray_attributes_win_nothing_and_are_let_through() -> None:
    app = on_event(name="n", attributes={"a": "x"})
    accepts = read_filter_policy(policy_of(app), "MessageBody")
    head = {"protocol": "mega", "version": "1"}
    event_ = {"name": "n", "timestamp": "2020-01-01T00:00:00Z"}

    assert accepts(json.dumps(head | {"event": event_ | {"a": "x"}}), {})
    assert accepts(json.dumps(head | {"event": event_ | {"attributes": {"a": "x"}}}), {})
    assert not accepts(json.dumps(head | {"event": event_ | {"a": "y"}}), {})


def _lets_through(app: App, body: dict[str, Any]) -> bool:
    assert app.handlers_for(open_message(json.dumps(body)))
    return read_filter_policy(policy_of(app), "MessageBody")(json.dumps(body), {})


@pytest.mark.parametrize("pattern", [absent(), empty(), or_(absent(), "x")], ids=show)
def test_a_key_with_a_dot_does_not_hide_what_is_missing(pattern: object) -> None:
    data = on_data({"type": "t", "a": {"b": pattern}})
    extra = on_event(name="n", extra={"x": pattern}, current_object={"x": pattern})
    section = {"name": "n", "timestamp": "2020-01-01T00:00:00Z"}
    hidden: dict[str, Any] = {} if "absent" in repr(pattern) else {"b": [], "x": []}

    assert _lets_through(data, {"type": "t", "a": hidden, "a.b": 1})
    assert _lets_through(
        extra,
        {
            "protocol": "mega",
            "version": 1,
            "event": section,
            "object": {"current": hidden | {"y": 1}},
            "object.current.x": 1,
            "extra": hidden,
            "extra.x": 1,
        },
    )


def test_letters_beyond_ascii_that_fold_to_a_letter_are_let_through() -> None:
    beyond = [chr(code) for code in range(128, 0x110000) if chr(code).casefold().isascii()]

    for letter in beyond:
        assert policy_of(on_data({"type": "t", "a": iequals(letter.casefold())}))["a"] == ["", THERE]


@pytest.mark.parametrize(
    ("pattern", "policy"),
    [
        (or_({"type": "a"}, {"type": "b"}), {"type": ["a", "b"]}),
        ({"user": one_of({"id": "a"}, {"name": "b"})}, {"$or": [{"user": {"id": ["a"]}}, {"user": {"name": ["b"]}}]}),
        ({"items": contains({"sku": "a", "note": absent()})}, {"items": {"sku": ["a"]}}),
    ],
    ids=show,
)
def test_objects_as_alternatives_and_in_lists_are_said(pattern: object, policy: dict[str, Any]) -> None:
    assert policy_of(on_data(pattern)) == policy


def test_too_many_values_become_their_starts_or_their_presence() -> None:
    assert policy_of(on_data(*({"type": f"order.{number}"} for number in range(200)))) == {
        "type": [{"prefix": "order."}]
    }
    assert policy_of(on_data({"type": one_of(*map(chr, range(0x4E00, 0x4E00 + 200)))})) == {"type": [THERE]}


def test_the_reason_names_a_handler_that_does_not_fit() -> None:
    app = on_data(*({"type": "x", f"key-{number}": "x"} for number in range(9)), *({f"k{n}": "x"} for n in range(6)))

    assert app.handlers[-1].where in app.sns_filter_policy(json_only=True).reason
