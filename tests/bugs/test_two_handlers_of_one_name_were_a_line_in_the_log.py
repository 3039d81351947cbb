"""An app with a store and two handlers of one name looked well in a test: its messages were never handled.

What said why was a line in the log, at the first message.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from megaflow import App, MemoryStore, RegistrationError
from megaflow.testing import TestClient


def register_alike(app: App, name: str = "alike") -> None:
    @app.on_text(handler_name=name)
    def one(text: str) -> None: ...

    @app.on_text(handler_name=name)
    def another(text: str) -> None: ...


def call_lambda(app: App) -> None:
    record = {"messageId": "a", "body": "ping", "receiptHandle": "a", "attributes": {}, "messageAttributes": {}}
    arn = "arn:aws:sqs:eu-west-1:123456789012:q"
    app.lambda_handler()({"Records": [record | {"eventSource": "aws:sqs", "eventSourceARN": arn}]})


WAYS: dict[str, Callable[[App], Any]] = {
    "TestClient": lambda app: TestClient(app).__enter__(),
    "run": App.run,
    "process": lambda app: app.process("ping"),
    "check": App.check,
    "explain": lambda app: app.explain("ping"),
    "lambda": call_lambda,
}


@pytest.mark.parametrize("way", WAYS)
def test_it_is_refused_before_any_message(way: str) -> None:
    app = App("http://localhost/123456789012/q", region_name="eu-west-1", progress=MemoryStore())
    register_alike(app)

    with pytest.raises(RegistrationError, match=r"two handlers are named alike .* give one of them handler_name="):
        WAYS[way](app)


def test_it_is_refused_in_a_test_that_registers_them_late() -> None:
    app = App(progress=MemoryStore())
    with TestClient(app) as client:
        register_alike(app)

        with pytest.raises(RegistrationError, match="two handlers are named alike"):
            client.publish("ping")


def test_it_is_refused_in_a_test_where_a_handler_registers_them() -> None:
    app = App(progress=MemoryStore())

    @app.on_text("register")
    def register(text: str) -> None:
        register_alike(app)

    with TestClient(app) as client, pytest.raises(RegistrationError, match="two handlers are named alike"):
        client.publish_batch(["register", "ping"])


def test_a_key_without_a_store_is_refused_too() -> None:
    app = App()
    app.on_text(idempotency_key=lambda text: text)(lambda text: None)

    with pytest.raises(RegistrationError, match="has an idempotency_key, and the app has no store"):
        TestClient(app).__enter__()
    with TestClient(app, idempotency=MemoryStore()) as client:
        client.publish("ping")

        assert len(client.deleted) == 1


def test_two_of_one_name_do_without_a_store() -> None:
    app = App()
    register_alike(app)

    with TestClient(app) as client:
        client.publish("ping")

        client.assert_handled("alike", times=2)
