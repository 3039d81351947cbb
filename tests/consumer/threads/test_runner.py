"""`App.run` against the embedded queue: threads, signals, settling, stopping."""

import asyncio
import json
import logging
import os
import signal
import socket
import threading
import time
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError

from megaflow import (
    App,
    ConfigurationError,
    Message,
    Outgoing,
    ProcessStatus,
    RegistrationError,
    RetryLater,
    UsageError,
    run,
)
from megaflow.app import parts_of
from megaflow.consumer.core.core import Core
from megaflow.consumer.threads.runner import Runner
from megaflow.local import Account, SqsClient
from megaflow.match.functions import not_
from megaflow.messages.origin import digest_of
from megaflow.telemetry.metrics import Labels
from megaflow.transport.queue import OpenQueue, read_message
from tests.consuming import Faulty, Queues, run_until, running
from tests.waiting import EARLY, PATIENCE, wait_until


@pytest.fixture
def queues() -> Queues:
    return Queues()


def client_error(code: str, operation: str = "ReceiveMessage", status: int = 400) -> ClientError:
    metadata: Any = {"HTTPStatusCode": status}
    return ClientError({"Error": {"Code": code, "Message": "said AWS"}, "ResponseMetadata": metadata}, operation)


# What becomes of messages


def test_a_handled_message_is_deleted(queues: Queues) -> None:
    app, done = queues.app(), threading.Event()
    app.on_text()(lambda text: done.set())
    app.publish("ping")

    run_until(app, done)

    assert queues.depth() == (0, 0)
    counted = app.metrics.snapshot()
    assert (counted["received"], counted["handled"], counted["deleted"]) == (1, 1, 1)


def test_a_consumer_that_has_ended_has_nothing_in_hand(queues: Queues) -> None:
    told: dict[str, float] = {}

    class Told:
        def count(self, name: str, amount: int, labels: Labels) -> None: ...

        def observe(self, name: str, value: float, labels: Labels) -> None: ...

        def gauge(self, name: str, value: float, labels: Labels) -> None:
            told[name] = value

    app, done = queues.app(metrics=Told()), threading.Event()
    app.on_text()(lambda text: done.set())
    app.publish("ping")

    run_until(app, done)

    names = ("in_hand", "running", "in_line", "open_breakers", "paused")
    assert [told[name] for name in names] == [0] * len(names)


def test_a_kept_message_comes_again_to_all_its_handlers(queues: Queues) -> None:
    app, done = queues.app(), threading.Event()
    ran: list[str] = []

    @app.on_text()
    def always_works(text: str) -> None:
        ran.append("works")

    @app.on_text()
    async def works_later(text: str, message: Message) -> ProcessStatus:
        ran.append(f"later {message.receive_count}")
        if message.receive_count < 3:
            raise RetryLater(after=0)
        done.set()
        return ProcessStatus.DONE

    app.publish("ping")
    run_until(app, done)

    assert ran == ["works", "later 1", "works", "later 2", "works", "later 3"]
    assert queues.depth() == (0, 0)


def test_a_retried_message_is_hidden_for_the_backoff(queues: Queues) -> None:
    app, done = queues.app(backoff=lambda receive_count: 600.0, retry_on=ConnectionError), threading.Event()

    @app.on_text()
    def fail(text: str) -> None:
        done.set()
        raise ConnectionError

    app.publish("ping")
    run_until(app, done)

    assert queues.depth() == (0, 1)
    assert app.metrics.snapshot()["hidden"] == 1


def test_a_message_that_failed_for_good_is_dead_lettered_as_it_was_received(queues: Queues) -> None:
    app, done = queues.app(), threading.Event()

    @app.on_data(handler_name="charge")
    def charge(data: object) -> None:
        done.set()
        raise ValueError("expired")

    @app.on_data(handler_name="archive")
    def archive(data: object) -> None: ...

    message_id = app.publish({"order": 1}, binary_encoding=True, attributes={"n": 5, "b": b"\0"})
    (body,) = [
        each["Body"] for each in queues.sqs.receive_message(QueueUrl=queues.url, VisibilityTimeout=0)["Messages"]
    ]
    run_until(app, done)

    (dead,) = queues.receive_dead_letters()
    assert dead["Body"] == body
    assert dead["MessageAttributes"]["n"] == {"DataType": "Number", "StringValue": "5"}
    assert dead["MessageAttributes"]["b"] == {"DataType": "Binary", "BinaryValue": b"\0"}
    assert json.loads(dead["MessageAttributes"]["megaflow-origin"]["StringValue"]) == {
        "message_id": message_id,
        "queue": queues.url,
        "digest": digest_of(read_message(dead, "", 0.0, 0.0, time.monotonic)),
        "failed": {"charge": "ValueError: expired"},
        "finished": ["archive"],
    }
    assert queues.depth() == (0, 0)


