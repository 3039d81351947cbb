from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conformance.conftest import World
from tests.conformance.pages import (
    CONSTRAINTS,
    FILTER_OR,
    FILTERS,
    KEY_MATCHING,
    REMOVE_FILTER,
    STRING_MATCHING,
    moto_differs,
)

FIFO = {"FifoTopic": "true"}


def attribute(value: Any) -> dict[str, Any]:
    """Make the attribute that carries *value*."""
    if isinstance(value, list):
        return {"DataType": "String.Array", "StringValue": json.dumps(value)}
    if isinstance(value, bytes):
        return {"DataType": "Binary", "BinaryValue": value}
    if isinstance(value, str):
        return {"DataType": "String", "StringValue": value}
    return {"DataType": "Number", "StringValue": str(value)}


def attributes(message: dict[str, Any]) -> dict[str, Any]:
    return {name: attribute(value) for name, value in message.items()}


def delivered_by_attributes(world: World, policy: Any, *messages: dict[str, Any]) -> list[bool]:
    """Tell which of *messages*, given as attributes, a queue gets that subscribed with *policy*."""
    url, topic = world.queue(), world.topic()
    world.subscribe(topic, url, RawMessageDelivery="true", FilterPolicy=json.dumps(policy))
    for number, message in enumerate(messages):
        world.sns.publish(TopicArn=topic, Message=str(number), MessageAttributes=attributes(message))
    got = world.bodies(url)
    return [str(number) in got for number in range(len(messages))]


def delivered_by_body(world: World, policy: Any, *messages: Any) -> list[bool]:
    """Tell which of *messages*, given as bodies, a queue gets that subscribed with *policy*."""
    url, topic = world.queue(), world.topic()
    scope = {"FilterPolicy": json.dumps(policy), "FilterPolicyScope": "MessageBody"}
    world.subscribe(topic, url, RawMessageDelivery="true", **scope)
    bodies = [message if isinstance(message, str) else json.dumps(message) for message in messages]
    for body in bodies:
        world.sns.publish(TopicArn=topic, Message=body)
    got = world.bodies(url)
    return [body in got for body in bodies]


def shown(world: World, subscription: str) -> dict[str, str]:
    answer: dict[str, str] = world.sns.get_subscription_attributes(SubscriptionArn=subscription)["Attributes"]
    return answer


def change(world: World, subscription: str, name: str, value: str) -> None:
    world.sns.set_subscription_attributes(SubscriptionArn=subscription, AttributeName=name, AttributeValue=value)


COMMON: list[tuple[Any, list[Any], list[Any]]] = [
    (["rugby", "tennis"], ["rugby", "tennis", ["golf", "tennis"]], ["golf", ["golf"]]),
    ([{"anything-but": ["rugby", "tennis"]}], ["golf"], ["rugby"]),
    ([{"anything-but": {"prefix": "order-"}}], ["order_1"], ["order-1"]),
    ([{"prefix": "bas"}], ["baseball"], ["rugby"]),
    ([{"suffix": "ball"}], ["baseball"], ["rugby"]),
    ([{"equals-ignore-case": "tennis"}], ["TENNIS", "teNnis"], ["golf"]),
    ([301.5], [301.5, 3.015e2], [301, "a"]),
    ([5], [5, 5.0], [6]),
    ([{"numeric": ["=", 301.5]}], [301.5, 3.015e2], [301]),
    ([{"numeric": ["<", 0]}], [-1], [0]),
    ([{"numeric": [">", 0, "<=", 150]}], [0.1, 150], [0, 150.1]),
    ([{"exists": True}], ["x", 1], []),
]


@pytest.mark.parametrize(("alternatives", "accepted", "rejected"), COMMON)
def test_an_attribute_is_filtered(world: World, alternatives: Any, accepted: list[Any], rejected: list[Any]) -> None:
    messages = [{"key": value} for value in [*accepted, *rejected]]

    got = delivered_by_attributes(world, {"key": alternatives}, *messages, {"other": "x"})

    assert got == [True] * len(accepted) + [False] * (len(rejected) + 1)


@pytest.mark.parametrize(("alternatives", "accepted", "rejected"), COMMON)
def test_a_body_is_filtered(world: World, alternatives: Any, accepted: list[Any], rejected: list[Any]) -> None:
    messages = [{"key": value} for value in [*accepted, *rejected]]

    got = delivered_by_body(world, {"key": alternatives}, *messages, {"other": "x"})

    assert got == [True] * len(accepted) + [False] * (len(rejected) + 1)


