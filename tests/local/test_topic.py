from __future__ import annotations

import json

import pytest
from botocore.exceptions import ClientError

from megaflow.local.topic import Publication, Subscription
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


@pytest.mark.parametrize("name", ["DeliveryPolicy", "SubscriptionRoleArn", "ReplayPolicy"])
def test_what_a_subscription_cannot_do_is_refused(shop: Shop, name: str) -> None:
    url, arn = shop.queue(), topic(shop)
    subscription = subscribe(shop, arn, url)

    with pytest.raises(ClientError, match=f"{name} is not supported by the embedded topic") as when_subscribing:
        subscribe(shop, arn, shop.queue("other"), **{name: "{}"})
    with pytest.raises(ClientError, match=f"{name} is not supported by the embedded topic") as afterwards:
        shop.sns.set_subscription_attributes(SubscriptionArn=subscription, AttributeName=name, AttributeValue="{}")

    for error in (when_subscribing, afterwards):
        assert error.value.response["Error"]["Code"] == "InvalidParameter"
    assert len(shop.sns.list_subscriptions_by_topic(TopicArn=arn)["Subscriptions"]) == 1


def test_a_wrong_value_of_a_topic_attribute_is_refused(shop: Shop) -> None:
    with pytest.raises(ClientError, match=r"FifoTopic: Invalid value \[perhaps\]. Must be true or false"):
        topic(shop, FifoTopic="perhaps")


@pytest.mark.parametrize("name", ["DeliveryPolicy", "KmsMasterKeyId", "Policy", "SQSSuccessFeedbackRoleArn"])
def test_an_empty_value_takes_an_attribute_away(shop: Shop, name: str) -> None:
    arn = topic(shop)
    before = shop.sns.get_topic_attributes(TopicArn=arn)["Attributes"]
    value = "arn:aws:iam::1:role/r" if "Role" in name else "{}"
    shop.sns.set_topic_attributes(TopicArn=arn, AttributeName=name, AttributeValue=value)

    shop.sns.set_topic_attributes(TopicArn=arn, AttributeName=name, AttributeValue="")

    assert shop.sns.get_topic_attributes(TopicArn=arn)["Attributes"] == before


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


@pytest.mark.parametrize("endpoint", ["http://sqs.localhost/000000000000/orders", "orders", ""])
def test_an_endpoint_is_the_arn_of_a_queue(shop: Shop, endpoint: str) -> None:
    shop.queue()

    with pytest.raises(shop.sns.exceptions.InvalidParameterException):
        shop.sns.subscribe(TopicArn=topic(shop), Protocol="sqs", Endpoint=endpoint)


@pytest.mark.parametrize(
    "attributes",
    [
        {"RawMessageDelivery": "true"},
        {"FilterPolicy": '{"store": ["y"]}'},
        {"FilterPolicy": ""},
        {"FilterPolicyScope": "MessageBody"},
        {"RedrivePolicy": '{"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:dead"}'},
    ],
)
def test_subscribing_again_with_other_attributes_is_an_error(shop: Shop, attributes: dict[str, str]) -> None:
    url, arn = shop.queue(), topic(shop)
    subscribe(shop, arn, url, FilterPolicy='{"store": ["x"]}')

    with pytest.raises(ClientError, match="already exists with different attributes"):
        subscribe(shop, arn, url, **attributes)


