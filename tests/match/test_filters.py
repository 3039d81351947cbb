from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from megaflow.errors import PatternError
from megaflow.match.filters import SCOPES, FilterPolicy, Scope, read_filter_policy
from megaflow.match.operators import KEYWORDS

Policy = dict[str, Any]
Attributes = dict[str, tuple[str, str | bytes]]


def accepts_body(policy: Policy | str, body: Any) -> bool:
    text = body if isinstance(body, str) else json.dumps(body)
    return read_filter_policy(policy, "MessageBody")(text, {})


def accepts_attributes(policy: Policy | str, attributes: Attributes) -> bool:
    return read_filter_policy(policy)("the body", attributes)


def attribute(value: Any) -> tuple[str, str | bytes]:
    """Make the attribute that carries *value*."""
    if isinstance(value, list):
        return "String.Array", json.dumps(value)
    if isinstance(value, bytes):
        return "Binary", value
    return ("String", value) if isinstance(value, str) else ("Number", str(value))


# The examples of https://docs.aws.amazon.com/sns/latest/dg/string-value-matching.html, numeric-value-matching.html and
# attribute-key-matching.html, which hold for attributes and for bodies alike.
INTERESTS = "customer_interests"
EXAMPLES: list[tuple[Policy, list[Policy], list[Policy]]] = [
    (
        {INTERESTS: ["rugby", "tennis"]},
        [{INTERESTS: "rugby"}, {INTERESTS: "tennis"}, {INTERESTS: ["rugby", "tennis"]}],
        [{INTERESTS: "baseball"}, {INTERESTS: ["baseball"]}],
    ),
    (
        {INTERESTS: [{"anything-but": ["rugby", "tennis"]}]},
        [{INTERESTS: "baseball"}, {INTERESTS: "football"}, {INTERESTS: ["rugby", "baseball"]}],
        [{INTERESTS: "rugby"}, {INTERESTS: ["rugby"]}, {"store": "fans"}],
    ),
    (
        {INTERESTS: [{"anything-but": ["rugby", "tennis"]}, {"exists": False}]},
        [{INTERESTS: "baseball"}, {"store": "fans"}],
        [{INTERESTS: "rugby"}],
    ),
    (
        {"event": [{"anything-but": {"prefix": "order-"}}]},
        [{"event": "data-entry"}, {"event": "order_number"}],
        [{"event": "order-cancelled"}],
    ),
    (
        {INTERESTS: [{"anything-but": {"wildcard": "*ball"}}]},
        [{INTERESTS: ["hockey", "rugby", "soccer"]}],
        [{INTERESTS: ["baseball", "basketball"]}],
    ),
    (
        {INTERESTS: [{"anything-but": {"suffix": "ball"}}]},
        [{INTERESTS: ["hockey", "rugby", "soccer"]}],
        [{INTERESTS: ["baseball", "basketball"]}],
    ),
    (
        {INTERESTS: [{"equals-ignore-case": "tennis"}]},
        [{INTERESTS: "TENNIS"}, {INTERESTS: "Tennis"}, {INTERESTS: "teNnis"}],
        [{INTERESTS: "table tennis"}],
    ),
    (
        {"source_ip": [{"cidr": "10.0.0.0/24"}]},
        [{"source_ip": "10.0.0.0"}, {"source_ip": "10.0.0.255"}],
        [{"source_ip": "10.1.1.0"}, {"source_ip": "home"}, {"source_ip": "::1"}, {"source_ip": 167772160}],
    ),
    (
        {INTERESTS: [{"prefix": "bas"}]},
        [{INTERESTS: "baseball"}, {INTERESTS: "basketball"}],
        [{INTERESTS: "rugby"}],
    ),
    (
        {INTERESTS: [{"suffix": "ball"}]},
        [{INTERESTS: "baseball"}, {INTERESTS: "basketball"}],
        [{INTERESTS: "rugby"}],
    ),
    (
        {INTERESTS: [{"wildcard": "*ball"}]},
        [{INTERESTS: ["baseball", "basketball"]}],
        [{INTERESTS: "rugby"}],
    ),
    (
        {"price_usd": [{"numeric": ["=", 301.5]}]},
        [{"price_usd": 301.5}, {"price_usd": 3.015e2}],
        [{"price_usd": 301}, {"price_usd": "301.5"}],
    ),
    (
        {"price": [{"anything-but": [100, 500]}]},
        [{"price": 101}, {"price": 100.1}, {"price": [100, 50]}],
        [{"price": 100}, {"price": [100, 500]}],
    ),
    ({"price_usd": [{"numeric": ["<", 0]}]}, [{"price_usd": -1}], [{"price_usd": 0}]),
    (
        {"price_usd": [{"numeric": [">", 0, "<=", 150]}]},
        [{"price_usd": 0.1}, {"price_usd": 150}],
        [{"price_usd": 0}, {"price_usd": 150.1}],
    ),
    (
        {"store": [{"exists": True}]},
        [{"store": "fans", INTERESTS: ["baseball", "basketball"]}],
        [{INTERESTS: ["baseball", "basketball"]}],
    ),
    (
        {"store": [{"exists": False}]},
        [{INTERESTS: ["baseball", "basketball"]}],
        [{"store": "fans", INTERESTS: ["baseball", "basketball"]}],
    ),
    (
        {INTERESTS: ["rugby"], "price_usd": [{"numeric": [">", 100]}]},
        [{INTERESTS: "rugby", "price_usd": 101}],
        [{INTERESTS: "rugby", "price_usd": 100}, {INTERESTS: "golf", "price_usd": 101}, {INTERESTS: "rugby"}],
    ),
    (
        {"source": ["aws.cloudwatch"], "$or": [{"metricName": ["CPUUtilization"]}, {"namespace": ["AWS/EC2"]}]},
        [
            {"source": "aws.cloudwatch", "metricName": "CPUUtilization"},
            {"source": "aws.cloudwatch", "namespace": "AWS/EC2"},
        ],
        [{"source": "aws.cloudwatch"}, {"metricName": "CPUUtilization", "namespace": "AWS/EC2"}],
    ),
    (
        {
            "store": ["example_corp"],
            "event": [{"anything-but": "order_cancelled"}],
            INTERESTS: ["rugby", "football", "baseball"],
            "price_usd": [{"numeric": [">=", 100]}],
        },
        [
            {
                INTERESTS: ["soccer", "rugby", "hockey"],
                "store": "example_corp",
                "event": "order_placed",
                "price_usd": 210.75,
            }
        ],
        [{INTERESTS: ["soccer"], "store": "example_corp", "event": "order_placed", "price_usd": 210.75}],
    ),
]
CASES = [
    (policy, message, said)
    for policy, accepted, rejected in EXAMPLES
    for said, messages in ((True, accepted), (False, rejected))
    for message in messages
]


