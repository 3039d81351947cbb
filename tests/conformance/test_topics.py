from __future__ import annotations

import base64
import json
import re
from typing import Any

import pytest
from botocore.exceptions import ClientError, ParamValidationError

from tests.conformance.conftest import World
from tests.conformance.pages import ENVELOPE, ONCE, PUBLISH, RAW, TOPIC_DEAD_LETTERS, TOPIC_GROUPS, moto_differs

FIFO = {"FifoTopic": "true"}


def envelope(world: World, url: str) -> dict[str, Any]:
    (body,) = world.bodies(url)
    opened: dict[str, Any] = json.loads(body)
    return opened


def listed_in_pages(call: Any, name: str) -> list[dict[str, str]]:
    """Return what is listed a hundred at a time."""
    page = call()
    found: list[dict[str, str]] = page[name]
    while "NextToken" in page:
        page = call(NextToken=page["NextToken"])
        found += page[name]
    return found


def test_a_subscribed_queue_gets_an_envelope(world: World) -> None:
    url, topic = world.queue(), world.topic()
    world.subscribe(topic, url)

    published = world.sns.publish(TopicArn=topic, Message="hello", Subject="greeting")

    opened = envelope(world, url)
    assert opened["Type"] == "Notification"
    assert opened["MessageId"] == published["MessageId"]
    assert opened["TopicArn"] == topic
    assert (opened["Subject"], opened["Message"]) == ("greeting", "hello")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", opened["Timestamp"])
    assert opened["SignatureVersion"] in {"1", "2"}
    assert opened["Signature"]
    assert opened["SigningCertURL"].startswith(f"{world.sns_url}/SimpleNotificationService-")
    assert opened["UnsubscribeURL"].startswith(f"{world.sns_url}/?Action=Unsubscribe&SubscriptionArn={topic}:")
    assert "MessageAttributes" not in opened


def test_an_envelope_without_a_subject_has_none(world: World) -> None:
    url, topic = world.queue(), world.topic()
    world.subscribe(topic, url)

    world.sns.publish(TopicArn=topic, Message="hello")

    assert "Subject" not in envelope(world, url)


def test_an_envelope_holds_the_attributes(world: World) -> None:
    url, topic = world.queue(), world.topic()
    world.subscribe(topic, url)

    world.sns.publish(
        TopicArn=topic,
        Message="hello",
        MessageAttributes={
            "text": {"DataType": "String", "StringValue": "x"},
            "number": {"DataType": "Number", "StringValue": "1"},
            "list": {"DataType": "String.Array", "StringValue": '["a", 1]'},
            "bytes": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
        },
    )

    assert envelope(world, url)["MessageAttributes"] == {
        "text": {"Type": "String", "Value": "x"},
        "number": {"Type": "Number", "Value": "1"},
        "list": {"Type": "String.Array", "Value": '["a", 1]'},
        "bytes": {"Type": "Binary", "Value": base64.b64encode(b"\x00\xff").decode()},
    }


def test_raw_delivery_is_the_message_and_its_attributes(world: World) -> None:
    url, topic = world.queue(), world.topic()
    world.subscribe(topic, url, RawMessageDelivery="true")
    attributes = {"a": {"DataType": "String", "StringValue": "x"}}

    world.sns.publish(TopicArn=topic, Message="hello", MessageAttributes=attributes)

    (received,) = world.receive(url, MessageAttributeNames=["All"])
    assert received["Body"] == "hello"
    assert received["MessageAttributes"] == attributes


@moto_differs("moto delivers more attributes than SQS takes", RAW)
def test_raw_delivery_drops_what_has_more_than_ten_attributes(world: World) -> None:
    url, topic = world.queue(), world.topic()
    world.subscribe(topic, url, RawMessageDelivery="true")
    attributes = {f"a{n}": {"DataType": "String", "StringValue": "x"} for n in range(11)}

    world.sns.publish(TopicArn=topic, Message="hello", MessageAttributes=attributes)

    assert world.receive(url) == []


