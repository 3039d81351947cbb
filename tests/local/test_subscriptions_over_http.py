"""Subscriptions over HTTP, with boto3 against the server and an endpoint that is another server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlsplit
from urllib.request import Request, urlopen

import boto3
import pytest
from botocore.exceptions import ClientError

from megaflow.local.server import Server
from tests.conformance.conftest import clients
from tests.endpoints import Endpoint, endpoint
from tests.waiting import wait_until

UNREACHED = "http://127.0.0.1:9/"
"""Where nobody listens."""


@dataclass
class Place:
    """A server with boto3's clients for it, and an endpoint."""

    server: Server
    sqs: Any
    sns: Any
    endpoint: Endpoint

    def topic(self, name: str = "news", **attributes: str) -> str:
        arn: str = self.sns.create_topic(Name=name, Attributes=attributes)["TopicArn"]
        return arn

    def subscribe(self, topic: str, url: str | None = None, **attributes: str) -> str:
        url = url or self.endpoint.url
        subscribed = self.sns.subscribe(
            TopicArn=topic,
            Protocol=url.partition(":")[0],
            Endpoint=url,
            Attributes=attributes,
            ReturnSubscriptionArn=True,
        )
        arn: str = subscribed["SubscriptionArn"]
        return arn

    def subscribed(self, topic: str, **attributes: str) -> str:
        """Subscribe the endpoint, and confirm that."""
        arn = self.subscribe(topic, **attributes)
        self.endpoint.confirm()
        return arn

    def shown(self, subscription: str) -> dict[str, str]:
        attributes: dict[str, str] = self.sns.get_subscription_attributes(SubscriptionArn=subscription)["Attributes"]
        return attributes

    def queue(self, name: str = "dead") -> str:
        url: str = self.sqs.create_queue(QueueName=name)["QueueUrl"]
        return url

    def redrive(self, name: str = "dead") -> str:
        return json.dumps({"deadLetterTargetArn": f"arn:aws:sqs:us-east-1:000000000000:{name}"})

    def received(self, url: str, **parameters: Any) -> dict[str, Any]:
        """Return the next message of a queue, once there is one."""
        (message,) = self.sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20, **parameters)["Messages"]
        return message  # type: ignore[no-any-return]

    def waits(self, count: int = 1) -> None:
        """Return once so many deliveries wait for their time."""
        posts = self.server.account.posts
        wait_until(lambda: len(posts) == count and (posts.next_alarm() or 0) > self.server.account.clock())

    def is_done(self) -> None:
        """Return once nothing is to be delivered any more."""
        wait_until(lambda: len(self.server.account.posts) == 0)

    def advance(self, seconds: float) -> None:
        """Let time pass, as anybody may."""
        body = json.dumps({"advance": seconds}).encode()
        urlopen(Request(f"{self.server.url}/_megaflow/clock", body)).close()


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Server, Any, Any]]:
    with Server() as server, clients(server.url) as (sqs, sns):
        yield server, sqs, sns


@pytest.fixture
def place(served: tuple[Server, Any, Any]) -> Iterator[Place]:
    with endpoint() as made:
        yield Place(*served, made)
        served[0].account.reset()


def refusal(call: Any, **parameters: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as error:
        call(**parameters)
    return error.value.response["Error"]["Code"], error.value.response["Error"]["Message"]


def refused_link(url: str) -> str:
    """Return what is said to who visits a link that is refused."""
    with pytest.raises(HTTPError) as error:
        urlopen(url)
    assert error.value.code == 403
    with error.value as answer:
        return answer.read().decode()


def test_an_endpoint_is_asked_to_confirm(place: Place) -> None:
    topic = place.topic()

    answer = place.sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=place.endpoint.url)

    assert answer["SubscriptionArn"] == "pending confirmation"
    (asked,) = place.endpoint.wait_for(1)
    assert asked.path == "/hook"
    assert asked.headers["x-amz-sns-message-type"] == "SubscriptionConfirmation"
    assert asked.headers["x-amz-sns-topic-arn"] == topic
    assert asked.headers["x-amz-sns-message-id"] == asked.fields["MessageId"]
    assert asked.headers["content-type"] == "text/plain; charset=UTF-8"
    assert asked.headers["user-agent"] == "Amazon Simple Notification Service Agent"
    assert "x-amz-sns-subscription-arn" not in asked.headers
    assert list(asked.fields) == [
        *("Type", "MessageId", "Token", "TopicArn", "Message", "SubscribeURL", "Timestamp"),
        *("SignatureVersion", "Signature", "SigningCertURL"),
    ]
    assert asked.fields["Message"].startswith(f"You have chosen to subscribe to the topic {topic}.\n")
    link = urlsplit(asked.fields["SubscribeURL"])
    assert f"{link.scheme}://{link.netloc}" == place.server.url
    assert parse_qs(link.query) == {
        "Action": ["ConfirmSubscription"],
        "TopicArn": [topic],
        "Token": [asked.fields["Token"]],
    }


