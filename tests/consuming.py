"""Apps that consume the embedded queue, for a test's while."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from megaflow import App
from megaflow.local import Account, SqsClient
from tests.waiting import PATIENCE


class Queues:
    """A queue and its dead-letter queue, in the embedded queue unless *sqs* says where else."""

    def __init__(self, sqs: Any = None, *, fifo: bool = False, max_receive_count: int = 10) -> None:
        self.sqs = sqs or SqsClient(Account())
        suffix, attributes = (".fifo", {"FifoQueue": "true"}) if fifo else ("", {})
        self.dead_letters = self.sqs.create_queue(QueueName="dead" + suffix, Attributes=attributes)["QueueUrl"]
        policy = {"deadLetterTargetArn": self.arn(self.dead_letters), "maxReceiveCount": str(max_receive_count)}
        attributes = attributes | {"RedrivePolicy": json.dumps(policy)}
        self.url: str = self.sqs.create_queue(QueueName="q" + suffix, Attributes=attributes)["QueueUrl"]

    def app(self, **options: Any) -> App:
        return App(self.url, client=options.pop("client", self.sqs), **options)

    def arn(self, url: str) -> str:
        answer = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return str(answer["Attributes"]["QueueArn"])

    def depth(self, url: str = "") -> tuple[int, int]:
        """Return how many messages are visible, and how many are not."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        attributes = self.sqs.get_queue_attributes(QueueUrl=url or self.url, AttributeNames=names)["Attributes"]
        visible, hidden = (int(attributes[name]) for name in names)
        return visible, hidden

    def receive(self) -> list[Any]:
        """Receive what there is, as another consumer would."""
        answer = self.sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10)
        return list(answer.get("Messages", []))

    def receive_counts(self) -> list[int]:
        """Receive what there is, and return how often each was received by now."""
        answer = self.sqs.receive_message(
            QueueUrl=self.url, MaxNumberOfMessages=10, MessageSystemAttributeNames=["ApproximateReceiveCount"]
        )
        return [int(each["Attributes"]["ApproximateReceiveCount"]) for each in answer.get("Messages", [])]

    def delete(self, message: Any) -> None:
        self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])

    def receive_dead_letters(self) -> list[Any]:
        answer = self.sqs.receive_message(
            QueueUrl=self.dead_letters,
            MaxNumberOfMessages=10,
            MessageAttributeNames=["All"],
            MessageSystemAttributeNames=["All"],
        )
        return list(answer.get("Messages", []))


class Faulty:
    """A client that does something else first, for the calls it is told of."""

    def __init__(self, sqs: SqsClient, **first: Callable[..., Any]) -> None:
        self._sqs = sqs
        self._first = first

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._sqs, name)
        first = self._first.get(name)
        return real if first is None else lambda **parameters: first(real, **parameters)


@contextmanager
def running(app: App) -> Iterator[threading.Thread]:
    """Run *app* in a thread, and stop it at the end; what it raises is raised here."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            app.run()
        except BaseException as error:  # noqa: BLE001
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield thread
    finally:
        app.stop()
        thread.join(PATIENCE)
        assert not thread.is_alive()
    if raised:
        raise raised[0]


def run_until(app: App, done: threading.Event) -> None:
    with running(app):
        assert done.wait(PATIENCE)
