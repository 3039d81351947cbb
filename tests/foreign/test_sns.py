"""SNS as users of each client call it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.foreign.clients import Caller, Refused
from tests.foreign.test_sqs import attributes, fifo_queue, queue, receive


def topic(caller: Caller, name: str = "news", **attributes: str) -> str:
    given = {"Attributes": attributes} if attributes else {}
    return str(caller.sns("CreateTopic", Name=name, **given)["TopicArn"])


def subscribe(caller: Caller, topic_arn: str, url: str, **given: str) -> str:
    answer = caller.sns(
        "Subscribe",
        TopicArn=topic_arn,
        Protocol="sqs",
        Endpoint=attributes(caller, url, "QueueArn")["QueueArn"],
        Attributes=given,
        ReturnSubscriptionArn=True,
    )
    return str(answer["SubscriptionArn"])


def text(value: str) -> dict[str, str]:
    return {"DataType": "String", "StringValue": value}


def delivered(caller: Caller, url: str) -> list[str]:
    """Return what the envelopes hold that are in a queue."""
    return [json.loads(each["Body"])["Message"] for each in receive(caller, url)]


def test_what_is_published_reaches_the_queues_whose_filter_takes_it(caller: Caller) -> None:
    arn, red, all_of_them = topic(caller), queue(caller, "red"), queue(caller, "all")
    subscribe(caller, arn, red, FilterPolicy=json.dumps({"colour": ["red"], "size": [{"numeric": [">", 2]}]}))
    subscribe(caller, arn, all_of_them, RawMessageDelivery="true")
    size = {"DataType": "Number", "StringValue": "3"}

    caller.sns(
        "Publish", TopicArn=arn, Message="ö", Subject="s", MessageAttributes={"colour": text("red"), "size": size}
    )
    caller.sns("Publish", TopicArn=arn, Message="b", MessageAttributes={"colour": text("blue"), "size": size})

    (envelope,) = [json.loads(each["Body"]) for each in receive(caller, red)]
    assert (envelope["Type"], envelope["TopicArn"], envelope["Subject"]) == ("Notification", arn, "s")
    assert envelope["Message"] == "ö"
    assert envelope["MessageAttributes"]["size"] == {"Type": "Number", "Value": "3"}
    raw = receive(caller, all_of_them, MessageAttributeNames=["All"])
    assert [(each["Body"], each["MessageAttributes"]["colour"]) for each in raw] == [
        ("ö", text("red")),
        ("b", text("blue")),
    ]


def test_a_filter_may_look_at_the_body(caller: Caller) -> None:
    arn, url = topic(caller), queue(caller)
    policy = json.dumps({"order": {"total": [{"numeric": [">=", 100]}]}})
    subscribe(caller, arn, url, FilterPolicy=policy, FilterPolicyScope="MessageBody")

    for total in (99, 100):
        caller.sns("Publish", TopicArn=arn, Message=json.dumps({"order": {"total": total}}))

    assert delivered(caller, url) == ['{"order": {"total": 100}}']


def test_a_queue_gets_its_own_words_of_a_structured_message(caller: Caller) -> None:
    arn, url = topic(caller), queue(caller)
    subscribe(caller, arn, url)

    for message in ({"default": "d", "sqs": "for queues"}, {"default": "d", "email": "e"}):
        caller.sns("Publish", TopicArn=arn, Message=json.dumps(message), MessageStructure="json")

    assert delivered(caller, url) == ["for queues", "d"]


def test_a_batch_is_published_in_order_to_a_fifo_queue(caller: Caller) -> None:
    arn = topic(caller, "news.fifo", FifoTopic="true", ContentBasedDeduplication="true")
    url = fifo_queue(caller)
    subscribe(caller, arn, url)
    entries = [{"Id": str(number), "Message": f"{number}", "MessageGroupId": "g"} for number in range(5)]

    published = caller.sns("PublishBatch", TopicArn=arn, PublishBatchRequestEntries=entries)

    assert [each["Id"] for each in published["Successful"]] == list("01234")
    assert published["Failed"] == []
    assert delivered(caller, url) == list("01234")


def test_topics_and_subscriptions_are_listed_tagged_changed_and_deleted(caller: Caller) -> None:
    arn = str(caller.sns("CreateTopic", Name="news", Tags=[{"Key": "team", "Value": "blue"}])["TopicArn"])
    url = queue(caller)
    subscription = subscribe(caller, arn, url)

    caller.sns("TagResource", ResourceArn=arn, Tags=[{"Key": "stage", "Value": "tests"}])
    caller.sns("UntagResource", ResourceArn=arn, TagKeys=["team"])
    caller.sns("SetTopicAttributes", TopicArn=arn, AttributeName="DisplayName", AttributeValue="News")
    caller.sns(
        "SetSubscriptionAttributes",
        SubscriptionArn=subscription,
        AttributeName="RawMessageDelivery",
        AttributeValue="true",
    )

    assert arn == "arn:aws:sns:us-east-1:000000000000:news"
    assert caller.sns("ListTagsForResource", ResourceArn=arn)["Tags"] == [{"Key": "stage", "Value": "tests"}]
    assert caller.sns("GetTopicAttributes", TopicArn=arn)["Attributes"]["DisplayName"] == "News"
    shown = caller.sns("GetSubscriptionAttributes", SubscriptionArn=subscription)["Attributes"]
    assert shown["RawMessageDelivery"] == "true"
    (listed,) = caller.sns("ListSubscriptionsByTopic", TopicArn=arn)["Subscriptions"]
    assert (listed["SubscriptionArn"], listed["Endpoint"]) == (
        subscription,
        "arn:aws:sqs:us-east-1:000000000000:orders",
    )
    caller.sns("Unsubscribe", SubscriptionArn=subscription)
    assert caller.sns("ListSubscriptions")["Subscriptions"] == []
    caller.sns("DeleteTopic", TopicArn=arn)
    assert caller.sns("ListTopics")["Topics"] == []


REFUSED: list[tuple[str, dict[str, Any], str, str]] = [
    ("Publish", {"TopicArn": "arn:aws:sns:us-east-1:000000000000:nowhere"}, "NotFound", "NotFoundException"),
    ("Publish", {"TopicArn": "nonsense"}, "InvalidParameter", "InvalidParameterException"),
    ("Publish", {"MessageStructure": "json"}, "InvalidParameter", "InvalidParameterException"),
]


@pytest.mark.parametrize(("operation", "asked", "code", "kind"), REFUSED)
def test_errors_are_those_that_users_catch(
    caller: Caller, operation: str, asked: dict[str, Any], code: str, kind: str
) -> None:
    asked = {"TopicArn": topic(caller), "Message": "no JSON", **asked}

    with pytest.raises(Refused) as refused:
        caller.sns(operation, **asked)

    seen = {"aws-cli": (code, ""), "aws-cli-of-old": (code, ""), "node": (kind, kind)}
    assert (refused.value.code, refused.value.kind) == seen.get(caller.name, (code, kind))