def test_a_subscription_waits_until_it_is_confirmed(place: Place) -> None:
    topic = place.topic()
    arn = place.subscribe(topic)

    place.sns.publish(TopicArn=topic, Message="too early")

    (listed,) = place.sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    assert (listed["SubscriptionArn"], listed["Protocol"]) == ("PendingConfirmation", "http")
    assert place.sns.list_subscriptions()["Subscriptions"] == [listed]
    assert place.shown(arn)["PendingConfirmation"] == "true"
    counts = place.sns.get_topic_attributes(TopicArn=topic)["Attributes"]
    assert (counts["SubscriptionsPending"], counts["SubscriptionsConfirmed"]) == ("1", "0")
    place.is_done()
    assert [each.kind for each in place.endpoint.sent] == ["SubscriptionConfirmation"]


def test_a_visit_to_the_link_confirms(place: Place) -> None:
    topic = place.topic()
    arn = place.subscribe(topic)

    said = place.endpoint.confirm()

    assert f"<SubscriptionArn>{arn}</SubscriptionArn>" in said
    (listed,) = place.sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    assert listed["SubscriptionArn"] == arn
    shown = place.shown(arn)
    assert (shown["PendingConfirmation"], shown["ConfirmationWasAuthenticated"]) == ("false", "false")


def test_a_call_confirms(place: Place) -> None:
    topic = place.topic()
    arn = place.subscribe(topic)
    (asked,) = place.endpoint.wait_for(1)

    confirmed, again = (
        place.sns.confirm_subscription(TopicArn=topic, Token=asked.fields["Token"])["SubscriptionArn"] for _ in range(2)
    )

    assert confirmed == again == arn
    assert place.shown(arn)["ConfirmationWasAuthenticated"] == "true"


def test_another_token_does_not_confirm(place: Place) -> None:
    topic, other = place.topic(), place.topic("other")
    place.subscribe(topic)
    (asked,) = place.endpoint.wait_for(1)
    confirm = place.sns.confirm_subscription

    assert refusal(confirm, TopicArn=topic, Token="x") == ("InvalidParameter", "Invalid parameter: Token")
    assert refusal(confirm, TopicArn=topic, Token="")[0] == "InvalidParameter"
    assert refusal(confirm, TopicArn=other, Token=asked.fields["Token"])[0] == "InvalidParameter"
    assert refusal(confirm, TopicArn=f"{topic}-not", Token=asked.fields["Token"])[0] == "NotFound"


def test_a_token_is_good_for_two_days(place: Place) -> None:
    topic = place.topic()
    arn = place.subscribe(topic)
    (asked,) = place.endpoint.wait_for(1)

    place.advance(2 * 24 * 3600)

    assert refusal(place.sns.confirm_subscription, TopicArn=topic, Token=asked.fields["Token"])[0] == "InvalidParameter"
    assert place.sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"] == []
    assert refusal(place.shown, subscription=arn)[0] == "NotFound"


def test_subscribing_again_asks_again(place: Place) -> None:
    topic = place.topic()

    first, second = place.subscribe(topic), place.subscribe(topic)

    asked = place.endpoint.wait_for(2)
    assert first == second
    assert asked[0].fields["Token"] == asked[1].fields["Token"]
    place.endpoint.confirm()
    assert place.subscribe(topic) == first
    place.is_done()
    assert len(place.endpoint.sent) == 2


