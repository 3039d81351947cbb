"""Attributes forwarded from a received message brought its megaflow-id along, and an inbox took all for one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session

from megaflow import App, Message, Outgoing
from megaflow.testing import TestClient
from tests.sql.banks import charge, sqlite_bank

WAYS: dict[str, Callable[[App, list[str], Any], object]] = {
    "publish": lambda app, texts, attributes: [app.publish(each, attributes=attributes) for each in texts],
    "batch": lambda app, texts, attributes: app.publish_batch(texts, attributes=attributes),
    "stream": lambda app, texts, attributes: list(
        app.publish_stream(Outgoing(each, attributes=attributes) for each in texts)
    ),
    "raw": lambda app, texts, attributes: list(app.publish_stream(texts, raw=True, attributes=attributes)),
}


@pytest.mark.parametrize("way", WAYS)
def test_each_of_what_a_handler_makes_of_a_message_is_handled(tmp_path: Path, way: str) -> None:
    bank = sqlite_bank(tmp_path)
    app = App("https://sqs.eu-west-1.amazonaws.com/123456789012/orders", retry_on=ConnectionError)
    app.provide(Session, bank.inbox())
    seen: list[Any] = []

    @app.on_data({"type": "order"})
    def split(order: dict[str, Any], message: Message) -> None:
        WAYS[way](app, order["items"], message.attributes)

    @app.on_text()
    def charge_item(text: str, session: Session, message: Message) -> None:
        seen.append(message.attributes)
        charge(session, text)

    with TestClient(app) as client:
        client.publish({"type": "order", "items": ["a", "b"]}, attributes={"megaflow-id": "order 7", "tenant": "acme"})

    assert bank.charged() == ["a", "b"]
    assert seen == [{"tenant": "acme"}] * 2
    bank.engine.dispose()


def test_one_of_its_own_goes_with_it(tmp_path: Path) -> None:
    app = App("https://sqs.eu-west-1.amazonaws.com/123456789012/orders", retry_on=ConnectionError)
    seen: list[Any] = []

    @app.on_data({"type": "order"})
    def split(order: dict[str, Any], message: Message) -> None:
        app.publish("a", attributes={"megaflow-id": "order 7, item a"})

    @app.on_text()
    def note(text: str, message: Message) -> None:
        seen.append(message.attributes)

    with TestClient(app) as client:
        client.publish({"type": "order"}, attributes={"megaflow-id": "order 7"})

    assert seen == [{"megaflow-id": "order 7, item a"}]