@moto_differs("moto wants no item of a list to be denied", STRING_MATCHING)
def test_anything_but_holds_for_a_list_with_anything_else(world: World) -> None:
    policy = {"key": [{"anything-but": ["rugby", "tennis"]}]}
    messages = {"key": ["rugby", "golf"]}, {"key": ["rugby"]}

    got = delivered_by_attributes(world, policy, *messages), delivered_by_body(world, policy, *messages)

    assert got == ([True, False], [True, False])


@moto_differs("moto knows no wildcard", STRING_MATCHING)
@pytest.mark.parametrize(
    ("condition", "said"), [({"wildcard": "*ball"}, True), ({"anything-but": {"wildcard": "*ball"}}, False)]
)
def test_an_asterisk_stands_for_anything(world: World, condition: Any, said: bool) -> None:
    got = delivered_by_attributes(world, {"key": [condition]}, {"key": "baseball"}, {"key": "golf"})

    assert got == [said, not said]


@moto_differs("moto knows no suffix there", STRING_MATCHING)
def test_anything_but_takes_a_suffix(world: World) -> None:
    got = delivered_by_attributes(
        world, {"key": [{"anything-but": {"suffix": "ball"}}]}, {"key": "baseball"}, {"key": "golf"}
    )

    assert got == [False, True]


@moto_differs("moto knows no cidr", STRING_MATCHING)
def test_an_address_is_in_a_subnet(world: World) -> None:
    got = delivered_by_attributes(
        world, {"ip": [{"cidr": "10.0.0.0/24"}]}, {"ip": "10.0.0.255"}, {"ip": "10.1.1.0"}, {"ip": "here"}
    )

    assert got == [True, False, False]


@pytest.mark.parametrize("by", [delivered_by_attributes, delivered_by_body])
def test_every_key_has_to_match(world: World, by: Any) -> None:
    policy = {"interests": ["rugby"], "price": [{"numeric": [">", 100]}]}

    got = by(
        world,
        policy,
        {"interests": "rugby", "price": 101},
        {"interests": "rugby", "price": 100},
        {"interests": "golf", "price": 101},
        {"price": 101},
    )

    assert got == [True, False, False, False]


@pytest.mark.parametrize(
    "by",
    [
        delivered_by_attributes,
        pytest.param(delivered_by_body, marks=moto_differs("moto knows $or for attributes only", FILTER_OR)),
    ],
)
def test_one_of_several_keys_has_to_match(world: World, by: Any) -> None:
    policy = {"source": ["x"], "$or": [{"metric": ["cpu"]}, {"namespace": ["ec2"]}]}

    got = by(
        world,
        policy,
        {"source": "x", "metric": "cpu"},
        {"source": "x", "namespace": "ec2"},
        {"source": "x"},
        {"metric": "cpu", "namespace": "ec2"},
    )

    assert got == [True, True, False, False]


@pytest.mark.parametrize("by", [delivered_by_attributes, delivered_by_body])
def test_a_key_may_have_to_be_missing(world: World, by: Any) -> None:
    got = by(world, {"store": [{"exists": False}]}, {"other": "x"}, {"store": "x", "other": "x"})

    assert got == [True, False]


@moto_differs("moto lets every missing key be missing", KEY_MATCHING)
def test_without_attributes_nothing_is_missing(world: World) -> None:
    assert delivered_by_attributes(world, {"store": [{"exists": False}]}, {}) == [False]


@moto_differs("moto counts binary attributes", CONSTRAINTS)
def test_a_binary_attribute_is_not_there(world: World) -> None:
    policy = {"store": [{"exists": True}]}

    assert delivered_by_attributes(world, policy, {"store": b"x", "other": "x"}) == [False]


@moto_differs("moto does not compare with true, false and null", CONSTRAINTS)
@pytest.mark.parametrize("value", [True, False, None])
def test_a_keyword_is_found_in_an_array(world: World, value: Any) -> None:
    got = delivered_by_attributes(world, {"key": [value]}, {"key": ["x", value]}, {"key": json.dumps(value)})

    assert got == [True, False]


@moto_differs("moto does not compare with true, false and null", CONSTRAINTS)
@pytest.mark.parametrize("value", [True, False, None])
def test_a_keyword_is_itself_only(world: World, value: Any) -> None:
    policy = {"key": [value]}

    got = delivered_by_body(world, policy, {"key": value}, {"key": json.dumps(value)}, {"key": 1}, {"key": 0})

    assert got == [True, False, False, False]


