"""Needs: what an app needs of AWS, by its declarations, its handlers and its settings."""

from __future__ import annotations

import json
from typing import Any

import pytest

from megaflow import App, ConfigurationError, Message
from megaflow.match.filters import from_sns_filter_policy
from megaflow.provision import DeadLetterQueue, Queue, Topic
from megaflow.provision.needs import NeededRedrive, Needs, join_needs, longest_handling, needs_of


def attributes_of(app: App, name: str = "orders") -> dict[str, str]:
    return dict(needs_of(app).queue(name).attributes)


def test_a_name_alone_needs_a_queue_and_its_dead_letter_queue() -> None:
    needs = needs_of(App(queue="orders"))

    assert [queue.name for queue in needs.queues] == ["orders-dead", "orders"]
    assert attributes_of(App(queue="orders")) == {"VisibilityTimeout": "30"}
    assert dict(needs.queue("orders-dead").attributes) == {"MessageRetentionPeriod": "1209600"}
    assert needs.queue("orders").redrive == NeededRedrive("orders-dead", 5)
    assert needs.queue("orders-dead").sources == ("orders",)
    assert [queue.name for queue in needs.consumed] == ["orders"]


def test_all_that_is_declared_is_needed() -> None:
    queue = Queue(
        "orders",
        fifo=True,
        visibility_timeout=120,
        retention=86_400,
        dead_letter_queue=DeadLetterQueue(max_receive_count=3, name="failed", retention=100_000),
        encryption="alias/orders",
        content_based_deduplication=False,
    )

    needs = needs_of(App(queue=queue))

    assert dict(needs.queue("orders.fifo").attributes) == {
        "FifoQueue": "true",
        "ContentBasedDeduplication": "false",
        "VisibilityTimeout": "120",
        "MessageRetentionPeriod": "86400",
        "KmsMasterKeyId": "alias/orders",
    }
    assert needs.queue("orders.fifo").redrive == NeededRedrive("failed.fifo", 3)
    assert dict(needs.queue("failed.fifo").attributes) == {
        "FifoQueue": "true",
        "MessageRetentionPeriod": "100000",
        "KmsMasterKeyId": "alias/orders",
    }


def test_encryption_by_sqs_itself_is_an_attribute_of_both_queues() -> None:
    app = App(queue=Queue("orders", encryption="sqs"))

    assert attributes_of(app)["SqsManagedSseEnabled"] == "true"
    assert attributes_of(app, "orders-dead")["SqsManagedSseEnabled"] == "true"


def test_a_queue_may_do_without_dead_letters() -> None:
    needs = needs_of(App(queue=Queue("orders", dead_letter_queue=None)))

    assert [queue.name for queue in needs.queues] == ["orders"]
    assert needs.queue("orders").redrive is None


def test_the_dead_letter_queue_is_the_one_that_megaflow_sends_to() -> None:
    url = "https://sqs.eu-west-1.amazonaws.com/123456789012/failed"

    needs = needs_of(App(queue="orders", dead_letter_queue_url=url))

    assert needs.queue("orders").redrive == NeededRedrive("failed", 5)
    with pytest.raises(ConfigurationError, match="is the queue itself"):
        needs_of(App(queue="failed", dead_letter_queue_url=url))


def test_the_visibility_timeout_is_as_long_as_the_slowest_handler() -> None:
    quick, slow, batches, endless = (App(queue="orders", visibility_timeout=20) for _ in range(4))

    @quick.on_text(timeout=5)
    def soon(text: str) -> None: ...

    @slow.on_text(timeout=44.5)
    def late(text: str) -> None: ...

    @batches.on_data(timeout=44.5, batch_size=10, batch_seconds=10)
    def together(many: list[dict[str, Any]]) -> None: ...

    @endless.on_text(timeout=100_000)
    def never(text: str) -> None: ...

    assert [attributes_of(app)["VisibilityTimeout"] for app in (quick, slow, batches, endless)] == [
        "20",
        "45",
        "55",
        "43200",
    ]
    assert longest_handling(batches) == 54.5
    assert longest_handling(App()) is None


def test_a_subscription_has_the_filter_of_the_handlers() -> None:
    app = App(queue=Queue("orders", subscribe=[Topic("shop", json_only=True), Topic("legacy")]))

    @app.on_data({"type": "order"})
    def order(data: dict[str, Any]) -> None: ...

    needs = needs_of(app)
    filtered, whole = needs.subscriptions

    assert (filtered.topic, filtered.queue) == ("shop", "orders")
    assert filtered.attributes == {
        "RawMessageDelivery": "true",
        "FilterPolicy": json.dumps({"type": ["order"]}),
        "FilterPolicyScope": "MessageBody",
    }
    assert whole.filter_policy is None
    assert "BSON" in whole.reason
    assert whole.attributes == {"RawMessageDelivery": "true"}
    assert needs.queue("orders").topics == ("shop", "legacy")
    assert [topic.name for topic in needs.topics] == ["shop", "legacy"]


