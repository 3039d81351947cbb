from __future__ import annotations

import json

import pytest
from botocore.exceptions import ClientError

from tests.local.conftest import Shop

FIFO = {"FifoTopic": "true", "ContentBasedDeduplication": "true"}


def topic(shop: Shop, name: str = "news", **attributes: str) -> str:
    arn: str = shop.sns.create_topic(Name=name, Attributes=attributes)["TopicArn"]
    return arn


def subscribe(shop: Shop, topic_arn: str, url: str, **attributes: str) -> str:
    subscribed = shop.sns.subscribe(
        TopicArn=topic_arn, Protocol="sqs", Endpoint=shop.account.queue(url).queue.arn, Attributes=attributes
    )
    arn: str = subscribed["SubscriptionArn"]
    return arn


@pytest.mark.parametrize("name", ["FilterPolicy", "FilterPolicyScope", "RedrivePolicy", "DeliveryPolicy"])
def test_what_a_subscription_cannot_do_yet_is_refused(shop: Shop, name: str) -> None:
    url, arn = shop.queue(), topic(shop)
    subscription = subscribe(shop, arn, url)

    with pytest.raises(ClientError, match=f"{name} is not supported yet by the embedded topic") as when_subscribing:
        subscribe(shop, arn, shop.queue("other"), **{name: "{}"})
    with pytest.raises(ClientError, match=f"{name} is not supported yet by the embedded topic") as afterwards:
        shop.sns.set_subscription_attributes(SubscriptionArn=subscription, AttributeName=name, AttributeValue="{}")

    for error in (when_subscribing, afterwards):
        assert error.value.response["Error"]["Code"] == "InvalidParameter"
    assert len(shop.sns.list_subscriptions_by_topic(TopicArn=arn)["Subscriptions"]) == 1


@pytest.mark.parametrize("name", ["DeliveryPolicy", "ArchivePolicy", "Colour"])
def test_what_a_topic_cannot_do_is_refused(shop: Shop, name: str) -> None:
    arn = topic(shop)

    with pytest.raises(ClientError, match="is not supported by the embedded topic"):
        shop.sns.set_topic_attributes(TopicArn=arn, AttributeName=name, AttributeValue="{}")


def test_a_wrong_value_of_a_topic_attribute_is_refused(shop: Shop) -> None:
    with pytest.raises(ClientError, match="FifoTopic must be one of true, false"):
        topic(shop, FifoTopic="perhaps")


def test_a_standard_topic_does_not_deduplicate(shop: Shop) -> None:
    with pytest.raises(ClientError, match="ContentBasedDeduplication"):
        topic(shop, ContentBasedDeduplication="true")


@pytest.mark.parametrize(("name", "attributes"), [("a.fifo", {}), ("a b", {}), ("a", FIFO), ("", {}), ("n" * 257, {})])
def test_a_wrong_name_is_refused(shop: Shop, name: str, attributes: dict[str, str]) -> None:
    with pytest.raises(shop.sns.exceptions.InvalidParameterException, match="Topic Name"):
        topic(shop, name, **attributes)


def test_a_topic_of_that_name_with_other_attributes_is_an_error(shop: Shop) -> None:
    topic(shop, DisplayName="one")

    with pytest.raises(ClientError, match="already exists with different attributes"):
        topic(shop, DisplayName="two")


def test_the_type_of_a_topic_cannot_be_changed(shop: Shop) -> None:
    arn = topic(shop)

    with pytest.raises(ClientError, match="AttributeName"):
        shop.sns.set_topic_attributes(TopicArn=arn, AttributeName="FifoTopic", AttributeValue="true")


def test_a_fifo_topic_shows_its_attributes(shop: Shop) -> None:
    arn = topic(shop, "news.fifo", FifoTopic="true")

    attributes = shop.sns.get_topic_attributes(TopicArn=arn)["Attributes"]

    assert (attributes["FifoTopic"], attributes["ContentBasedDeduplication"]) == ("true", "false")
    assert attributes["SubscriptionsConfirmed"] == "0"


def test_tags_of_a_topic_are_kept(shop: Shop) -> None:
    arn = shop.sns.create_topic(Name="news", Tags=[{"Key": "team", "Value": "carts"}])["TopicArn"]

    shop.sns.tag_resource(ResourceArn=arn, Tags=[{"Key": "stage", "Value": "test"}])
    shop.sns.untag_resource(ResourceArn=arn, TagKeys=["team"])

    assert shop.sns.list_tags_for_resource(ResourceArn=arn)["Tags"] == [{"Key": "stage", "Value": "test"}]


