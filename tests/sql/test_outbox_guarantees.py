"""What an outbox guarantees, whatever goes wrong: on standard and FIFO queues, with SQLite and real relays."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from sqlalchemy import Engine, create_engine

from megaflow import App
from megaflow.local import Fault, FaultKind
from megaflow.local.faults import Faults
from megaflow.local.server import Server
from megaflow.sql import Outbox
from tests.consuming import Queues
from tests.forked import Program
from tests.guarantees import guarantee
from tests.publishing.queue_server import queue_server
from tests.sql.relays import count_of, relaying, rows_of
from tests.waiting import PATIENCE, wait_until

SCRIPT = Path(__file__).parents[1] / "killed" / "relay.py"


@dataclass
class Place:
    """A queue over HTTP, a database, and processes that write to it, and relay."""

    queues: Queues
    endpoint: str
    engine: Engine
    ledger: Path

    def __post_init__(self) -> None:
        self.outbox = Outbox(App(self.queues.url, client=self.client), self.engine, claim_seconds=2)
        self.outbox.create_tables()

    @property
    def client(self) -> Any:
        return boto3.client(
            "sqs",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )

    @property
    def options(self) -> Any:
        return {"group_id": "g"} if self.queues.url.endswith(".fifo") else {}

    def publish(self, *bodies: str) -> list[str]:
        with self.engine.begin() as connection:
            return [self.outbox.publish(connection, body, **self.options) for body in bodies]

    def kill_when(self, how: str, line: str) -> None:
        """Let a process do it, and kill it once it has written *line*."""
        process = self._start(how)
        try:
            wait_until(lambda: self.ledger.exists() and line in self.ledger.read_text().splitlines())
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()

    def finish(self) -> None:
        """Let a process send what is left."""
        process = self._start("relay")
        try:
            wait_until(lambda: count_of(self.engine) == 0)
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0

    def _start(self, how: str) -> Program:
        return Program(str(SCRIPT), self.queues.url, self.endpoint, str(self.engine.url), str(self.ledger), how)

    def receive(self) -> list[Any]:
        answer = self.queues.sqs.receive_message(
            QueueUrl=self.queues.url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
        )
        return list(answer.get("Messages", []))


@pytest.fixture(params=["standard", "FIFO"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    queues = Queues(fifo=request.param == "FIFO", max_receive_count=1000)
    engine = create_engine(f"sqlite:///{tmp_path / 'shop.db'}")
    with Server(queues.sqs.account) as server:
        yield Place(queues, server.url, engine, tmp_path / "ledger")
    engine.dispose()


def id_of(message: Any) -> str:
    return str(message["MessageAttributes"]["megaflow-id"]["StringValue"])


@guarantee("standard, FIFO", "a transaction with an outbox is rolled back", "its messages are never sent", "never")
def test_what_is_rolled_back_is_never_sent(place: Place) -> None:
    with place.engine.connect() as connection:
        place.outbox.publish(connection, "gone", **place.options)
        connection.rollback()
    place.kill_when("does not commit", "published")
    place.publish("order")

    place.finish()

    assert [each["Body"] for each in place.receive()] == ["order"]


@guarantee(
    "standard, FIFO", "the process is killed between commit and send", "a relay sends what is in the outbox", "once"
)
def test_what_is_committed_is_sent_by_another_process(place: Place) -> None:
    place.kill_when("commits", "committed")
    assert place.receive() == []

    place.finish()

    assert [each["Body"] for each in place.receive()] == ["order"]


@guarantee(
    "standard, FIFO",
    "a relay is killed after it has sent",
    "sent again once its claim ends, with the same `megaflow-id`, by which an `Inbox` knows it; on FIFO it is the "
    "deduplication id, too, by which SQS does, for five minutes",
    "again; once with an `Inbox`, and on FIFO",
)
def test_what_a_killed_relay_had_sent_goes_again_with_the_same_id(place: Place) -> None:
    (id_,) = place.publish("order")

    place.kill_when("never back", "sent")
    place.finish()

    messages = place.receive()
    assert len(messages) == (1 if place.queues.url.endswith(".fifo") else 2)
    assert {id_of(each) for each in messages} == {id_}


@guarantee(
    "standard, FIFO",
    "AWS is out of reach for an outbox",
    "its messages wait, and are tried again for ever; `health()` says so; on FIFO their order stays",
    "once, or again where only the answer was lost",
)
def test_what_cannot_be_sent_waits(place: Place) -> None:
    account = place.queues.sqs.account
    account.faults = Faults([Fault("SendMessageBatch", FaultKind.FAIL_BEFORE, error="ServiceUnavailable")])
    place.publish("1", "2", "3")

    with relaying(place.outbox):
        wait_until(lambda: place.outbox.health().problems)
        waiting = count_of(place.engine)
        account.faults = Faults()
        wait_until(lambda: count_of(place.engine) == 0)

    bodies = [each["Body"] for each in place.receive()]
    assert waiting == 3
    assert (bodies if place.options else sorted(bodies)) == ["1", "2", "3"]


@guarantee(
    "standard, FIFO",
    "AWS refuses a message of an outbox",
    "parked with its error, for `megaflow outbox`; its group goes on",
    "never",
)
@pytest.mark.parametrize("name", ["orders", "orders.fifo"])
def test_what_aws_refuses_is_parked(tmp_path: Path, name: str) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'shop.db'}")
    with queue_server() as queue:
        queue.fail = lambda body: "InvalidMessageContents" if body == "bad" else ""
        outbox = Outbox(queue.publisher(name), engine)
        outbox.create_tables()
        options: Any = {"group_id": "g"} if name.endswith(".fifo") else {}
        with engine.begin() as connection:
            for body in ("bad", "good"):
                outbox.publish(connection, body, **options)

        with relaying(outbox):
            wait_until(lambda: count_of(engine) == 1)

    assert rows_of(engine, "body", "state") == [("bad", "parked")]
    assert "good" in queue.bodies
    engine.dispose()