def test_a_message_stays_where_the_dead_letter_queue_refuses_it(queues: Queues) -> None:
    tried = threading.Event()

    def refuse(real: Callable[..., Any], **parameters: Any) -> Any:
        if parameters["QueueUrl"] != queues.dead_letters:
            return real(**parameters)
        tried.set()
        raise client_error("AccessDenied", "SendMessage", 403)

    app = queues.app(client=Faulty(queues.sqs, send_message=refuse), backoff=lambda count: 600.0)
    app.on_text()(lambda text: ProcessStatus.FATAL_ERROR)
    app.publish("ping")

    run_until(app, tried)

    assert queues.depth() == (0, 1)
    assert app.metrics.snapshot()["deleted"] == 0


def test_without_a_dead_letter_queue_a_failed_message_is_deleted_and_the_log_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sqs = SqsClient(Account())
    app, done = App(sqs.create_queue(QueueName="alone")["QueueUrl"], client=sqs), threading.Event()

    @app.on_text()
    def fail(text: str) -> ProcessStatus:
        done.set()
        return ProcessStatus.FATAL_ERROR

    app.publish("ping")
    run_until(app, done)

    assert "no dead-letter queue: messages that fail for good are deleted" in caplog.text
    assert "no dead-letter queue, so it is deleted" in caplog.text
    assert app.metrics.snapshot()["dropped"] == 1


@pytest.mark.parametrize(
    ("unmatched", "left", "dead"), [("delete", (0, 0), 0), ("keep", (0, 1), 0), ("dead_letter", (0, 0), 1)]
)
def test_unmatched_messages_follow_the_rule_and_are_counted(
    queues: Queues, unmatched: Any, left: tuple[int, int], dead: int
) -> None:
    app, done = queues.app(unmatched=unmatched, backoff=lambda count: 600.0), threading.Event()
    app.on_text("last")(lambda text: done.set())
    app.publish("nobody wants this")
    app.publish("last")

    with running(app):
        assert done.wait(PATIENCE)
        wait_until(lambda: app.metrics.snapshot().get("unmatched"))

    assert queues.depth() == left
    assert len(queues.receive_dead_letters()) == dead
    assert app.metrics.snapshot()["unmatched"] == 1


def test_the_same_message_twice_in_one_batch_survives(queues: Queues) -> None:
    done = threading.Event()
    ran: list[str] = []

    def receive_twice(real: Callable[..., Any], **parameters: Any) -> Any:
        answer = real(**parameters)
        return answer | {"Messages": [each for each in answer.get("Messages", []) for _ in range(2)][:2]}

    app = queues.app(client=Faulty(queues.sqs, receive_message=receive_twice))

    @app.on_text()
    def handle(text: str) -> None:
        ran.append(text)
        if len(ran) == 1:
            done.set()

    app.publish("ping")
    run_until(app, done)

    assert queues.depth() == (0, 0)


def test_deletes_that_fail_are_tried_again_entry_by_entry(queues: Queues) -> None:
    done = threading.Event()
    calls: list[int] = []

    def fail_once(real: Callable[..., Any], **parameters: Any) -> Any:
        calls.append(len(parameters["Entries"]))
        if len(calls) == 1:
            raise EndpointConnectionError(endpoint_url="http://sqs")
        if len(calls) == 2:
            refused = {"Id": parameters["Entries"][0]["Id"], "Code": "InternalError", "SenderFault": False}
            answer = (
                real(**parameters | {"Entries": parameters["Entries"][1:]}) if len(parameters["Entries"]) > 1 else {}
            )
            return {"Successful": answer.get("Successful", []), "Failed": [refused]}
        done.set()
        return real(**parameters)

    app = queues.app(client=Faulty(queues.sqs, delete_message_batch=fail_once))
    app.on_text()(lambda text: None)
    app.publish("ping")

    run_until(app, done)

    assert calls == [1, 1, 1]
    assert queues.depth() == (0, 0)