@moto_differs("moto compares with the text as it is", CONSTRAINTS)
def test_a_quote_is_escaped_twice_for_attributes(world: World) -> None:
    assert delivered_by_attributes(world, {"key": ['a\\"b']}, {"key": 'a"b'}) == [True]


def test_a_body_that_is_no_json_is_not_delivered(world: World) -> None:
    assert delivered_by_body(world, {"key": ["x"]}, "text", {"key": "x"}) == [False, True]


@pytest.mark.parametrize("body", ['"key"', "[]", "1", "null"])
def test_a_body_that_is_no_object_is_not_delivered(world: World, body: str) -> None:
    assert delivered_by_body(world, {"key": [{"exists": False}]}, body) == [False]


def test_a_body_is_filtered_below_its_keys(world: World) -> None:
    policy = {"order": {"store": ["x"], "note": [{"exists": False}]}}

    got = delivered_by_body(
        world, policy, {"order": {"store": "x"}}, {"order": {"store": "x", "note": "n"}}, {"store": "x"}
    )

    assert got == [True, False, False]


def test_a_body_is_filtered_within_its_lists(world: World) -> None:
    policy = {"Records": {"s3": {"object": {"key": [{"prefix": "auto-"}]}}}}

    got = delivered_by_body(
        world, policy, *({"Records": [{"s3": {"object": {"key": key}}}]} for key in ("auto-1", "home-1"))
    )

    assert got == [True, False]


@moto_differs("moto knows no dots", FILTERS)
def test_dots_lead_below_a_key(world: World) -> None:
    policy = {"order.store": ["x"]}

    got = delivered_by_body(world, policy, {"order": {"store": "x"}}, {"order.store": "x"})

    assert got == [True, True]


def test_each_queue_gets_what_it_asked_for(world: World) -> None:
    some, every, topic = world.queue(), world.queue(), world.topic()
    world.subscribe(topic, some, RawMessageDelivery="true", FilterPolicy='{"store": ["x"]}')
    world.subscribe(topic, every, RawMessageDelivery="true")

    answer = world.sns.publish_batch(
        TopicArn=topic,
        PublishBatchRequestEntries=[
            {"Id": store, "Message": store, "MessageAttributes": attributes({"store": store})} for store in "xy"
        ],
    )

    assert [one["Id"] for one in answer["Successful"]] == ["x", "y"]
    assert (world.bodies(some), sorted(world.bodies(every))) == (["x"], ["x", "y"])


def test_a_queue_of_an_envelope_is_filtered_by_the_body_inside(world: World) -> None:
    url, topic = world.queue(), world.topic()
    world.subscribe(topic, url, FilterPolicy='{"store": ["x"]}', FilterPolicyScope="MessageBody")

    for store in "xy":
        world.sns.publish(TopicArn=topic, Message=json.dumps({"store": store}))

    (body,) = world.bodies(url)
    assert json.loads(json.loads(body)["Message"]) == {"store": "x"}


@moto_differs("moto filters what holds the messages of all protocols", FILTERS)
def test_the_message_for_sqs_is_filtered(world: World) -> None:
    url, topic = world.queue(), world.topic()
    scope = {"FilterPolicy": '{"store": ["x"]}', "FilterPolicyScope": "MessageBody"}
    world.subscribe(topic, url, RawMessageDelivery="true", **scope)

    for default, sqs in ("xy", "yx"):
        messages = {"default": json.dumps({"store": default}), "sqs": json.dumps({"store": sqs})}
        world.sns.publish(TopicArn=topic, Message=json.dumps(messages), MessageStructure="json")

    assert world.bodies(url) == ['{"store": "x"}']


def test_a_fifo_topic_filters_too(world: World) -> None:
    url, topic = world.fifo_queue(), world.topic(**FIFO)
    world.subscribe(topic, url, RawMessageDelivery="true", FilterPolicy='{"store": ["x"]}')

    for body, store in (("a", "x"), ("b", "y"), ("c", "x")):
        world.sns.publish(
            TopicArn=topic,
            Message=body,
            MessageGroupId="g",
            MessageDeduplicationId=body,
            MessageAttributes=attributes({"store": store}),
        )

    assert world.bodies(url) == ["a", "c"]


def test_a_policy_is_shown_as_it_was_given_and_with_its_scope(world: World) -> None:
    url, topic = world.queue(), world.topic()
    policy = '{ "store":["x"] }'

    subscription = world.subscribe(topic, url, FilterPolicy=policy)

    assert shown(world, subscription)["FilterPolicy"] == policy
    assert shown(world, subscription)["FilterPolicyScope"] == "MessageAttributes"