@pytest.mark.parametrize(("policy", "message", "said"), CASES)
def test_an_example_of_aws_holds_for_bodies(policy: Policy, message: Policy, said: bool) -> None:
    assert accepts_body(policy, message) is said


@pytest.mark.parametrize(("policy", "message", "said"), CASES)
def test_an_example_of_aws_holds_for_attributes(policy: Policy, message: Policy, said: bool) -> None:
    attributes = {name: attribute(value) for name, value in message.items()}

    assert accepts_attributes(policy, attributes) is said


@pytest.mark.parametrize(
    ("alternatives", "accepted", "rejected"),
    [
        ([1], [1, 1.0, [2, 1]], ["1", True, 1.1, None]),
        ([1.5], [1.5, 15e-1], ["1.5", 1, [1]]),
        ([0], [0, -0.0], [False, "", None, [], {}]),
        ([123456789012], [123456789012], [123456789013, "123456789012"]),
        ([9007199254740993], [9007199254740993], [9007199254740992]),
        ([True], [True, [False, True]], [1, "true", False]),
        ([False], [False], [0, "false", None, True]),
        ([None], [None, ["a", None]], ["null", "", 0, False, []]),
        ([""], [""], [None, "a", []]),
        (["a", 2, {"prefix": "b"}], ["a", 2, "bc"], ["c", 1]),
        ([{"anything-but": "a"}], ["b", 1, True, None], ["a", ["a", "a"], [], {}]),
        ([{"anything-but": 5}], ["5", 6, None], [5, 5.0]),
        ([{"anything-but": {"prefix": "a"}}], ["b", "A", 5, None, ["a", "b"]], ["a", "ab"]),
        ([{"prefix": ""}], ["", "a"], [1, None, True]),
        ([{"exists": True}], [0, False, "a", [None, 1]], [None, "", [], {}, {"below": 1}, [{"below": 1}]]),
        ([{"exists": False}], [[], {}, {"below": 1}, [{"below": 1}]], [None, "", 0, False, [None]]),
        ([{"numeric": ["=", 5]}], [5, 5.0, 5.000001], ["5", 5.1, 5.00001, True]),
        ([{"numeric": [">", 1]}], [1.1, 2e9, [0, 2]], [1, 1.000001, "2", None, True]),
        ([{"numeric": [">=", 1, "<", 2]}], [1, 1.5], [0.9, 2]),
        ([{"numeric": ["<=", -1]}], [-1, -1.5], [-0.9]),
        ([{"numeric": [">=", -1_000_000_000, "<=", 1_000_000_000]}], [0, 1e9, -1e9], ["0"]),
        ([{"equals-ignore-case": "GRÜN"}], ["grün", "Grün"], ["gruen", 1]),
        ([{"cidr": "10.0.0.6/31"}], ["10.0.0.7"], ["10.0.0.8", "10.0.0.7/31"]),
        ([{"cidr": "2001:db8::/32"}], ["2001:db8::1"], ["2001:db9::1", "10.0.0.1"]),
        ([{"cidr": "10.0.0.5/24"}], ["10.0.0.1"], ["10.0.1.5"]),
    ],
)
def test_a_condition_holds_for_one_of_the_values(
    alternatives: list[Any], accepted: list[Any], rejected: list[Any]
) -> None:
    said = {
        value: accepts_body({"key": alternatives}, {"key": json.loads(value)}) for value in map(json.dumps, accepted)
    }
    unsaid = {
        value: accepts_body({"key": alternatives}, {"key": json.loads(value)}) for value in map(json.dumps, rejected)
    }

    assert said == dict.fromkeys(said, True)
    assert unsaid == dict.fromkeys(unsaid, False)


