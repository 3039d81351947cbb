"""Subscriptions over HTTP, as far as they can be asked about; what is delivered is in ``tests/local``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.conformance.conftest import World
from tests.conformance.pages import CONFIRM, DELIVERY_POLICY, SUBSCRIBE, moto_differs
from tests.endpoints import Endpoint, endpoint


@pytest.fixture
def listener(request: pytest.FixtureRequest) -> Iterator[Endpoint]:
    if request.node.callspec.params["world"] == "local":
        pytest.skip("without its server nobody delivers")
    if request.node.callspec.params["world"] == "aws":
        pytest.skip("AWS does not reach this machine")
    with endpoint() as made:
        yield made


def subscribe(world: World, topic: str, url: str, **parameters: Any) -> str:
    arn: str = world.sns.subscribe(
        TopicArn=topic, Protocol=url.partition(":")[0], Endpoint=url, **{"ReturnSubscriptionArn": True, **parameters}
    )["SubscriptionArn"]
    return arn


def shown(world: World, subscription: str) -> dict[str, str]:
    attributes: dict[str, str] = world.sns.get_subscription_attributes(SubscriptionArn=subscription)["Attributes"]
    return attributes


def refused(call: Any, **parameters: Any) -> str:
    with pytest.raises(ClientError) as error:
        call(**parameters)
    code: str = error.value.response["Error"]["Code"]
    return code


@moto_differs("moto confirms by itself", SUBSCRIBE)
def test_a_subscription_is_pending_until_it_is_confirmed(world: World, listener: Endpoint) -> None:
    topic = world.topic()

    answered = subscribe(world, topic, listener.url, ReturnSubscriptionArn=False)
    arn = subscribe(world, topic, listener.url)

    assert answered == "pending confirmation"
    (listed,) = world.sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    assert (listed["SubscriptionArn"], listed["Endpoint"]) == ("PendingConfirmation", listener.url)
    assert shown(world, arn)["PendingConfirmation"] == "true"
    assert shown(world, arn)["ConfirmationWasAuthenticated"] == "false"


@moto_differs("moto sends no request to confirm", SUBSCRIBE)
def test_a_subscription_is_confirmed_by_the_token_that_its_endpoint_is_sent(world: World, listener: Endpoint) -> None:
    topic = world.topic()
    arn = subscribe(world, topic, listener.url)
    assert shown(world, arn)["PendingConfirmation"] == "true"
    (asked,) = listener.wait_for(1)

    confirmed = world.sns.confirm_subscription(TopicArn=topic, Token=asked.fields["Token"])["SubscriptionArn"]

    assert confirmed == arn
    assert shown(world, arn)["PendingConfirmation"] == "false"
    world.sns.publish(TopicArn=topic, Message="hello")
    (sent,) = listener.wait_for_kind("Notification")
    assert sent.fields["Message"] == "hello"


@moto_differs("moto takes any token", CONFIRM)
def test_another_token_confirms_nothing(world: World, listener: Endpoint) -> None:
    topic = world.topic()
    subscribe(world, topic, listener.url)

    assert refused(world.sns.confirm_subscription, TopicArn=topic, Token="a" * 64) == "InvalidParameter"


def test_a_topic_that_is_not_there_has_nothing_to_confirm(world: World) -> None:
    assert refused(world.sns.confirm_subscription, TopicArn=f"{world.topic()}-not", Token="a" * 64) == "NotFound"


@moto_differs("moto takes every endpoint", SUBSCRIBE)
@pytest.mark.parametrize("url", ["https://127.0.0.1/", "127.0.0.1", "arn:aws:sqs:us-east-1:123456789012:q"])
def test_an_endpoint_is_a_url_of_the_protocol(world: World, listener: Endpoint, url: str) -> None:
    topic = world.topic()

    assert refused(world.sns.subscribe, TopicArn=topic, Protocol="http", Endpoint=url) == "InvalidParameter"


@moto_differs("moto lets URLs subscribe to FIFO topics", SUBSCRIBE)
def test_a_fifo_topic_has_no_subscriptions_over_http(world: World, listener: Endpoint) -> None:
    topic = world.topic(FifoTopic="true")

    assert refused(world.sns.subscribe, TopicArn=topic, Protocol="http", Endpoint=listener.url) == "InvalidParameter"


@moto_differs("moto shows the policy of the topic", DELIVERY_POLICY)
def test_a_delivery_policy_takes_effect_over_what_is_usual(world: World, listener: Endpoint) -> None:
    policy = '{"healthyRetryPolicy":{"numRetries":7}}'

    arn = subscribe(world, world.topic(), listener.url, Attributes={"DeliveryPolicy": policy})

    retries = json.loads(shown(world, arn)["EffectiveDeliveryPolicy"])["healthyRetryPolicy"]
    assert (retries["numRetries"], retries["minDelayTarget"], retries["backoffFunction"]) == (7, 20, "linear")


@moto_differs("moto keeps anything", DELIVERY_POLICY)
@pytest.mark.parametrize(
    "policy",
    [
        "[]",
        '{"healthyRetryPolicy":{"numRetries":101}}',
        '{"healthyRetryPolicy":{"minDelayTarget":30,"maxDelayTarget":20}}',
        '{"healthyRetryPolicy":{"numRetries":3,"numNoDelayRetries":4}}',
        '{"healthyRetryPolicy":{"backoffFunction":"cubic"}}',
        '{"requestPolicy":{"headerContentType":"text/bogus"}}',
    ],
)
def test_a_wrong_delivery_policy_is_refused(world: World, listener: Endpoint, policy: str) -> None:
    arn = subscribe(world, world.topic(), listener.url)

    code = refused(
        world.sns.set_subscription_attributes,
        SubscriptionArn=arn,
        AttributeName="DeliveryPolicy",
        AttributeValue=policy,
    )

    assert code == "InvalidParameter"