def test_a_scope_is_shown_with_a_policy_only(world: World) -> None:
    subscription = world.subscribe(world.topic(), world.queue())

    change(world, subscription, "FilterPolicyScope", "MessageBody")
    before = shown(world, subscription)
    change(world, subscription, "FilterPolicy", '{"order": {"store": ["x"]}}')

    assert {"FilterPolicy", "FilterPolicyScope"} & before.keys() == set()
    assert shown(world, subscription)["FilterPolicyScope"] == "MessageBody"


def test_a_policy_can_be_set_and_changed_later(world: World) -> None:
    url, topic = world.queue(), world.topic()
    subscription = world.subscribe(topic, url, RawMessageDelivery="true")

    for store in "xy":
        change(world, subscription, "FilterPolicy", json.dumps({"store": [store]}))
        for each in "xy":
            world.sns.publish(
                TopicArn=topic, Message=f"{each} for {store}", MessageAttributes=attributes({"store": each})
            )

    assert sorted(world.bodies(url)) == ["x for x", "y for y"]


@pytest.mark.parametrize("empty", ["", "{}"])
def test_an_empty_policy_lets_everything_through_again(world: World, empty: str) -> None:
    url, topic = world.queue(), world.topic()
    subscription = world.subscribe(topic, url, RawMessageDelivery="true", FilterPolicy='{"store": ["x"]}')

    change(world, subscription, "FilterPolicy", empty)
    world.sns.publish(TopicArn=topic, Message="hello")

    assert world.bodies(url) == ["hello"]


@moto_differs("moto goes on to show it", REMOVE_FILTER)
@pytest.mark.parametrize("empty", ["", "{}"])
def test_an_empty_policy_is_none(world: World, empty: str) -> None:
    subscription = world.subscribe(world.topic(), world.queue(), FilterPolicy='{"store": ["x"]}')

    change(world, subscription, "FilterPolicy", empty)

    assert {"FilterPolicy", "FilterPolicyScope"} & shown(world, subscription).keys() == set()


@pytest.mark.parametrize("policy", ["", "{}"])
def test_subscribing_with_an_empty_policy_is_subscribing_to_everything(world: World, policy: str) -> None:
    url, topic = world.queue(), world.topic()
    world.subscribe(topic, url, RawMessageDelivery="true", FilterPolicy=policy)

    world.sns.publish(TopicArn=topic, Message="hello")

    assert world.bodies(url) == ["hello"]


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        ({"a": "x"}, '"a" must be an object or an array'),
        ({"a": {"b": ["x"]}}, "Filter policy scope MessageAttributes does not support nested filter policy"),
        ({name: ["x"] for name in "abcdef"}, "Filter policy can not have more than 5 keys"),
        ({"a": [str(n) for n in range(151)]}, "Filter policy is too complex"),
        ({"a": [["x"]]}, "Match value must be String, number, true, false, or null"),
        ({"a": [{"like": "x"}]}, "Unrecognized match type like"),
        ({"a": [{"exists": "x"}]}, "exists match pattern must be either true or false."),
        ({"a": [{"numeric": []}]}, "Invalid member in numeric match: ]"),
        ({"a": [{"numeric": [1, "<="]}]}, "Invalid member in numeric match: 1"),
        ({"a": [{"numeric": ["like"]}]}, "Unrecognized numeric range operator: like"),
        ({"a": [{"numeric": [">="]}]}, "Value of >= must be numeric"),
        ({"a": [{"numeric": ["<", 100, ">", 10]}]}, "Too many elements in numeric expression"),
        ({"a": [{"numeric": [">=", 1, ">", 2]}]}, "Bad numeric range operator: >"),
        ({"a": [{"numeric": [">", 20, "<="]}]}, "Value of <= must be numeric"),
        ({"a": [{"numeric": [">", 3, "<", 1]}]}, "Bottom must be less than top"),
    ],
)
def test_a_wrong_policy_is_refused(world: World, policy: Any, reason: str) -> None:
    subscription = world.subscribe(world.topic(), world.queue())

    with pytest.raises(world.sns.exceptions.InvalidParameterException) as error:
        change(world, subscription, "FilterPolicy", json.dumps(policy))

    assert error.value.response["Error"]["Code"] == "InvalidParameter"
    assert reason in error.value.response["Error"]["Message"]