@pytest.mark.parametrize(
    ("wildcard", "accepted", "rejected"),
    [
        ("*", ["", "a", "two\nlines"], []),
        ("a*", ["a", "ab"], ["ba", ""]),
        ("a*c", ["ac", "abc", "a\nc"], ["abcd", "a", "c"]),
        ("ab*ba", ["abba", "ab ba"], ["aba"]),
        ("*a*b*", ["ab", "xaxbx"], ["ba", "a"]),
        ("a*b*b", ["abb", "abbb"], ["ab"]),
        ("*b*b*", ["bb", "abxb"], ["b"]),
        (r"a\*b", ["a*b"], ["ab", "axb", r"a\*b"]),
        (r"a\\*", ["a\\", "a\\b"], ["a", "ab"]),
        ("plain", ["plain"], ["plainer", "PLAIN"]),
        ("a.*", ["a.b"], ["ab"]),
    ],
)
def test_an_asterisk_stands_for_anything(wildcard: str, accepted: list[str], rejected: list[str]) -> None:
    policy = {"key": [{"wildcard": wildcard}]}

    assert [text for text in accepted if not accepts_body(policy, {"key": text})] == []
    assert [text for text in rejected if accepts_body(policy, {"key": text})] == []


@pytest.mark.parametrize("body", ["text", '"text"', "1", "null", "[]", '[{"key": 1}]', "", "{", '{"key": NaN}'])
def test_a_body_that_is_no_object_is_not_accepted(body: str) -> None:
    assert accepts_body({"key": [{"exists": False}]}, body) is False


def test_a_body_nested_deeper_than_json_is_read_is_not_accepted() -> None:
    body = '{"key": 1, "deep": ' + "[" * 100_000 + "]" * 100_000 + "}"

    assert accepts_body({"key": [1]}, body) is False


def test_an_empty_object_lacks_every_key() -> None:
    assert accepts_body({"key": [{"exists": False}]}, {}) is True


@pytest.mark.parametrize(
    "body",
    [
        {"object": {"nested": {"test": "x"}}},
        {"object.nested.test": "x"},
        {"object.nested": {"test": "x"}},
        {"object": {"nested.test": "x"}},
        {"object": [{"nested": "y"}, [{"nested": [{"test": ["y", "x"]}]}]]},
    ],
)
@pytest.mark.parametrize("policy", [{"object.nested.test": ["x"]}, {"object": {"nested": {"test": ["x"]}}}])
def test_dots_and_lists_do_not_matter(policy: Policy, body: Policy) -> None:
    assert accepts_body(policy, body) is True


def test_each_key_may_match_in_another_item_of_a_list() -> None:
    policy = {"employees": {"first": ["Anna"], "last": ["Jones"]}}

    assert accepts_body(policy, {"employees": [{"first": "Anna", "last": "Smith"}, {"first": "Jo", "last": "Jones"}]})


# https://aws.amazon.com/blogs/compute/introducing-payload-based-message-filtering-for-amazon-sns/
@pytest.mark.parametrize(
    ("name", "key", "said"),
    [
        ("ObjectCreated:Put", "auto-insurance-2314.xml", True),
        ("ObjectRemoved:Delete", "auto-insurance-2314.xml", False),
        ("ObjectCreated:Put", "home-insurance-2314.xml", False),
    ],
)
def test_an_event_of_s3_is_filtered_inside_its_records(name: str, key: str, said: bool) -> None:
    policy = {
        "Records": {"s3": {"object": {"key": [{"prefix": "auto-"}]}}, "eventName": [{"prefix": "ObjectCreated:"}]}
    }

    body = {"Records": [{"eventSource": "aws:s3", "eventName": name, "s3": {"object": {"key": key, "size": 17}}}]}

    assert accepts_body(policy, body) is said


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"metricName": "ReadLatency", "detail": {"scope": "Service", "source": "aws.cloudwatch"}}, True),
        ({"namespace": "AWS/ES", "detail": {"scope": "Service", "type": "CloudWatch Alarm State Change"}}, True),
        ({"metricName": "ReadLatency", "detail": {"scope": "Service"}}, False),
        ({"metricName": "ReadLatency", "detail": {"source": "aws.cloudwatch"}}, False),
        ({"detail": {"scope": "Service", "source": "aws.cloudwatch"}}, False),
        ({"metricName": "ReadLatency", "scope": "Service", "source": "aws.cloudwatch"}, False),
    ],
)
def test_an_or_may_stand_below_a_key(body: Policy, said: bool) -> None:
    policy = {
        "$or": [{"metricName": ["CPUUtilization", "ReadLatency"]}, {"namespace": ["AWS/EC2", "AWS/ES"]}],
        "detail": {
            "scope": ["Service"],
            "$or": [{"source": ["aws.cloudwatch"]}, {"type": ["CloudWatch Alarm State Change"]}],
        },
    }

    assert accepts_body(policy, body) is said