def test_subscribing_again_with_some_of_the_attributes_changes_nothing(shop: Shop) -> None:
    url, arn = shop.queue(), topic(shop)
    given = {"RawMessageDelivery": "true", "FilterPolicy": '{"store": ["x"]}', "FilterPolicyScope": "MessageBody"}
    first = subscribe(shop, arn, url, **given)

    again = [subscribe(shop, arn, url, **{name: value}) for name, value in given.items()]

    shown = shop.sns.get_subscription_attributes(SubscriptionArn=first)["Attributes"]
    assert again == [first] * 3
    assert {name: shown[name] for name in given} == given


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"RawMessageDelivery": "perhaps"}, "RawMessageDelivery: Invalid value [perhaps]. Must be true or false."),
        (
            {"FilterPolicyScope": "Subject"},
            "FilterPolicyScope: Invalid value [Subject]. Please use either MessageBody or MessageAttributes",
        ),
        (
            {"FilterPolicy": "invalid"},
            (
                "FilterPolicy: failed to parse JSON. Unrecognized token 'invalid': was expecting (JSON String, Number, "
                "Array, Object or token 'null', 'true' or 'false')\n at [Source: REDACTED "
                "(`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); line: 1, column: 8]"
            ),
        ),
        ({"FilterPolicy": '{"a": ["x"]'}, "FilterPolicy: failed to parse JSON."),
        (
            {"FilterPolicy": '{"a": "x"}'},
            'FilterPolicy: "a" must be an object or an array\n at [Source: (String)"{"a": "x"}"; line: 1, column: 8]',
        ),
        (
            {"FilterPolicy": f'{{"a": ["{"x" * 600}", []]}}'},
            (
                "FilterPolicy: Match value must be String, number, true, false, or null\n at [Source: (String)"
                f'"{{"a": ["{"x" * 492}"[truncated 115 chars]; line: 1, column: 613]'
            ),
        ),
        (
            {"FilterPolicy": '{"$or": [{"a": ["x"]}, {"b": [{"like": 1}]}]}'},
            (
                'FilterPolicy: Unrecognized match type like\n at [Source: (String)"{"$or": [{"a": ["x"]}, '
                '{"b": [{"like": 1}]}]}"; line: 1, column: 41]'
            ),
        ),
        (
            {"FilterPolicy": '{"a": [{"wildcard": "x**"}]}'},
            (
                'FilterPolicy: Consecutive wildcard characters at pos 1\n at [Source: (String)"{"a": [{"wildcard": '
                '"x**"}]}"; line: 1, column: 26]'
            ),
        ),
        ({"Colour": "red"}, "AttributeName"),
        ({"RedrivePolicy": "[]"}, "RedrivePolicy: failed to parse JSON."),
        ({"RedrivePolicy": "[" * 100_000}, "RedrivePolicy: failed to parse JSON."),
        ({"RedrivePolicy": '{"deadLetterTargetArn": 1}'}, "RedrivePolicy: deadLetterTargetArn is an invalid arn"),
        ({"RedrivePolicy": '{"deadLetterTargetArn": "dead"}'}, "RedrivePolicy: deadLetterTargetArn is an invalid arn"),
        (
            {"RedrivePolicy": '{"deadLetterTargetArn": "arn:aws:sqs:us-east-1:1:dead", "maxReceiveCount": 3}'},
            "RedrivePolicy: invalid JSON. Attribute maxReceiveCount is unknown.",
        ),
        (
            {"RedrivePolicy": '{"deadLetterTargetArn": "arn:aws:sqs:us-east-1:1:dead.fifo"}'},
            "RedrivePolicy: must use a standard queue as DLQ for a Subscription to a standard Topic.",
        ),
    ],
)
def test_a_wrong_attribute_of_a_subscription_is_refused(shop: Shop, attributes: dict[str, str], reason: str) -> None:
    arn = topic(shop)
    subscription = subscribe(shop, arn, shop.queue())
    ((name, value),) = attributes.items()

    with pytest.raises(shop.sns.exceptions.InvalidParameterException) as when_subscribing:
        subscribe(shop, arn, shop.queue("other"), **attributes)
    with pytest.raises(shop.sns.exceptions.InvalidParameterException) as afterwards:
        shop.sns.set_subscription_attributes(SubscriptionArn=subscription, AttributeName=name, AttributeValue=value)

    said = [error.value.response["Error"]["Message"] for error in (when_subscribing, afterwards)]
    assert said == [f"Invalid parameter: Attributes Reason: {reason}", f"Invalid parameter: {reason}"]
    assert len(shop.sns.list_subscriptions_by_topic(TopicArn=arn)["Subscriptions"]) == 1


def test_a_policy_that_does_not_fit_another_scope_keeps_its_own(shop: Shop) -> None:
    url, arn = shop.queue(), topic(shop)
    nested = {"FilterPolicy": '{"order": {"store": ["x"]}}', "FilterPolicyScope": "MessageBody"}
    subscription = subscribe(shop, arn, url, **nested)

    with pytest.raises(ClientError, match="MessageAttributes does not support nested filter policy"):
        shop.sns.set_subscription_attributes(
            SubscriptionArn=subscription, AttributeName="FilterPolicyScope", AttributeValue="MessageAttributes"
        )

    shown = shop.sns.get_subscription_attributes(SubscriptionArn=subscription)["Attributes"]
    assert {name: shown[name] for name in nested} == nested


