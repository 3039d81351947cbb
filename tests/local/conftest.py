"""One account on a clock that moves when told to."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import pytest

from megaflow.local import Account, SnsClient, SqsClient


@dataclass
class Clock:
    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Shop:
    """An account with its two clients and its clock."""

    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.account = Account(clock=self.clock, random=random.Random(7))
        self.sqs = SqsClient(self.account)
        self.sns = SnsClient(self.account)

    def advance(self, seconds: float) -> None:
        self.clock.now += seconds
        self.account.wake()

    def queue(self, name: str = "orders", **attributes: str) -> str:
        url: str = self.sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        return url

    def fifo_queue(self, name: str = "orders.fifo", **attributes: str) -> str:
        return self.queue(name, FifoQueue="true", ContentBasedDeduplication="true", **attributes)

    def send(self, url: str, *bodies: str, **parameters: Any) -> None:
        for body in bodies:
            self.sqs.send_message(QueueUrl=url, MessageBody=body, **parameters)

    def receive(self, url: str, count: int = 10, **parameters: Any) -> list[dict[str, Any]]:
        answer = self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=count, **parameters)
        messages: list[dict[str, Any]] = answer.get("Messages", [])
        return messages

    def bodies(self, url: str, count: int = 10, **parameters: Any) -> list[str]:
        return [message["Body"] for message in self.receive(url, count, **parameters)]

    def delete(self, url: str, message: dict[str, Any]) -> None:
        self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])

    def hide(self, url: str, message: dict[str, Any], seconds: int) -> None:
        self.sqs.change_message_visibility(
            QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=seconds
        )

    def counts(self, url: str) -> tuple[int, int, int]:
        """Count what is visible, in flight and delayed."""
        names = ("", "NotVisible", "Delayed")
        full = [f"ApproximateNumberOfMessages{name}" for name in names]
        shown = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=full)["Attributes"]
        visible, in_flight, delayed = (int(shown[name]) for name in full)
        return visible, in_flight, delayed


@pytest.fixture
def shop() -> Shop:
    return Shop()