# How handlers run


def test_concurrency_handlers_run_at_once_and_no_more(queues: Queues) -> None:
    app = queues.app(concurrency=3)
    barrier, done = threading.Barrier(3), threading.Event()
    lock, running_now, most, finished = threading.Lock(), [0], [0], [0]

    @app.on_text()
    def handle(text: str) -> None:
        with lock:
            running_now[0] += 1
            most[0] = max(most[0], running_now[0])
        barrier.wait(PATIENCE)
        with lock:
            running_now[0] -= 1
            finished[0] += 1
            if finished[0] == 9:
                done.set()

    app.publish_batch("ping" for _ in range(9))
    run_until(app, done)

    assert most == [3]


def test_no_message_waits_for_the_slowest_of_its_batch(queues: Queues) -> None:
    app = queues.app(concurrency=2)
    slow, done = threading.Event(), threading.Event()
    quick: list[str] = []

    @app.on_text("slow")
    def wait(text: str) -> None:
        assert slow.wait(PATIENCE)

    @app.on_text("quick")
    def count(text: str) -> None:
        quick.append(text)
        if len(quick) == 20:
            slow.set()
            done.set()

    app.publish("slow")
    app.publish_batch("quick" for _ in range(20))

    run_until(app, done)

    assert queues.depth() == (0, 0)


QUICK = 200
"""Messages after which handlers are known to be quick."""


@pytest.mark.parametrize("place", [0, 5])
@pytest.mark.parametrize("kind", ["sync", "async", "sync among async"])
def test_a_handler_that_was_quick_and_now_blocks_stalls_nothing(queues: Queues, kind: str, place: int) -> None:
    app, quick, done, release = queues.app(concurrency=2), threading.Event(), threading.Event(), threading.Event()
    handled: list[str] = []

    def note(text: str) -> None:
        handled.append(text)
        if len(handled) == QUICK:
            quick.set()
        if len(handled) == QUICK + 50:
            done.set()

    def handle(text: str) -> None:
        if text == "block":
            release.wait(PATIENCE)
        else:
            note(text)

    async def handle_async(text: str) -> None:
        if text == "block":
            await asyncio.to_thread(release.wait, PATIENCE)
        else:
            note(text)

    app.on_text("block")(handle_async if kind == "async" else handle)
    app.on_text(not_("block"))(handle if kind == "sync" else handle_async)
    app.publish_batch(f"before {number}" for number in range(QUICK))

    with running(app):
        assert quick.wait(PATIENCE)
        app.publish_batch("block" if number == place else f"after {number}" for number in range(51))
        assert done.wait(PATIENCE)
        release.set()

    assert queues.depth() == (0, 0)


def test_async_handlers_share_one_event_loop_and_run_at_once(queues: Queues) -> None:
    app = queues.app(concurrency=4)
    done = threading.Event()
    loops: set[int] = set()
    together = asyncio.Barrier(4)

    @app.on_text()
    async def handle(text: str) -> None:
        loops.add(id(asyncio.get_running_loop()))
        await asyncio.wait_for(together.wait(), PATIENCE)
        done.set()

    app.publish_batch("ping" for _ in range(4))
    run_until(app, done)

    assert len(loops) == 1
    assert queues.depth() == (0, 0)


def test_fifo_groups_keep_their_order_across_retries() -> None:
    queues = Queues(fifo=True)
    app, done = queues.app(), threading.Event()
    handled: dict[str, list[int]] = {"a": [], "b": [], "c": []}
    failed: set[str] = set()

    @app.on_data()
    def handle(data: dict[str, int], message: Message) -> None:
        number = data["n"]
        if number % 4 == 2 and f"{message.group_id}{number}" not in failed:
            failed.add(f"{message.group_id}{number}")
            raise RetryLater(after=0)
        handled[message.group_id].append(number)
        if all(len(numbers) == 12 for numbers in handled.values()):
            done.set()

    app.publish_batch(
        Outgoing({"n": number}, group_id=group, deduplication_id=f"{group}{number}")
        for number in range(12)
        for group in handled
    )
    run_until(app, done)

    assert handled == {group: list(range(12)) for group in handled}
    assert queues.depth() == (0, 0)