def test_what_is_published_is_posted(place: Place) -> None:
    topic = place.topic()
    arn = place.subscribed(topic)

    published = place.sns.publish(
        TopicArn=topic,
        Message="grün",
        Subject="hello",
        MessageAttributes={"a": {"DataType": "Number", "StringValue": "1"}},
    )

    (sent,) = place.endpoint.wait_for_kind("Notification")
    assert sent.headers["x-amz-sns-message-id"] == published["MessageId"]
    assert sent.headers["x-amz-sns-topic-arn"] == topic
    assert sent.headers["x-amz-sns-subscription-arn"] == arn
    assert sent.headers["host"] == f"127.0.0.1:{place.endpoint.port}"
    assert "x-amz-sns-rawdelivery" not in sent.headers
    assert (sent.fields["Message"], sent.fields["Subject"]) == ("grün", "hello")
    assert sent.fields["MessageAttributes"] == {"a": {"Type": "Number", "Value": "1"}}
    place.is_done()
    assert len(place.endpoint.of_kind("Notification")) == 1


def test_raw_delivery_is_the_message_alone(place: Place) -> None:
    topic = place.topic()
    place.subscribed(topic, RawMessageDelivery="true")

    place.sns.publish(TopicArn=topic, Message='{"a": 1}')

    (sent,) = place.endpoint.wait_for_kind("Notification")
    assert sent.body == '{"a": 1}'
    assert sent.headers["x-amz-sns-rawdelivery"] == "true"


def test_a_filter_policy_acts_as_for_queues(place: Place) -> None:
    topic = place.topic()
    place.subscribed(topic, FilterPolicy='{"kind": ["sport"]}', FilterPolicyScope="MessageBody")

    for kind in ("weather", "sport"):
        place.sns.publish(TopicArn=topic, Message=json.dumps({"kind": kind}))

    place.is_done()
    assert [each.fields["Message"] for each in place.endpoint.of_kind("Notification")] == ['{"kind": "sport"}']


def test_each_protocol_may_have_its_own_message(place: Place) -> None:
    topic = place.topic()
    place.subscribed(topic)

    for messages in ({"default": "d", "http": "h", "sqs": "s"}, {"default": "d", "https": "t"}):
        place.sns.publish(TopicArn=topic, Message=json.dumps(messages), MessageStructure="json")

    sent = place.endpoint.wait_for_kind("Notification", 2)
    assert sorted(each.fields["Message"] for each in sent) == ["d", "h"]


def test_what_fails_is_tried_again_twenty_seconds_later(place: Place) -> None:
    topic = place.topic()
    place.subscribed(topic)
    place.is_done()
    place.endpoint.statuses += [500, 429]

    place.sns.publish(TopicArn=topic, Message="hello")
    for tries in (1, 2):
        place.endpoint.wait_for_kind("Notification", tries)
        place.waits()
        place.advance(19)
        assert len(place.endpoint.of_kind("Notification")) == tries
        place.advance(1)

    place.endpoint.wait_for_kind("Notification", 3)
    place.is_done()
    bodies = [each.body for each in place.endpoint.of_kind("Notification")]
    assert bodies == bodies[:1] * 3


def test_what_fails_three_times_more_is_dead_lettered(place: Place) -> None:
    dead, topic = place.queue(), place.topic()
    place.subscribed(topic, RedrivePolicy=place.redrive())
    place.is_done()
    place.endpoint.statuses += [503] * 4

    place.sns.publish(TopicArn=topic, Message="hello")
    for _ in range(3):
        place.waits()
        place.advance(20)

    body = json.loads(place.received(dead)["Body"])
    assert body["Message"] == "hello"
    assert len(place.endpoint.of_kind("Notification")) == 4
    place.is_done()


@pytest.mark.parametrize("status", [400, 404, 410, 301, 302, 307])
def test_what_is_refused_or_redirected_is_given_up_at_once(place: Place, status: int) -> None:
    dead, topic = place.queue(), place.topic()
    place.subscribed(topic, RedrivePolicy=place.redrive(), RawMessageDelivery="true")
    place.is_done()
    place.endpoint.statuses.append(status)
    place.endpoint.headers["Location"] = f"http://127.0.0.1:{place.endpoint.port}/elsewhere"
    attributes = {"a": {"DataType": "String", "StringValue": "x"}}

    place.sns.publish(TopicArn=topic, Message="hello", MessageAttributes=attributes)

    message = place.received(dead, MessageAttributeNames=["All"])
    assert (message["Body"], message["MessageAttributes"]) == ("hello", attributes)
    place.is_done()
    assert [each.path for each in place.endpoint.of_kind("Notification")] == ["/hook"]