@pytest.mark.parametrize(
    ("policy", "body"),
    [
        ({"$or": ["x", "y"]}, {"$or": "y"}),
        ({"$or": [{"prefix": "x"}, {"prefix": "y"}]}, {"$or": "yes"}),
        ({"$or": [{"prefix": "x"}]}, {"$or": "xyz"}),
        ({"$or": {"a": ["x"]}}, {"$or": {"a": "x"}}),
    ],
)
def test_an_or_is_a_key_like_others_where_aws_sees_no_operator(policy: Policy, body: Policy) -> None:
    assert accepts_body(policy, body) is True


@pytest.mark.parametrize("keyword", sorted(KEYWORDS - {"prefix", "suffix", "equals-ignore-case", "wildcard"}))
def test_a_keyword_in_an_or_makes_it_a_key(keyword: str) -> None:
    with pytest.raises(PatternError):
        read_filter_policy({"$or": [{"a": ["x"]}, {keyword: ["x"]}]})


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"store": ("String", "x")}, True),
        ({"store": ("String.custom", "x")}, True),
        ({"store": ("String.Array", '["y", "x"]')}, True),
        ({"store": ("String.Array", '[["x"]]')}, True),
        ({"store": ("String.Array", "x")}, True),
        ({"store": ("String.Array", "[" * 100_000)}, False),
        ({"store": ("String.Array", '"x"')}, False),
        ({"store": ("String.Array", '[{"store": "x"}]')}, False),
        ({"store": ("Binary", b"x")}, False),
        ({"other": ("String", "x")}, False),
        ({}, False),
    ],
)
def test_a_text_is_compared_with_texts(attributes: Attributes, said: bool) -> None:
    assert accepts_attributes({"store": ["x"]}, attributes) is said


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"price": ("Number", "5")}, True),
        ({"price": ("Number", "0.05e2")}, True),
        ({"price": ("Number.float", "5.0")}, True),
        ({"price": ("String.Array", "[1, 5.0]")}, True),
        ({"price": ("Number.Array", "[1, 5.0]")}, True),
        ({"price": ("String", "5")}, False),
        ({"price": ("String.Array", '["5"]')}, False),
        ({"price": ("Number", "five")}, False),
    ],
)
@pytest.mark.parametrize("alternative", [5, {"numeric": ["=", 5]}, {"numeric": [">", 4, "<", 6]}])
def test_a_number_is_compared_with_numbers(attributes: Attributes, said: bool, alternative: Any) -> None:
    assert accepts_attributes({"price": [alternative]}, attributes) is said


@pytest.mark.parametrize("value", [True, False, None])
def test_a_keyword_of_json_is_found_in_arrays_only(value: object) -> None:
    policy = {"key": [value]}

    assert accepts_attributes(policy, {"key": ("String.Array", json.dumps(["x", value]))}) is True
    assert accepts_attributes(policy, {"key": ("String", json.dumps(value))}) is False


# https://docs.aws.amazon.com/sns/latest/dg/attribute-key-matching.html
@pytest.mark.parametrize("attributes", [{}, {"picture": ("Binary", b"x")}, {"store": ("Binary", b"x")}])
def test_without_attributes_not_even_exists_false_holds(attributes: Attributes) -> None:
    assert accepts_attributes({"store": [{"exists": False}]}, attributes) is False


def test_a_binary_attribute_is_not_there() -> None:
    attributes: Attributes = {"store": ("Binary", b"x"), "other": ("String", "x")}

    assert accepts_attributes({"store": [{"exists": False}]}, attributes) is True
    assert accepts_attributes({"store": [{"exists": True}]}, attributes) is False


# https://docs.aws.amazon.com/sns/latest/dg/subscription-filter-policy-constraints.html
@pytest.mark.parametrize("attribute", [("String", 'a"b\\c'), ("String.Array", json.dumps(['a"b\\c']))])
def test_quotes_and_backslashes_are_escaped_twice_for_attributes_and_once_for_bodies(
    attribute: tuple[str, str],
) -> None:
    once, twice = r'{"key": ["a\"b\\c"]}', r'{"key": ["a\\\"b\\\\c"]}'

    assert accepts_attributes(twice, {"key": attribute}) is True
    assert accepts_attributes(once, {"key": attribute}) is False
    assert accepts_body(once, {"key": 'a"b\\c'}) is True


