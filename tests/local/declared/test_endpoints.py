"""Endpoints that are declared: a server posts to them once they have confirmed."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from megaflow.errors import ConfigurationError
from megaflow.local import Account, SnsClient, declare
from megaflow.local.clock import Clock
from megaflow.local.declared import document
from megaflow.local.file.store import Store
from megaflow.local.server import Server
from tests.endpoints import Endpoint, endpoint
from tests.local.declared.facts import subscriptions_of

TOPIC_ARN = "arn:aws:sns:us-east-1:000000000000:shop"
UNREACHED = "http://127.0.0.1:9/"


def declaring(*endpoints: object) -> dict[str, Any]:
    return {"queues": {"lost": {}}, "topics": {"shop": {"endpoints": list(endpoints)}}}


def everything(url: str) -> dict[str, Any]:
    return {
        "url": url,
        "raw_delivery": True,
        "filter_policy": {"kind": ["order"]},
        "filter_policy_scope": "MessageBody",
        "dead_letter_queue": "lost",
        "delivery_policy": {"healthyRetryPolicy": {"numRetries": 1}},
    }


def templated(url: object, **more: Any) -> dict[str, Any]:
    hook = {"TopicArn": {"Ref": "Shop"}, "Protocol": "http", "Endpoint": url, **more}
    return {
        "Resources": {
            "Shop": {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": "shop"}},
            "Lost": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "lost"}},
            "Hook": {"Type": "AWS::SNS::Subscription", "Properties": hook},
        }
    }


def every_property(url: str) -> dict[str, Any]:
    return templated(
        url,
        RawMessageDelivery=True,
        FilterPolicy={"kind": ["order"]},
        FilterPolicyScope="MessageBody",
        RedrivePolicy={"deadLetterTargetArn": {"Fn::GetAtt": "Lost.Arn"}},
        DeliveryPolicy={"healthyRetryPolicy": {"numRetries": 1}},
    )


def asked(made: Endpoint) -> int:
    return len(made.of_kind("SubscriptionConfirmation"))


@pytest.mark.parametrize("declared", [lambda url: declaring(everything(url)), every_property])
def test_an_endpoint_that_is_declared_confirms_and_is_posted_to(declared: Any) -> None:
    with endpoint() as made, Server(config=declared(made.url)) as server:
        made.confirm()
        sns = SnsClient(server.account)
        for kind in ("note", "order"):
            sns.publish(TopicArn=TOPIC_ARN, Message=json.dumps({"kind": kind}))
        (sent,) = made.wait_for_kind("Notification")
        (shown,) = subscriptions_of(sns).values()

    assert sent.body == '{"kind": "order"}'
    assert shown["PendingConfirmation"] == "false"
    assert json.loads(shown["DeliveryPolicy"]) == {"healthyRetryPolicy": {"numRetries": 1}}
    assert json.loads(shown["RedrivePolicy"])["deadLetterTargetArn"].endswith(":lost")


def test_the_example_has_every_word() -> None:
    assert set(everything("")) == set(document.ENDPOINT_KEYS)


@pytest.mark.parametrize("written", [lambda url: url, lambda url: {"url": url}])
def test_a_url_says_enough(written: Any) -> None:
    with endpoint() as made, Server(config=declaring(written(made.url))):
        made.confirm()


def test_a_subscription_within_a_topic_of_a_template_is_posted_to() -> None:
    with endpoint() as made:
        within = {"Subscription": [{"Protocol": "http", "Endpoint": made.url}]}
        with Server(config={"Resources": {"Shop": {"Type": "AWS::SNS::Topic", "Properties": within}}}):
            made.confirm()


def test_whoever_has_confirmed_is_not_asked_again_and_others_are(tmp_path: Path) -> None:
    with endpoint("/ready") as ready, endpoint("/late") as late:
        config = declaring(ready.url, late.url)
        for count in (1, 2):
            account = Account(clock=Clock())
            with closing(Store(tmp_path / "queue.db")) as store:
                store.load(account)
                with Server(account, config=config):
                    late.wait_for_kind("SubscriptionConfirmation", count)
                    if count == 1:
                        ready.confirm()

        assert asked(ready) == 1
        assert len(SnsClient(account).list_subscriptions()["Subscriptions"]) == 2


def test_what_is_declared_otherwise_changes_a_subscription_that_was_confirmed() -> None:
    with endpoint() as made, Server(config=declaring(everything(made.url))) as server:
        made.confirm()
        declare(server.account, declaring(made.url))
        (shown,) = subscriptions_of(SnsClient(server.account)).values()

    assert {"FilterPolicy", "RedrivePolicy", "DeliveryPolicy"}.isdisjoint(shown)
    assert shown["PendingConfirmation"] == "false"
    assert asked(made) == 1


def test_one_that_was_ended_by_a_link_is_asked_again() -> None:
    with endpoint() as made, Server(config=(config := declaring(made.url))) as server:
        made.confirm()
        SnsClient(server.account).publish(TopicArn=TOPIC_ARN, Message="hello")
        urlopen(made.wait_for_kind("Notification")[0].fields["UnsubscribeURL"]).close()
        declare(server.account, config)

        made.wait_for_kind("SubscriptionConfirmation", 2)


def test_one_that_nobody_confirmed_in_time_is_asked_again() -> None:
    with endpoint() as made, Server(config=(config := declaring(everything(made.url)))) as server:
        made.wait_for_kind("SubscriptionConfirmation")
        server.account.advance(3 * 24 * 3600)
        declare(server.account, config)

        made.wait_for_kind("SubscriptionConfirmation", 2)
        made.confirm()


def test_after_a_reset_they_are_asked_again() -> None:
    with endpoint() as made, Server(config=declaring(made.url)) as server:
        made.confirm()
        server.account.reset()

        made.wait_for_kind("SubscriptionConfirmation", 2)


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.com/",
        {"Fn::Sub": "http://${Api}.example.com/"},
        {"Ref": "HookUrl"},
        {"Fn::GetAtt": "Api.Url"},
    ],
)
def test_a_template_may_name_endpoints_that_are_not_posted_to(url: object, caplog: pytest.LogCaptureFixture) -> None:
    template = templated(url)
    template["Parameters"] = {"HookUrl": {"Type": "String"}}
    template["Resources"]["Api"] = {"Type": "AWS::ApiGatewayV2::Api"}
    with caplog.at_level(logging.WARNING), Server(config=template) as server:
        assert subscriptions_of(SnsClient(server.account)) == {}

    assert "AWS::SNS::Subscription of http to where --deliver-to does not lead (Hook)" in caplog.text


def test_without_a_server_a_template_has_no_endpoints(caplog: pytest.LogCaptureFixture) -> None:
    declare(account := Account(), templated(UNREACHED))

    assert subscriptions_of(SnsClient(account)) == {}
    assert "of http to where --deliver-to does not lead (Hook)" in caplog.text


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (declaring("http://hooks.example.com/"), r"topics.shop.endpoints\[0\]: .* --deliver-to hooks.example.com:80"),
        (declaring(UNREACHED, {"url": "http://"}), r"topics.shop.endpoints\[1\].url: .*it is no URL"),
        (declaring("ftp://127.0.0.1/"), r"endpoints\[0\]: it is no URL to post to: let it begin with http://"),
        (declaring({"raw_delivery": True}), r"endpoints\[0\]: it names nobody to post to: give url"),
        (declaring({"url": 7}), r"endpoints\[0\].url: it is no URL to post to"),
        (declaring({"url": UNREACHED, "DeliveryPolicy": {}}), r"endpoints\[0\].DeliveryPolicy: write delivery_policy"),
        (declaring({"url": UNREACHED, "delivery_policy": "x"}), r"endpoints\[0\].delivery_policy: "),
        (declaring({"url": UNREACHED, "dead_letter_queue": "none"}), "no queue none is declared"),
        (declaring(UNREACHED, {"url": UNREACHED}), r"endpoints\[1\]: topics.shop.endpoints\[0\] declares it, too"),
        ({"queues": {"a": {"subscribe": [{"topic": "b", "delivery_policy": {}}]}}, "topics": {"b": {}}}, "no such key"),
        ({"topics": {"a.fifo": {"endpoints": [UNREACHED]}}}, r'topics."a.fifo".endpoints\[0\]: .*FIFO SQS queue'),
        (templated("http:/x"), "Resources.Hook.Properties.Endpoint: .*must match the specified protocol"),
        (templated(UNREACHED, DeliveryPolicy="x"), "Resources.Hook.Properties.DeliveryPolicy: "),
    ],
)
def test_what_is_wrong_is_said_with_its_place(config: Mapping[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Server(config=config)


def test_without_a_server_nobody_posts() -> None:
    with pytest.raises(ConfigurationError, match="without its server"):
        declare(Account(), declaring(UNREACHED))