def test_where_nobody_listens_is_tried_again(place: Place) -> None:
    dead, topic = place.queue(), place.topic()
    arn = place.subscribe(
        topic,
        UNREACHED,
        RedrivePolicy=place.redrive(),
        DeliveryPolicy='{"healthyRetryPolicy": {"numRetries": 1, "minDelayTarget": 5, "maxDelayTarget": 5}}',
    )
    token = place.server.account.topics[topic].subscriptions[arn].token
    place.sns.confirm_subscription(TopicArn=topic, Token=token)
    place.waits()
    place.advance(5)
    place.is_done()

    place.sns.publish(TopicArn=topic, Message="hello")
    place.waits()
    place.advance(5)

    assert json.loads(place.received(dead)["Body"])["Message"] == "hello"


def test_the_delivery_policy_of_the_topic_holds_unless_the_subscription_has_one(place: Place) -> None:
    policy = {"http": {"defaultHealthyRetryPolicy": {"numRetries": 1, "minDelayTarget": 7, "maxDelayTarget": 7}}}
    topic = place.topic(DeliveryPolicy=json.dumps(policy))
    arn = place.subscribed(topic)

    def effective() -> Any:
        return json.loads(place.shown(arn)["EffectiveDeliveryPolicy"])

    def change(call: Any, **parameters: Any) -> None:
        call(AttributeName="DeliveryPolicy", **parameters)

    assert effective()["healthyRetryPolicy"]["minDelayTarget"] == 7
    own = json.dumps({"healthyRetryPolicy": {"numRetries": 9}, "requestPolicy": {"headerContentType": "text/csv"}})
    change(place.sns.set_subscription_attributes, SubscriptionArn=arn, AttributeValue=own)
    assert place.shown(arn)["DeliveryPolicy"] == own
    assert effective() == {
        "healthyRetryPolicy": {
            "minDelayTarget": 20,
            "maxDelayTarget": 20,
            "numRetries": 9,
            "numMaxDelayRetries": 0,
            "numNoDelayRetries": 0,
            "numMinDelayRetries": 0,
            "backoffFunction": "linear",
        },
        "sicklyRetryPolicy": None,
        "throttlePolicy": None,
        "requestPolicy": {"headerContentType": "text/csv"},
        "guaranteed": False,
    }
    policy["http"]["disableSubscriptionOverrides"] = True  # type: ignore[assignment]
    change(place.sns.set_topic_attributes, TopicArn=topic, AttributeValue=json.dumps(policy))
    assert effective()["healthyRetryPolicy"]["minDelayTarget"] == 7


def test_the_content_type_is_that_of_the_policy(place: Place) -> None:
    topic = place.topic()
    place.subscribed(topic, DeliveryPolicy='{"requestPolicy": {"headerContentType": "application/json"}}')

    place.sns.publish(TopicArn=topic, Message="hello")

    (sent,) = place.endpoint.wait_for_kind("Notification")
    assert sent.headers["content-type"] == "application/json"


def test_no_more_go_out_in_a_second_than_the_policy_says(place: Place) -> None:
    topic = place.topic()
    arn = place.subscribed(topic)
    place.is_done()
    place.server.account.advance(100)
    policy = '{"throttlePolicy": {"maxReceivesPerSecond": 1}}'
    place.sns.set_subscription_attributes(SubscriptionArn=arn, AttributeName="DeliveryPolicy", AttributeValue=policy)

    entries = [{"Id": str(number), "Message": str(number)} for number in range(3)]
    place.sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=entries)

    place.endpoint.wait_for_kind("Notification", 1)
    place.waits(2)
    place.advance(2)
    place.endpoint.wait_for_kind("Notification", 3)


def test_an_endpoint_that_hangs_holds_up_no_other(place: Place) -> None:
    topic, other = place.topic(), place.topic("other")
    place.subscribed(topic)
    place.is_done()
    place.endpoint.gate.clear()
    for number in range(20):
        place.sns.publish(TopicArn=topic, Message=str(number))
    place.endpoint.wait_for_kind("Notification", 16)

    with endpoint() as second:
        place.subscribe(other, second.url)
        second.confirm()
        place.sns.publish(TopicArn=other, Message="hello")
        second.wait_for_kind("Notification")

    assert len(place.endpoint.of_kind("Notification")) == 16
    place.endpoint.gate.set()
    place.endpoint.wait_for_kind("Notification", 20)
    place.is_done()