def test_a_policy_may_be_json_or_a_dict() -> None:
    policy = {"store": ["x"]}

    said = [accepts_attributes(each, {"store": ("String", "x")}) for each in (policy, json.dumps(policy))]

    assert said == [True, True]


def one(condition: Any) -> Policy:
    return {"key": [condition]}


# The words are those that AWS was seen to answer, or those of https://github.com/aws/event-ruler, which SNS uses.
WRONG: list[tuple[Any, str, str]] = [
    ({}, "Empty objects are not allowed", ""),
    ({"key": {}}, "Empty objects are not allowed", "key"),
    ({"$or": [{}, {}]}, "Empty objects are not allowed", ""),
    ({"key": []}, "Empty arrays are not allowed", "key"),
    ({"key": "x"}, '"key" must be an object or an array', "key"),
    ({"key": None}, '"key" must be an object or an array', "key"),
    ({"a": {"b": {"c": 1}}}, '"c" must be an object or an array', "a.b.c"),
    ({"a": {"$or": [{"b": 1}, {"c": ["x"]}]}}, '"b" must be an object or an array', "a.b"),
    (one(["value"]), "Match value must be String, number, true, false, or null", "key"),
    (one({}), "Match expression name not found", "key"),
    (one({"suffix": "a", "prefix": "b"}), "Only one key allowed in match expression", "key"),
    (one({"wrong-operator": True}), "Unrecognized match type wrong-operator", "key"),
    ({"$or": [{"a": ["x"]}]}, "Unrecognized match type a", "$or"),
    ({"$or": [{"numeric": 123}, {"prefix": "abc"}]}, "Value of numeric must be an array.", "$or"),
    (one({"prefix": 100}), "prefix match pattern must be a string", "key"),
    (one({"suffix": None}), "suffix match pattern must be a string", "key"),
    (one({"suffix": ["a", "b"]}), "suffix match pattern must be a string", "key"),
    (one({"equals-ignore-case": 1}), "equals-ignore-case match pattern must be a string", "key"),
    (one({"wildcard": 1}), "wildcard match pattern must be a string", "key"),
    (one({"wildcard": "a**"}), "Consecutive wildcard characters at pos 1", "key"),
    (one({"wildcard": "a\\b"}), "Invalid escape character at pos 1", "key"),
    (one({"wildcard": "a\\"}), "Invalid escape character at pos 1", "key"),
    (one({"wildcard": "*a*b*c*"}), "Wildcard pattern can not have more than 3 wildcards", ""),
    (one({"cidr": 1}), "prefix match pattern must be a string", "key"),
    (one({"cidr": "10.0.0.0"}), "Malformed CIDR, one '/' required", "key"),
    (one({"cidr": "10.0.0.0/8/8"}), "Malformed CIDR, one '/' required", "key"),
    (one({"cidr": "10.0.0.0/255.0.0.0"}), "Malformed CIDR, mask bits must be an integer", "key"),
    (one({"cidr": "10.0.0/8"}), "Nonstandard IP address: 10.0.0", "key"),
    (one({"cidr": "10.0.0.7/32"}), "IPv4 mask bits must be < 32", "key"),
    (one({"cidr": "10.0.0.0/33"}), "IPv4 mask bits must be < 32", "key"),
    (one({"cidr": "::1/128"}), "IPv6 mask bits must be < 128", "key"),
    (one({"cidr": "::1/" + "9" * 5000}), "IPv6 mask bits must be < 128", "key"),
    ({"key": [{"exists": "no"}, ["x"]]}, "exists match pattern must be either true or false.", "key"),
    (one({"exists": None}), "exists match pattern must be either true or false.", "key"),
    (one({"exists": "no"}), "exists match pattern must be either true or false.", "key"),
    (one({"exists": 1}), "exists match pattern must be either true or false.", "key"),
    (one({"anything-but": {"exists": False}}), "Unsupported anything-but pattern: exists", "key"),
    (one({"anything-but": {"equals-ignore-case": "a"}}), "Unsupported anything-but pattern: equals-ignore-case", "key"),
    (one({"anything-but": {"wrong-operator": None}}), "Unsupported anything-but pattern: wrong-operator", "key"),
    (one({"anything-but": {"prefix": False}}), "prefix match pattern must be a string", "key"),
    (one({"anything-but": {"prefix": ""}}), "Null prefix not allowed", "key"),
    (one({"anything-but": {}}), "Match expression name not found", "key"),
    (one({"anything-but": {"wildcard": "a**b"}}), "Consecutive wildcard characters at pos 1", "key"),
    (one({"anything-but": None}), "Inside anything but list, start|null|boolean is not supported.", "key"),
    (one({"anything-but": ["a", True]}), "Inside anything but list, start|null|boolean is not supported.", "key"),
    (
        one({"anything-but": []}),
        "Inside anything but list, either all values are number or string, mixed type is not supported",
        "key",
    ),
    (
        one({"anything-but": ["a", 1]}),
        "Inside anything but list, either all values are number or string, mixed type is not supported",
        "key",
    ),
    (one({"numeric": 5}), "Value of numeric must be an array.", "key"),
    (one({"numeric": []}), "Invalid member in numeric match: ]", "key"),
    (one({"numeric": [1, "<="]}), "Invalid member in numeric match: 1", "key"),
    (one({"numeric": ["operator"]}), "Unrecognized numeric range operator: operator", "key"),
    (one({"numeric": ["!=", 1]}), "Unrecognized numeric range operator: !=", "key"),
    (one({"numeric": ["=", "000"]}), "Value of equals must be numeric", "key"),
    (one({"numeric": ["=", True]}), "Value of equals must be numeric", "key"),
    (one({"numeric": [">="]}), "Value of >= must be numeric", "key"),
    (one({"numeric": ["=", 1, "=", 2]}), "Too many elements in numeric expression", "key"),
    (one({"numeric": ["<", 100, ">", 10]}), "Too many elements in numeric expression", "key"),
    (one({"numeric": [">=", 1, ">", 2]}), "Bad numeric range operator: >", "key"),
    (one({"numeric": [">", 20, "test"]}), "Bad numeric range operator: test", "key"),
    (one({"numeric": [">", 20, 30]}), "Bad value in numeric range: 30", "key"),
    (one({"numeric": [">", 20, "<="]}), "Value of <= must be numeric", "key"),
    (one({"numeric": [">", "20", "<", "30"]}), "Value of > must be numeric", "key"),
    (one({"numeric": [">", 20, "<", "30"]}), "Value of < must be numeric", "key"),
    (one({"numeric": [">", 20, "<", 30, "<", 50]}), "Too many terms in numeric range expression", "key"),
    (one({"numeric": [">", 3, "<", 1]}), "Bottom must be less than top", "key"),
    (one({"numeric": [">=", 1, "<=", 1]}), "Bottom must be less than top", "key"),
    (one({"numeric": ["<", 1_000_000_001]}), "Value must be between -1000000000 and 1000000000, inclusive", "key"),
    (one({"numeric": [">", -1e9, "<", 1e400]}), "failed to parse JSON.", ""),
    ({"key": [{1, 2}]}, "failed to parse JSON.", ""),
    ("{invalid", "failed to parse JSON.", ""),
    ('{"key": [NaN]}', "failed to parse JSON.", ""),
    ('["key"]', "Filter is not an object", ""),
    ("null", "Filter is not an object", ""),
    (json.dumps(one("x" * 262_144)), "Filter policy can not have more than 262144 bytes", ""),
    ('{"key": ' + "[" * 100_000, "Filter policy is too complex", ""),
]


