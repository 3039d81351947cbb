"""What SNS refuses, in its own words: ARNs, protocols, batches."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.conformance.conftest import World
from tests.conformance.pages import PUBLISH, PUBLISH_BATCH, SUBSCRIBE, UNSUBSCRIBE, moto_differs

FIFO = {"FifoTopic": "true"}


def refused(call: Any, **parameters: Any) -> str:
    with pytest.raises(ClientError) as error:
        call(**parameters)
    return f"{error.value.response['Error']['Code']}: {error.value.response['Error']['Message']}"


def batch(world: World, topic: str, *entries: dict[str, Any]) -> str:
    return refused(world.sns.publish_batch, TopicArn=topic, PublishBatchRequestEntries=list(entries))


@moto_differs("moto looks for a topic of any name", PUBLISH)
@pytest.mark.parametrize(
    ("arn", "count"), [("randomstring", 1), ("randomstring:1", 2), ("arn:aws:sns:us-east-1:random", 5), ("", 1)]
)
@pytest.mark.parametrize(
    ("operation", "parameter", "more"),
    [
        ("publish", "TopicArn", {"Message": "x"}),
        ("publish", "TargetArn", {"Message": "x"}),
        ("publish_batch", "TopicArn", {"PublishBatchRequestEntries": [{"Id": "1", "Message": "x"}]}),
        ("subscribe", "TopicArn", {"Protocol": "sqs", "Endpoint": "arn:aws:sqs:us-east-1:123456789012:q"}),
        ("get_topic_attributes", "TopicArn", {}),
        ("set_topic_attributes", "TopicArn", {"AttributeName": "DisplayName", "AttributeValue": "x"}),
        ("delete_topic", "TopicArn", {}),
        ("list_subscriptions_by_topic", "TopicArn", {}),
        ("unsubscribe", "SubscriptionArn", {}),
        ("get_subscription_attributes", "SubscriptionArn", {}),
        (
            "set_subscription_attributes",
            "SubscriptionArn",
            {"AttributeName": "RawMessageDelivery", "AttributeValue": "true"},
        ),
        ("list_tags_for_resource", "ResourceArn", {}),
        ("tag_resource", "ResourceArn", {"Tags": [{"Key": "a", "Value": "b"}]}),
        ("untag_resource", "ResourceArn", {"TagKeys": ["a"]}),
    ],
)
def test_a_malformed_arn_is_refused(
    world: World, operation: str, parameter: str, more: dict[str, Any], arn: str, count: int
) -> None:
    if parameter == "ResourceArn" and not arn:
        pytest.skip("boto3 itself refuses an ARN without a letter here")

    said = refused(getattr(world.sns, operation), **{parameter: arn}, **more)

    assert said == (
        f"InvalidParameter: Invalid parameter: {parameter} Reason: An ARN must have at least 6 elements, not {count}"
    )


@moto_differs("moto answers a batch to no topic with other words", PUBLISH_BATCH)
def test_a_topic_that_is_not_there_is_not_found(world: World) -> None:
    topic = f"{world.topic()}-not"

    assert refused(world.sns.publish, TopicArn=topic, Message="x") == "NotFound: Topic does not exist"
    assert batch(world, topic, {"Id": "1", "Message": "x"}) == "NotFound: Topic does not exist"
    assert refused(world.sns.get_topic_attributes, TopicArn=topic) == "NotFound: Topic does not exist"


@moto_differs("moto has other words", PUBLISH)
def test_an_endpoint_that_is_not_there_is_not_found(world: World) -> None:
    arn = f"arn:aws:sns:us-east-1:{world.account_id}:endpoint/APNS/app/1"

    said = refused(world.sns.publish, TargetArn=arn, Message="x")

    assert (
        said == "InvalidParameter: Invalid parameter: TargetArn Reason: No endpoint found for the target arn specified"
    )


@moto_differs("moto says nothing", UNSUBSCRIBE)
def test_unsubscribing_what_is_no_subscription_is_refused(world: World) -> None:
    topic = world.topic()

    said = refused(world.sns.unsubscribe, SubscriptionArn=topic)

    assert said == "InvalidParameter: Invalid parameter: SubscriptionId"


def test_unsubscribing_twice_is_no_error(world: World) -> None:
    subscription = world.subscribe(world.topic(), world.queue())

    for _ in range(2):
        world.sns.unsubscribe(SubscriptionArn=subscription)


@moto_differs("moto takes any protocol", SUBSCRIBE)
def test_an_unknown_protocol_is_refused(world: World) -> None:
    said = refused(world.sns.subscribe, TopicArn=world.topic(), Protocol="test-protocol", Endpoint="x")

    assert said == (
        "InvalidParameter: Invalid parameter: Amazon SNS does not support this protocol string: test-protocol"
    )


def test_a_url_of_a_queue_does_not_subscribe(world: World) -> None:
    said = refused(world.sns.subscribe, TopicArn=world.topic(), Protocol="sqs", Endpoint=world.queue())

    assert said == "InvalidParameter: Invalid parameter: SQS endpoint ARN"


def test_a_batch_has_ten_entries_at_most(world: World) -> None:
    said = batch(world, world.topic(), *({"Id": str(n), "Message": "x"} for n in range(11)))

    assert said == "TooManyEntriesInBatchRequest: The batch request contains more entries than permissible."


@moto_differs("moto takes an empty batch", PUBLISH_BATCH)
def test_a_batch_has_one_entry_at_least(world: World) -> None:
    assert batch(world, world.topic()).startswith("EmptyBatchRequest: ")


def test_ids_of_a_batch_are_distinct(world: World) -> None:
    said = batch(world, world.topic(), *[{"Id": "1", "Message": "x"}] * 2)

    assert said == "BatchEntryIdsNotDistinct: Two or more batch entries in the request have the same Id."


@moto_differs("moto takes any id", PUBLISH_BATCH)
@pytest.mark.parametrize("wrong", ["message.id", "", "a b", "i" * 81])
def test_ids_of_a_batch_have_few_characters(world: World, wrong: str) -> None:
    said = batch(world, world.topic(), {"Id": wrong, "Message": "x"})

    assert said == (
        "InvalidBatchEntryId: The Id of a batch entry in the batch request contains an impermissible character: "
        f"{wrong}"
    )


@moto_differs("moto has other words", PUBLISH_BATCH)
def test_a_batch_is_256_kib_at_most(world: World) -> None:
    half = "x" * 131_073

    said = batch(world, world.topic(), *({"Id": id, "Message": half} for id in "ab"))

    assert said == "BatchRequestTooLong: The length of all the messages put together is more than the limit."


@moto_differs("moto fails the entry", PUBLISH_BATCH)
def test_an_entry_without_a_deduplication_id_fails_the_whole_batch(world: World) -> None:
    good = {"Id": "1", "Message": "x", "MessageGroupId": "g", "MessageDeduplicationId": "1"}

    said = batch(world, world.topic(**FIFO), good, {"Id": "2", "Message": "x", "MessageGroupId": "g"})

    assert said == (
        "InvalidParameter: Invalid parameter: The topic should either have ContentBasedDeduplication enabled or "
        "MessageDeduplicationId provided explicitly"
    )


@moto_differs("moto looks at the group first", PUBLISH_BATCH)
@pytest.mark.parametrize(
    ("message", "words"),
    [
        ('{"sqs": "x"}', "No default entry in JSON message body"),
        ('{"default": 1}', "No default entry in JSON message body"),
        ("no JSON", "JSON message body failed to parse"),
    ],
)
def test_json_without_a_default_is_refused_before_all_else(world: World, message: str, words: str) -> None:
    said = batch(world, world.topic(**FIFO), {"Id": "1", "Message": message, "MessageStructure": "json"})

    assert said == f"InvalidParameter: Invalid parameter: Message Structure - {words}"


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ('{"sqs": "x"}', "No default entry in JSON message body"),
        ('{"default": {"a": "b"}}', "No default entry in JSON message body"),
        ("no JSON", "JSON message body failed to parse"),
    ],
)
@moto_differs("moto takes a default that is no text", PUBLISH)
def test_json_needs_a_default(world: World, message: str, words: str) -> None:
    said = refused(world.sns.publish, TopicArn=world.topic(), Message=message, MessageStructure="json")

    assert said == f"InvalidParameter: Invalid parameter: Message Structure - {words}"


def test_json_may_have_a_key_twice(world: World) -> None:
    url, topic = world.queue(), world.topic()
    world.subscribe(topic, url, RawMessageDelivery="true")

    world.sns.publish(TopicArn=topic, Message='{"default": "a", "default": "b"}', MessageStructure="json")

    assert world.bodies(url) == ["b"]
    assert json.loads('{"default": "a", "default": "b"}') == {"default": "b"}