def test_handlers_can_be_registered_while_it_runs(queues: Queues) -> None:
    app, first, second = queues.app(), threading.Event(), threading.Event()
    app.on_text("first")(lambda text: first.set())

    with running(app):
        app.publish("first")
        assert first.wait(PATIENCE)
        app.on_text("second")(lambda text: second.set())
        app.publish("second")
        assert second.wait(PATIENCE)


# Starting


def test_a_queue_that_does_not_exist_ends_run_with_a_clear_error(queues: Queues) -> None:
    app = App("http://sqs.localhost/000000000000/nowhere", client=queues.sqs)
    app.on_text()(lambda text: None)

    with pytest.raises(ConfigurationError, match="there is no such queue") as caught:
        app.run()

    assert "nowhere" in str(caught.value)
    assert isinstance(caught.value.__cause__, ClientError)


@pytest.mark.parametrize(
    ("error", "said"),
    [(client_error("AccessDenied", status=403), "access is refused"), (NoCredentialsError(), "no usable credentials")],
)
def test_refused_access_ends_run_with_a_clear_error(queues: Queues, error: Exception, said: str) -> None:
    def refuse(real: Callable[..., Any], **parameters: Any) -> Any:
        raise error

    app = queues.app(client=Faulty(queues.sqs, receive_message=refuse))
    app.on_text()(lambda text: None)

    with pytest.raises(ConfigurationError, match=said):
        app.run()


def test_a_missing_profile_ends_run_with_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    app = App("https://sqs.eu-west-1.amazonaws.com/123456789012/carts", profile_name="nowhere")
    app.on_text()(lambda text: None)

    with pytest.raises(ConfigurationError, match="profile_name='nowhere'"):
        app.run()


