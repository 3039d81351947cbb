"""What a middleware put in the place of a batch's payload was not what the handler got, and no error said so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from megaflow import App, Handler, Message, PartialFailure
from megaflow.processing.middleware import Call
from megaflow.testing import TestClient


def app_with(change: Callable[[Any], Any]) -> App:
    app = App(retry_on=())

    @app.use
    def put(call_next: Call) -> Call:
        def call(handler: Handler, message: Message) -> object:
            return call_next(handler, replace(message, payload=change(message.payload)))

        return call

    return app


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_a_batch_handler_gets_what_middleware_has_made_of_the_payload(is_async: bool) -> None:
    app, got = app_with(lambda texts: [text.upper() for text in texts]), []

    def store(messages: list[Message], texts: list[str]) -> None:
        got.append((texts, [message.payload for message in messages]))

    async def astore(messages: list[Message], texts: list[str]) -> None:
        store(messages, texts)

    app.on_text(batch_size=2)(astore if is_async else store)

    with TestClient(app) as client:
        client.publish_batch(["a", "b"])

        assert got == [(["A", "B"], ["a", "b"])]


@pytest.mark.parametrize(
    "change", [lambda texts: texts[1:], lambda texts: None, iter], ids=["fewer", "none", "iterator"]
)
def test_a_list_in_which_places_would_mean_others_is_refused(change: Callable[[Any], Any]) -> None:
    app = app_with(change)

    @app.on_text(batch_size=2)
    def store(texts: list[str]) -> None:
        raise PartialFailure({0: ValueError("it is bad")})

    with TestClient(app) as client:
        client.publish_batch(["good", "bad"])

        assert [message.payload for message in client.kept] == ["good", "bad"]
        assert {"UsageError"} == {type(handled.error).__name__ for handled in client.handled}
