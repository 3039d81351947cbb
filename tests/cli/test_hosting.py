"""Queues and topics that ``megaflow dev`` makes for apps: as they are declared, where they are."""

from __future__ import annotations

import json
from typing import Any

import pytest

from megaflow import App, ConfigurationError
from megaflow.cli.hosting import host
from megaflow.local.server import Server
from megaflow.provision import DeadLetterQueue, Queue, Topic
from megaflow.provision.making import Provisioner
from megaflow.provision.needs import needs_of

TOPIC = Topic("shop", json_only=True)


def make_app(**options: Any) -> App:
    app = App(**options)

    @app.on_data({"type": "order"})
    def order(data: dict[str, Any]) -> None: ...

    return app


def subscriptions(sns: Any) -> dict[str, dict[str, str]]:
    """Return the attributes of each subscription, by the names of topic and queue."""
    found = {}
    for each in sns.list_subscriptions()["Subscriptions"]:
        attributes = sns.get_subscription_attributes(SubscriptionArn=each["SubscriptionArn"])["Attributes"]
        names = (each[part].rpartition(":")[2] for part in ("TopicArn", "Endpoint"))
        found[" to ".join(names)] = attributes
    return found


@pytest.fixture
def sns(server: Server) -> Any:
    from boto3 import client

    return client("sns", endpoint_url=server.url, region_name="us-east-1", **KEYS)


KEYS = {"aws_access_key_id": "any", "aws_secret_access_key": "any"}


def test_what_is_declared_is_made_and_changes_with_the_code(server: Server, sqs: Any, sns: Any) -> None:
    app = make_app(queue=Queue("orders", subscribe=[TOPIC]), topic=TOPIC)

    hosted = host({"shop.py": app}, server.url)["shop.py"]

    assert list(Provisioner(sqs, sns).provision(needs_of(app))) == []
    assert hosted.queue_url.endswith("/orders")
    assert str(hosted.dead_letter_queue_url).endswith("/orders-dead")
    assert (hosted.topic_arn.endswith(":shop"), hosted.publishes_to_topic) == (True, True)
    assert list(subscriptions(sns)) == ["shop to orders"]

    changed = App(queue=Queue("orders", subscribe=[TOPIC], dead_letter_queue=DeadLetterQueue(max_receive_count=9)))
    changed.on_data({"type": "invoice"})(lambda data: None)
    host({"shop.py": changed}, server.url)

    assert list(Provisioner(sqs, sns).provision(needs_of(changed))) == []
    assert json.loads(subscriptions(sns)["shop to orders"]["FilterPolicy"]) == {"type": ["invoice"]}


def test_a_topic_that_is_subscribed_to_is_where_to_publish(server: Server, sns: Any) -> None:
    hosted = host({"shop.py": make_app(queue=Queue("orders", subscribe=[TOPIC]))}, server.url)["shop.py"]

    assert (hosted.topic_arn.endswith(":shop"), hosted.publishes_to_topic) == (True, False)
    assert [each["TopicArn"].rpartition(":")[2] for each in sns.list_topics()["Topics"]] == ["shop"]


def test_a_queue_that_says_nothing_of_topics_gets_them_all(server: Server, sns: Any) -> None:
    apps = {
        "one.py": make_app(queue=Queue("one", subscribe=[TOPIC])),
        "two.py": make_app(queue="two", topic="events"),
        "three.py": make_app(),
    }

    hosted = host(apps, server.url)

    assert set(subscriptions(sns)) == {
        "shop to one",
        "shop to two",
        "shop to three",
        "events to two",
        "events to three",
        "shared to two",
        "shared to three",
    }
    assert hosted["two.py"].topic_arn.endswith(":events")
    assert hosted["three.py"].topic_arn.endswith(":shared")


def test_every_topic_is_let_in_without_a_warning(server: Server, sns: Any) -> None:
    apps = {
        "one.py": make_app(queue=Queue("one", subscribe=[TOPIC])),
        "two.py": make_app(queue="two", topic="events"),
        "three.py": make_app(),
    }
    for _ in range(2):
        host(apps, server.url)
    for each in sns.list_topics()["Topics"]:
        sns.publish(**each, Message="{}")

    assert list(server.account.warnings) == []
    assert len(server.account.peek("two")) == 3


def test_fifo_and_no_dead_letters(server: Server, sqs: Any) -> None:
    app = make_app(queue=Queue("orders", fifo=True, dead_letter_queue=None, content_based_deduplication=False))

    hosted = host({"shop.py": app}, server.url)["shop.py"]

    assert hosted.dead_letter_queue_url is None
    assert hosted.topic_arn.endswith(":orders.fifo")
    assert [url.rpartition("/")[2] for url in sqs.list_queues()["QueueUrls"]] == ["orders.fifo"]
    answer = sqs.get_queue_attributes(QueueUrl=hosted.queue_url, AttributeNames=["All"])
    assert answer["Attributes"]["ContentBasedDeduplication"] == "false"


def test_a_dead_letter_queue_that_the_app_names_is_there_too(server: Server) -> None:
    url = "https://sqs.eu-west-1.amazonaws.com/424566909325/lost"
    own = Queue("orders", dead_letter_queue=DeadLetterQueue(name="failed"))

    hosted = host({"shop.py": make_app(queue=own, dead_letter_queue_url=url)}, server.url)["shop.py"]

    assert str(hosted.dead_letter_queue_url).endswith("/lost")


def test_what_contradicts_itself_is_refused(server: Server) -> None:
    with pytest.raises(ConfigurationError, match="both consume the queue orders"):
        host({"one.py": make_app(queue="orders"), "two.py": make_app(queue="orders")}, server.url)


def test_what_cannot_be_made_is_said(server: Server, sqs: Any) -> None:
    sqs.delete_queue(QueueUrl=sqs.create_queue(QueueName="orders")["QueueUrl"])

    with pytest.raises(ConfigurationError, match="the queue orders cannot be made as it is declared: a queue of this"):
        host({"shop.py": make_app(queue="orders")}, server.url)