def test_tags_of_nothing_are_not_found(shop: Shop) -> None:
    with pytest.raises(shop.sns.exceptions.ResourceNotFoundException):
        shop.sns.list_tags_for_resource(ResourceArn="arn:aws:sns:us-east-1:000000000000:nowhere")


def test_only_queues_can_subscribe(shop: Shop) -> None:
    with pytest.raises(ClientError, match="https is not supported by the embedded topic"):
        shop.sns.subscribe(TopicArn=topic(shop), Protocol="https", Endpoint="https://example.com")


@pytest.mark.parametrize("endpoint", ["http://sqs.localhost/000000000000/orders", "arn:aws:sqs:us-east-1:1:orders"])
def test_an_endpoint_is_the_arn_of_a_queue_here(shop: Shop, endpoint: str) -> None:
    shop.queue()

    with pytest.raises(shop.sns.exceptions.InvalidParameterException):
        shop.sns.subscribe(TopicArn=topic(shop), Protocol="sqs", Endpoint=endpoint)


def test_raw_delivery_is_true_or_false(shop: Shop) -> None:
    with pytest.raises(ClientError, match="RawMessageDelivery"):
        subscribe(shop, topic(shop), shop.queue(), RawMessageDelivery="perhaps")


def test_subscribing_again_with_other_attributes_is_an_error(shop: Shop) -> None:
    url, arn = shop.queue(), topic(shop)
    subscribe(shop, arn, url)

    with pytest.raises(ClientError, match="already exists with different attributes"):
        subscribe(shop, arn, url, RawMessageDelivery="true")


def test_a_subscription_that_is_not_there_is_not_found(shop: Shop) -> None:
    arn = topic(shop)
    gone = f"{arn}:00000000-0000-0000-0000-000000000000"

    for subscription in (gone, "arn:aws:sns:us-east-1:000000000000:nowhere:1"):
        with pytest.raises(shop.sns.exceptions.NotFoundException):
            shop.sns.get_subscription_attributes(SubscriptionArn=subscription)
        shop.sns.unsubscribe(SubscriptionArn=subscription)


def test_a_message_to_a_deleted_queue_is_dropped(shop: Shop) -> None:
    gone, url, arn = shop.queue("gone"), shop.queue(), topic(shop)
    for endpoint in (gone, url):
        subscribe(shop, arn, endpoint, RawMessageDelivery="true")
    shop.sqs.delete_queue(QueueUrl=gone)

    shop.sns.publish(TopicArn=arn, Message="hello")

    assert shop.bodies(url) == ["hello"]


def test_a_message_that_a_queue_refuses_is_dropped(shop: Shop) -> None:
    small, url, arn = shop.queue("small", MaximumMessageSize="1024"), shop.queue(), topic(shop)
    for endpoint in (small, url):
        subscribe(shop, arn, endpoint, RawMessageDelivery="true")

    shop.sns.publish(TopicArn=arn, Message="x" * 1025)

    assert shop.counts(small) == (0, 0, 0)
    assert shop.counts(url) == (1, 0, 0)


def test_a_duplicate_is_answered_like_the_first(shop: Shop) -> None:
    arn = topic(shop, "news.fifo", **FIFO)

    first, second = (shop.sns.publish(TopicArn=arn, Message="a", MessageGroupId="g") for _ in range(2))
    third = shop.sns.publish(TopicArn=arn, Message="b", MessageGroupId="g")
    shop.advance(300)
    fourth = shop.sns.publish(TopicArn=arn, Message="a", MessageGroupId="g")

    same = ("MessageId", "SequenceNumber")
    assert [second[name] for name in same] == [first[name] for name in same]
    numbers = [int(one["SequenceNumber"]) for one in (first, third, fourth)]
    assert numbers == sorted(set(numbers))


def test_the_envelope_of_a_fifo_topic_has_the_sequence_number(shop: Shop) -> None:
    url, arn = shop.fifo_queue(), topic(shop, "news.fifo", **FIFO)
    subscribe(shop, arn, url)

    published = shop.sns.publish(TopicArn=arn, Message="a", MessageGroupId="g")

    (body,) = shop.bodies(url)
    assert json.loads(body)["SequenceNumber"] == published["SequenceNumber"]


