"""`TestClient` with an app that declares its queue and its topic: all is as it is declared."""

from __future__ import annotations

from typing import Any

import pytest

from megaflow import App, RetryLater
from megaflow.errors import ConfigurationError
from megaflow.provision import DeadLetterQueue, Queue, Topic
from megaflow.provision.making import Provisioner
from megaflow.provision.needs import needs_of
from megaflow.testing import TestClient


def make_app(**options: Any) -> App:
    topic = Topic("shop", json_only=True)
    queue = options.pop("queue", Queue("orders", subscribe=[topic]))
    app = App(queue=queue, **{"topic": topic, **options})

    @app.on_data({"type": "order"})
    def order(data: dict[str, Any]) -> None:
        if data.get("late"):
            raise RetryLater

    return app


def test_nothing_is_left_to_make() -> None:
    app = make_app()

    with TestClient(app) as client:
        assert list(Provisioner(client.sqs, client.sns).provision(needs_of(app))) == []
        assert client.queue_url.endswith("/orders")
        assert client.dead_letter_queue_url.endswith("/orders-dead")


def test_what_the_filter_keeps_away_does_not_come() -> None:
    with TestClient(make_app()) as client:
        client.publish({"type": "order"})
        client.publish({"type": "newsletter"})

        client.assert_handled("order", times=1)
        assert len(client.deleted) == 1


def test_a_topic_that_the_queue_does_not_subscribe_to_leads_nowhere() -> None:
    with TestClient(make_app(topic="elsewhere")) as client:
        client.publish({"type": "order"})
        client.assert_not_handled("order")

        client.sns.publish(TopicArn=str(client.app.topic_arn).replace("elsewhere", "shop"), Message='{"type": "order"}')
        client.run()
        client.assert_handled("order", times=1)


def test_a_queue_that_says_nothing_of_topics_gets_what_the_app_publishes() -> None:
    with TestClient(make_app(queue="orders")) as client:
        client.publish({"type": "order"})

        client.assert_handled("order", times=1)


def test_the_declared_receives_hold() -> None:
    queue = Queue("orders", dead_letter_queue=DeadLetterQueue(max_receive_count=2, name="failed"))

    with TestClient(make_app(queue=queue, topic=None)) as client:
        client.publish({"type": "order", "late": True})
        client.advance(60)

        client.assert_handled("order", times=2)
        assert [message.payload for message in client.dead_lettered] == [{"type": "order", "late": True}]
        assert "moved to failed by SQS" in client.explain()
        client.advance(60)
        assert len(client.dead_lettered) == 1
        assert client.dead_letter_queue_url.endswith("/failed")
        assert len(client.account.peek("failed")) == 1


def test_an_app_may_declare_that_there_are_no_dead_letters() -> None:
    with TestClient(make_app(queue=Queue("orders", dead_letter_queue=None), topic=None)) as client:
        client.publish({"type": "order"})

        assert client.dead_letter_queue_url == ""
        client.assert_handled("order")
        assert list(client.account.queues) == ["orders"]


def test_fifo_is_as_it_is_declared_unless_the_test_says_otherwise() -> None:
    topic = Topic("shop", fifo=True)
    app = make_app(queue=Queue("orders", fifo=True, subscribe=[topic]), topic=topic)

    with TestClient(app) as client:
        client.publish({"type": "order"}, group_id="a")
        assert client.queue_url.endswith("/orders.fifo")
        client.assert_handled("order", times=1)
    with TestClient(app, fifo=False) as client:
        client.publish({"type": "order"})
        assert client.queue_url.endswith("/orders")
        client.assert_handled("order", times=1)


def test_a_dead_letter_queue_that_the_app_names_is_the_one() -> None:
    url = "https://sqs.eu-west-1.amazonaws.com/424566909325/lost"

    with TestClient(make_app(dead_letter_queue_url=url)) as client:
        assert client.dead_letter_queue_url.endswith("/lost")
        assert sorted(client.account.queues) == ["lost", "orders"]
    both = Queue("orders", dead_letter_queue=DeadLetterQueue(name="failed"))
    with TestClient(make_app(queue=both, dead_letter_queue_url=url)) as client:
        assert client.dead_letter_queue_url.endswith("/lost")
        assert sorted(client.account.queues) == ["failed", "lost", "orders"]


def test_what_cannot_be_is_said() -> None:
    app = App(queue="lost", dead_letter_queue_url="https://sqs.eu-west-1.amazonaws.com/424566909325/lost")

    with pytest.raises(ConfigurationError, match="is the queue itself"), TestClient(app):
        pass