def test_a_filter_for_attributes_is_one() -> None:
    app = App(queue=Queue("orders", subscribe=["shop"]))

    @app.on_message(from_sns_filter_policy({"tenant": ["acme"]}, scope="MessageAttributes"))
    def bill(message: Message) -> None: ...

    (subscription,) = needs_of(app).subscriptions

    assert (subscription.filter_policy, subscription.filter_scope) == ({"tenant": ["acme"]}, "MessageAttributes")


@pytest.mark.parametrize("unmatched", ["keep", "dead_letter"])
def test_an_app_that_wants_what_nobody_handles_gets_no_filter(unmatched: Any) -> None:
    app = App(queue=Queue("orders", subscribe=[Topic("shop", json_only=True)]), unmatched=unmatched)

    @app.on_data({"type": "order"})
    def order(data: dict[str, Any]) -> None: ...

    (subscription,) = needs_of(app).subscriptions

    assert subscription.filter_policy is None
    assert unmatched in subscription.reason


def test_what_the_app_publishes_to_is_needed_once() -> None:
    topic = Topic("shop", fifo=True, encryption="alias/shop")
    app = App(queue=Queue("orders", fifo=True, subscribe=[Topic("shop.fifo")]), topic=topic)

    (needed,) = needs_of(app).topics

    assert dict(needed.attributes) == {
        "FifoTopic": "true",
        "ContentBasedDeduplication": "true",
        "KmsMasterKeyId": "alias/shop",
    }


def test_an_app_that_declares_nothing_needs_nothing_unless_it_is_taken_by_its_addresses() -> None:
    app = App(
        "https://sqs.eu-west-1.amazonaws.com/123456789012/orders.fifo", "arn:aws:sns:eu-west-1:123456789012:shop.fifo"
    )

    assert needs_of(app) == Needs()
    assert needs_of(app, by_address=True) == needs_of(App(queue="orders.fifo", topic="shop.fifo"))


def test_several_apps_share_topics_and_dead_letter_queues() -> None:
    one = App(queue=Queue("one", dead_letter_queue=DeadLetterQueue(name="failed"), subscribe=["shop"]))
    other = App(queue=Queue("other", dead_letter_queue=DeadLetterQueue(name="failed"), subscribe=["shop"]))

    needs = join_needs({"one:app": needs_of(one), "other:app": needs_of(other)})

    assert [queue.name for queue in needs.queues] == ["failed", "one", "other"]
    assert needs.queue("failed").sources == ("one", "other")
    assert [topic.name for topic in needs.topics] == ["shop"]
    assert [(each.topic, each.queue) for each in needs.subscriptions] == [("shop", "one"), ("shop", "other")]


def test_an_app_may_consume_the_dead_letters_of_another() -> None:
    app = App(queue="orders")
    undertaker = App(queue=Queue("orders-dead", dead_letter_queue=DeadLetterQueue(name="hopeless")))

    needs = join_needs({"undertaker": needs_of(undertaker), "app": needs_of(app)})

    assert [queue.name for queue in needs.queues] == ["hopeless", "orders-dead", "orders"]
    assert needs.queue("orders-dead").redrive == NeededRedrive("hopeless", 5)
    assert dict(needs.queue("orders-dead").attributes) == {
        "MessageRetentionPeriod": "1209600",
        "VisibilityTimeout": "30",
    }


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        (App(queue="orders"), App(queue="orders"), "one and other both consume the queue orders"),
        (
            App(topic=Topic("shop.fifo")),
            App(topic=Topic("shop.fifo", content_based_deduplication=False)),
            "the topic shop.fifo is declared twice, with ContentBasedDeduplication true and false",
        ),
        (
            App(queue=Queue("one", dead_letter_queue=DeadLetterQueue(name="failed"))),
            App(queue=Queue("other", dead_letter_queue=DeadLetterQueue(name="failed", retention=60))),
            "the queue failed is declared twice, with MessageRetentionPeriod 1209600 and 60",
        ),
        (
            App(queue=Queue("one", dead_letter_queue=DeadLetterQueue(name="other"))),
            App(queue=Queue("other", dead_letter_queue=DeadLetterQueue(name="one"))),
            "other and one are dead-letter queues of each other",
        ),
    ],
)
def test_what_contradicts_itself_is_refused(one: App, other: App, said: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        join_needs({"one": needs_of(one), "other": needs_of(other)})

    assert said in str(refused.value)
