"""A key was ``f"{handler} {key}"`` in the store: handler ``charge`` with ``card 5`` blocked ``charge card`` with ``5``.

Two services whose handlers have one name, ``__main__.charge``, blocked each other in one table.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from megaflow import App, Message, SqliteStore
from megaflow.messages.message import open_message
from megaflow.stores import Store

ORDERS = "https://sqs.eu-west-1.amazonaws.com/123456789012/orders"
REFUNDS = "https://sqs.eu-west-1.amazonaws.com/123456789012/refunds"


@pytest.fixture
def store(tmp_path: Any) -> Any:
    store = SqliteStore(tmp_path / "keys.db")
    yield store
    store.close()


def make(store: Store, name: str, key: str) -> tuple[App, list[str]]:
    app, ran = App(idempotency=store), []

    @app.on_text(handler_name=name, idempotency_key=lambda text: key)
    def handle(text: str, message: Message) -> None:
        ran.append(message.id)

    return app, ran


def message(id: str, queue: str = ORDERS) -> Message:
    return replace(open_message("ping"), id=id, queue_url=queue)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("charge", "card 5"), ("charge card", "5")),
        (("charge", ""), ("charge ", "")),
        (("charge", "5"), ("notify", "5")),
        (("charge", "\ud800\udc00"), ("charge", "\U00010000")),
        (("charge", "x" * 100_000), ("charge", "x" * 100_001)),
        (("charge", "a\0b"), ("charge", "a")),
    ],
)
def test_what_is_not_one_handler_and_one_key_is_two(store: Store, one: tuple[str, str], other: tuple[str, str]) -> None:
    (first, ran_first), (second, ran_second) = make(store, *one), make(store, *other)
    for app, id in ((first, "a"), (second, "b"), (first, "c"), (second, "d")):
        assert app.process(message(id)).deletes

    assert (ran_first, ran_second) == (["a"], ["b"])


def test_two_services_with_handlers_of_one_name_have_keys_of_their_own(store: Store) -> None:
    orders, ran_orders = make(store, "__main__.charge", "5")
    refunds, ran_refunds = make(store, "__main__.charge", "5")

    orders.process(message("a", ORDERS))
    refunds.process(message("b", REFUNDS))
    refunds.process(message("c", REFUNDS))

    assert (ran_orders, ran_refunds) == (["a"], ["b"])


def test_what_an_app_is_given_without_a_queue_has_the_keys_of_its_own(store: Store) -> None:
    app, ran = App(ORDERS, idempotency=store), []

    @app.on_text(handler_name="charge", idempotency_key=lambda text: text)
    def charge(text: str) -> None:
        ran.append(text)

    app.process(message("a"))
    app.process("ping")
    with app.connected(REFUNDS):
        app.process("ping")

    assert ran == ["ping", "ping"]


def test_a_key_is_the_same_whatever_form_the_address_of_the_queue_has(store: Store) -> None:
    app, ran = make(store, "charge", "5")

    for id, url in (
        ("a", ORDERS),
        ("b", "https://eu-west-1.queue.amazonaws.com/123456789012/orders"),
        ("c", "https://vpce-0a1b2c3d-ab12.sqs.eu-west-1.vpce.amazonaws.com/123456789012/orders"),
    ):
        app.process(message(id, url))

    assert ran == ["a"]
