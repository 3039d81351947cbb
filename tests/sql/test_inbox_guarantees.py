"""What an inbox guarantees, whatever goes wrong: on standard and FIFO queues, with PostgreSQL."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError
from sqlalchemy import event
from sqlalchemy.orm import Session

from megaflow import App
from megaflow.local.server import Server
from tests.consuming import Faulty, Queues, running
from tests.forked import Program
from tests.guarantees import guarantee
from tests.postgresql import Postgresql
from tests.sql.banks import Bank, charge
from tests.waiting import wait_until

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(params=["standard", "FIFO"])
def queues(request: pytest.FixtureRequest) -> Queues:
    return Queues(fifo=request.param == "FIFO", max_receive_count=1000)


@pytest.fixture
def bank(cleared_url: str) -> Iterator[Bank]:
    bank = Bank(cleared_url)
    bank.inbox()
    yield bank
    bank.engine.dispose()


class Charging:
    """A consumer that charges each text, and what it was called with."""

    def __init__(self, queues: Queues, bank: Bank, **options: Any) -> None:
        self.app: App = queues.app(visibility_timeout=1, wait_time_seconds=1, backoff=lambda count: 0, **options)
        self.app.provide(Session, bank.inbox())
        self.called: list[str] = []
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.app.on_text(handler_name="charge")(self.charge)

    def charge(self, text: str, session: Session) -> None:
        self.called.append(text)
        charge(session, text)
        self.may_go_on.wait()

    def send(self, text: str) -> None:
        is_fifo = str(self.app.queue_url).endswith(".fifo")
        options: Any = {"group_id": "g", "deduplication_id": text} if is_fifo else {}
        self.app.publish(text, **options)


def kill_once(queues: Queues, bank: Bank, ledger: Path, how: str, noted: str) -> None:
    """Let a process consume until it has *noted* something, and kill it."""
    script = ("-m", "tests.killed.charge", queues.url)
    with Server(queues.sqs.account) as server, Program(*script, server.url, bank.url, str(ledger), how) as process:
        wait_until(lambda: ledger.exists() and noted in ledger.read_text())
        process.send_signal(signal.SIGKILL)


@guarantee(
    "standard, FIFO",
    "with an inbox, the process is killed before the commit",
    "the database rolls back, and the message comes again",
    "again; what it did is there once",
)
def test_what_is_killed_before_its_commit_is_charged_once(queues: Queues, bank: Bank, tmp_path: Path) -> None:
    consumer = Charging(queues, bank)
    consumer.send("a")
    kill_once(queues, bank, tmp_path / "ledger", "before commit", "commits")
    assert bank.charged() == []

    with running(consumer.app):
        wait_until(lambda: queues.depth() == (0, 0))

    assert consumer.called == bank.charged() == ["a"]


@guarantee(
    "standard, FIFO",
    "with an inbox, the process is killed after the commit, before the delete",
    "the message comes again, its row stands, and it is deleted",
    "once",
)
def test_what_is_killed_after_its_commit_is_charged_once(queues: Queues, bank: Bank, tmp_path: Path) -> None:
    consumer = Charging(queues, bank)
    consumer.send("a")
    kill_once(queues, bank, tmp_path / "ledger", "after commit", "deletes")
    assert bank.charged() == ["a"]

    with running(consumer.app):
        wait_until(lambda: queues.depth() == (0, 0))

    assert consumer.called == []
    assert bank.charged() == ["a"]


@guarantee(
    "standard, FIFO",
    "with an inbox, the commit fails",
    "`RETRIABLE_ERROR` whatever `retry_on` says: the message comes again, and its row decides",
    "again, unless it was committed all the same; what it did is there once",
)
@pytest.mark.parametrize("is_committed", [True, False])
def test_a_commit_that_fails_is_charged_once(queues: Queues, bank: Bank, is_committed: bool) -> None:
    consumer = Charging(queues, bank, retry_on=())
    failed: list[str] = []

    def fail(connection: Any) -> None:
        if consumer.called and not failed:
            failed.append("it failed")
            if is_committed:
                connection.connection.commit()
            raise OSError("the answer got lost")

    event.listen(bank.engine, "commit", fail)
    consumer.send("a")

    with running(consumer.app):
        wait_until(lambda: queues.depth() == (0, 0))

    assert failed == ["it failed"]
    assert consumer.called == (["a"] if is_committed else ["a", "a"])
    assert bank.charged() == ["a"]


@guarantee(
    "standard, FIFO",
    "with an inbox, two consumers have the message at once",
    "the second waits for the first, for less than the visibility timeout, and finds its row, or comes again later",
    "once",
)
def test_a_message_that_two_have_is_charged_once(queues: Queues, bank: Bank) -> None:
    def fail(real: Callable[..., Any], **parameters: Any) -> Any:
        raise EndpointConnectionError(endpoint_url="https://sqs")

    def receive(real: Callable[..., Any], **parameters: Any) -> Any:
        return fail(real) if slow.called else real(**parameters)

    client = Faulty(queues.sqs, change_message_visibility_batch=fail, receive_message=receive)
    slow, other = Charging(queues, bank, client=client), Charging(queues, bank)
    slow.may_go_on.clear()
    slow.send("a")

    with running(slow.app):
        wait_until(lambda: slow.called)
        with running(other.app):
            wait_until(lambda: other.app.metrics.snapshot().get("received", 0) > 0)
            slow.may_go_on.set()
            wait_until(lambda: queues.depth() == (0, 0))

    assert (slow.called, other.called) == (["a"], [])
    assert bank.charged() == ["a"]


@guarantee(
    "standard, FIFO",
    "with an inbox, the database is down",
    "nothing is received before it has answered; later `RETRIABLE_ERROR`, so the message comes again after its "
    "backoff; a `breaker=` lets it wait in hand",
    "only once it answers",
)
def test_without_its_database_nothing_is_charged_and_nothing_lost(
    queues: Queues, bank: Bank, server: Postgresql
) -> None:
    consumer = Charging(queues, bank, retry_on=())
    server.kill()
    try:
        consumer.send("a")
        with running(consumer.app):
            wait_until(lambda: not consumer.app.health().ready)
            assert consumer.app.metrics.snapshot().get("received", 0) == 0
            server.start()
            wait_until(lambda: queues.depth() == (0, 0))
            server.kill()
            consumer.send("b")
            wait_until(lambda: consumer.app.metrics.snapshot().get("kept", 0) > 0)
            assert consumer.called == ["a"]
            server.start()
            wait_until(lambda: queues.depth() == (0, 0))
    finally:
        if server.process is None:
            server.start()

    assert consumer.called == bank.charged() == ["a", "b"]