@pytest.mark.parametrize(("policy", "reason", "path"), WRONG)
def test_a_wrong_policy_is_refused(policy: Any, reason: str, path: str) -> None:
    with pytest.raises(PatternError) as error:
        read_filter_policy(policy, "MessageBody")

    assert (error.value.reason, error.value.path) == (reason, path)


def test_a_policy_nested_too_deep_to_be_read_is_too_complex() -> None:
    policy = '{"a":' * 400 + '["x"]' + "}" * 400

    with pytest.raises(PatternError, match="Filter policy is too complex"):
        read_filter_policy(policy, "MessageBody")


def test_policies_for_attributes_are_flat() -> None:
    with pytest.raises(PatternError, match="MessageAttributes does not support nested filter policy") as error:
        read_filter_policy({"object": {"key": ["x"]}}, "MessageAttributes")

    assert error.value.path == "object"


LEAVES = {"a": ["x"], "b": {"c": ["x"], "d": ["x"]}, "$or": [{"e": ["x"]}, {"f": ["x"], "a": ["y"]}]}


@pytest.mark.parametrize(
    ("policy", "scope"),
    [
        ({name: ["x"] for name in "abcdef"}, "MessageAttributes"),
        ({name: ["x"] for name in "abcdef"}, "MessageBody"),
        ({"a": {name: ["x"] for name in "abcdef"}}, "MessageBody"),
        ({**LEAVES, "g": ["x"]}, "MessageBody"),
    ],
)
def test_only_five_keys_may_have_conditions(policy: Policy, scope: Scope) -> None:
    with pytest.raises(PatternError, match="Filter policy can not have more than 5 keys"):
        read_filter_policy(policy, scope)


def test_keys_that_hold_objects_or_come_twice_do_not_count() -> None:
    assert accepts_body(LEAVES, {"a": "x", "b": {"c": "x", "d": "x"}, "e": "x"}) is True


def values(count: int) -> list[str]:
    return [f"value{number}" for number in range(count)]


def with_or(source: int, spaces: int) -> Policy:
    """Return the policy of and-or-logic.html, of source * 6 + source * 4 * 4 + source * 4 * spaces combinations."""
    below = [{"metricId": values(4)}, {"spaceId": values(spaces)}]
    return {
        "source": values(source),
        "$or": [{"metricName": values(6)}, {"metricType": values(4), "$or": below}],
    }