def test_what_its_owner_ends_is_over(place: Place) -> None:
    topic = place.topic()
    arn = place.subscribed(topic)

    place.sns.unsubscribe(SubscriptionArn=arn)
    place.sns.publish(TopicArn=topic, Message="hello")

    place.is_done()
    assert [each.kind for each in place.endpoint.sent] == ["SubscriptionConfirmation"]
    assert place.sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"] == []


def test_what_a_link_ends_can_be_had_back(place: Place) -> None:
    topic = place.topic()
    arn = place.subscribed(topic, RawMessageDelivery="false")
    place.sns.publish(TopicArn=topic, Message="one")
    (first,) = place.endpoint.wait_for_kind("Notification")

    assert first.fields["UnsubscribeURL"].startswith(place.server.url)
    urlopen(first.fields["UnsubscribeURL"]).close()
    (asked,) = place.endpoint.wait_for_kind("UnsubscribeConfirmation")
    place.sns.publish(TopicArn=topic, Message="two")

    assert asked.headers["x-amz-sns-subscription-arn"] == arn
    assert asked.fields["Message"].startswith(f"You have chosen to deactivate subscription {arn}.\n")
    (listed,) = place.sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    assert listed["SubscriptionArn"] == "Deleted"
    assert place.sns.get_topic_attributes(TopicArn=topic)["Attributes"]["SubscriptionsDeleted"] == "1"
    urlopen(asked.fields["SubscribeURL"]).close()
    place.sns.publish(TopicArn=topic, Message="three")
    sent = place.endpoint.wait_for_kind("Notification", 2)
    assert [each.fields["Message"] for each in sent] == ["one", "three"]
    assert place.shown(arn)["PendingConfirmation"] == "false"


def test_a_link_ends_nothing_that_wants_a_signature(place: Place) -> None:
    topic = place.topic()
    arn = place.subscribe(topic)
    (asked,) = place.endpoint.wait_for(1)
    guarded = {"AuthenticateOnUnsubscribe": "true"}

    unsigned = refused_link(f"{asked.fields['SubscribeURL']}&AuthenticateOnUnsubscribe=true")
    place.sns.confirm_subscription(TopicArn=topic, Token=asked.fields["Token"], **guarded)
    ended = refused_link(f"{place.server.url}/?Action=Unsubscribe&SubscriptionArn={arn}")

    assert "<Code>AuthorizationError</Code>" in unsigned
    assert "<Code>AuthorizationError</Code>" in ended
    assert place.shown(arn)["PendingConfirmation"] == "false"
    place.sns.unsubscribe(SubscriptionArn=arn)
    assert refusal(place.shown, subscription=arn)[0] == "NotFound"


def test_a_link_ends_the_subscription_of_a_queue(place: Place) -> None:
    url, topic = place.queue("orders"), place.topic()
    place.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint="arn:aws:sqs:us-east-1:000000000000:orders")
    place.sns.publish(TopicArn=topic, Message="hello")

    urlopen(json.loads(place.received(url)["Body"])["UnsubscribeURL"]).close()

    assert place.sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"] == []


def test_links_lead_to_the_account_and_region_of_the_topic() -> None:
    asked = {"region_name": "eu-west-1", "aws_access_key_id": "123456789012", "aws_secret_access_key": "any"}
    with Server() as server, endpoint() as made:
        sns = boto3.client("sns", endpoint_url=server.url, **asked)
        topic = sns.create_topic(Name="news")["TopicArn"]
        sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=made.url)
        said = made.confirm()
        sns.publish(TopicArn=topic, Message="hello")
        (sent,) = made.wait_for_kind("Notification")
        sns.close()

    assert f"<SubscriptionArn>{topic}:" in said
    assert sent.fields["TopicArn"] == topic == "arn:aws:sns:eu-west-1:123456789012:news"


