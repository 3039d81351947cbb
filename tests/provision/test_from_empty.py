"""From an empty account: what apps declare is made, and then what is published to the topic is handled."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from megaflow import App, Payload, PayloadBuilder
from megaflow.match.functions import empty, gt, not_, one_of
from megaflow.provision import Queue, Topic
from megaflow.provision.needs import needs_of
from tests.consuming import run_until
from tests.provision.conftest import Place

Done = Callable[[], None]


def order_app(here: dict[str, Any], done: Done) -> tuple[App, list[Any]]:
    """Return the app of the README, and what is published to it: what it handles last."""
    app = make_app(here)

    @app.on_data({"kind": "order", "total": gt(100)})
    def ship(order: dict[str, Any]) -> None:
        done()

    return app, [{"kind": "refund"}, {"kind": "order", "id": 7, "total": 120}]


def cart_app(here: dict[str, Any], done: Done) -> tuple[App, list[Any]]:
    """Return the shopping cart, and what is published to it."""
    app = make_app(here)

    @app.on_event(
        domain="shopping_cart",
        name="item.added",
        version=one_of(1, 2),
        attributes={"item_id": not_(empty()), "quantity": gt(0)},
    )
    def reserve_stock(payload: Payload) -> None:
        done()

    @app.on_data({"type": "user_notification", "user": {"id": gt(0)}})
    def notify(data: dict[str, Any]) -> None: ...

    added = PayloadBuilder().with_event(domain="shopping_cart", name="item.added", item_id="61fcc874", quantity=5)
    removed = PayloadBuilder().with_event(domain="users", name="user.created", user_id=7)
    return app, [removed.build(), {"type": "user_notification", "user": {"id": 7}}, added.build()]


def make_app(here: dict[str, Any]) -> App:
    topic = Topic("shop", json_only=True)
    return App(queue=Queue("orders", subscribe=[topic]), topic=topic, retry_on=ConnectionError, **here)


@pytest.mark.parametrize("make", [order_app, cart_app])
def test_what_was_made_works_and_is_the_same(embedded: Place, make: Any) -> None:
    done = threading.Event()
    here = {"endpoint_url": embedded.sqs.meta.endpoint_url, "region_name": "eu-west-1"}
    app, payloads = make({**here, "aws_access_key_id": "any", "aws_secret_access_key": "any"}, done.set)

    embedded.apply(needs_of(app))
    for payload in payloads:
        app.publish(payload)
    run_until(app, done)

    assert app.metrics.snapshot()["received"] == len(payloads) - 1  # the filter has kept the first one away
    assert app.metrics.snapshot()["unmatched"] == 0
    assert embedded.compare(needs_of(app)) == []
