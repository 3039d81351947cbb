"""``def process(payload, message: Message)`` was taken for one with self: its payload was the subscriber."""

from __future__ import annotations

from typing import Any

import pytest

from megaflow.aws.sqs.subscribe import DataSubscriber, MessageSubscriber, SqsListener
from megaflow.errors import RegistrationError
from megaflow.messages.message import Message


def with_message(payload: Any, message: Message) -> None: ...


def with_message_by_keyword(payload: Any, *, message: Message) -> None: ...


def message_first(message: Message, payload: Any) -> None: ...


def nothing() -> None: ...


@pytest.mark.parametrize("process", [with_message, with_message_by_keyword, message_first, nothing])
def test_process_without_self_is_refused(process: Any) -> None:
    subscriber = type("Subscriber", (DataSubscriber,), {"process": process})

    with pytest.raises(RegistrationError, match=r"takes no self, or nothing else: write def process\(self, payload\)"):
        SqsListener().register_subscriber(subscriber)


def test_process_can_take_the_message_by_keyword_alone() -> None:
    received: list[Message] = []

    class Subscriber(MessageSubscriber):
        def process(self, *, message: Message) -> None:  # type: ignore[override]
            received.append(message)

    listener = SqsListener()
    listener.register_subscriber(Subscriber)
    listener.app.process("text")

    assert [message.payload for message in received] == ["text"]
