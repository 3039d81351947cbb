"""What is guaranteed, whatever goes wrong: on standard and FIFO queues, each row of the README's table."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError

from megaflow import (
    ConfigurationError,
    MemoryStore,
    Message,
    Outgoing,
    PartialFailure,
    ProcessStatus,
    RetryLater,
    SqliteStore,
)
from megaflow.local.server import Server
from tests.consuming import Faulty, Queues, run_until, running
from tests.forked import Program
from tests.guarantees import QUEUES, SITUATIONS, collect, guarantee
from tests.waiting import EARLY, PATIENCE, wait_until

SCRIPT = Path(__file__).parent / "killed" / "consume.py"


@pytest.fixture(params=["standard", "FIFO"])
def queues(request: pytest.FixtureRequest) -> Queues:
    return Queues(fifo=request.param == "FIFO", max_receive_count=1000)


@dataclass
class Sender:
    """Sends texts to one group, where there are groups."""

    queues: Queues

    def send(self, *texts: str) -> None:
        self.queues.app().publish_batch([Outgoing(text, **self._options(text)) for text in texts])

    def _options(self, text: str) -> dict[str, Any]:
        if not self.queues.url.endswith(".fifo"):
            return {}
        return {"group_id": "g", "deduplication_id": text}


@pytest.fixture
def send(queues: Queues) -> Callable[..., None]:
    return Sender(queues).send


@guarantee(
    "standard, FIFO", "a handler raises", "dead-lettered, then deleted; on FIFO the group waits for that", "once"
)
def test_what_a_handler_raises_dead_letters_its_message(queues: Queues, send: Callable[..., None]) -> None:
    app, done, ran = queues.app(), threading.Event(), []

    @app.on_text()
    def handle(text: str) -> None:
        ran.append(text)
        if text == "bad":
            raise ValueError("for good")
        done.set()

    send("bad", "good")
    run_until(app, done)

    assert sorted(ran) == ["bad", "good"]
    assert [dead["Body"] for dead in queues.receive_dead_letters()] == ["bad"]
    assert queues.depth() == (0, 0)


@guarantee(
    "standard, FIFO",
    "a batch handler raises",
    "each message of the batch meets the fate that the error means; the other batches go on",
    "once, or again",
)
@pytest.mark.parametrize("is_retried", [False, True])
def test_what_a_batch_handler_raises_is_the_error_of_each_of_its_messages(
    queues: Queues, send: Callable[..., None], is_retried: bool
) -> None:
    app, ran = queues.app(backoff=lambda count: 0.0, retry_on=ConnectionError), Counter[str]()

    @app.on_text(batch_size=3, batch_seconds=0.2)
    def handle(texts: list[str], messages: list[Message]) -> None:
        ran.update(texts)
        if any("bad" in text and message.receive_count == 1 for text, message in zip(texts, messages, strict=True)):
            raise ConnectionError if is_retried else ValueError

    send("bad-1", "bad-2")
    with running(app):
        wait_until(lambda: ran["bad-1"] and ran["bad-2"])
        send("good")
        wait_until(lambda: ran["good"] and queues.depth() == (0, 0))

    dead = sorted(each["Body"] for each in queues.receive_dead_letters())
    assert dead == ([] if is_retried else ["bad-1", "bad-2"])
    assert queues.depth() == (0, 0)


@guarantee(
    "standard, FIFO",
    "one message of a batch fails",
    "its own fate alone; on FIFO one that is kept keeps those after it in its group",
    "once; what is kept, again",
)
def test_one_message_of_a_batch_that_fails_spoils_no_other(queues: Queues, send: Callable[..., None]) -> None:
    app, done, ran = queues.app(backoff=lambda count: 0.0), threading.Event(), []

    @app.on_text(batch_size=4, batch_seconds=0.2)
    def handle(texts: list[str], messages: list[Message]) -> None:
        ran.append(texts)
        failed = {"bad": ValueError("for good"), "late": RetryLater()}
        first = {text for text, message in zip(texts, messages, strict=True) if message.receive_count == 1}
        if first:
            raise PartialFailure({texts.index(text): failed[text] for text in failed if text in first})
        done.set()

    send("bad", "good", "late", "last")
    run_until(app, done)

    assert [dead["Body"] for dead in queues.receive_dead_letters()] == ["bad"]
    assert queues.depth() == (0, 0)
    counts = [sum(texts.count(text) for texts in ran) for text in ("bad", "good", "late", "last")]
    assert counts == [1, 1, 2, 2 if queues.url.endswith(".fifo") else 1]


@guarantee(
    "standard, FIFO",
    "a handler asks for it later",
    "hidden for the backoff, then all its handlers get it again; on FIFO the rest of its group waits behind it",
    "until it is done",
)
def test_a_message_comes_again_until_its_handler_is_done(queues: Queues, send: Callable[..., None]) -> None:
    app, done, ran = queues.app(backoff=lambda count: 0.0), threading.Event(), []

    @app.on_text()
    def handle(text: str, message: Message) -> None:
        ran.append(text)
        if text == "1" and message.receive_count < 3:
            raise RetryLater
        if len(set(ran)) == 2 and ran.count("1") == 3:
            done.set()

    send("1", "2")
    run_until(app, done)

    assert ran.count("1") == 3
    assert queues.depth() == (0, 0)
    if queues.url.endswith(".fifo"):
        assert ran == ["1", "1", "1", "2"]


@guarantee(
    "standard, FIFO",
    "a handler hangs, with a `timeout=`",
    "given up and hidden for the backoff; an async one is cancelled, the thread of another one reported and replaced",
    "again, perhaps beside the one that hangs",
)
@pytest.mark.parametrize("is_async", [False, True])
def test_a_handler_that_hangs_holds_up_nobody(queues: Queues, send: Callable[..., None], is_async: bool) -> None:
    app, released, done = queues.app(concurrency=1, backoff=lambda count: 0.0), threading.Event(), threading.Event()

    def handle(text: str, message: Message) -> None:
        if message.receive_count == 1:
            released.wait(PATIENCE)
        else:
            done.set()

    async def handle_async(text: str, message: Message) -> None:
        if message.receive_count == 1:
            import asyncio

            await asyncio.Event().wait()
        done.set()

    # Time enough for the second call, which does next to nothing, on a busy machine too.
    app.on_text(timeout=1)(handle_async if is_async else handle)
    send("ping")
    run_until(app, done)
    released.set()

    assert queues.depth() == (0, 0)
    assert app.metrics.snapshot().get("timed_out", 0) == (0 if is_async else 1)


@guarantee(
    "standard, FIFO",
    "a handler outlives the visibility timeout",
    "it is extended, for what waits in hand too, up to `max_processing_time`",
    "once",
)
def test_the_visibility_of_a_message_is_extended_while_its_handler_runs(
    queues: Queues, send: Callable[..., None]
) -> None:
    # Extended after two seconds, and after four, when it would be over: that much later a busy machine may be.
    app, done, ran = queues.app(concurrency=1, visibility_timeout=4), threading.Event(), []

    @app.on_text()
    def handle(text: str) -> None:
        ran.append(text)
        if len(ran) == 1:
            wait_until(lambda: app.metrics.snapshot().get("extended", 0) >= 4)
        else:
            done.set()

    send("1", "2")
    run_until(app, done)

    assert ran == ["1", "2"]
    assert queues.depth() == (0, 0)
    assert app.metrics.snapshot()["lost_leases"] == 0


@guarantee(
    "standard, FIFO",
    "a handler's `rate=` or `max_concurrency=` is reached",
    "the message waits for its turn in hand, its visibility extended, without a thread; others go on, on FIFO those of "
    "other groups",
    "once",
)
@pytest.mark.parametrize("wire", [True, False], ids=["wire", "boto3"])
def test_what_waits_for_its_turn_at_a_handler_is_extended(
    queues: Queues, send: Callable[..., None], wire: bool
) -> None:
    texts = [f"{number}" for number in range(8)]
    received: list[int] = []
    send(*texts)

    with Server(queues.sqs.account) as server:
        client = boto3.client(
            "sqs",
            endpoint_url=server.url,
            region_name="us-east-1",
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )
        app = queues.app(client=client, wire=wire, visibility_timeout=1, wait_time_seconds=1)

        @app.on_text(rate="3/s", max_concurrency=1)
        def handle(text: str, message: Message) -> None:
            received.append(message.receive_count)

        with running(app):
            wait_until(lambda: queues.depth() == (0, 0))

    assert received == [1] * len(texts)


@guarantee(
    "standard, FIFO",
    "the lease is lost all the same",
    "not deleted; `message.lease.lost` says so to the handler; where it comes again to this process, it goes on as one",
    "again, where it comes to another process",
)
def test_a_message_whose_lease_was_lost_is_settled_when_it_comes_again(
    queues: Queues, send: Callable[..., None]
) -> None:
    def refuse(real: Callable[..., Any], **parameters: Any) -> Any:
        raise EndpointConnectionError(endpoint_url="https://sqs")

    client = Faulty(queues.sqs, change_message_visibility_batch=refuse)
    app, ran = queues.app(client=client, visibility_timeout=1), []

    @app.on_text()
    def handle(text: str, message: Message) -> None:
        ran.append(text)
        wait_until(lambda: app.metrics.snapshot()["duplicates"] > 0)

    send("ping")
    with running(app):
        wait_until(lambda: app.metrics.snapshot().get("deleted", 0) == 1)

    assert ran == ["ping"]
    assert queues.depth() == (0, 0)


@guarantee(
    "standard, FIFO",
    "a delete fails",
    "tried again while the lease lasts; else deleted unhandled when it comes again to this process",
    "once here, again elsewhere",
)
def test_a_handled_message_that_cannot_be_deleted_is_not_handled_again(
    queues: Queues, send: Callable[..., None]
) -> None:
    failing = threading.Event()
    failing.set()

    def fail(real: Callable[..., Any], **parameters: Any) -> Any:
        if failing.is_set():
            raise EndpointConnectionError(endpoint_url="https://sqs")
        return real(**parameters)

    client = Faulty(queues.sqs, delete_message_batch=fail)
    app, ran = queues.app(client=client, visibility_timeout=1), []
    app.on_text()(lambda text: ran.append(text))
    send("ping")

    with running(app):
        wait_until(lambda: app.metrics.snapshot().get("not_deleted", 0) > 0)
        failing.clear()
        wait_until(lambda: queues.depth() == (0, 0))

    assert ran == ["ping"]


class OnePoll:
    """A client that polls once, until more is asked for; *operation* fails for the first message that it brings."""

    def __init__(self, queues: Queues, operation: str) -> None:
        self.more = threading.Event()
        self.client = Faulty(queues.sqs, receive_message=self._receive, **{operation: self._fail_first})
        self._first = ""
        """Its receipt handle."""

    def _receive(self, real: Callable[..., Any], **parameters: Any) -> Any:
        if self._first:
            self.more.wait(2 * PATIENCE)
            return real(**parameters)
        answer = real(**parameters)
        self._first = answer["Messages"][0]["ReceiptHandle"]
        return answer

    def _fail_first(self, real: Callable[..., Any], **parameters: Any) -> Any:
        failing = [entry for entry in parameters["Entries"] if entry["ReceiptHandle"] == self._first]
        rest = [entry for entry in parameters["Entries"] if entry not in failing]
        answer = real(**parameters | {"Entries": rest}) if rest else {}
        failed = [{"Id": entry["Id"], "Code": "InternalError", "SenderFault": False} for entry in failing]
        return {**answer, "Failed": [*answer.get("Failed", []), *failed]}


@guarantee(
    "FIFO",
    "the lease is lost all the same",
    "what waits behind it in hand is not started, but given back: it comes after it",
    "the later ones once; beside them, perhaps, the handler that lost its lease",
)
def test_a_group_does_not_go_on_here_while_the_message_ahead_comes_again_elsewhere() -> None:
    queues, lost = Queues(fifo=True, max_receive_count=1000), threading.Event()
    one_poll, ran = OnePoll(queues, "change_message_visibility_batch"), []
    app = queues.app(client=one_poll.client, concurrency=2, visibility_timeout=3)

    @app.on_text()
    def handle(text: str) -> None:
        ran.append(text)
        assert text != "1" or lost.wait(2 * PATIENCE)

    Sender(queues).send("1", "2")
    with running(app):
        wait_until(lambda: app.metrics.snapshot().get("lost_leases", 0) == 1 and queues.depth() == (1, 1))
        (elsewhere,) = queues.receive()
        lost.set()
        wait_until(lambda: app.metrics.snapshot().get("given_back", 0) == 1)
        assert ran == ["1"]

        queues.delete(elsewhere)
        one_poll.more.set()
        wait_until(lambda: queues.depth() == (0, 0))

    assert elsewhere["Body"] == "1"
    assert ran == ["1", "2"]


@guarantee(
    "FIFO",
    "a delete fails",
    "its group goes on while that is tried; once its lease ends, what waits behind it is given back: it comes after it",
    "once here; elsewhere again, perhaps beside or after later ones of its group that this process had begun by then",
)
def test_what_waits_behind_a_message_that_could_not_be_deleted_comes_after_it() -> None:
    queues, given_back = Queues(fifo=True, max_receive_count=1000), threading.Event()
    one_poll, ran = OnePoll(queues, "delete_message_batch"), []
    app = queues.app(client=one_poll.client, concurrency=3, visibility_timeout=3)

    @app.on_text()
    def handle(text: str) -> None:
        ran.append(text)
        assert text != "2" or given_back.wait(2 * PATIENCE)

    Sender(queues).send("1", "2", "3")
    with running(app):
        wait_until(lambda: app.metrics.snapshot().get("given_back", 0) == 1)
        wait_until(lambda: queues.depth()[0] > 1)
        (elsewhere,) = queues.receive()
        given_back.set()
        wait_until(lambda: app.metrics.snapshot().get("deleted", 0) == 1)
        assert ran == ["1", "2"]

        queues.delete(elsewhere)
        one_poll.more.set()
        wait_until(lambda: queues.depth() == (0, 0))

    assert elsewhere["Body"] == "1"
    assert ran == ["1", "2", "3"]


@guarantee("standard, FIFO", "the dead-letter queue refuses it", "it stays, hidden for the backoff", "again")
def test_a_message_is_not_deleted_before_the_dead_letter_queue_has_it(
    queues: Queues, send: Callable[..., None]
) -> None:
    refusing, refused = threading.Event(), threading.Event()
    refusing.set()

    def refuse(real: Callable[..., Any], **parameters: Any) -> Any:
        if parameters["QueueUrl"] == queues.dead_letters and refusing.is_set():
            refused.set()
            raise EndpointConnectionError(endpoint_url="https://sqs")
        return real(**parameters)

    client = Faulty(queues.sqs, send_message=refuse)
    app = queues.app(client=client, backoff=lambda count: 0.0)
    app.on_text()(lambda text: ProcessStatus.FATAL_ERROR)
    send("ping")

    with running(app):
        assert refused.wait(PATIENCE)
        refusing.clear()
        wait_until(lambda: queues.depth() == (0, 0))

    assert [dead["Body"] for dead in queues.receive_dead_letters()] == ["ping"]


@guarantee(
    "standard, FIFO",
    "the queue is out of reach",
    "asked again with longer and longer pauses, up to 30 s; `ready` is false",
    "once",
)
def test_an_outage_heals_by_itself(queues: Queues, send: Callable[..., None]) -> None:
    failing = threading.Event()
    failing.set()

    def fail(real: Callable[..., Any], **parameters: Any) -> Any:
        if failing.is_set():
            raise EndpointConnectionError(endpoint_url="https://sqs")
        return real(**parameters)

    app, ran = queues.app(client=Faulty(queues.sqs, receive_message=fail)), []
    app.on_text()(lambda text: ran.append(text))
    send("ping")

    with running(app):
        wait_until(lambda: app.metrics.snapshot().get("failed_polls", 0) >= 3)
        assert not app.health().ready
        failing.clear()
        wait_until(lambda: queues.depth() == (0, 0))
        assert app.health().ready

    assert ran == ["ping"]


class Broken(MemoryStore):
    """A store that fails as long as it is said to: at everything, or at writes."""

    def __init__(self, *, reads: bool, writes: bool) -> None:
        super().__init__()
        self.reads, self.writes = reads, writes

    def check(self) -> None:
        self._refuse(is_well=self.reads and self.writes)

    def load(self, work: str) -> Any:
        self._refuse(is_well=self.reads)
        return super().load(work)

    def save(self, work: str, handler: str, ended: Any) -> None:
        self._refuse(is_well=self.writes)
        super().save(work, handler, ended)

    def _refuse(self, *, is_well: bool) -> None:
        if not is_well:
            raise OSError("disk full")


@guarantee(
    "standard, FIFO",
    "the store cannot be opened or written at the start",
    "`run` raises `ConfigurationError`, which says what to do; nothing was received",
    "never",
)
def test_a_store_that_cannot_be_opened_ends_run(queues: Queues, send: Callable[..., None], tmp_path: Path) -> None:
    app, ran = queues.app(progress=SqliteStore(tmp_path / "missing" / "progress.db")), []
    app.on_text()(lambda text: ran.append(text))
    send("ping")

    with pytest.raises(ConfigurationError, match="there is no folder"):
        app.run()

    assert ran == []
    assert queues.receive_counts() == [1]


@guarantee(
    "standard, FIFO",
    "the store is out of reach",
    "nothing is received or begun, what is in hand stays there, so that no receive count rises; it is checked with "
    "longer and longer pauses, up to 30 s; `ready` is false",
    "only once the store answers",
)
def test_without_its_store_nothing_is_received(queues: Queues, send: Callable[..., None]) -> None:
    store, ran = Broken(reads=False, writes=False), []
    app = queues.app(progress=store)
    app.on_text()(lambda text: ran.append(text))
    send("ping")

    with running(app):
        wait_until(lambda: "disk full" in str(app.health()))
        assert not app.health().ready
        assert ran == []
        store.reads = store.writes = True
        wait_until(lambda: queues.depth() == (0, 0))
        assert app.health().ready

    assert ran == ["ping"]
    assert app.metrics.snapshot()["received"] == 1


@guarantee(
    "standard, FIFO",
    "the store takes no writes",
    "the same; what a handler has finished by then is held until the store has it, and then deleted",
    "once",
)
def test_what_a_store_does_not_take_yet_is_not_handled_again(queues: Queues, send: Callable[..., None]) -> None:
    store, ran = Broken(reads=True, writes=True), list[str]()
    app = queues.app(progress=store)

    @app.on_text()
    def handle(text: str) -> None:
        if not ran:
            store.writes = False
        ran.append(text)

    send("1", "2")

    with running(app):
        wait_until(lambda: "disk full" in str(app.health()))
        store.writes = True
        wait_until(lambda: queues.depth() == (0, 0))

    assert sorted(ran) == ["1", "2"]
    assert app.metrics.snapshot()["kept"] == 0


@guarantee(
    "standard, FIFO",
    "the store takes no writes until the process ends",
    "what a handler has finished is given back after `shutdown_timeout`",
    "again",
)
def test_what_no_store_has_comes_again_once_the_process_ends(queues: Queues, send: Callable[..., None]) -> None:
    store, ran = Broken(reads=True, writes=True), list[str]()
    app = queues.app(progress=store, shutdown_timeout=0.1)

    @app.on_text()
    def handle(text: str) -> None:
        if not ran:
            store.writes = False
        ran.append(text)

    send("ping")
    with running(app):
        wait_until(lambda: "disk full" in str(app.health()))
    store.writes = True

    with running(app):
        wait_until(lambda: queues.depth() == (0, 0))

    assert ran == ["ping", "ping"]


@guarantee(
    "standard, FIFO", "SIGTERM", "handlers finish, their messages are deleted, the rest is given back unhandled", "once"
)
def test_sigterm_lets_handlers_finish_and_gives_back_the_rest(queues: Queues, send: Callable[..., None]) -> None:
    app, ran = queues.app(concurrency=1), []

    @app.on_text()
    def handle(text: str) -> None:
        ran.append(text)
        os.kill(os.getpid(), signal.SIGTERM)
        wait_until(lambda: app.health().stopping)

    send("1", "2", "3")
    app.run()

    assert len(ran) == 1
    wait_until(lambda: queues.depth() == (2, 0))


@guarantee(
    "standard, FIFO",
    "SIGTERM, and handlers outlive `shutdown_timeout`",
    "the process ends all the same; the message comes again when its visibility timeout ends",
    "again",
)
def test_a_handler_that_outlives_the_shutdown_timeout_is_not_waited_for(
    queues: Queues, send: Callable[..., None]
) -> None:
    app, released = queues.app(shutdown_timeout=0.1), threading.Event()

    @app.on_text()
    def handle(text: str) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        released.wait(PATIENCE)

    send("ping")
    app.run()
    released.set()

    assert queues.depth() == (0, 1)


@guarantee(
    "standard, FIFO", "SIGTERM, twice", "everything is given back at once, what is being handled too", "again, at once"
)
def test_a_second_signal_gives_everything_back_at_once(queues: Queues, send: Callable[..., None]) -> None:
    app, released = queues.app(concurrency=1, shutdown_timeout=PATIENCE), threading.Event()

    @app.on_text()
    def handle(text: str) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        released.wait(PATIENCE)

    send("1", "2")
    app.run()
    released.set()

    wait_until(lambda: queues.depth() == (2, 0))


@guarantee(
    "standard, FIFO",
    "SIGTERM while idle",
    "it stops within a second; what its poll still brings comes again after the visibility timeout, and at once where "
    "the process lives on",
    "once",
)
def test_an_idle_consumer_stops_within_a_second(queues: Queues) -> None:
    polling, ended = threading.Event(), threading.Event()

    def poll(real: Callable[..., Any], **parameters: Any) -> Any:
        polling.set()
        ended.wait(2 * PATIENCE)
        return real(**parameters | {"WaitTimeSeconds": 0})

    app = queues.app(client=Faulty(queues.sqs, receive_message=poll), wait_time_seconds=20)
    app.on_text()(lambda text: None)

    with running(app) as thread:
        assert polling.wait(PATIENCE)
        app.stop()
        thread.join(EARLY)
        assert not thread.is_alive()
    ended.set()


@guarantee(
    "standard, FIFO",
    "the task of `arun` is cancelled",
    "handlers have `shutdown_timeout` to finish, their messages are deleted, the rest is given back unhandled; then it "
    "raises `CancelledError`",
    "once",
)
def test_a_cancelled_task_lets_handlers_finish_and_gives_back_the_rest(
    queues: Queues, send: Callable[..., None]
) -> None:
    app, ran = queues.app(concurrency=1), list[str]()

    async def main() -> None:
        @app.on_text()
        async def handle(text: str) -> None:
            task.cancel()
            while not app.health().stopping:
                await asyncio.sleep(0.01)
            ran.append(text)

        task = asyncio.create_task(app.arun())
        with pytest.raises(asyncio.CancelledError):
            await task

    send("1", "2", "3")
    asyncio.run(main())

    assert len(ran) == 1
    wait_until(lambda: queues.depth() == (2, 0))


@guarantee(
    "standard, FIFO",
    "the task of `arun` is cancelled, twice",
    "handlers are cancelled, and everything is given back at once",
    "again, at once",
)
def test_a_task_that_is_cancelled_again_gives_everything_back_at_once(
    queues: Queues, send: Callable[..., None]
) -> None:
    app, cancelled = queues.app(concurrency=1, shutdown_timeout=PATIENCE), list[str]()

    async def main() -> None:
        @app.on_text()
        async def handle(text: str) -> None:
            task.cancel()
            while not app.health().stopping:
                await asyncio.sleep(0.01)
            task.cancel()
            try:
                await asyncio.sleep(PATIENCE)
            except asyncio.CancelledError:
                cancelled.append(text)
                raise

        task = asyncio.create_task(app.arun())
        with pytest.raises(asyncio.CancelledError):
            await task

    send("1", "2")
    asyncio.run(main())

    assert len(cancelled) == 1
    wait_until(lambda: queues.depth() == (2, 0))


@guarantee(
    "standard",
    "a message is delivered twice at once",
    "taken for one: handled once, deleted by its newer receipt handle",
    "once here, again elsewhere",
)
def test_two_deliveries_of_a_message_are_one() -> None:
    queues = Queues()
    twice = threading.Event()

    def deliver_twice(real: Callable[..., Any], **parameters: Any) -> Any:
        answer = real(**parameters)
        messages = answer.get("Messages", [])
        if messages and not twice.is_set():
            twice.set()
            return answer | {"Messages": messages * 2}
        return answer

    app, ran = queues.app(client=Faulty(queues.sqs, receive_message=deliver_twice)), []
    app.on_text()(lambda text: ran.append(text))
    Sender(queues).send("ping")

    with running(app):
        wait_until(lambda: queues.depth() == (0, 0))

    assert ran == ["ping"]


@guarantee(
    "standard, FIFO",
    "it is given back unhandled",
    "its receive count rises all the same: the start-up log warns of a `maxReceiveCount` below 3",
    "once",
)
@pytest.mark.parametrize("fifo", [False, True])
def test_what_is_given_back_counts_as_received(fifo: bool, caplog: pytest.LogCaptureFixture) -> None:
    queues = Queues(fifo=fifo, max_receive_count=1000)
    app, counts, done, released = queues.app(), [], threading.Event(), threading.Event()

    @app.on_text()
    def handle(text: str, message: Message) -> None:
        counts.append(message.receive_count)
        if len(counts) > 1:
            done.set()
            return
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        released.wait(PATIENCE)

    Sender(queues).send("ping")
    app.run()
    run_until(app, done)
    released.set()

    low = Queues(fifo=fifo, max_receive_count=2).app(wait_time_seconds=1)
    low.on_text()(lambda text: None)
    with running(low):
        wait_until(lambda: low.health().heard_ago != (None,) and low.health().ready)

    assert counts[0] == 1
    assert counts[1] > 1
    assert "maxReceiveCount is 2, and a message that is given back unhandled counts as received" in caplog.text


@guarantee(
    "standard",
    "too many messages are in flight",
    "SQS refuses with `OverLimit`: asked again with longer and longer pauses; `health().over_limit` is true",
    "once",
)
def test_the_limit_of_messages_in_flight_is_said() -> None:
    queues = Queues()
    from tests.fakes import client_error

    over = threading.Event()
    over.set()

    def refuse(real: Callable[..., Any], **parameters: Any) -> Any:
        if over.is_set():
            raise client_error("OverLimit")
        return real(**parameters)

    app = queues.app(client=Faulty(queues.sqs, receive_message=refuse))
    app.on_text()(lambda text: None)

    with running(app):
        wait_until(lambda: app.health().over_limit)
        assert "the queue's limit of messages in flight is reached" in app.health().problems


# Real processes, killed


@dataclass
class Killed:
    """A queue over HTTP, with a consumer in a process of its own."""

    queues: Queues
    endpoint: str
    ledger: Path

    def consume(self, how: str) -> Program:
        return Program(str(SCRIPT), self.queues.url, self.endpoint, str(self.ledger), how)

    def lines(self) -> list[str]:
        return self.ledger.read_text().splitlines() if self.ledger.exists() else []

    def kill_when(self, how: str, line: str) -> None:
        """Let a process consume, and kill it once it has written *line*."""
        process = self.consume(how)
        try:
            wait_until(lambda: line in self.lines())
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()

    def finish(self, how: str = "") -> None:
        """Let another process do what is left."""
        process = self.consume(how)
        try:
            wait_until(lambda: self.queues.depth() == (0, 0))
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0


@pytest.fixture
def killed(queues: Queues, tmp_path: Path) -> Iterator[Killed]:
    with Server(queues.sqs.account) as server:
        yield Killed(queues, server.url, tmp_path / "ledger")


@guarantee(
    "standard, FIFO", "the process is killed before handling", "it comes again after the visibility timeout", "once"
)
def test_what_a_killed_process_had_not_begun_is_handled_by_another(killed: Killed, send: Callable[..., None]) -> None:
    send("slow", "waits")

    killed.kill_when("slow", "begins slow")
    killed.finish()

    assert killed.lines().count("begins waits") == killed.lines().count("ends waits") == 1


@guarantee(
    "standard, FIFO",
    "the process is killed while it waits for a batch",
    "it comes again after the visibility timeout",
    "once; the handlers before the batch again",
)
def test_what_waits_for_a_batch_in_a_killed_process_is_handled_by_another(
    killed: Killed, send: Callable[..., None]
) -> None:
    send("first")
    process = killed.consume("in line")
    try:
        wait_until(lambda: "ends first" in killed.lines())
        send("waits")
        wait_until(lambda: "in line" in killed.lines())
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()

    assert "begins waits" not in killed.lines()
    killed.finish("batch")
    assert killed.lines().count("begins waits") == killed.lines().count("ends waits") == 1


@guarantee(
    "standard, FIFO", "the process is killed while handling", "it comes again after the visibility timeout", "again"
)
def test_what_a_killed_process_was_handling_is_handled_again(killed: Killed, send: Callable[..., None]) -> None:
    send("slow")

    killed.kill_when("slow", "begins slow")
    killed.finish()

    assert killed.lines() == ["begins slow", "begins slow", "ends slow"]


@guarantee(
    "standard, FIFO",
    "SIGTERM, and a `rate=` is used up",
    "what cannot have its turn within `shutdown_timeout` is given back at once; the rest has it",
    "once",
)
def test_what_waits_for_a_rate_is_given_back_at_sigterm(killed: Killed, send: Callable[..., None]) -> None:
    texts = [f"{number}" for number in range(5)]
    send(*texts)

    def others_wait() -> bool:
        # Of one group a consumer has few in hand.
        most_visible = 3 if killed.queues.url.endswith(".fifo") else 0
        visible, in_hand = killed.queues.depth()
        return visible <= most_visible and (visible + in_hand, len(killed.lines())) == (4, 2)

    process = killed.consume("limited")
    try:
        wait_until(others_wait)
    finally:
        stopped_at = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    took, given_back, ended = time.monotonic() - stopped_at, killed.queues.depth(), killed.lines()
    killed.finish()

    assert took < EARLY
    assert given_back == (4, 0)
    assert len(ended) == 2
    assert sorted(killed.lines()) == sorted(f"{what} {text}" for what in ("begins", "ends") for text in texts)


@guarantee(
    "standard, FIFO",
    "the process is killed after handling",
    "it comes again after the visibility timeout; with `progress=`, to handlers that had not finished it only",
    "again; with `progress=` only where the kill came before the store had it",
)
@pytest.mark.parametrize("progress", ["", " progress"])
def test_what_a_killed_process_had_handled_but_not_deleted(
    killed: Killed, send: Callable[..., None], progress: str
) -> None:
    send("quick")

    killed.kill_when("cannot delete" + progress, "deletes")
    process = killed.consume(progress)
    try:
        wait_until(lambda: killed.queues.depth() == (0, 0))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()

    assert killed.lines().count("ends quick") == (1 if progress else 2)


# The table


def test_every_situation_has_its_row_for_every_queue() -> None:
    shown = {(queue, row.situation) for row in collect() for queue in row.queues.split(", ")}

    only_standard = {"a message is delivered twice at once"}
    wanted = {
        (queue, each) for queue in QUEUES for each in SITUATIONS if queue == "standard" or each not in only_standard
    }
    assert wanted - shown == set()