def test_a_role_that_may_not_read_attributes_can_consume_all_the_same(
    queues: Queues, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(real: Callable[..., Any], **parameters: Any) -> Any:
        raise client_error("AccessDenied", "GetQueueAttributes", 403)

    app, done = queues.app(client=Faulty(queues.sqs, get_queue_attributes=refuse)), threading.Event()
    app.on_text()(lambda text: done.set())
    app.publish("ping")

    run_until(app, done)

    assert "the redrive policy is not known" in caplog.text


def test_the_queue_cannot_be_its_own_dead_letter_queue(queues: Queues) -> None:
    app = queues.app(dead_letter_queue_url=queues.url)
    app.on_text()(lambda text: None)

    with pytest.raises(ConfigurationError, match="is the queue itself"):
        app.run()


def test_one_handler_is_one(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "megaflow")
    queues = Queues()
    app = queues.app()
    app.on_text()(lambda text: None)

    app.stop()
    app.run()

    assert f"consuming {queues.url} with 1 handler, up to 10 at once" in caplog.text


def test_the_start_is_logged_with_what_matters(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "megaflow")
    queues = Queues(max_receive_count=1)
    app, done = queues.app(), threading.Event()
    app.on_text(handler_name="greedy")(lambda text: done.set())
    app.on_data({"a": lambda left: True}, handler_name="asked")(lambda data: None)
    app.publish("ping")

    run_until(app, done)

    assert f"consuming {queues.url} with 2 handlers, up to 10 at once; unmatched messages: delete" in caplog.text
    assert f"messages that fail for good go to {queues.dead_letters}" in caplog.text
    assert "maxReceiveCount is 1" in caplog.text
    assert "greedy matches every message of kind text" in caplog.text
    assert caplog.text.count("asked cannot be indexed, so every message asks it") == 1
    assert f"stopped consuming {queues.url}" in caplog.text


def test_failed_polls_are_survived(queues: Queues) -> None:
    failures = iter([client_error("ServiceUnavailable", status=503), OSError("reset")])
    done = threading.Event()

    def fail_first(real: Callable[..., Any], **parameters: Any) -> Any:
        error = next(failures, None)
        if error is not None:
            raise error
        return real(**parameters)

    app = queues.app(client=Faulty(queues.sqs, receive_message=fail_first))
    app.on_text()(lambda text: done.set())
    app.publish("ping")

    run_until(app, done)

    assert app.metrics.snapshot()["failed_polls"] == 2


def test_a_queue_out_of_reach_at_the_start_is_not_taken_for_one_without_dead_letters(queues: Queues) -> None:
    failures = iter([EndpointConnectionError(endpoint_url="http://sqs"), client_error("Throttled", status=503)])
    done = threading.Event()

    def fail_first(real: Callable[..., Any], **parameters: Any) -> Any:
        error = next(failures, None)
        if error is not None:
            raise error
        return real(**parameters)

    app = queues.app(client=Faulty(queues.sqs, get_queue_attributes=fail_first, get_queue_url=fail_first))

    @app.on_text()
    def fail(text: str) -> ProcessStatus:
        done.set()
        return ProcessStatus.FATAL_ERROR

    app.publish("ping")
    run_until(app, done)

    assert len(queues.receive_dead_letters()) == 1


def test_a_queue_that_does_not_answer_at_the_start_does_not_hold_up_stop(queues: Queues) -> None:
    asked, released = threading.Event(), threading.Event()

    def hang(real: Callable[..., Any], **parameters: Any) -> Any:
        asked.set()
        released.wait(2 * PATIENCE)
        return real(**parameters)

    app = queues.app(client=Faulty(queues.sqs, get_queue_attributes=hang))
    app.on_text()(lambda text: None)
    with running(app) as thread:
        assert asked.wait(PATIENCE)
        app.stop()
        thread.join(EARLY)
        assert not thread.is_alive()
    released.set()


def test_a_role_that_may_not_delete_ends_run_instead_of_handling_for_ever(queues: Queues) -> None:
    def refuse(real: Callable[..., Any], **parameters: Any) -> Any:
        raise client_error("AccessDenied", "DeleteMessageBatch", 403)

    app = queues.app(client=Faulty(queues.sqs, delete_message_batch=refuse))
    app.on_text()(lambda text: None)
    app.publish("ping")

    with pytest.raises(ConfigurationError, match="sqs:DeleteMessage"):
        app.run()


def test_slow_dead_letters_do_not_hold_up_deletes(queues: Queues) -> None:
    deleted = threading.Event()

    def hang(real: Callable[..., Any], **parameters: Any) -> Any:
        if parameters["QueueUrl"] == queues.dead_letters:
            assert deleted.wait(PATIENCE)
        return real(**parameters)

    def delete(real: Callable[..., Any], **parameters: Any) -> Any:
        deleted.set()
        return real(**parameters)

    app = queues.app(client=Faulty(queues.sqs, send_message=hang, delete_message_batch=delete))
    app.on_data()(lambda data: ProcessStatus.FATAL_ERROR)
    app.on_text()(lambda text: None)
    app.publish_batch([{"n": number} for number in range(5)])
    app.publish("ping")

    run_until(app, deleted)

    assert len(queues.receive_dead_letters()) == 5


def test_a_task_that_exits_ends_run_and_the_loop_serves_other_handlers_on(queues: Queues) -> None:
    app, other = queues.app(), threading.Event()
    tasks: list[asyncio.Task[None]] = []

    async def leave() -> None:
        raise SystemExit(3)

    @app.on_text("leave")
    async def start(text: str) -> None:
        tasks.append(asyncio.create_task(leave()))
        # Until the loop has been interrupted, and is at work again.
        await asyncio.get_running_loop().run_in_executor(None, other.wait, 0.2)

    app.publish("leave")

    with pytest.raises(SystemExit) as caught:
        app.run()

    assert caught.value.code == 3
    assert tasks[0].exception() is caught.value
    assert queues.depth() == (0, 0)


def test_what_breaks_the_consumer_itself_gives_back_what_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    queues = Queues(fifo=True)
    app = queues.app()
    app.on_data()(lambda data: None)
    app.publish_batch(Outgoing({"n": n}, group_id="a", deduplication_id=str(n)) for n in range(3))

    def no_threads(thread: threading.Thread) -> None:
        if thread.name == "megaflow-worker":
            raise RuntimeError("can't start new thread")
        start(thread)

    start = threading.Thread.start
    monkeypatch.setattr(threading.Thread, "start", no_threads)

    with pytest.raises(RuntimeError, match="can't start new thread"):
        app.run()

    assert queues.depth()[1] == 1


def test_threads_take_turns_at_the_core(queues: Queues, monkeypatch: pytest.MonkeyPatch) -> None:
    inside: list[int] = []
    met: list[tuple[int, int]] = []

    def alone(method: Callable[..., Any]) -> Callable[..., Any]:
        def enter(*arguments: Any) -> Any:
            here = threading.get_ident()
            met.extend((there, here) for there in tuple(inside) if there != here)
            inside.append(here)
            time.sleep(0)
            try:
                return method(*arguments)
            finally:
                inside.remove(here)

        return enter

    monkeypatch.setattr(Core, "handle_all", alone(Core.handle_all))
    monkeypatch.setattr(Core, "wake_at", property(alone(Core.wake_at.fget)))  # type: ignore[attr-defined]
    app, done = queues.app(concurrency=4), threading.Event()
    handled: list[str] = []

    @app.on_text()
    def note(text: str) -> None:
        handled.append(text)
        if len(handled) == 1_000:
            done.set()

    app.publish_batch(str(number) for number in range(1_000))

    run_until(app, done)

    assert met == []


def test_where_no_more_threads_start_those_that_run_do_the_work(
    queues: Queues, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    app, done = queues.app(), threading.Event()
    handled: list[str] = []
    workers: list[str] = []

    @app.on_text()
    def handle(text: str) -> None:
        handled.append(text)
        if len(handled) == 10:
            done.set()

    def one_worker(thread: threading.Thread) -> None:
        if thread.name == "megaflow-worker":
            workers.append(thread.name)
            if len(workers) > 1:
                raise RuntimeError("can't start new thread")
        start(thread)

    start = threading.Thread.start
    monkeypatch.setattr(threading.Thread, "start", one_worker)
    app.publish_batch("ping" for _ in range(10))

    run_until(app, done)

    assert "no thread for one more handler, 1 are at work" in caplog.text


def test_an_event_loop_that_cannot_start_keeps_the_message(
    queues: Queues, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    app, tried = queues.app(backoff=lambda count: 600.0), threading.Event()

    @app.on_text()
    async def handle(text: str) -> None: ...

    def no_loop() -> asyncio.AbstractEventLoop:
        tried.set()
        raise OSError("too many open files")

    monkeypatch.setattr(asyncio, "new_event_loop", no_loop)
    app.publish("ping")

    run_until(app, tried)

    assert queues.depth() == (0, 1)
    assert "there is no event loop for an async handler: too many open files" in caplog.text


def test_a_middleware_that_does_not_work_is_refused_while_it_runs(queues: Queues) -> None:
    app, first, second = queues.app(), threading.Event(), threading.Event()
    app.on_text("first")(lambda text: first.set())
    app.on_text("second")(lambda text: second.set())

    with running(app):
        app.publish("first")
        assert first.wait(PATIENCE)
        with pytest.raises(RegistrationError):
            app.use(lambda call_next: None)  # type: ignore[type-var]
        app.publish("second")
        assert second.wait(PATIENCE)


# Stopping


def test_an_app_runs_once_at_a_time_and_again_after_it_stopped(queues: Queues) -> None:
    app = queues.app()
    events = [threading.Event(), threading.Event()]
    seen = iter(events)
    app.on_text()(lambda text: next(seen).set())

    for event in events:
        with running(app):
            app.publish("ping")
            assert event.wait(PATIENCE)
            with pytest.raises(UsageError, match="running already"):
                app.run()


def test_stop_just_before_run_ends_it(queues: Queues) -> None:
    app = queues.app()
    app.on_text()(lambda text: None)

    app.stop()
    app.run()

    assert queues.depth() == (0, 0)


def test_an_idle_consumer_stops_at_once_although_its_poll_has_long_to_go(queues: Queues) -> None:
    app, polling = queues.app(wait_time_seconds=20), threading.Event()
    app.on_text()(lambda text: None)
    ended = threading.Event()

    def receive(real: Callable[..., Any], **parameters: Any) -> Any:
        polling.set()
        ended.wait(2 * PATIENCE)
        return real(**parameters | {"WaitTimeSeconds": 0})

    app = queues.app(client=Faulty(queues.sqs, receive_message=receive))
    app.on_text()(lambda text: None)
    with running(app) as thread:
        assert polling.wait(PATIENCE)
        app.stop()
        thread.join(EARLY)
        assert not thread.is_alive()
    ended.set()


def test_what_a_poll_brings_after_the_end_is_given_back(queues: Queues) -> None:
    polling, ended, given_back = threading.Event(), threading.Event(), threading.Event()

    def receive_late(real: Callable[..., Any], **parameters: Any) -> Any:
        polling.set()
        ended.wait(PATIENCE)
        return real(**parameters)

    def hide(real: Callable[..., Any], **parameters: Any) -> Any:
        answer = real(**parameters)
        given_back.set()
        return answer

    app = queues.app(client=Faulty(queues.sqs, receive_message=receive_late, change_message_visibility_batch=hide))
    app.on_text()(lambda text: None)
    app.publish("ping")
    with running(app):
        assert polling.wait(PATIENCE)
    ended.set()

    assert given_back.wait(PATIENCE)
    wait_until(lambda: queues.depth() == (1, 0))


def test_stopping_lets_a_handler_finish_and_deletes_its_message(queues: Queues) -> None:
    app, started, go_on = queues.app(), threading.Event(), threading.Event()

    @app.on_text()
    def handle(text: str) -> None:
        started.set()
        assert go_on.wait(PATIENCE)

    app.publish("ping")
    with running(app) as thread:
        assert started.wait(PATIENCE)
        app.stop()
        go_on.set()
        thread.join(PATIENCE)

    assert queues.depth() == (0, 0)


@pytest.mark.parametrize("is_async", [False, True])
def test_a_handler_that_never_returns_does_not_block_the_end(queues: Queues, is_async: bool) -> None:
    app, started, released = queues.app(shutdown_timeout=0), threading.Event(), threading.Event()

    def wait(text: str) -> None:
        started.set()
        released.wait(PATIENCE)

    async def wait_async(text: str) -> None:
        started.set()
        await asyncio.Event().wait()

    app.on_text()(wait_async if is_async else wait)
    app.publish("ping")
    with running(app):
        assert started.wait(PATIENCE)
    released.set()

    assert queues.depth() == (0, 1)


def test_a_handler_that_exits_ends_run_and_keeps_its_message(queues: Queues) -> None:
    app = queues.app(backoff=lambda count: 600.0)

    @app.on_text()
    async def leave(text: str) -> None:
        raise SystemExit(3)

    app.publish("ping")

    with pytest.raises(SystemExit) as caught:
        app.run()

    assert caught.value.code == 3
    assert queues.depth() == (0, 1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_and_the_old_handler_is_back_afterwards(queues: Queues, number: signal.Signals) -> None:
    app = queues.app()
    before = signal.getsignal(number)
    app.on_text()(lambda text: os.kill(os.getpid(), number))
    app.publish("ping")

    app.run()

    assert queues.depth() == (0, 0)
    assert signal.getsignal(number) is before


def test_a_second_signal_does_not_wait_for_handlers(queues: Queues) -> None:
    app, released = queues.app(shutdown_timeout=PATIENCE), threading.Event()

    @app.on_text()
    def wait(text: str) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        released.wait(PATIENCE)

    app.publish("ping")
    app.run()
    released.set()

    wait_until(lambda: queues.depth() == (1, 0))


def test_messages_that_cannot_be_given_back_are_logged(queues: Queues, caplog: pytest.LogCaptureFixture) -> None:
    polling, ended, tried = threading.Event(), threading.Event(), threading.Event()

    def receive_late(real: Callable[..., Any], **parameters: Any) -> Any:
        polling.set()
        ended.wait(PATIENCE)
        return real(**parameters)

    def refuse(real: Callable[..., Any], **parameters: Any) -> Any:
        raise client_error("AccessDenied", "ChangeMessageVisibilityBatch", 403)

    class Listen(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "could not be given back" in record.getMessage():
                tried.set()

    log = logging.getLogger("megaflow")
    listener = Listen()
    log.addHandler(listener)
    app = queues.app(client=Faulty(queues.sqs, receive_message=receive_late, change_message_visibility_batch=refuse))
    app.on_text()(lambda text: None)
    app.publish("ping")
    with running(app):
        assert polling.wait(PATIENCE)
    ended.set()

    assert tried.wait(PATIENCE)
    log.removeHandler(listener)


# Several apps, and their health


def test_several_apps_run_in_one_process_until_all_are_stopped() -> None:
    places = [Queues(), Queues()]
    apps, handled = [each.app() for each in places], [threading.Event(), threading.Event()]
    for app, event in zip(apps, handled, strict=True):
        app.on_text()(lambda text, event=event: event.set())
        app.publish("ping")
    thread = threading.Thread(target=run, args=apps, daemon=True)
    thread.start()

    for event in handled:
        assert event.wait(PATIENCE)
    apps[0].stop()
    apps[1].stop()
    thread.join(PATIENCE)

    assert not thread.is_alive()
    assert [each.depth() for each in places] == [(0, 0), (0, 0)]


def test_an_app_that_fails_stops_the_others_and_its_error_is_raised(queues: Queues) -> None:
    good, bad = queues.app(), App(queues.url + "x", client=queues.sqs)
    for app in (good, bad):
        app.on_text()(lambda text: None)

    with pytest.raises(ConfigurationError, match="there is no such queue"):
        run(good, bad)

    assert not good.health().ready


def test_a_signal_stops_all_apps_that_run_together() -> None:
    apps = [Queues().app(), Queues().app()]

    def leave(text: str) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    for app in apps:
        app.on_text()(leave)
    apps[0].publish("ping")

    run(*apps)


@pytest.mark.parametrize("count", [0, 2])
def test_run_takes_apps_each_once(queues: Queues, count: int) -> None:
    with pytest.raises(
        UsageError, match=r"run\(\) takes apps, one after another: run\(orders, mails\), not \[<megaflow"
    ):
        run([App()])  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="one or more apps, each once"):
        run(*[queues.app()] * count)


def test_health_is_answered_over_http_while_it_runs(queues: Queues) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    app, ready = queues.app(wait_time_seconds=1), []

    @app.on_text()
    def ask(text: str) -> None:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready") as answer:
            ready.append((answer.status, json.load(answer)["running"]))
        app.stop()

    app.publish("ping")
    app.run(health_port=port)

    assert ready == [(200, 1)]
    assert app.health().problems == ("it is not running",)


def test_an_idle_queue_makes_it_ready_long_before_a_long_poll_is_over(queues: Queues) -> None:
    app = queues.app(wait_time_seconds=20)
    app.on_text()(lambda text: None)
    began = time.monotonic()

    with running(app):
        wait_until(lambda: app.health().ready)

    assert time.monotonic() - began < EARLY


def test_a_consumer_whose_handlers_are_all_at_work_for_long_is_live(queues: Queues) -> None:
    app, begun, released = queues.app(concurrency=1, visibility_timeout=3_600), threading.Event(), threading.Event()
    now = time.monotonic()

    @app.on_text()
    def work(text: str) -> None:
        begun.set()
        released.wait(PATIENCE)

    app.publish("long")
    queue = OpenQueue(queues.sqs, queues.url)
    runner = Runner(
        queue, parts_of(app).assembly.processor, parts_of(app).settings, parts_of(app).outlets, clock=lambda: now
    )
    thread = threading.Thread(target=runner.run)
    thread.start()
    assert begun.wait(PATIENCE)
    now += 600

    wait_until(lambda: runner.health().live)

    assert runner.health().ready
    released.set()
    runner.stop()
    thread.join(PATIENCE)


def test_an_event_loop_that_a_handler_blocks_is_replaced(queues: Queues) -> None:
    app, released, done = queues.app(backoff=lambda count: 0.0), threading.Event(), threading.Event()

    # Time enough for the second call, which does next to nothing, on a busy machine too.
    @app.on_text(timeout=1)
    async def handle(text: str, message: Message) -> None:
        if message.receive_count == 1:
            released.wait(PATIENCE)
        done.set()

    app.publish("ping")
    run_until(app, done)
    released.set()

    assert queues.depth() == (0, 0)
