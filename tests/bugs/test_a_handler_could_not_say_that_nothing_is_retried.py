"""`retry_on=()` on a decorator "says that none is worth another try", and took nothing away from the app's `retry_on`.

What a handler names adds to what the app names, so that one error of its own does not turn outages into dead letters;
``()`` says that nothing is retried there.
"""

from __future__ import annotations

from typing import Any

import pytest

from megaflow import App, ProcessStatus, RetryLater, Router
from megaflow.aws.sqs.subscribe import MessageSubscriber, SqsListener
from megaflow.messages.message import Message
from megaflow.testing import TestClient


def fail(payload: object) -> None:
    raise ConnectionError


def status_of(app: App) -> ProcessStatus:
    (status,) = app.process("ping").statuses.values()
    return status


@pytest.mark.parametrize(
    ("retry_on", "status"),
    [
        ((), ProcessStatus.FATAL_ERROR),
        ([], ProcessStatus.FATAL_ERROR),
        (None, ProcessStatus.RETRIABLE_ERROR),
        (KeyError, ProcessStatus.RETRIABLE_ERROR),
    ],
)
def test_a_handler_says_that_nothing_is_retried(retry_on: Any, status: ProcessStatus) -> None:
    app = App(retry_on=ConnectionError)
    app.on_text(retry_on=retry_on)(fail)

    assert status_of(app) is status


def test_it_is_said_for_that_handler_alone() -> None:
    app = App(retry_on=ConnectionError)
    app.on_text(handler_name="never", retry_on=())(fail)
    app.on_text(handler_name="again")(lambda payload: fail(payload))

    verdict = app.process("ping")

    said = {handler.name: status for handler, status in verdict.statuses.items()}
    assert said == {"never": ProcessStatus.FATAL_ERROR, "again": ProcessStatus.RETRIABLE_ERROR}
    assert verdict.keeps


def test_a_router_says_it_before_it_knows_the_app() -> None:
    router = Router()
    router.on_text(retry_on=())(fail)

    assert status_of(App(retry_on=Exception).include(router)) is ProcessStatus.FATAL_ERROR


def test_a_subscriber_class_says_it() -> None:
    class Never(MessageSubscriber):
        retry_on = ()

        def process(self, payload: Message) -> None:
            raise ConnectionError

    listener = SqsListener(retry_on=ConnectionError)
    listener.register_subscriber(Never)

    assert status_of(listener.app) is ProcessStatus.FATAL_ERROR


def test_the_consumer_dead_letters_at_once() -> None:
    app = App(retry_on=ConnectionError)
    app.on_text(retry_on=())(fail)

    with TestClient(app) as client:
        client.publish("ping")

        assert client.app.metrics.snapshot()["dead_lettered"] == 1


def test_what_asks_for_another_try_by_itself_still_gets_it() -> None:
    app = App(retry_on=ConnectionError)

    @app.on_text(retry_on=())
    def wait(text: str) -> None:
        raise RetryLater

    assert status_of(app) is ProcessStatus.RETRY_LATER
