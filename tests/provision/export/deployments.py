"""Deployments for tests: apps of many kinds, each as a team would write it."""

from __future__ import annotations

from typing import Any, Final

from megaflow import App, DynamoDbStore
from megaflow.match.functions import one_of
from megaflow.provision import DeadLetterQueue, Queue, Topic
from megaflow.provision.export.deployment import Deployment, deploy

REGION: Final = "eu-west-1"
NUMBER: Final = "123456789012"
HERE: Final = {"region": REGION, "account_id": NUMBER}
URL: Final = f"https://sqs.{REGION}.amazonaws.com/{NUMBER}/orders"
TOPIC: Final = f"arn:aws:sns:{REGION}:{NUMBER}:shop"


def name_alone() -> App:
    return App(queue="orders", retry_on=())


def everything() -> App:
    """An app that declares all that can be declared, and has handlers from which a filter follows."""
    app = App(
        queue=Queue(
            "orders",
            visibility_timeout=120,
            retention=86_400,
            dead_letter_queue=DeadLetterQueue(max_receive_count=3, name="failed", retention=100_000),
            encryption="alias/orders",
            subscribe=[Topic("shop", json_only=True), Topic("returns", json_only=True, encryption="alias/returns")],
        ),
        topic=Topic("shipped", encryption="alias/shipped"),
        progress=DynamoDbStore("orders-progress"),
        shutdown_timeout=55.5,
        concurrency=20,
        retry_on=(),
    )
    app.on_data({"type": "order", "currency": one_of("EUR", "USD"), "%{y}": "${x} $z"})(print)
    return app


def fifo() -> App:
    app = App(queue=Queue("carts.fifo", subscribe=[Topic("shop", fifo=True, json_only=True)]), topic="shop.fifo")
    app.on_event(domain="cart", name="item.added")(print)
    return app


def other_fifo() -> App:
    """An app that shares the topic of `fifo`."""
    app = App(queue=Queue("mails", fifo=True, subscribe=["shop.fifo"]), topic="shop.fifo", retry_on=())
    app.on_event(name="item.added")(print)
    return app


def by_address() -> App:
    return App(URL, TOPIC, dead_letter_queue_url=f"{URL}-failed", retry_on=())


def odd_names() -> App:
    """An app with names that are alike, once what a template cannot have is left out."""
    return App(
        queue=Queue("eu-orders", subscribe=["a_b", "a-b", "ab", "A-b", "1a", "eu"]),
        topic="eu-orders",
        progress=DynamoDbStore("eu.orders"),
        idempotency=DynamoDbStore("eu_orders"),
        retry_on=(),
    )


def make(**apps: App) -> Deployment:
    return deploy({f"{name}.py:app": app for name, app in apps.items()}, **HERE)


def deployments() -> dict[str, Deployment]:
    return {
        "a name alone": make(shop=name_alone()),
        "everything": make(shop=everything()),
        "a FIFO pair on one topic": make(carts=fifo(), mails=other_fifo()),
        "by address": make(shop=by_address()),
        "odd names": make(shop=odd_names()),
    }


DEPLOYMENTS: Final[dict[str, Any]] = deployments()