def test_raw_delivery_can_be_switched_later(world: World) -> None:
    url, topic = world.queue(), world.topic()
    subscription = world.subscribe(topic, url)

    world.sns.set_subscription_attributes(
        SubscriptionArn=subscription, AttributeName="RawMessageDelivery", AttributeValue="true"
    )
    world.sns.publish(TopicArn=topic, Message="hello")

    assert world.bodies(url) == ["hello"]
    attributes = world.sns.get_subscription_attributes(SubscriptionArn=subscription)["Attributes"]
    assert attributes["RawMessageDelivery"] == "true"
    assert attributes["Endpoint"] == world.arn(url)


def test_every_subscribed_queue_gets_the_message(world: World) -> None:
    urls, topic = [world.queue(), world.queue()], world.topic()
    for url in urls:
        world.subscribe(topic, url, RawMessageDelivery="true")

    world.sns.publish(TopicArn=topic, Message="hello")

    assert [world.bodies(url) for url in urls] == [["hello"], ["hello"]]


def test_subscribing_twice_is_one_subscription(world: World) -> None:
    url, topic = world.queue(), world.topic()

    first, second = world.subscribe(topic, url), world.subscribe(topic, url)

    assert first == second
    (listed,) = world.sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    assert listed["SubscriptionArn"] == first
    assert (listed["Protocol"], listed["Endpoint"]) == ("sqs", world.arn(url))
    assert first in [one["SubscriptionArn"] for one in listed_in_pages(world.sns.list_subscriptions, "Subscriptions")]


def test_nothing_comes_after_unsubscribing(world: World) -> None:
    url, topic = world.queue(), world.topic()
    subscription = world.subscribe(topic, url)

    world.sns.unsubscribe(SubscriptionArn=subscription)
    world.sns.publish(TopicArn=topic, Message="hello")

    assert world.receive(url) == []


def test_publishing_to_no_topic_says_so(world: World) -> None:
    topic = world.topic()
    world.sns.delete_topic(TopicArn=topic)

    with pytest.raises(world.sns.exceptions.NotFoundException) as error:
        world.sns.publish(TopicArn=topic, Message="hello")

    assert error.value.response["Error"]["Code"] == "NotFound"
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404


def test_creating_a_topic_twice_gives_the_same_topic(world: World) -> None:
    topic = world.topic()

    again = world.sns.create_topic(Name=topic.rpartition(":")[2])["TopicArn"]

    assert again == topic
    assert topic in [one["TopicArn"] for one in listed_in_pages(world.sns.list_topics, "Topics")]


def test_a_topic_has_attributes(world: World) -> None:
    topic = world.topic(DisplayName="Carts")

    world.sns.set_topic_attributes(TopicArn=topic, AttributeName="DisplayName", AttributeValue="Orders")

    attributes = world.sns.get_topic_attributes(TopicArn=topic)["Attributes"]
    assert (attributes["TopicArn"], attributes["DisplayName"]) == (topic, "Orders")


def test_a_message_is_needed(world: World) -> None:
    topic = world.topic()

    with pytest.raises(ParamValidationError, match="Message"):
        world.sns.publish(TopicArn=topic)


@moto_differs("moto publishes an empty message", PUBLISH)
def test_an_empty_message_is_refused(world: World) -> None:
    topic = world.topic()

    with pytest.raises(world.sns.exceptions.InvalidParameterException, match="Empty message"):
        world.sns.publish(TopicArn=topic, Message="")


def test_a_message_is_256_kib_at_most(world: World) -> None:
    topic = world.topic()

    world.sns.publish(TopicArn=topic, Message="x" * 262_144)
    with pytest.raises(world.sns.exceptions.InvalidParameterException, match="Message too long"):
        world.sns.publish(TopicArn=topic, Message="x" * 262_145)


@moto_differs("moto takes these", PUBLISH)
@pytest.mark.parametrize("subject", ["two\nlines", ""])
def test_a_subject_is_a_line(world: World, subject: str) -> None:
    topic = world.topic()

    with pytest.raises(world.sns.exceptions.InvalidParameterException, match="Subject"):
        world.sns.publish(TopicArn=topic, Message="hello", Subject=subject)