@pytest.mark.parametrize(
    ("policy", "scope"),
    [
        ({"key": values(151)}, "MessageAttributes"),
        ({"a": values(100), "b": values(51)}, "MessageAttributes"),
        ({"a": {"b": {"c": values(4)}}, "d": {"e": values(3)}, "f": values(3)}, "MessageBody"),
        ({"a": {"b": values(76)}}, "MessageBody"),
        (with_or(4, 4), "MessageAttributes"),
        (with_or(3, 8), "MessageAttributes"),
    ],
)
def test_more_than_150_combinations_are_too_complex(policy: Policy, scope: Scope) -> None:
    with pytest.raises(PatternError, match="Filter policy is too complex"):
        read_filter_policy(policy, scope)


@pytest.mark.parametrize(
    ("policy", "scope"),
    [
        ({"key": values(150)}, "MessageAttributes"),
        ({"a": values(15), "b": values(10)}, "MessageAttributes"),
        ({"a": {"b": {"c": values(4)}}, "d": {"e": values(3)}, "f": values(2)}, "MessageBody"),
        ({"a": {"b": values(75)}}, "MessageBody"),
        (with_or(3, 7), "MessageAttributes"),
    ],
)
def test_150_combinations_are_not(policy: Policy, scope: Scope) -> None:
    assert read_filter_policy(policy, scope)("no object", {}) is False


@pytest.mark.parametrize(
    "policy",
    [
        {"key": [{"wildcard": f"{text}*"} for text in values(11)]},
        {"key": [{"wildcard": f"*{text}*"} for text in values(6)]},
        {"key": [{"anything-but": {"wildcard": f"*{text}*"}} for text in values(6)]},
        {"key": [{"anything-but": "x"}] * 10 + [{"wildcard": "x*"}]},
        {name: [{"wildcard": f"*{text}*"} for text in values(5)] for name in "ab"},
    ],
)
def test_wildcards_of_more_than_100_points_are_too_complex(policy: Policy) -> None:
    with pytest.raises(PatternError, match="Filter policy is too complex"):
        read_filter_policy(policy, "MessageBody")


@pytest.mark.parametrize(
    "policy",
    [
        {"key": [{"wildcard": f"{text}*"} for text in values(10)]},
        {"key": [{"wildcard": f"*{text}*"} for text in values(5)] + values(20)},
        {"key": [{"anything-but": "x"}] * 20},
        {"key": [{"wildcard": r"\*a\*b\*c\*"}, {"wildcard": "*a*b*"}]},
    ],
)
def test_wildcards_of_100_points_are_not(policy: Policy) -> None:
    assert read_filter_policy(policy, "MessageBody")("no object", {}) is False


# A second matcher, as plain as can be: flatten everything, try everything.

Flat = list[tuple[str, Any]]


def flatten(value: Any, path: str | None = None) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield from flatten(each, key if path is None else f"{path}.{key}")
    elif isinstance(value, list):
        for each in value:
            yield from flatten(each, path)
    else:
        yield path or "", value


def branches(policy: Policy, path: str = "") -> list[Flat]:
    """Return every way to match: in each, all keys with their lists of alternatives have to."""
    ways: list[Flat] = [[]]
    for key, value in policy.items():
        name = f"{path}.{key}" if path else key
        if key == "$or":
            more = [way for each in value for way in branches(each, path)]
        elif isinstance(value, dict):
            more = branches(value, name)
        else:
            more = [[(name, value)]]
        ways = [one + other for one in ways for other in more]
    return ways


def same(left: Any, right: Any) -> bool:
    if isinstance(left, bool) or isinstance(right, bool) or not isinstance(left, int | float):
        return type(left) is type(right) and bool(left == right)
    return isinstance(right, int | float) and Decimal(str(left)) == Decimal(str(right))


