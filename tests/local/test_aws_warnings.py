"""Warnings where this machine and AWS part: once each, in the log, in Python and over HTTP, until forgotten."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config

from megaflow import App
from megaflow.cli.hosting import host
from megaflow.local import Account, AwsWarning, declare
from megaflow.local.server import Server
from megaflow.provision.policies import let_all_topics_send
from megaflow.testing import TestClient
from tests.endpoints import endpoint
from tests.local.conftest import Shop
from tests.local.wire import Wire, signature
from tests.unmocked import unmocked

MINE, OTHER = "000000000000", "210987654321"


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.WARNING, "megaflow.local"):
        yield caplog


def kinds(account: Account) -> list[tuple[str, tuple[str, ...]]]:
    return [(each.kind, each.about) for each in account.warnings]


def lines(log: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in log.records if record.name == "megaflow.local.aws_warnings"]


def arn_of(shop: Shop, queue: str) -> str:
    return shop.account.queue(queue).queue.arn


def subscribed(shop: Shop, url: str, topic: str = "news", **attributes: str) -> str:
    arn: str = shop.sns.create_topic(Name=topic)["TopicArn"]
    shop.sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=arn_of(shop, url), Attributes=attributes)
    return arn


def let_in(shop: Shop, url: str, **condition: dict[str, str]) -> None:
    policy = json.loads(let_all_topics_send(arn_of(shop, url)))
    policy["Statement"][0]["Condition"] = condition
    shop.sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})


def test_a_topic_that_could_not_deliver_on_aws_is_warned_of_once(shop: Shop, log: pytest.LogCaptureFixture) -> None:
    url = shop.queue()
    topic = subscribed(shop, url)
    assert len(shop.account.warnings) == 0

    for _ in range(2):
        shop.sns.publish(TopicArn=topic, Message="a")
    shop.sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=[{"Id": "1", "Message": "b"}])

    arn = arn_of(shop, url)
    (warning,) = shop.account.warnings
    assert warning == AwsWarning("queue policy", (arn, topic), warning.text, shop.clock.now)
    assert warning.text == (
        f"topic {topic} reaches queue {arn} here; on AWS its messages would be lost, as the queue does not let it in: "
        'give its attribute Policy a statement that allows Principal {"Service": "sns.amazonaws.com"} the Action '
        f'sqs:SendMessage, Condition {{"ArnEquals": {{"aws:SourceArn": "{topic}"}}}}'
    )
    assert lines(log) == [warning.text]
    assert shop.bodies(url) != []


def test_each_topic_and_queue_has_a_warning_of_its_own(shop: Shop) -> None:
    urls = [shop.queue("orders"), shop.queue("bills")]
    topics = [subscribed(shop, url, topic) for topic in ("news", "sales") for url in urls][::2]

    for topic in topics:
        shop.sns.publish(TopicArn=topic, Message="a")

    assert kinds(shop.account) == [("queue policy", (arn_of(shop, url), topic)) for topic in topics for url in urls]


@pytest.mark.parametrize("condition", [{}, {"ArnEquals": {"aws:SourceArn": "arn:aws:sns:us-east-1:000000000000:news"}}])
def test_a_topic_that_is_let_in_is_not_warned_of(shop: Shop, condition: dict[str, Any]) -> None:
    url = shop.queue()
    topic = subscribed(shop, url)
    let_in(shop, url, **condition)

    shop.sns.publish(TopicArn=topic, Message="a")

    assert kinds(shop.account) == []
    assert len(shop.bodies(url)) == 1


def test_a_policy_counts_from_when_it_is_set(shop: Shop) -> None:
    url = shop.queue()
    topic = subscribed(shop, url)
    let_in(shop, url, ArnEquals={"aws:SourceArn": "arn:aws:sns:us-east-1:000000000000:others"})

    shop.sns.publish(TopicArn=topic, Message="a")
    assert [kind for kind, _ in kinds(shop.account)] == ["queue policy"]
    let_in(shop, url)
    shop.account.reset("orders")
    shop.sns.publish(TopicArn=topic, Message="a")

    assert kinds(shop.account) == []


def test_a_message_that_the_filter_keeps_away_is_nothing_to_warn_of(shop: Shop) -> None:
    topic = subscribed(shop, shop.queue(), FilterPolicy='{"kind": ["order"]}')

    shop.sns.publish(TopicArn=topic, Message="a")

    assert kinds(shop.account) == []


def test_the_dead_letter_queue_of_a_subscription_needs_a_policy_as_well(shop: Shop) -> None:
    url, dead = shop.queue(), shop.queue("dead")
    topic = subscribed(shop, url, RedrivePolicy=json.dumps({"deadLetterTargetArn": arn_of(shop, dead)}))
    shop.sqs.delete_queue(QueueUrl=url)

    shop.sns.publish(TopicArn=topic, Message="a")

    assert kinds(shop.account) == [("queue policy", (arn_of(shop, dead), topic))]


@pytest.mark.parametrize(
    ("key", "is_warned_of"),
    [
        ("alias/aws/sqs", True),
        ("arn:aws:kms:us-east-1:000000000000:alias/aws/sqs", True),
        ("alias/mine", False),
        ("", False),
    ],
)
def test_a_topic_cannot_use_awss_own_key_of_a_queue(shop: Shop, key: str, is_warned_of: bool) -> None:
    url = shop.queue(KmsMasterKeyId=key) if key else shop.queue()
    topic = subscribed(shop, url)
    let_in(shop, url)

    shop.sns.publish(TopicArn=topic, Message="a")

    assert kinds(shop.account) == [("queue key", (arn_of(shop, url), topic))] * is_warned_of


@pytest.mark.parametrize("elsewhere", [f"eu-west-1:{MINE}", f"us-east-1:{OTHER}"])
def test_a_queue_of_another_region_or_account_that_is_not_here_is_warned_of(shop: Shop, elsewhere: str) -> None:
    shop.queue()
    topic, arn = shop.sns.create_topic(Name="news")["TopicArn"], f"arn:aws:sqs:{elsewhere}:orders"
    shop.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)

    for _ in range(2):
        shop.sns.publish(TopicArn=topic, Message="a")

    assert kinds(shop.account) == [("queue elsewhere", (arn, topic))]


def test_a_queue_that_is_not_here_would_not_be_there(shop: Shop) -> None:
    """AWS drops what is for a queue that was deleted, as is done here."""
    url = shop.queue()
    topic = subscribed(shop, url)
    shop.sqs.delete_queue(QueueUrl=url)

    shop.sns.publish(TopicArn=topic, Message="a")

    assert kinds(shop.account) == []


def test_a_dead_letter_queue_of_another_region_is_warned_of(shop: Shop) -> None:
    topic, dead = subscribed(shop, shop.queue()), f"arn:aws:sqs:eu-west-1:{MINE}:dead"
    (subscription,) = shop.account.topics[topic].subscriptions
    redrive = json.dumps({"deadLetterTargetArn": dead})

    shop.sns.set_subscription_attributes(
        SubscriptionArn=subscription, AttributeName="RedrivePolicy", AttributeValue=redrive
    )

    assert kinds(shop.account) == [("dead-letter queue elsewhere", (dead, topic))]


def test_what_is_declared_is_warned_of_once_though_it_is_tried_first(shop: Shop, log: pytest.LogCaptureFixture) -> None:
    dead = f"arn:aws:sqs:eu-west-1:{MINE}:dead"
    subscription = {"topic": "news", "dead_letter_queue": dead}

    declare(shop.account, {"topics": {"news": {}}, "queues": {"orders": {"subscribe": [subscription]}}})

    assert [kind for kind, _ in kinds(shop.account)] == ["dead-letter queue elsewhere"]
    assert lines(log) == [each.text for each in shop.account.warnings]


def test_warnings_are_forgotten_and_come_again(shop: Shop, log: pytest.LogCaptureFixture) -> None:
    url = shop.queue()
    topic = subscribed(shop, url)
    other = subscribed(shop, shop.queue("bills"), "sales")
    for each in (topic, other):
        shop.sns.publish(TopicArn=each, Message="a")

    shop.account.reset("orders")
    assert [about[1] for _, about in kinds(shop.account)] == [other]
    shop.sns.publish(TopicArn=topic, Message="a")
    assert len(shop.account.warnings) == 2
    shop.account.reset()

    assert kinds(shop.account) == []
    assert len(lines(log)) == 3


def test_the_memory_is_not_filled_by_warnings(shop: Shop, log: pytest.LogCaptureFixture) -> None:
    for number in range(1100):
        shop.account.warnings.add("other region", str(number), text=lambda: "a")

    assert len(shop.account.warnings) == len(lines(log)) == 1000


def test_what_a_test_client_makes_is_as_aws_wants_it() -> None:
    app = App("https://sqs.eu-west-1.amazonaws.com/123456789012/orders", "arn:aws:sns:eu-west-1:123456789012:news")

    with TestClient(app) as client:
        app.publish({"a": 1})

        assert kinds(client.account) == []
        assert len(client.account.peek("orders")) == 1


# Over HTTP


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(keys={"OTHERS": OTHER}) as server:
        yield server


@contextmanager
def client(server: Server, service: str, region: str = "us-east-1", key: str | None = "any") -> Iterator[Any]:
    config = Config(retries={"total_max_attempts": 1}, proxies={}, signature_version=UNSIGNED if key is None else None)
    made = boto3.client(
        service,
        endpoint_url=server.url,
        region_name=region,
        aws_access_key_id=key or "any",
        aws_secret_access_key="any",
        config=config,
    )
    yield unmocked(made)
    made.close()


def shown(server: Server) -> list[dict[str, Any]]:
    with Wire(server.url) as wire:
        wire.send(b"GET /_megaflow/warnings HTTP/1.1\r\nHost: localhost\r\n\r\n")
        found: list[dict[str, Any]] = wire.answer().json["warnings"]
    return found


def abouts(server: Server) -> list[tuple[str, list[str]]]:
    return [(each["kind"], each["about"]) for each in shown(server)]


def test_what_is_as_on_aws_is_not_warned_of(server: Server) -> None:
    with client(server, "sqs") as sqs, client(server, "sns") as sns:
        url = sqs.create_queue(QueueName="orders")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        topic = sns.create_topic(Name="news")["TopicArn"]
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": let_all_topics_send(arn)})
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        sns.publish(TopicArn=topic, Message="a")
        assert len(sqs.receive_message(QueueUrl=url, WaitTimeSeconds=5)["Messages"]) == 1

    assert shown(server) == []


def test_warnings_are_shown_over_http_and_forgotten(server: Server, log: pytest.LogCaptureFixture) -> None:
    with client(server, "sqs", "eu-west-1", "OTHERS") as sqs, client(server, "sns", "eu-west-1", "OTHERS") as sns:
        url = sqs.create_queue(QueueName="orders")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        topic = sns.create_topic(Name="news")["TopicArn"]
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        sns.publish(TopicArn=topic, Message="a")

    (warning,) = shown(server)
    assert (warning["kind"], warning["about"]) == ("queue policy", [arn, topic])
    assert warning["text"] == lines(log)[0]
    assert warning["at"] <= server.account.clock()
    with Wire(server.url) as wire:
        wire.send(b"POST /_megaflow/reset HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
        assert wire.answer().status == 204
    assert shown(server) == []


def test_unsigned_calls_are_warned_of_once_for_each_service(server: Server, log: pytest.LogCaptureFixture) -> None:
    with client(server, "sqs", key=None) as sqs, client(server, "sns", key=None) as sns:
        for name in ("orders", "bills"):
            sqs.create_queue(QueueName=name)
        sns.create_topic(Name="news")

    assert abouts(server) == [("unsigned call", ["sqs"]), ("unsigned call", ["sns"])]
    assert lines(log)[0].startswith("CreateQueue was called by Boto3/")
    assert lines(log)[0].endswith(
        " without a signature, which AWS would refuse: give the client credentials; here any will do"
    )


@pytest.mark.parametrize("path", ["Action=Unsubscribe&SubscriptionArn=arn:aws:sns:us-east-1:000000000000:news:1"])
def test_links_that_sns_sends_are_not_signed(server: Server, path: str) -> None:
    with Wire(server.url) as wire:
        wire.send(f"GET /?{path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert wire.answer().status == 200

    assert shown(server) == []


def test_a_url_that_was_signed_before_is_signed(server: Server) -> None:
    scope = "X-Amz-Credential=any%2F20260101%2Fus-east-1%2Fsqs%2Faws4_request"
    with Wire(server.url) as wire:
        wire.send(f"GET /?Action=ListQueues&{scope}&X-Amz-Signature=0 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert wire.answer().status == 200

    assert shown(server) == []


def test_a_queue_may_be_open_to_all(server: Server) -> None:
    with client(server, "sqs") as owner, client(server, "sqs", key=None) as anybody:
        url = owner.create_queue(QueueName="orders")["QueueUrl"]
        arn = owner.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        statement = {"Effect": "Allow", "Principal": "*", "Action": ["sqs:SendMessage"], "Resource": arn}
        owner.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps({"Statement": [statement]})})

        anybody.send_message_batch(QueueUrl=url, Entries=[{"Id": "1", "MessageBody": "a"}])
        assert shown(server) == []
        anybody.receive_message(QueueUrl=url)

    assert abouts(server) == [("unsigned call", ["sqs"])]


def test_a_call_that_is_refused_here_is_nothing_to_warn_of(server: Server) -> None:
    with client(server, "sqs", key=None) as sqs, pytest.raises(sqs.exceptions.QueueDoesNotExist):
        sqs.get_queue_url(QueueName="nowhere")

    assert shown(server) == []


def test_a_topic_of_another_region_is_warned_of(server: Server) -> None:
    with client(server, "sns") as here, client(server, "sns", "eu-west-1") as there:
        topic = here.create_topic(Name="news")["TopicArn"]
        for _ in range(2):
            there.publish(TopicArn=topic, Message="a")

    assert abouts(server) == [("other region", [topic, "eu-west-1"])]
    assert shown(server)[0]["text"] == (
        f"Publish of {topic} was signed for eu-west-1, and AWS answers calls for what is in the same region alone: "
        "make a client for us-east-1"
    )


@pytest.mark.parametrize(
    ("url", "region"),
    [
        ("https://sqs.eu-west-1.amazonaws.com/000000000000/orders", "eu-west-1"),
        ("https://eu-central-1.queue.amazonaws.com/000000000000/orders", "eu-central-1"),
        ("https://sqs.us-east-1.amazonaws.com/000000000000/orders", None),
        ("http://localhost/000000000000/orders", None),
    ],
)
def test_a_queue_whose_url_is_of_another_region_is_warned_of(server: Server, url: str, region: str | None) -> None:
    with client(server, "sqs") as sqs:
        sqs.create_queue(QueueName="orders")
        sqs.send_message(QueueUrl=url, MessageBody="a")

    assert abouts(server) == ([("other region", [url, "us-east-1"])] if region else [])
    assert region is None or f"make a client for {region}" in shown(server)[0]["text"]


def test_a_queue_of_another_account_is_warned_of_unless_its_policy_lets_the_caller_in(server: Server) -> None:
    with client(server, "sqs") as mine, client(server, "sqs", key="OTHERS") as theirs:
        url = mine.create_queue(QueueName="orders")["QueueUrl"]
        arn = f"arn:aws:sqs:us-east-1:{MINE}:orders"
        mine.add_permission(QueueUrl=url, Label="others", AWSAccountIds=[OTHER], Actions=["SendMessage"])

        theirs.send_message(QueueUrl=url, MessageBody="a")
        theirs.send_message_batch(QueueUrl=url, Entries=[{"Id": "1", "MessageBody": "a"}])
        assert shown(server) == []
        theirs.receive_message(QueueUrl=url)
        mine.add_permission(QueueUrl=url, Label="all", AWSAccountIds=[OTHER], Actions=["*"])
        theirs.get_queue_attributes(QueueUrl=url)
        theirs.tag_queue(QueueUrl=url, Tags={"a": "b"})

    assert abouts(server) == [
        ("other account", [arn, OTHER, "ReceiveMessage"]),
        ("other account", [arn, OTHER, "TagQueue"]),
    ]
    allowed, owned = (each["text"] for each in shown(server))
    assert allowed.endswith("on AWS it would be denied, as its Policy does not allow it")
    assert owned.endswith("on AWS it would be denied, as only its owner may")


def test_a_topic_of_another_account_is_warned_of_unless_its_policy_lets_the_caller_in(server: Server) -> None:
    with client(server, "sns") as mine, client(server, "sns", key="OTHERS") as theirs:
        closed, opened = (mine.create_topic(Name=name)["TopicArn"] for name in ("closed", "open"))
        statement = {"Effect": "Allow", "Principal": {"AWS": OTHER}, "Action": "SNS:Publish", "Resource": opened}
        policy = json.dumps({"Statement": [statement]})
        mine.set_topic_attributes(TopicArn=opened, AttributeName="Policy", AttributeValue=policy)
        for topic in (closed, opened):
            theirs.publish(TopicArn=topic, Message="a")

    assert abouts(server) == [("other account", [closed, OTHER, "Publish"])]


def test_a_subscriber_of_another_account_would_have_to_confirm(server: Server) -> None:
    with client(server, "sns") as mine, client(server, "sqs", key="OTHERS") as theirs:
        theirs.create_queue(QueueName="orders")
        topic, arn = mine.create_topic(Name="news")["TopicArn"], f"arn:aws:sqs:us-east-1:{OTHER}:orders"
        mine.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)

    assert abouts(server) == [("unconfirmed subscription", [arn, topic])]


def test_who_subscribes_a_queue_of_their_own_has_nothing_to_confirm(server: Server) -> None:
    with client(server, "sns") as mine, client(server, "sns", key="OTHERS") as theirs:
        topic = mine.create_topic(Name="news")["TopicArn"]
        arn = f"arn:aws:sqs:us-east-1:{OTHER}:orders"
        subscription = theirs.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)["SubscriptionArn"]
        theirs.unsubscribe(SubscriptionArn=subscription)

    assert abouts(server) == [("other account", [topic, OTHER, "Subscribe"])]


def test_whoever_was_sent_a_token_may_confirm_with_credentials_of_their_own(server: Server) -> None:
    with endpoint() as made, client(server, "sns") as sns, client(server, "sns", key=OTHER) as theirs:
        topic = sns.create_topic(Name="news")["TopicArn"]
        sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=made.url)
        (asked,) = made.wait_for_kind("SubscriptionConfirmation")
        confirmed = theirs.confirm_subscription(TopicArn=topic, Token=asked.fields["Token"])
        theirs.unsubscribe(SubscriptionArn=confirmed["SubscriptionArn"])

    assert abouts(server) == []


@pytest.mark.parametrize("arn", ["arn:aws:sqs:x", "arn:aws:sqs:"])
def test_an_endpoint_that_is_cut_short_does_no_harm(server: Server, arn: str) -> None:
    with client(server, "sns") as sns:
        topic = sns.create_topic(Name="news")["TopicArn"]
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        assert sns.publish(TopicArn=topic, Message="a")["MessageId"]


@pytest.mark.parametrize("region", ["elasticmq", "localhost", "us-east"])
def test_a_region_that_is_none_is_warned_of(server: Server, region: str) -> None:
    with client(server, "sqs", region) as sqs:
        for name in ("orders", "bills"):
            sqs.create_queue(QueueName=name)

    assert abouts(server) == [("wrong signature", [region])]
    assert "which is no region of AWS; here us-east-1 has answered" in shown(server)[0]["text"]


def test_a_signature_for_another_service_is_warned_of(server: Server) -> None:
    header = signature("us-east-1", service="sns")
    with Wire(server.url) as wire:
        wire.send(f"GET /?Action=ListQueues HTTP/1.1\r\nHost: localhost\r\n{header}\r\n\r\n".encode())
        assert wire.answer().status == 200

    assert abouts(server) == [("wrong signature", ["sns"])]


def test_where_one_account_is_for_all_its_region_is_nothing_to_warn_of() -> None:
    with Server(region_any=True) as server, client(server, "sqs", "eu-west-1", OTHER) as sqs:
        url = sqs.create_queue(QueueName="orders")["QueueUrl"]
        sqs.send_message(QueueUrl=url, MessageBody="a")

        assert shown(server) == []


def test_what_dev_makes_is_as_aws_wants_it(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("ACCESS_KEY_ID", "any"), ("SECRET_ACCESS_KEY", "any"), ("DEFAULT_REGION", "us-east-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    hosted = host({"shop.py": App("orders", "arn:aws:sns:us-east-1:000000000000:news")}, server.url)["shop.py"]
    with client(server, "sns") as sns:
        sns.publish(TopicArn=hosted.topic_arn, Message="a")

    assert len(server.account.peek("orders")) == 1
    assert shown(server) == []