@moto_differs("moto takes these", FILTERS)
@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        ({"a": []}, "Empty arrays are not allowed"),
        ({"a": [{"prefix": "x", "suffix": "x"}]}, "Only one key allowed in match expression"),
        ({"a": [{"prefix": 1}]}, "prefix match pattern must be a string"),
        ({"a": [{"suffix": None}]}, "suffix match pattern must be a string"),
        ({"a": [{"anything-but": {"exists": True}}]}, "Unsupported anything-but pattern: exists"),
    ],
)
def test_a_wrong_condition_is_refused(world: World, policy: Any, reason: str) -> None:
    topic, url = world.topic(), world.queue()

    with pytest.raises(world.sns.exceptions.InvalidParameterException) as error:
        world.subscribe(topic, url, FilterPolicy=json.dumps(policy))

    assert error.value.response["Error"]["Message"].startswith(
        f"Invalid parameter: Attributes Reason: FilterPolicy: {reason}"
    )


@moto_differs("moto counts keys at the top only", CONSTRAINTS)
def test_keys_are_counted_below_keys(world: World) -> None:
    topic, url = world.topic(), world.queue()
    policy = json.dumps({"order": {name: ["x"] for name in "abcdef"}})

    with pytest.raises(world.sns.exceptions.InvalidParameterException, match="more than 5 keys"):
        world.subscribe(topic, url, FilterPolicy=policy, FilterPolicyScope="MessageBody")


def test_combinations_are_more_below_keys(world: World) -> None:
    topic, url = world.topic(), world.queue()
    policy = {"a": {"b": {"c": list("wxyz")}}, "d": {"e": list("xyz")}, "f": list("xyz")}

    with pytest.raises(world.sns.exceptions.InvalidParameterException, match="Filter policy is too complex"):
        world.subscribe(topic, url, FilterPolicy=json.dumps(policy), FilterPolicyScope="MessageBody")


@moto_differs("moto takes any scope", FILTERS)
def test_a_scope_is_one_of_two(world: World) -> None:
    subscription = world.subscribe(world.topic(), world.queue())

    with pytest.raises(
        world.sns.exceptions.InvalidParameterException, match="Please use either MessageBody or MessageAttributes"
    ):
        change(world, subscription, "FilterPolicyScope", "Subject")


def refused_when_set(world: World, policy: str, scope: str = "MessageAttributes") -> str:
    subscription = world.subscribe(world.topic(), world.queue(), FilterPolicyScope=scope)
    with pytest.raises(world.sns.exceptions.InvalidParameterException) as error:
        change(world, subscription, "FilterPolicy", policy)
    message: str = error.value.response["Error"]["Message"]
    return message