def test_a_fifo_topic_knows_a_duplicate_of_what_was_filtered_out(shop: Shop) -> None:
    url, arn = shop.fifo_queue(), topic(shop, "news.fifo", **FIFO)
    subscription = subscribe(shop, arn, url, FilterPolicy='{"store": ["x"]}')
    one = {"TopicArn": arn, "Message": "a", "MessageGroupId": "g"}

    first = shop.sns.publish(**one)
    shop.sns.set_subscription_attributes(
        SubscriptionArn=subscription, AttributeName="FilterPolicy", AttributeValue="{}"
    )
    second = shop.sns.publish(**one)

    assert second["MessageId"] == first["MessageId"]
    assert shop.counts(url) == (0, 0, 0)


def redrive_to(shop: Shop, url: str) -> str:
    return json.dumps({"deadLetterTargetArn": shop.account.queue(url).queue.arn})


@pytest.mark.parametrize("empty", ["", "{}"])
def test_a_redrive_policy_can_be_removed(shop: Shop, empty: str) -> None:
    gone, dead, arn = shop.queue("gone"), shop.queue("dead"), topic(shop)
    subscription = subscribe(shop, arn, gone, RedrivePolicy=redrive_to(shop, dead))
    shop.sqs.delete_queue(QueueUrl=gone)

    shop.sns.set_subscription_attributes(
        SubscriptionArn=subscription, AttributeName="RedrivePolicy", AttributeValue=empty
    )
    shop.sns.publish(TopicArn=arn, Message="hello")

    assert "RedrivePolicy" not in shop.sns.get_subscription_attributes(SubscriptionArn=subscription)["Attributes"]
    assert shop.bodies(dead) == []


def test_an_envelope_that_a_queue_refuses_goes_to_the_dead_letter_queue(shop: Shop) -> None:
    small, dead, arn = shop.queue("small", MaximumMessageSize="1024"), shop.queue("dead"), topic(shop)
    subscribe(shop, arn, small, RedrivePolicy=redrive_to(shop, dead))

    shop.sns.publish(TopicArn=arn, Message="x" * 1024)

    (body,) = shop.bodies(dead)
    assert json.loads(body)["Message"] == "x" * 1024
    assert shop.counts(small) == (0, 0, 0)


def test_a_dead_letter_queue_keeps_the_message_group(shop: Shop) -> None:
    gone, dead = shop.fifo_queue("gone.fifo"), shop.fifo_queue("dead.fifo")
    arn = topic(shop, "news.fifo", **FIFO)
    subscribe(shop, arn, gone, RawMessageDelivery="true", RedrivePolicy=redrive_to(shop, dead))
    shop.sqs.delete_queue(QueueUrl=gone)

    shop.sns.publish(TopicArn=arn, Message="hello", MessageGroupId="g")

    (received,) = shop.receive(dead, AttributeNames=["All"])
    assert (received["Body"], received["Attributes"]["MessageGroupId"]) == ("hello", "g")


def test_a_fifo_subscription_needs_a_fifo_dead_letter_queue(shop: Shop) -> None:
    arn = topic(shop, "news.fifo", **FIFO)

    with pytest.raises(ClientError, match="must use a FIFO queue as DLQ for a FIFO Subscription to a FIFO Topic"):
        subscribe(shop, arn, shop.fifo_queue(), RedrivePolicy=redrive_to(shop, shop.queue("dead")))


def test_a_standard_subscription_to_a_fifo_topic_may_have_either(shop: Shop) -> None:
    arn = topic(shop, "news.fifo", **FIFO)

    subscribe(shop, arn, shop.queue("one"), RedrivePolicy=redrive_to(shop, shop.queue("dead")))
    subscribe(shop, arn, shop.queue("two"), RedrivePolicy=redrive_to(shop, shop.fifo_queue("dead.fifo")))

    assert len(shop.sns.list_subscriptions_by_topic(TopicArn=arn)["Subscriptions"]) == 2


def test_a_message_is_dropped_where_the_dead_letter_queue_is_gone_too(shop: Shop) -> None:
    gone, dead, url, arn = shop.queue("gone"), shop.queue("dead"), shop.queue(), topic(shop)
    subscribe(shop, arn, gone, RedrivePolicy=redrive_to(shop, dead))
    subscribe(shop, arn, url, RawMessageDelivery="true")
    for each in (gone, dead):
        shop.sqs.delete_queue(QueueUrl=each)

    shop.sns.publish(TopicArn=arn, Message="hello")

    assert shop.bodies(url) == ["hello"]


def test_a_subscription_is_made_of_texts() -> None:
    subscription = Subscription("arn", "topic", "queue", True, '{"order": {"store": ["x"]}}', "MessageBody")

    said = [subscription.accepts(Publication(message)) for message in ('{"order": {"store": "x"}}', "{}")]

    assert said == [True, False]


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
