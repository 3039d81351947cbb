"""Attributes and tags of topics and subscriptions: those that Terraform and the CDK set, and what is shown."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.conformance.conftest import World
from tests.conformance.pages import (
    CREATE_TOPIC,
    ENVELOPE,
    SUBSCRIPTION_ATTRIBUTES,
    TAGS,
    TOPIC_ATTRIBUTES,
    moto_differs,
)

FIFO = {"FifoTopic": "true"}
ROLE = "arn:aws:iam::123456789012:role/sns-logs"
SENDERS = ("HTTP", "Firehose", "Lambda", "Application", "SQS")
FOR_ALL = {
    "DisplayName": "News",
    "KmsMasterKeyId": "alias/aws/sns",
    "MaximumMessageSize": "2048",
    "Policy": '{"Version":"2012-10-17","Statement":[]}',
    "SignatureVersion": "2",
    "TracingConfig": "Active",
    "DeliveryPolicy": '{"http":{"defaultHealthyRetryPolicy":{"numRetries":7}}}',
    **{f"{sender}SuccessFeedbackRoleArn": ROLE for sender in SENDERS},
    **{f"{sender}FailureFeedbackRoleArn": ROLE for sender in SENDERS},
    **{f"{sender}SuccessFeedbackSampleRate": "50" for sender in SENDERS},
}
FOR_FIFO = {
    "ArchivePolicy": '{"MessageRetentionPeriod":"30"}',
    "ContentBasedDeduplication": "true",
    "FifoThroughputScope": "MessageGroup",
}
MOTO_KNOWS = ("DisplayName", "KmsMasterKeyId", "Policy", "DeliveryPolicy", "ContentBasedDeduplication")


def shown(world: World, topic: str) -> dict[str, str]:
    attributes: dict[str, str] = world.sns.get_topic_attributes(TopicArn=topic)["Attributes"]
    return attributes


def change(world: World, topic: str, name: str, value: str) -> None:
    world.sns.set_topic_attributes(TopicArn=topic, AttributeName=name, AttributeValue=value)


def refused(call: Any, **parameters: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as error:
        call(**parameters)
    return error.value.response["Error"]["Code"], error.value.response["Error"]["Message"]


@moto_differs("moto leaves some of them out", TOPIC_ATTRIBUTES)
@pytest.mark.parametrize("type_attributes", [{}, FIFO])
def test_a_topic_shows_what_it_was_not_given(world: World, type_attributes: dict[str, str]) -> None:
    topic = world.topic(**type_attributes)

    attributes = shown(world, topic)

    policy = json.loads(attributes["Policy"])
    assert policy["Id"] == "__default_policy_ID"
    assert policy["Statement"][0]["Resource"] == topic
    assert policy["Statement"][0]["Condition"] == {"StringEquals": {"AWS:SourceOwner": world.account_id}}
    delivery = json.loads(attributes["EffectiveDeliveryPolicy"])["http"]
    assert delivery["defaultHealthyRetryPolicy"]["numRetries"] == 3
    assert delivery["disableSubscriptionOverrides"] is False
    assert sorted(attributes) == sorted(
        [
            *("DisplayName", "EffectiveDeliveryPolicy", "Owner", "Policy", "TopicArn"),
            *("SubscriptionsConfirmed", "SubscriptionsDeleted", "SubscriptionsPending"),
            *(["ContentBasedDeduplication", "FifoTopic"] if type_attributes else []),
        ]
    )


@moto_differs("moto knows a few of them", TOPIC_ATTRIBUTES)
@pytest.mark.parametrize("given", [FOR_ALL, {**FIFO, **FOR_ALL, **FOR_FIFO}])
def test_a_topic_keeps_what_it_is_made_with(world: World, given: dict[str, str]) -> None:
    topic = world.topic(**given)

    attributes = shown(world, topic)

    assert {name: attributes.get(name) for name in given} == given


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param(
            name, value, marks=[] if name in MOTO_KNOWS else moto_differs("moto does not know it", TOPIC_ATTRIBUTES)
        )
        for name, value in (*FOR_ALL.items(), *FOR_FIFO.items())
    ],
)
def test_an_attribute_of_a_topic_is_changed(world: World, name: str, value: str) -> None:
    topic = world.topic(**(FIFO if name in FOR_FIFO else {}))

    change(world, topic, name, value)

    assert shown(world, topic)[name] == value


@moto_differs("moto shows its own", TOPIC_ATTRIBUTES)
def test_a_delivery_policy_takes_effect_over_what_is_usual(world: World) -> None:
    topic = world.topic(DeliveryPolicy='{"http":{"defaultHealthyRetryPolicy":{"numRetries":7}}}')

    effective = json.loads(shown(world, topic)["EffectiveDeliveryPolicy"])["http"]

    assert effective["defaultHealthyRetryPolicy"]["numRetries"] == 7
    assert effective["defaultHealthyRetryPolicy"]["minDelayTarget"] == 20


@moto_differs("moto keeps anything", TOPIC_ATTRIBUTES)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SignatureVersion", "3"),
        ("TracingConfig", "Off"),
        ("MaximumMessageSize", "1023"),
        ("MaximumMessageSize", "1048577"),
        ("MaximumMessageSize", "many"),
        ("Policy", "no policy"),
        ("DeliveryPolicy", "[]"),
        ("SQSSuccessFeedbackSampleRate", "101"),
        ("SQSFailureFeedbackRoleArn", "nobody"),
        ("ContentBasedDeduplication", "maybe"),
        ("FifoThroughputScope", "Queue"),
        ("ArchivePolicy", '{"MessageRetentionPeriod":"366"}'),
        ("ArchivePolicy", "30"),
        ("FifoTopic", "maybe"),
    ],
)
def test_a_wrong_value_is_refused(world: World, name: str, value: str) -> None:
    fifo = FIFO if name in FOR_FIFO else {}

    made = refused(world.sns.create_topic, Name=f"{next(world.names)}.fifo", Attributes={**FIFO, name: value})
    changed = refused(change, world=world, topic=world.topic(**fifo), name=name, value=value)

    assert made[0] == changed[0] == "InvalidParameter"


@moto_differs("moto keeps anything", TOPIC_ATTRIBUTES)
@pytest.mark.parametrize(("name", "value"), FOR_FIFO.items())
def test_some_attributes_are_for_fifo_topics_only(world: World, name: str, value: str) -> None:
    topic = world.topic()

    assert refused(change, world=world, topic=topic, name=name, value=value)[0] == "InvalidParameter"
    assert refused(world.sns.create_topic, Name=next(world.names), Attributes={name: value})[0] == "InvalidParameter"


@moto_differs("moto keeps anything", TOPIC_ATTRIBUTES)
def test_an_unknown_attribute_is_refused(world: World) -> None:
    topic = world.topic()

    said = refused(change, world=world, topic=topic, name="Colour", value="red")

    assert said == ("InvalidParameter", "Invalid parameter: AttributeName")
    code, _ = refused(world.sns.create_topic, Name=next(world.names), Attributes={"Colour": "red"})
    assert code == "InvalidParameter"


def test_a_topic_that_is_no_fifo_topic_does_not_say_so(world: World) -> None:
    plain, told = world.topic(), world.topic(FifoTopic="false")

    again = world.sns.create_topic(Name=plain.rpartition(":")[2], Attributes={"FifoTopic": "false"})["TopicArn"]

    assert again == plain
    assert "FifoTopic" not in shown(world, plain)
    assert "FifoTopic" not in shown(world, told)


@moto_differs("moto returns the topic that is there", CREATE_TOPIC)
def test_a_topic_is_not_made_again_with_other_attributes(world: World) -> None:
    topic = world.topic(DisplayName="News", SignatureVersion="2")
    name = topic.rpartition(":")[2]

    for same in ({}, {"DisplayName": "News"}, {"SignatureVersion": "2"}):
        assert world.sns.create_topic(Name=name, Attributes=same)["TopicArn"] == topic
    for other in ({"DisplayName": "Olds"}, {"SignatureVersion": "1"}, {"KmsMasterKeyId": "k"}):
        assert refused(world.sns.create_topic, Name=name, Attributes=other) == (
            "InvalidParameter",
            "Invalid parameter: Attributes Reason: Topic already exists with different attributes",
        )


@moto_differs("moto takes every size", TOPIC_ATTRIBUTES)
def test_the_size_of_messages_is_limited(world: World) -> None:
    url, topic = world.queue(), world.topic(MaximumMessageSize="1024")
    world.subscribe(topic, url, RawMessageDelivery="true")
    attributes = {"a": {"DataType": "String", "StringValue": "x"}}

    world.sns.publish(TopicArn=topic, Message="x" * 1024)
    said = refused(world.sns.publish, TopicArn=topic, Message="x" * 1025)
    with_attributes = refused(world.sns.publish, TopicArn=topic, Message="x" * 1020, MessageAttributes=attributes)

    assert said == with_attributes == ("InvalidParameter", "Invalid parameter: Message too long")
    assert len(world.bodies(url)) == 1


@moto_differs("moto has a limit of its own", TOPIC_ATTRIBUTES)
def test_a_topic_takes_larger_messages_where_it_is_told_so(world: World) -> None:
    url, topic = world.queue(), world.topic(MaximumMessageSize="1048576")
    world.subscribe(topic, url, RawMessageDelivery="true")

    world.sns.publish(TopicArn=topic, Message="x" * 1_000_000)

    assert len(world.bodies(url)[0]) == 1_000_000


@moto_differs("moto leaves the id to the queue", TOPIC_ATTRIBUTES)
def test_each_group_may_have_its_own_deduplication(world: World) -> None:
    topic = world.topic(**FIFO, FifoThroughputScope="MessageGroup")
    url = world.fifo_queue(DeduplicationScope="messageGroup", FifoThroughputLimit="perMessageGroupId")
    world.subscribe(topic, url, RawMessageDelivery="true")

    for body, group in (("a", "1"), ("b", "1"), ("c", "2")):
        world.sns.publish(TopicArn=topic, Message=body, MessageGroupId=group, MessageDeduplicationId="same")

    assert sorted(world.bodies(url)) == ["a", "c"]


def test_an_envelope_names_the_version_of_its_signature(world: World) -> None:
    url, topic = world.queue(), world.topic(SignatureVersion="2")
    world.subscribe(topic, url)

    world.sns.publish(TopicArn=topic, Message="hello")

    (body,) = world.bodies(url)
    assert json.loads(body)["SignatureVersion"] == "2", ENVELOPE


@moto_differs("moto does not show it", SUBSCRIPTION_ATTRIBUTES)
def test_a_subscription_shows_who_made_it(world: World) -> None:
    subscription = world.subscribe(world.topic(), world.queue())

    attributes = world.sns.get_subscription_attributes(SubscriptionArn=subscription)["Attributes"]

    assert attributes["SubscriptionPrincipal"].startswith(f"arn:aws:iam::{world.account_id}:")
    assert attributes["ConfirmationWasAuthenticated"] == "true"


@moto_differs("moto has other words", SUBSCRIPTION_ATTRIBUTES)
def test_an_unknown_attribute_of_a_subscription_is_refused(world: World) -> None:
    subscription = world.subscribe(world.topic(), world.queue())

    said = refused(
        world.sns.set_subscription_attributes, SubscriptionArn=subscription, AttributeName="Fake", AttributeValue="x"
    )

    assert said == ("InvalidParameter", "Invalid parameter: AttributeName")


@moto_differs("moto takes the last one", TAGS)
def test_a_tag_is_given_once(world: World) -> None:
    twice = [{"Key": "k", "Value": "1"}, {"Key": "k", "Value": "1"}]
    topic = world.topic()

    made = refused(world.sns.create_topic, Name=next(world.names), Tags=twice)
    tagged = refused(world.sns.tag_resource, ResourceArn=topic, Tags=twice)

    assert made == tagged == ("InvalidParameter", "Invalid parameter: Duplicated keys are not allowed.")


@moto_differs("moto returns the topic that is there", CREATE_TOPIC)
def test_a_topic_is_not_made_again_with_other_tags(world: World) -> None:
    name, tags = next(world.names), [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}]
    topic = world.sns.create_topic(Name=name, Tags=tags)["TopicArn"]

    for same in (tags, tags[::-1], tags[:1], []):
        assert world.sns.create_topic(Name=name, Tags=same)["TopicArn"] == topic
    for other in ([{"Key": "a", "Value": "2"}], [*tags, {"Key": "c", "Value": "3"}]):
        assert refused(world.sns.create_topic, Name=name, Tags=other) == (
            "InvalidParameter",
            "Invalid parameter: Tags Reason: Topic already exists with different tags",
        )


@moto_differs("moto counts no tags of a new topic", TAGS)
def test_a_topic_has_fifty_tags_at_most(world: World) -> None:
    topic, tags = world.topic(), [{"Key": str(n), "Value": "x"} for n in range(51)]
    world.sns.tag_resource(ResourceArn=topic, Tags=tags[:50])

    with pytest.raises(world.sns.exceptions.TagLimitExceededException) as error:
        world.sns.tag_resource(ResourceArn=topic, Tags=tags[50:])
    with pytest.raises(world.sns.exceptions.TagLimitExceededException):
        world.sns.create_topic(Name=next(world.names), Tags=tags)

    assert error.value.response["Error"]["Code"] == "TagLimitExceeded"
    assert len(world.sns.list_tags_for_resource(ResourceArn=topic)["Tags"]) == 50