@moto_differs("moto names no place", FILTERS)
@pytest.mark.parametrize(
    ("policy", "reason", "column"),
    [
        ('{"key":[["value"]]}', "Match value must be String, number, true, false, or null", 10),
        ('{"key":[{"wrong-operator":true}]}', "Unrecognized match type wrong-operator", 31),
        ('{"key":[{"suffix":"value","prefix":"value2"}]}', "Only one key allowed in match expression", 37),
        ('{"key":[{"suffix":100}]}', "suffix match pattern must be a string", 22),
        ('{"key":[{"suffix":null}]}', "suffix match pattern must be a string", 23),
        ('{"key":{"suffix":"value"}}', '"suffix" must be an object or an array', 19),
        ('{"key":[{"suffix":[]}]}', "suffix match pattern must be a string", 20),
        ('{"key":[{"suffix":["test","test2"]}]}', "suffix match pattern must be a string", 20),
        ('{"key":{"suffix":"value","prefix":"value"}}', '"suffix" must be an object or an array', 19),
        ('{"key":{"not-an-operator":"value"}}', '"not-an-operator" must be an object or an array', 28),
        ('{"key":[{"numeric":[]}]}', "Invalid member in numeric match: ]", 22),
        ('{"key":[{"numeric":["operator"]}]}', "Unrecognized numeric range operator: operator", 32),
        ('{"key":[{"numeric":[1,"<="]}]}', "Invalid member in numeric match: 1", 22),
        ('{"key":[{"numeric":["=","000"]}]}', "Value of equals must be numeric", 26),
        ('{"key":[{"numeric":[">="]}]}', "Value of >= must be numeric", 26),
        ('{"key":[{"numeric":["<",100,">",10]}]}', "Too many elements in numeric expression", 30),
        ('{"key":[{"numeric":[">=",1,">",2]}]}', "Bad numeric range operator: >", 31),
        ('{"key":[{"numeric":[">",3,"<",1]}]}', "Bottom must be less than top", 33),
        ('{"key":[{"numeric":[">",20,"<="]}]}', "Value of <= must be numeric", 33),
        ('{"key":[{"numeric":[">",20,30]}]}', "Bad value in numeric range: 30", 30),
        ('{"key":[{"numeric":[">",20,"test"]}]}', "Bad numeric range operator: test", 34),
        ('{"key":[{"numeric":[">","20","<","30"]}]}', "Value of > must be numeric", 26),
        ('{"key":[{"numeric":[">",20,"<","30"]}]}', "Value of < must be numeric", 33),
        ('{"key":[{"numeric":[">",20,"<",30,"<",50]}]}', "Too many terms in numeric range expression", 36),
        ('{"key":[{"exists":null}]}', "exists match pattern must be either true or false.", 23),
        ('{"key":[{"exists":"no"}]}', "exists match pattern must be either true or false.", 20),
        ('{"key":[{"anything-but":{"wrong-operator":null}}]}', "Unsupported anything-but pattern: wrong-operator", 47),
        ('{"key":[{"anything-but":{"exists":false}}]}', "Unsupported anything-but pattern: exists", 40),
        ('{"key":[{"anything-but":{"prefix":false}}]}', "prefix match pattern must be a string", 40),
        ('{"key_a":"value_one"}', '"key_a" must be an object or an array', 11),
        ('{"key":[]}', "Empty arrays are not allowed", 10),
    ],
)
def test_a_wrong_policy_is_shown_with_the_place(world: World, policy: str, reason: str, column: int) -> None:
    words = f'FilterPolicy: {reason}\n at [Source: (String)"{policy}"; line: 1, column: {column}]'
    topic, url = world.topic(), world.queue()

    with pytest.raises(world.sns.exceptions.InvalidParameterException) as error:
        world.subscribe(topic, url, FilterPolicy=policy)

    assert error.value.response["Error"]["Message"] == f"Invalid parameter: Attributes Reason: {words}"
    assert refused_when_set(world, policy) == f"Invalid parameter: {words}"


@moto_differs("moto names no place", FILTERS)
def test_a_place_has_a_line(world: World) -> None:
    policy = '{\n  "a": ["x"],\n  "b": [\n    {"suffix": 100}\n  ]\n}'

    said = refused_when_set(world, policy)

    assert said.endswith(f'at [Source: (String)"{policy}"; line: 4, column: 19]')


@moto_differs("moto has other words", FILTERS)
@pytest.mark.parametrize(
    ("cidr", "reason"),
    [
        ("bad-filter", "Malformed CIDR, one '/' required"),
        ("10.0.0.0/x", "Malformed CIDR, mask bits must be an integer"),
        ("10.0.0.7/32", "IPv4 mask bits must be < 32"),
        ("::1/128", "IPv6 mask bits must be < 128"),
    ],
)
def test_a_wrong_block_of_addresses_has_no_place(world: World, cidr: str, reason: str) -> None:
    said = refused_when_set(world, json.dumps({"key": [{"cidr": cidr}]}))

    assert said == f"Invalid parameter: FilterPolicy: {reason}"


def test_a_nested_policy_for_attributes_is_refused_in_its_own_words(world: World) -> None:
    said = refused_when_set(world, '{"object": {"key": ["a"]}}')

    assert said == "Invalid parameter: Filter policy scope MessageAttributes does not support nested filter policy"


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        ({name: ["x"] for name in "abcdef"}, "Filter policy can not have more than 5 keys"),
        ({"a": [str(n) for n in range(151)]}, "Filter policy is too complex"),
    ],
)
def test_what_is_too_much_has_no_place(world: World, policy: Any, reason: str) -> None:
    assert refused_when_set(world, json.dumps(policy)) == f"Invalid parameter: FilterPolicy: {reason}"


@moto_differs("moto says no more", FILTERS)
@pytest.mark.parametrize("name", ["FilterPolicy", "RedrivePolicy"])
def test_what_is_no_json_is_refused_with_the_place(world: World, name: str) -> None:
    subscription = world.subscribe(world.topic(), world.queue())

    with pytest.raises(world.sns.exceptions.InvalidParameterException) as error:
        change(world, subscription, name, "{invalidjson}")

    assert error.value.response["Error"]["Message"] == (
        f"Invalid parameter: {name}: failed to parse JSON. Unexpected character ('i' (code 105)): was expecting "
        "double-quote to start field name\n at [Source: REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` "
        "disabled); line: 1, column: 2]"
    )