@pytest.mark.parametrize(
    ("protocol", "url"),
    [
        ("http", "http://example.com/hook"),
        ("https", "https://10.0.0.1/"),
        ("http", "http://169.254.169.254/latest/meta-data/"),
        ("http", "http://[::1]:80/"),
        ("http", "http://2130706433/"),
        ("http", "http://127.0.0.1.example.com/"),
        ("http", "http://127.0.0.1@example.com/"),
    ],
)
def test_it_goes_nowhere_that_was_not_named(place: Place, protocol: str, url: str) -> None:
    code, said = refusal(place.sns.subscribe, TopicArn=place.topic(), Protocol=protocol, Endpoint=url)

    assert code == "InvalidParameter"
    assert "this server delivers to 127.0.0.1 alone" in said
    assert "start it with --deliver-to" in said


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "hooks.localhost", "[::ffff:127.0.0.1]"])
def test_this_machine_has_other_names(place: Place, host: str) -> None:
    topic = place.topic()

    place.subscribe(topic, f"http://{host}:{place.endpoint.port}/hook")
    place.endpoint.confirm()

    place.is_done()
    (asked,) = place.endpoint.sent
    assert asked.headers["host"].lower() == f"{host.lower()}:{place.endpoint.port}"


@pytest.mark.parametrize(
    ("protocol", "url"),
    [
        ("http", "https://127.0.0.1/"),
        ("https", "http://127.0.0.1/"),
        ("http", "127.0.0.1"),
        ("http", "http://"),
        ("http", "http://127.0.0.1:0/"),
        ("http", "http://127.0.0.1:99999/"),
        ("http", "http://127.0.0.1/a b"),
        ("http", "http://127.0.0.1/\r\nX-Injected: 1"),
        ("http", "http://127.0.0.1/ü"),
    ],
)
def test_what_is_no_url_of_the_protocol_is_refused(place: Place, protocol: str, url: str) -> None:
    code, said = refusal(place.sns.subscribe, TopicArn=place.topic(), Protocol=protocol, Endpoint=url)

    assert code == "InvalidParameter"
    assert "Endpoint" in said


def test_a_fifo_topic_takes_no_url(place: Place) -> None:
    topic = place.topic("news.fifo", FifoTopic="true")

    _, said = refusal(place.sns.subscribe, TopicArn=topic, Protocol="http", Endpoint=place.endpoint.url)

    assert "Please use FIFO SQS queue" in said


def test_a_password_goes_to_the_endpoint_and_nowhere_else(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    topic = place.topic()
    place.endpoint.statuses += [404]
    arn = place.subscribe(topic, f"http://ann:s%20ecret@127.0.0.1:{place.endpoint.port}/hook")

    (asked,) = place.endpoint.wait_for(1)
    place.is_done()

    assert asked.headers["authorization"] == "Basic YW5uOnMgZWNyZXQ="
    assert asked.headers["host"] == f"127.0.0.1:{place.endpoint.port}"
    assert place.shown(arn)["Endpoint"] == f"http://ann:****@127.0.0.1:{place.endpoint.port}/hook"
    assert "ecret" not in caplog.text
    assert "given up" in caplog.text


def test_a_url_may_end_as_the_names_of_fifo_queues_do(place: Place) -> None:
    dead, topic = place.queue(), place.topic()
    place.endpoint.statuses += [200, 404]
    arn = place.subscribe(topic, f"{place.endpoint.url}.fifo", RedrivePolicy=place.redrive())
    place.endpoint.confirm()

    place.sns.publish(TopicArn=topic, Message="hello")

    assert place.shown(arn)["RedrivePolicy"] == place.redrive()
    assert json.loads(place.received(dead)["Body"])["Message"] == "hello"


def test_deleting_a_topic_ends_what_it_has_to_deliver(place: Place) -> None:
    topic = place.topic()
    place.subscribed(topic)
    place.is_done()
    place.endpoint.statuses.append(500)
    place.sns.publish(TopicArn=topic, Message="hello")
    place.waits()

    place.sns.delete_topic(TopicArn=topic)

    assert len(place.server.account.posts) == 0


def test_a_reset_ends_what_is_to_be_delivered(place: Place) -> None:
    topic = place.topic()
    place.endpoint.statuses.append(500)
    place.subscribe(topic)
    place.waits()

    urlopen(Request(f"{place.server.url}/_megaflow/reset", b"", method="POST")).close()

    assert len(place.server.account.posts) == 0