def within(value: Any, terms: list[Any]) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    signs = {"=": "==", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
    return all(
        eval(f"a {signs[sign]} b", {"a": Decimal(str(value)), "b": Decimal(str(bound))})
        for sign, bound in zip(terms[::2], terms[1::2], strict=True)
    )


def wildcard_regex(text: str) -> str:
    return ".*".join(re.escape(piece) for piece in text.split("*"))


def value_holds(value: Any, condition: Any) -> bool:
    if not isinstance(condition, dict):
        return same(value, condition)
    ((name, operand),) = condition.items()
    if name == "anything-but":
        denied = operand if isinstance(operand, list) else [operand]
        return not any(value_holds(value, each) for each in denied)
    if name == "numeric":
        return within(value, operand)
    return (
        isinstance(value, str)
        and {
            "prefix": value[: len(operand)] == operand,
            "suffix": operand == value[len(value) - len(operand) :] if len(value) >= len(operand) else False,
            "equals-ignore-case": value.upper() == operand.upper(),
            "wildcard": re.fullmatch(wildcard_regex(operand), value, re.DOTALL) is not None,
        }[name]
    )


def condition_holds(found: list[Any], condition: Any) -> bool:
    if condition == {"exists": False}:
        return found == []
    if condition == {"exists": True}:
        return any(value is not None and value != "" for value in found)
    return any(value_holds(value, condition) for value in found)


def reference_accepts(policy: Policy, fields: Flat) -> bool:
    return any(
        all(
            any(condition_holds([value for at, value in fields if at == name], condition) for condition in alternatives)
            for name, alternatives in way
        )
        for way in branches(policy)
    )


texts = st.sampled_from(["", "a", "b", "ab", "ba", "AB", "a b", "1", "true", "null"])
numbers = st.sampled_from([-1, 0, 1, 1.0, 1.5, 2, 10**12])
scalars = texts | numbers | st.booleans() | st.none()
bounds = st.sampled_from([-1, 0, 1, 1.5, 2])
wildcards = st.sampled_from(["*", "a*", "*b", "a*b", "*a*", "a*b*a", "ab"])
ranges = st.tuples(st.sampled_from([">", ">="]), bounds, st.sampled_from(["<", "<="]), bounds)
conditions = st.one_of(
    st.booleans().map(lambda there: {"exists": there}),
    texts.map(lambda text: {"prefix": text}),
    texts.map(lambda text: {"suffix": text}),
    texts.map(lambda text: {"equals-ignore-case": text}),
    wildcards.map(lambda text: {"wildcard": text}),
    st.tuples(st.sampled_from(["=", "<", "<=", ">", ">="]), bounds).map(lambda terms: {"numeric": list(terms)}),
    ranges.filter(lambda terms: terms[1] < terms[3]).map(lambda terms: {"numeric": list(terms)}),
    (texts | numbers).map(lambda value: {"anything-but": value}),
    (st.lists(texts, min_size=1) | st.lists(numbers, min_size=1)).map(lambda denied: {"anything-but": denied}),
    texts.filter(bool).map(lambda text: {"anything-but": {"prefix": text}}),
    texts.filter(bool).map(lambda text: {"anything-but": {"suffix": text}}),
    wildcards.map(lambda text: {"anything-but": {"wildcard": text}}),
)
keys = st.sampled_from(["a", "b", "c"])
alternatives = st.lists(scalars | conditions, min_size=1, max_size=2)
leaves = st.dictionaries(keys, alternatives, min_size=1, max_size=2)
ors = st.lists(leaves, min_size=2, max_size=2)
flat_policies = leaves | st.tuples(leaves, ors).map(lambda pair: {**pair[0], "$or": pair[1]})
nested_policies = st.recursive(
    flat_policies,
    lambda below: st.dictionaries(keys | st.just("a.b"), below | alternatives, min_size=1, max_size=2),
    max_leaves=3,
)
bodies = st.dictionaries(
    keys | st.just("a.b"),
    st.recursive(
        scalars,
        lambda below: st.lists(below, max_size=3) | st.dictionaries(keys, below, max_size=3),
        max_leaves=8,
    ),
    max_size=3,
)


def read_unless_too_much(policy: Policy, scope: Scope) -> FilterPolicy:
    try:
        return read_filter_policy(policy, scope)
    except PatternError as error:
        if not error.reason.startswith("Filter policy"):
            raise
        reject()


@given(nested_policies, bodies)
def test_bodies_are_matched_as_by_trying_everything(policy: Policy, body: Policy) -> None:
    accepts = read_unless_too_much(policy, "MessageBody")

    said = accepts(json.dumps(body), {})

    assert said == reference_accepts(policy, list(flatten(body)))


@given(
    flat_policies,
    st.dictionaries(keys, st.one_of(texts, numbers, st.binary(), st.lists(scalars, max_size=3)), max_size=3),
)
def test_attributes_are_matched_as_by_trying_everything(policy: Policy, message: Policy) -> None:
    accepts = read_unless_too_much(policy, "MessageAttributes")

    said = accepts("", {name: attribute(value) for name, value in message.items()})

    seen = {name: value for name, value in message.items() if not isinstance(value, bytes)}
    assert said == (seen != {} and reference_accepts(policy, list(flatten(seen))))


@pytest.mark.parametrize("scope", SCOPES)
@given(
    policy=flat_policies,
    body=st.text() | bodies.map(json.dumps),
    attributes=st.dictionaries(
        keys, st.tuples(st.sampled_from(["String", "String.Array", "Number", "Binary", ""]), st.text())
    ),
)
def test_no_message_makes_a_policy_raise(
    scope: Scope, policy: Policy, body: str, attributes: dict[str, tuple[str, str]]
) -> None:
    accepts = read_unless_too_much(policy, scope)

    said = accepts(body, attributes)

    assert said in (True, False)


@pytest.mark.parametrize("scope", SCOPES)
@given(policy=st.recursive(scalars, lambda below: st.lists(below) | st.dictionaries(keys | texts, below)))
def test_what_is_no_policy_is_a_pattern_error(scope: Scope, policy: Any) -> None:
    with suppress(PatternError):
        read_filter_policy(json.dumps(policy), scope)