def test_each_protocol_may_have_its_own_message(world: World) -> None:
    url, topic = world.queue(), world.topic()
    world.subscribe(topic, url, RawMessageDelivery="true")

    for messages in ({"default": "d", "sqs": "s"}, {"default": "d"}):
        world.sns.publish(TopicArn=topic, Message=json.dumps(messages), MessageStructure="json")

    assert sorted(world.bodies(url)) == ["d", "s"]


def test_messages_are_published_in_batches(world: World) -> None:
    url, topic = world.queue(), world.topic()
    world.subscribe(topic, url, RawMessageDelivery="true")

    answer = world.sns.publish_batch(
        TopicArn=topic, PublishBatchRequestEntries=[{"Id": body, "Message": body} for body in "abc"]
    )

    assert [one["Id"] for one in answer["Successful"]] == ["a", "b", "c"]
    assert answer["Failed"] == []
    assert sorted(world.bodies(url)) == ["a", "b", "c"]


def test_a_wrong_attribute_fails_the_whole_batch(world: World) -> None:
    topic = world.topic()
    wrong = {"Id": "bad", "Message": "x", "MessageAttributes": {"a": {"DataType": "Text", "StringValue": "x"}}}

    with pytest.raises(ClientError, match="The message attribute 'a' has an invalid message attribute type"):
        world.sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=[{"Id": "good", "Message": "x"}, wrong])


def test_ids_of_a_batch_must_be_distinct(world: World) -> None:
    topic = world.topic()

    with pytest.raises(world.sns.exceptions.BatchEntryIdsNotDistinctException) as error:
        world.sns.publish_batch(
            TopicArn=topic, PublishBatchRequestEntries=[{"Id": "a", "Message": "x"}, {"Id": "a", "Message": "y"}]
        )

    assert error.value.response["Error"]["Code"] == "BatchEntryIdsNotDistinct"


def test_more_than_ten_entries_are_refused(world: World) -> None:
    topic = world.topic()

    with pytest.raises(world.sns.exceptions.TooManyEntriesInBatchRequestException):
        world.sns.publish_batch(
            TopicArn=topic, PublishBatchRequestEntries=[{"Id": str(n), "Message": "x"} for n in range(11)]
        )


def test_a_fifo_queue_cannot_subscribe_to_a_standard_topic(world: World) -> None:
    url, topic = world.fifo_queue(), world.topic()

    with pytest.raises(world.sns.exceptions.InvalidParameterException, match="FIFO SQS Queues can not be subscribed"):
        world.subscribe(topic, url)


def test_a_fifo_topic_keeps_the_order(world: World) -> None:
    url, topic = world.fifo_queue(), world.topic(**FIFO)
    world.subscribe(topic, url, RawMessageDelivery="true")

    for body in "cab":
        published = world.sns.publish(TopicArn=topic, Message=body, MessageGroupId="g", MessageDeduplicationId=body)

    received = world.receive(url, AttributeNames=["All"])
    assert [message["Body"] for message in received] == ["c", "a", "b"]
    assert {message["Attributes"]["MessageGroupId"] for message in received} == {"g"}
    assert [message["Attributes"]["MessageDeduplicationId"] for message in received] == ["c", "a", "b"]
    assert published["MessageId"]


@moto_differs("moto leaves the id to the queue", ONCE)
def test_a_fifo_topic_drops_duplicates(world: World) -> None:
    url, topic = world.fifo_queue(), world.topic(**FIFO, ContentBasedDeduplication="true")
    world.subscribe(topic, url, RawMessageDelivery="true")

    for body in ("a", "a", "b"):
        world.sns.publish(TopicArn=topic, Message=body, MessageGroupId="g")

    assert world.bodies(url) == ["a", "b"]


@moto_differs("moto answers a missing group with MissingParameter", PUBLISH)
def test_a_fifo_topic_needs_a_group(world: World) -> None:
    topic = world.topic(**FIFO)

    with pytest.raises(world.sns.exceptions.InvalidParameterException, match="MessageGroupId parameter is required"):
        world.sns.publish(TopicArn=topic, Message="a", MessageDeduplicationId="1")