def test_an_envelope_keeps_every_character(shop: Shop) -> None:
    url, arn = shop.queue(), topic(shop)
    subscribe(shop, arn, url)

    shop.sns.publish(TopicArn=arn, Message='grüße "😀"\n')

    (body,) = shop.bodies(url)
    assert json.loads(body)["Message"] == 'grüße "😀"\n'
    assert json.loads(body)["Timestamp"] == "1970-01-12T13:46:40.000Z"
    assert "grüße" in body


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"Message": ""}, "Empty message"),
        ({"Message": "\x00"}, "character"),
        ({"Message": "x" * 262_145}, "Message too long"),
        ({"Message": "x", "Subject": "s" * 101}, "Subject"),
        ({"Message": "x", "Subject": "a\tb"}, "Subject"),
        ({"Message": "x", "MessageStructure": "xml"}, "MessageStructure"),
        ({"Message": "{", "MessageStructure": "json"}, "failed to parse"),
        ({"Message": "{}", "MessageStructure": "json"}, "No default entry"),
        ({"Message": "[]", "MessageStructure": "json"}, "No default entry"),
        ({"Message": "x", "MessageGroupId": "a b"}, "MessageGroupId"),
        ({"Message": "x", "MessageDeduplicationId": "1"}, "not valid for this topic type"),
        ({"Message": "x", "PhoneNumber": "+1"}, "PhoneNumber"),
    ],
)
def test_a_wrong_publication_is_refused(shop: Shop, parameters: dict[str, str], reason: str) -> None:
    arn = topic(shop)

    with pytest.raises(shop.sns.exceptions.InvalidParameterException, match=reason):
        shop.sns.publish(TopicArn=arn, **parameters)


def test_a_wrong_attribute_is_refused(shop: Shop) -> None:
    arn = topic(shop)

    with pytest.raises(shop.sns.exceptions.InvalidParameterValueException) as error:
        shop.sns.publish(TopicArn=arn, Message="x", MessageAttributes={"a": {"DataType": "String", "StringValue": ""}})

    assert error.value.response["Error"]["Code"] == "ParameterValueInvalid"


def test_publishing_needs_a_target(shop: Shop) -> None:
    url, arn = shop.queue(), topic(shop)
    subscribe(shop, arn, url, RawMessageDelivery="true")

    shop.sns.publish(TargetArn=arn, Message="hello")
    with pytest.raises(ClientError, match="TopicArn or TargetArn"):
        shop.sns.publish(Message="hello")

    assert shop.bodies(url) == ["hello"]


def test_one_wrong_entry_fails_alone(shop: Shop) -> None:
    arn = topic(shop)

    answer = shop.sns.publish_batch(
        TopicArn=arn, PublishBatchRequestEntries=[{"Id": "good", "Message": "x"}, {"Id": "bad", "Message": ""}]
    )

    assert [one["Id"] for one in answer["Successful"]] == ["good"]
    assert answer["Failed"] == [
        {"Id": "bad", "Code": "InvalidParameter", "Message": "Invalid parameter: Empty message", "SenderFault": True}
    ]


def test_a_batch_is_256_kib_at_most(shop: Shop) -> None:
    arn = topic(shop)
    half = "x" * 131_072

    with pytest.raises(shop.sns.exceptions.BatchRequestTooLongException):
        shop.sns.publish_batch(
            TopicArn=arn,
            PublishBatchRequestEntries=[{"Id": one, "Message": half} for one in "ab"] + [{"Id": "c", "Message": "x"}],
        )


def test_topics_and_subscriptions_are_listed_a_hundred_at_a_time(shop: Shop) -> None:
    url = shop.queue()
    for number in range(101):
        subscribe(shop, topic(shop, f"news-{number}"), url)

    topics = shop.sns.list_topics()
    subscriptions = shop.sns.list_subscriptions()

    assert (len(topics["Topics"]), len(subscriptions["Subscriptions"])) == (100, 100)
    assert len(shop.sns.list_topics(NextToken=topics["NextToken"])["Topics"]) == 1
    rest = shop.sns.list_subscriptions(NextToken=subscriptions["NextToken"])
    assert len(rest["Subscriptions"]) == 1
    assert "NextToken" not in rest


def test_deleting_a_topic_twice_succeeds(shop: Shop) -> None:
    arn = topic(shop)

    for _ in range(2):
        shop.sns.delete_topic(TopicArn=arn)

    assert shop.sns.list_topics()["Topics"] == []
