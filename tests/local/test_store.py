"""What an account in a file is after its process was killed: the same."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from megaflow.local.calls import SERVICES
from megaflow.local.endpoints.destinations import Destinations
from megaflow.local.served import Served
from megaflow.local.topic import Subscription
from tests.local.kept import KeptShop, picture

FIFO_TOPIC = {"FifoTopic": "true", "ContentBasedDeduplication": "true"}


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[KeptShop]:
    made = KeptShop(directory=tmp_path)
    yield made
    made.close()


def redrive(target: str, count: int = 1) -> str:
    return json.dumps({"deadLetterTargetArn": f"arn:aws:sqs:us-east-1:000000000000:{target}", "maxReceiveCount": count})


def with_dead_letters(shop: KeptShop, **attributes: str) -> tuple[str, str]:
    dead_url = shop.queue("dead")
    return shop.queue(RedrivePolicy=redrive("dead"), **attributes), dead_url


def topic(shop: KeptShop, name: str = "news", **attributes: str) -> str:
    arn: str = shop.sns.create_topic(Name=name, Attributes=attributes)["TopicArn"]
    return arn


def subscribe(shop: KeptShop, topic_arn: str, url: str, **attributes: str) -> str:
    subscribed = shop.sns.subscribe(
        TopicArn=topic_arn, Protocol="sqs", Endpoint=shop.account.queue(url).queue.arn, Attributes=attributes
    )
    arn: str = subscribed["SubscriptionArn"]
    return arn


def send_in_order(shop: KeptShop, url: str, *bodies: str, group: str = "g") -> list[dict[str, Any]]:
    return [
        shop.sqs.send_message(QueueUrl=url, MessageBody=body, MessageGroupId=group, MessageDeduplicationId=body)
        for body in bodies
    ]


def test_a_queue_keeps_what_it_was_told(shop: KeptShop) -> None:
    url = shop.queue(VisibilityTimeout="7", Policy='{"Statement": []}')
    shop.advance(5)
    shop.sqs.tag_queue(QueueUrl=url, Tags={"team": "carts", "odd": "😀 \n"})
    shop.sqs.set_queue_attributes(QueueUrl=url, Attributes={"DelaySeconds": "3"})
    before = shop.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]

    shop.advance(5)
    shop.kill()

    assert shop.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"] == before
    assert shop.sqs.list_queue_tags(QueueUrl=url)["Tags"] == {"team": "carts", "odd": "😀 \n"}
    assert before["LastModifiedTimestamp"] == "1000005"


def test_a_message_keeps_its_content(shop: KeptShop) -> None:
    url = shop.queue()
    attributes = {
        "text": {"DataType": "String", "StringValue": "grün"},
        "empty-handed": {"DataType": "String.note", "StringValue": "x"},
        "number": {"DataType": "Number.int", "StringValue": "0042"},
        "bytes": {"DataType": "Binary.png", "BinaryValue": bytes(range(256))},
    }
    trace = {"AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1-5759e988-bd862e3fe1be46a994272793"}}
    shop.send(url, "\t😀\r\n", MessageAttributes=attributes, MessageSystemAttributes=trace, MessageGroupId="tenant")
    asked: dict[str, Any] = {
        "MessageAttributeNames": ["All"],
        "MessageSystemAttributeNames": ["All"],
        "VisibilityTimeout": 0,
    }
    (before,) = shop.receive(url, **asked)

    shop.kill()
    (after,) = shop.receive(url, **asked)

    assert after["MessageAttributes"] == attributes
    assert after["Attributes"].pop("ApproximateReceiveCount") == "2"
    assert before["Attributes"].pop("ApproximateReceiveCount") == "1"
    assert after.pop("ReceiptHandle") != before.pop("ReceiptHandle")
    assert after == before


def test_a_delay_goes_on(shop: KeptShop) -> None:
    url = shop.queue()
    shop.send(url, "a", DelaySeconds=10)

    shop.kill()
    shop.advance(9.9)
    before = shop.counts(url)
    shop.advance(0.1)

    assert before == (0, 0, 1)
    assert shop.bodies(url) == ["a"]


def test_a_new_delay_does_not_hold_again_for_what_has_waited(shop: KeptShop) -> None:
    url = shop.fifo_queue(DelaySeconds="10")
    send_in_order(shop, url, "a")
    shop.advance(10)
    before = shop.counts(url)
    shop.sqs.set_queue_attributes(QueueUrl=url, Attributes={"DelaySeconds": "100"})

    shop.kill()

    assert shop.counts(url) == before == (1, 0, 0)


def test_retention_goes_on(shop: KeptShop) -> None:
    url = shop.queue(MessageRetentionPeriod="60")
    shop.send(url, "a")

    shop.advance(30)
    shop.kill()
    before = shop.counts(url)
    shop.advance(30)

    assert (before, shop.counts(url)) == ((1, 0, 0), (0, 0, 0))


def test_receipts_are_good_after_a_restart(shop: KeptShop) -> None:
    url = shop.queue()
    shop.send(url, "a", "b", "c")
    first, second, third = shop.receive(url)

    shop.kill()
    shop.delete(url, first)
    shop.hide(url, second, 0)
    shop.hide(url, third, 100)
    shop.kill()

    assert shop.counts(url) == (1, 1, 0)
    assert shop.bodies(url) == ["b"]
    shop.advance(30)
    assert shop.bodies(url) == ["b"]


def test_twelve_hours_count_from_the_receive_before_the_restart(shop: KeptShop) -> None:
    url = shop.queue()
    shop.send(url, "a")
    (message,) = shop.receive(url, VisibilityTimeout=43_200)

    shop.advance(100)
    shop.kill()

    with pytest.raises(ClientError, match="beyond the limit"):
        shop.hide(url, message, 43_101)


def test_a_group_stays_locked_and_in_order(shop: KeptShop) -> None:
    url = shop.fifo_queue()
    send_in_order(shop, url, "a", "b", "c")
    (first,) = shop.receive(url, 1)

    shop.kill()
    locked = shop.bodies(url)
    shop.delete(url, first)
    shop.kill()

    assert locked == []
    assert shop.bodies(url) == ["b", "c"]


def test_what_comes_back_to_a_group_comes_first(shop: KeptShop) -> None:
    url = shop.fifo_queue()
    send_in_order(shop, url, "a", "b", "c")
    shop.receive(url, 2, VisibilityTimeout=10)

    shop.kill()
    shop.advance(10)
    shop.kill()

    assert shop.bodies(url) == ["a", "b", "c"]


def test_a_dead_letter_knows_where_it_came_from(shop: KeptShop) -> None:
    url, dead_url = with_dead_letters(shop)
    shop.send(url, "a")
    shop.receive(url, VisibilityTimeout=0)
    shop.kill()
    assert shop.receive(url) == []

    shop.kill()
    (dead,) = shop.receive(dead_url, MessageSystemAttributeNames=["All"])

    assert dead["Attributes"]["DeadLetterQueueSourceArn"] == "arn:aws:sqs:us-east-1:000000000000:orders"
    assert dead["Attributes"]["ApproximateReceiveCount"] == "2"
    assert dead["Attributes"]["ApproximateFirstReceiveTimestamp"] == "1000000000"
    assert shop.rows_left() == {"queue": 2, "message": 1, "delivery": 1}


def test_a_fifo_dead_letter_ages_from_when_it_came(shop: KeptShop) -> None:
    dead_url = shop.fifo_queue("dead.fifo", MessageRetentionPeriod="60")
    url = shop.fifo_queue(RedrivePolicy=redrive("dead.fifo"))
    send_in_order(shop, url, "a")
    shop.receive(url, VisibilityTimeout=50)
    shop.advance(50)
    shop.receive(url)

    shop.advance(59)
    shop.kill()
    before = shop.counts(dead_url)
    shop.advance(1)

    assert (before, shop.counts(dead_url)) == ((1, 0, 0), (0, 0, 0))


def test_a_duplicate_is_known_though_its_message_is_gone(shop: KeptShop) -> None:
    url = shop.fifo_queue()
    (first,) = send_in_order(shop, url, "a")
    (message,) = shop.receive(url)
    shop.delete(url, message)

    shop.advance(299)
    shop.kill()
    (second,) = send_in_order(shop, url, "a")
    shop.advance(1)
    (third,) = send_in_order(shop, url, "a")

    assert [second[name] for name in ("MessageId", "SequenceNumber")] == [
        first[name] for name in ("MessageId", "SequenceNumber")
    ]
    assert third["MessageId"] != first["MessageId"]
    assert shop.bodies(url) == ["a"]


def test_a_duplicate_is_known_by_group(shop: KeptShop) -> None:
    url = shop.fifo_queue(DeduplicationScope="messageGroup")
    send_in_order(shop, url, "a", group="one")

    shop.kill()
    send_in_order(shop, url, "a", group="one")
    send_in_order(shop, url, "a", group="two")

    assert shop.counts(url) == (2, 0, 0)


def test_what_was_sent_after_a_first_memory_ended_is_remembered_for_five_minutes(shop: KeptShop) -> None:
    url = shop.fifo_queue()
    send_in_order(shop, url, "a")
    shop.advance(299.5)
    send_in_order(shop, url, "b")
    shop.advance(0.5)
    send_in_order(shop, url, "a")

    shop.kill()
    shop.advance(299.5)
    send_in_order(shop, url, "a", "b")

    assert shop.bodies(url) == ["a", "b", "a", "b"]


def test_an_attempt_to_receive_is_remembered(shop: KeptShop) -> None:
    url = shop.fifo_queue()
    send_in_order(shop, url, "a", "b")
    first = shop.receive(url, ReceiveRequestAttemptId="attempt")
    shop.advance(5)
    second = shop.receive(url, ReceiveRequestAttemptId="attempt")

    shop.kill()
    shop.advance(29)
    third = shop.receive(url, ReceiveRequestAttemptId="attempt")
    shop.delete(url, third[0])
    shop.kill()
    changed = shop.receive(url, ReceiveRequestAttemptId="attempt")

    assert first == second == third
    assert changed == []


def test_numbers_go_on_rising_though_all_messages_are_gone(shop: KeptShop) -> None:
    url = shop.fifo_queue()
    (sent,) = send_in_order(shop, url, "a")
    (message,) = shop.receive(url)
    shop.delete(url, message)

    shop.kill()
    (next_sent,) = send_in_order(shop, url, "b")
    (next_message,) = shop.receive(url)

    assert int(next_sent["SequenceNumber"]) > int(sent["SequenceNumber"])
    assert next_message["ReceiptHandle"] != message["ReceiptHandle"]
    shop.delete(url, message)
    assert shop.counts(url) == (0, 1, 0)


def test_a_purged_queue_stays_empty_and_remembers_the_purge(shop: KeptShop) -> None:
    url = shop.queue()
    shop.send(url, "a", "b")
    shop.receive(url, 1)
    shop.sqs.purge_queue(QueueUrl=url)
    shop.send(url, "c")

    shop.advance(59)
    shop.kill()

    with pytest.raises(shop.sqs.exceptions.PurgeQueueInProgress):
        shop.sqs.purge_queue(QueueUrl=url)
    assert shop.bodies(url) == ["c"]


def test_a_deleted_queue_stays_deleted(shop: KeptShop) -> None:
    url = shop.fifo_queue()
    send_in_order(shop, url, "a", "b")
    shop.receive(url, 1, ReceiveRequestAttemptId="attempt")
    shop.sqs.delete_queue(QueueUrl=url)

    shop.kill()

    assert "QueueUrls" not in shop.sqs.list_queues()
    assert shop.rows_left() == {}
    with pytest.raises(shop.sqs.exceptions.QueueDeletedRecently):
        shop.fifo_queue()


def test_a_queue_of_the_same_name_has_nothing_of_the_one_before(shop: KeptShop) -> None:
    url = shop.fifo_queue()
    send_in_order(shop, url, "a")
    (message,) = shop.receive(url)
    shop.sqs.delete_queue(QueueUrl=url)
    shop.advance(60)
    shop.fifo_queue()
    send_in_order(shop, url, "a")

    shop.kill()

    with pytest.raises(shop.sqs.exceptions.ReceiptHandleIsInvalid):
        shop.delete(url, message)
    assert shop.counts(url) == (1, 0, 0)
    assert shop.rows_left() == {"queue": 1, "message": 1, "recent": 1}


def test_a_subscription_goes_on(shop: KeptShop) -> None:
    url, arn = shop.queue(), topic(shop, DisplayName="News")
    subscription = subscribe(shop, arn, url, RawMessageDelivery="true")
    policy = {"FilterPolicy": '{"kind": ["sport"]}', "FilterPolicyScope": "MessageBody"}
    for name, value in reversed(policy.items()):
        shop.sns.set_subscription_attributes(SubscriptionArn=subscription, AttributeName=name, AttributeValue=value)
    before = shop.sns.get_subscription_attributes(SubscriptionArn=subscription)["Attributes"]

    shop.kill()
    shop.sns.publish(TopicArn=arn, Message='{"kind": "sport"}')
    shop.sns.publish(TopicArn=arn, Message='{"kind": "weather"}')

    assert shop.sns.get_subscription_attributes(SubscriptionArn=subscription)["Attributes"] == before
    assert shop.sns.get_topic_attributes(TopicArn=arn)["Attributes"]["DisplayName"] == "News"
    assert shop.bodies(url) == ['{"kind": "sport"}']


def test_a_fifo_topic_remembers_what_it_was_given(shop: KeptShop) -> None:
    url, arn = shop.fifo_queue(), topic(shop, "news.fifo", **FIFO_TOPIC)
    subscribe(shop, arn, url)
    publication = {"TopicArn": arn, "Message": "a", "Subject": "s", "MessageGroupId": "g"}
    first = shop.sns.publish(**publication)

    shop.kill()
    second = shop.sns.publish(**publication)
    third = shop.sns.publish(**{**publication, "Message": "b"})

    same = ("MessageId", "SequenceNumber")
    assert [second[name] for name in same] == [first[name] for name in same]
    assert int(third["SequenceNumber"]) > int(first["SequenceNumber"])
    assert shop.counts(url) == (2, 0, 0)


def test_a_deleted_topic_stays_deleted(shop: KeptShop) -> None:
    arn = topic(shop, "news.fifo", **FIFO_TOPIC)
    shop.sns.publish(TopicArn=arn, Message="a", MessageGroupId="g")
    shop.sns.delete_topic(TopicArn=arn)

    shop.kill()

    assert shop.sns.list_topics()["Topics"] == []
    assert shop.rows_left() == {}


def test_a_topic_of_the_same_name_has_nothing_of_the_one_before(shop: KeptShop) -> None:
    url, arn = shop.fifo_queue(), topic(shop, "news.fifo", **FIFO_TOPIC)
    subscribe(shop, arn, url)
    shop.sns.publish(TopicArn=arn, Message="a", MessageGroupId="g")
    with shop.account.turn():
        # As where the file could not be written in between.
        SERVICES["sns"]["DeleteTopic"](shop.account, {"TopicArn": arn})
        SERVICES["sns"]["CreateTopic"](shop.account, {"Name": "news.fifo", "Attributes": FIFO_TOPIC})

    shop.kill()
    later_url = shop.fifo_queue("later.fifo")
    subscribe(shop, arn, later_url)
    shop.sns.publish(TopicArn=arn, Message="a", MessageGroupId="g")

    assert shop.bodies(later_url) != []
    assert shop.count_rows("topic") == 1


def test_a_move_task_goes_on(shop: KeptShop) -> None:
    url, dead_url = with_dead_letters(shop)
    shop.send(dead_url, *"abcdef")
    arn = shop.account.queue(dead_url).queue.arn
    started = shop.sqs.start_message_move_task(
        SourceArn=arn, DestinationArn=shop.account.queue(url).queue.arn, MaxNumberOfMessagesPerSecond=2
    )
    shop.advance(1)
    before = shop.counts(dead_url)

    shop.kill()
    (listed,) = shop.sqs.list_message_move_tasks(SourceArn=arn)["Results"]
    shop.advance(1)

    assert (before, shop.counts(dead_url)) == ((4, 0, 0), (2, 0, 0))
    assert (listed["TaskHandle"], listed["ApproximateNumberOfMessagesMoved"]) == (started["TaskHandle"], 2)
    assert shop.counts(url) == (4, 0, 0)


Case = Callable[[KeptShop], object]

URL = "http://sqs.localhost/000000000000/orders"
FIFO_URL = f"{URL}.fifo"
DEAD_ARN = "arn:aws:sqs:us-east-1:000000000000:dead"
NEWS_ARN = "arn:aws:sns:us-east-1:000000000000:news"


def furnish(shop: KeptShop) -> None:
    """Have a bit of everything."""
    url, dead_url = with_dead_letters(shop)
    shop.send(url, "received", "waiting")
    shop.receive(url, 1)
    shop.send(dead_url, "dead")
    shop.sqs.tag_queue(QueueUrl=url, Tags={"a": "b"})
    shop.sqs.add_permission(QueueUrl=url, Label="all", AWSAccountIds=["123456789012"], Actions=["*"])
    send_in_order(shop, shop.fifo_queue(), "one", "two")
    shop.sns.create_topic(Name="news", Tags=[{"Key": "a", "Value": "b"}])
    shop.sns.add_permission(TopicArn=NEWS_ARN, Label="all", AWSAccountId=["123456789012"], ActionName=["Publish"])
    subscribe(shop, NEWS_ARN, url)
    shop.sns.create_topic(Name="news.fifo", Attributes=FIFO_TOPIC)
    subscribe(shop, f"{NEWS_ARN}.fifo", FIFO_URL)
    shop.account.served = Served(Destinations(["127.0.0.1"]), None)
    shop.sns.subscribe(TopicArn=NEWS_ARN, Protocol="http", Endpoint="http://127.0.0.1/")


def receipt(shop: KeptShop) -> dict[str, str]:
    (message,) = shop.receive(URL, 1)
    return {"QueueUrl": URL, "ReceiptHandle": message["ReceiptHandle"]}


def subscription(shop: KeptShop) -> dict[str, str]:
    listed = shop.sns.list_subscriptions_by_topic(TopicArn=NEWS_ARN)["Subscriptions"]
    (arn,) = (each["SubscriptionArn"] for each in listed if each["Protocol"] == "sqs")
    return {"SubscriptionArn": arn}


def pending(shop: KeptShop) -> list[Subscription]:
    return [one for one in shop.account.topics[NEWS_ARN].subscriptions.values() if one.state == "pending"]


def running_task(shop: KeptShop) -> dict[str, str]:
    return {"TaskHandle": shop.sqs.start_message_move_task(SourceArn=DEAD_ARN)["TaskHandle"]}


CHANGES: dict[str, Case] = {
    "CreateQueue": lambda shop: shop.queue("another"),
    "DeleteQueue": lambda shop: shop.sqs.delete_queue(QueueUrl=URL),
    "SetQueueAttributes": lambda shop: shop.sqs.set_queue_attributes(
        QueueUrl=URL, Attributes={"VisibilityTimeout": "1"}
    ),
    "AddPermission": lambda shop: shop.sqs.add_permission(
        QueueUrl=URL, Label="some", AWSAccountIds=["123456789012"], Actions=["SendMessage"]
    ),
    "RemovePermission": lambda shop: shop.sqs.remove_permission(QueueUrl=URL, Label="all"),
    "PurgeQueue": lambda shop: shop.sqs.purge_queue(QueueUrl=URL),
    "TagQueue": lambda shop: shop.sqs.tag_queue(QueueUrl=URL, Tags={"a": "c"}),
    "UntagQueue": lambda shop: shop.sqs.untag_queue(QueueUrl=URL, TagKeys=["a"]),
    "StartMessageMoveTask": lambda shop: running_task(shop),
    "CancelMessageMoveTask": lambda shop: shop.sqs.cancel_message_move_task(**running_task(shop)),
    "SendMessage": lambda shop: send_in_order(shop, FIFO_URL, "three"),
    "SendMessageBatch": lambda shop: shop.sqs.send_message_batch(
        QueueUrl=URL, Entries=[{"Id": "1", "MessageBody": "a"}, {"Id": "2", "MessageBody": "b", "DelaySeconds": 3}]
    ),
    "ReceiveMessage": lambda shop: shop.receive(FIFO_URL, ReceiveRequestAttemptId="attempt"),
    "DeleteMessage": lambda shop: shop.sqs.delete_message(**receipt(shop)),
    "DeleteMessageBatch": lambda shop: shop.sqs.delete_message_batch(
        QueueUrl=URL, Entries=[{"Id": "1", "ReceiptHandle": receipt(shop)["ReceiptHandle"]}]
    ),
    "ChangeMessageVisibility": lambda shop: shop.sqs.change_message_visibility(**receipt(shop), VisibilityTimeout=9),
    "ChangeMessageVisibilityBatch": lambda shop: shop.sqs.change_message_visibility_batch(
        QueueUrl=URL, Entries=[{"Id": "1", "ReceiptHandle": receipt(shop)["ReceiptHandle"], "VisibilityTimeout": 9}]
    ),
    "CreateTopic": lambda shop: shop.sns.create_topic(Name="more", Tags=[{"Key": "c", "Value": "d"}]),
    "DeleteTopic": lambda shop: shop.sns.delete_topic(TopicArn=NEWS_ARN),
    "SetTopicAttributes": lambda shop: shop.sns.set_topic_attributes(
        TopicArn=NEWS_ARN, AttributeName="DisplayName", AttributeValue="News"
    ),
    "sns.AddPermission": lambda shop: shop.sns.add_permission(
        TopicArn=NEWS_ARN, Label="some", AWSAccountId=["123456789012"], ActionName=["Publish"]
    ),
    "sns.RemovePermission": lambda shop: shop.sns.remove_permission(TopicArn=NEWS_ARN, Label="all"),
    "TagResource": lambda shop: shop.sns.tag_resource(ResourceArn=NEWS_ARN, Tags=[{"Key": "c", "Value": "d"}]),
    "UntagResource": lambda shop: shop.sns.untag_resource(ResourceArn=NEWS_ARN, TagKeys=["a"]),
    "Subscribe": lambda shop: subscribe(shop, NEWS_ARN, "000000000000/dead", RawMessageDelivery="true"),
    "ConfirmSubscription": lambda shop: shop.sns.confirm_subscription(TopicArn=NEWS_ARN, Token=pending(shop)[0].token),
    "Unsubscribe": lambda shop: shop.sns.unsubscribe(**subscription(shop)),
    "SetSubscriptionAttributes": lambda shop: shop.sns.set_subscription_attributes(
        **subscription(shop),
        AttributeName="RedrivePolicy",
        AttributeValue=json.dumps({"deadLetterTargetArn": DEAD_ARN}),
    ),
    "Publish": lambda shop: shop.sns.publish(TopicArn=f"{NEWS_ARN}.fifo", Message="a", Subject="s", MessageGroupId="g"),
    "PublishBatch": lambda shop: shop.sns.publish_batch(
        TopicArn=NEWS_ARN, PublishBatchRequestEntries=[{"Id": "1", "Message": "a"}, {"Id": "2", "Message": "b"}]
    ),
}
"""A call of each operation that changes anything."""

READS = {
    *("GetQueueAttributes", "GetQueueUrl", "ListDeadLetterSourceQueues", "ListMessageMoveTasks", "ListQueueTags"),
    *("ListQueues", "GetSubscriptionAttributes", "GetTopicAttributes", "ListSubscriptions"),
    *("ListSubscriptionsByTopic", "ListTagsForResource", "ListTopics"),
}


def test_every_operation_is_a_change_or_a_read() -> None:
    in_sqs, in_sns = SERVICES["sqs"].keys(), SERVICES["sns"].keys()
    operations = in_sqs | in_sns | {f"sns.{operation}" for operation in in_sqs & in_sns}

    assert operations == CHANGES.keys() | READS


@pytest.mark.parametrize("operation", CHANGES)
def test_each_change_survives(shop: KeptShop, operation: str) -> None:
    furnish(shop)
    before = picture(shop.account)

    CHANGES[operation](shop)
    changed = picture(shop.account)
    shop.kill()

    assert changed != before
    assert picture(shop.account) == changed


def test_what_was_sent_before_a_purge_is_forgotten_for_good(shop: KeptShop) -> None:
    url = shop.fifo_queue()
    shop.send(url, "a", MessageGroupId="g")
    shop.sqs.purge_queue(QueueUrl=url)

    shop.kill()
    shop.send(url, "a", MessageGroupId="g")

    assert shop.bodies(url) == ["a"]


def test_all_that_a_topic_was_given_survives(shop: KeptShop) -> None:
    given = {
        **FIFO_TOPIC,
        "ArchivePolicy": '{"MessageRetentionPeriod":"30"}',
        "DeliveryPolicy": '{"http":{}}',
        "FifoThroughputScope": "MessageGroup",
        "KmsMasterKeyId": "alias/aws/sns",
        "MaximumMessageSize": "2048",
        "SQSFailureFeedbackRoleArn": "arn:aws:iam::123456789012:role/r",
        "SQSSuccessFeedbackSampleRate": "7",
        "SignatureVersion": "2",
        "TracingConfig": "Active",
    }
    arn = topic(shop, "news.fifo", **given)
    before = shop.sns.get_topic_attributes(TopicArn=arn)["Attributes"]

    shop.kill()

    after = shop.sns.get_topic_attributes(TopicArn=arn)["Attributes"]
    assert after == before
    assert {name: after[name] for name in given} == given


def test_each_group_goes_on_to_have_its_own_deduplication(shop: KeptShop) -> None:
    arn = topic(shop, "news.fifo", **FIFO_TOPIC, FifoThroughputScope="MessageGroup")
    publication = {"TopicArn": arn, "Message": "a", "MessageDeduplicationId": "same"}
    first = shop.sns.publish(**publication, MessageGroupId="1")["MessageId"]

    shop.kill()

    assert shop.sns.publish(**publication, MessageGroupId="1")["MessageId"] == first
    assert shop.sns.publish(**publication, MessageGroupId="2")["MessageId"] != first


def test_a_subscription_waits_for_its_queue_after_a_kill(shop: KeptShop) -> None:
    arn = topic(shop, "news")
    endpoint = "arn:aws:sqs:us-east-1:000000000000:later"
    shop.sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=endpoint, Attributes={"RawMessageDelivery": "true"})

    shop.kill()
    url = shop.queue("later")
    shop.sns.publish(TopicArn=arn, Message="hello")

    assert shop.bodies(url) == ["hello"]