def test_a_fifo_batch_needs_a_group_in_every_entry(world: World) -> None:
    topic = world.topic(**FIFO)

    with pytest.raises(world.sns.exceptions.InvalidParameterException, match="MessageGroupId parameter is required"):
        world.sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=[{"Id": "a", "Message": "x"}])


def test_a_fifo_topic_needs_a_deduplication_id(world: World) -> None:
    topic = world.topic(**FIFO)

    with pytest.raises(ClientError, match="ContentBasedDeduplication enabled or MessageDeduplicationId"):
        world.sns.publish(TopicArn=topic, Message="a", MessageGroupId="g")


@moto_differs("moto passes the group on", TOPIC_GROUPS)
def test_a_standard_queue_gets_no_group_from_a_fifo_topic(world: World) -> None:
    url, topic = world.queue(), world.topic(**FIFO)
    world.subscribe(topic, url)

    world.sns.publish(TopicArn=topic, Message="a", MessageGroupId="g", MessageDeduplicationId="1")

    (received,) = world.receive(url, AttributeNames=["All"])
    assert "MessageGroupId" not in received["Attributes"]


def test_a_standard_topic_passes_the_group_on(world: World) -> None:
    url, topic = world.queue(), world.topic()
    world.subscribe(topic, url)

    world.sns.publish(TopicArn=topic, Message="a", MessageGroupId="tenant-1")

    (received,) = world.receive(url, AttributeNames=["MessageGroupId"])
    assert received["Attributes"]["MessageGroupId"] == "tenant-1"


def test_a_queue_may_subscribe_before_it_is_there(world: World) -> None:
    topic, name = world.topic(), next(world.names)
    endpoint = world.arn(name)
    world.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=endpoint, Attributes={"RawMessageDelivery": "true"})

    url = world.sqs.create_queue(QueueName=name)["QueueUrl"]
    world.let_in(topic, url)
    world.sns.publish(TopicArn=topic, Message="hello")

    assert world.bodies(url) == ["hello"]


@moto_differs("moto shows a signature", ENVELOPE)
def test_an_envelope_of_a_fifo_topic_has_no_signature(world: World) -> None:
    url, topic = world.fifo_queue(), world.topic(**FIFO)
    world.subscribe(topic, url)

    world.sns.publish(TopicArn=topic, Message="a", Subject="s", MessageGroupId="g", MessageDeduplicationId="1")

    assert sorted(envelope(world, url)) == [
        *("Message", "MessageId", "SequenceNumber", "Subject", "Timestamp", "TopicArn", "Type", "UnsubscribeURL"),
    ]


@moto_differs("moto delivers what is no text", PUBLISH)
@pytest.mark.parametrize("part", [1, True, {"a": 1}, ["a"]])
def test_a_message_for_sqs_that_is_no_text_is_passed_over(world: World, part: Any) -> None:
    url, topic = world.queue(), world.topic()
    world.subscribe(topic, url, RawMessageDelivery="true")

    world.sns.publish(TopicArn=topic, Message=json.dumps({"default": "d", "sqs": part}), MessageStructure="json")

    assert world.bodies(url) == ["d"]


def test_a_redrive_policy_is_shown_as_it_was_given(world: World) -> None:
    policy = json.dumps({"deadLetterTargetArn": world.arn(world.queue())})

    subscription = world.subscribe(world.topic(), world.queue(), RedrivePolicy=policy)

    attributes = world.sns.get_subscription_attributes(SubscriptionArn=subscription)["Attributes"]
    assert attributes["RedrivePolicy"] == policy


@moto_differs("moto answers with an error", TOPIC_DEAD_LETTERS)
def test_what_cannot_be_delivered_goes_to_the_dead_letter_queue(world: World) -> None:
    gone, dead, topic = world.queue(), world.queue(), world.topic()
    policy = json.dumps({"deadLetterTargetArn": world.arn(dead)})
    world.subscribe(topic, gone, RawMessageDelivery="true", RedrivePolicy=policy)
    world.sqs.delete_queue(QueueUrl=gone)

    world.sns.publish(TopicArn=topic, Message="hello")

    assert world.bodies(dead) == ["hello"]
