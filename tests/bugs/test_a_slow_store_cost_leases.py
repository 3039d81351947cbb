"""A store that took its time to renew a key held up the extension of leases: messages came again, and were counted."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from megaflow import App, MemoryStore
from megaflow.app import parts_of
from megaflow.consumer.threads.renewals import Renewals
from megaflow.messages.message import Message, open_message
from tests.awslambda.test_awslambda import Clock, Context, receive
from tests.consuming import Faulty, Queues, running
from tests.waiting import PATIENCE, wait_until


class Slow(MemoryStore):
    """Renews nothing before it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.may_renew = threading.Event()
        self.asked: Counter[str] = Counter()

    def renew(self, key: str, owner: str, seconds: float) -> None:
        self.asked[key] += 1
        self.may_renew.wait(PATIENCE)
        super().renew(key, owner, seconds)


def until(ends: threading.Event) -> Callable[[str], None]:
    """Return a handler that works until then."""

    def work(text: str) -> None:
        ends.wait(PATIENCE)

    return work


@pytest.fixture
def store() -> Iterator[Slow]:
    store = Slow()
    yield store
    store.may_renew.set()


def test_leases_are_extended_while_a_store_renews_nothing(store: Slow) -> None:
    extended, ends = Counter[str](), threading.Event()
    queues = Queues()

    def note(real: Any, **parameters: Any) -> Any:
        extended.update(each["ReceiptHandle"] for each in parameters["Entries"] if each["VisibilityTimeout"])
        return real(**parameters)

    client = Faulty(queues.sqs, change_message_visibility_batch=note)
    app = queues.app(client=client, progress=store, visibility_timeout=1, wire=False)
    app.on_text(idempotency_key=lambda text: text, handler_name="work")(until(ends))
    queues.app().publish_batch(["one", "another"])

    with running(app):
        wait_until(lambda: len(extended) == 2 and min(extended.values()) >= 5)
        assert store.asked.total() == 1
        ends.set()
        store.may_renew.set()
        wait_until(lambda: queues.depth() == (0, 0))

    assert app.metrics.snapshot()["received"] == 2


def test_a_lambda_function_answers_in_time_while_a_store_renews_nothing(store: Slow) -> None:
    queues, ends = Queues(), threading.Event()
    app = queues.app(progress=store, visibility_timeout=1)
    app.on_text(idempotency_key=lambda text: text, handler_name="work")(until(ends))
    event, handler = receive(queues, "one"), app.lambda_handler()
    handler._clock = clock = Clock()

    with ThreadPoolExecutor(1) as pool:
        answered = pool.submit(handler, event, Context(900))
        wait_until(lambda: store.asked.total() == 1)
        clock.let_an_hour_pass()
        # Until it looks at the time again.
        answer = answered.result(PATIENCE / 2)

    assert len(answer["batchItemFailures"]) == 1
    ends.set()


class Held:
    """A processor for which each message holds a key."""

    def __init__(self) -> None:
        self.renewed: list[str] = []
        self.is_asked, self.may_go_on = threading.Event(), threading.Event()

    def holds_keys(self, message: Message) -> bool:
        return message.body != "nothing"

    def renew(self, message: Message) -> None:
        self.renewed.append(message.id)
        self.is_asked.set()
        self.may_go_on.wait(PATIENCE)


@contextmanager
def held_up() -> Iterator[tuple[Held, Renewals]]:
    """Renewals, of which the first is under way."""
    held = Held()
    renewals = Renewals(lambda: held)  # type: ignore[arg-type, return-value]
    renewals.add(open_message("x", id="first"))
    assert held.is_asked.wait(PATIENCE)
    yield held, renewals
    held.may_go_on.set()


def test_a_message_waits_once_however_often_its_lease_is_extended() -> None:
    with held_up() as (held, renewals):
        for _ in range(3):
            renewals.add(open_message("x", id="second"))
            renewals.add(open_message("x", id="third"))
        held.may_go_on.set()

        wait_until(lambda: held.renewed == ["first", "second", "third"])

        renewals.add(open_message("x", id="fourth"))
        wait_until(lambda: held.renewed[-1] == "fourth")


def test_what_holds_no_key_asks_no_store() -> None:
    with held_up() as (held, renewals):
        renewals.add(open_message("nothing", id="second"))
        renewals.add(open_message("x", id="third"))
        held.may_go_on.set()

        wait_until(lambda: held.renewed == ["first", "third"])


def test_nothing_is_begun_once_it_is_over() -> None:
    with held_up() as (held, renewals):
        renewals.add(open_message("x", id="second"))
        renewals.close()
        held.may_go_on.set()
        renewals.add(open_message("x", id="third"))

        wait_until(lambda: held.renewed == ["first", "third"])


def test_where_no_thread_starts_it_is_said_and_the_next_message_is_renewed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    held = Held()
    held.may_go_on.set()
    renewals = Renewals(lambda: held)  # type: ignore[arg-type, return-value]
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        renewals.add(open_message("x", id="first"))
    assert "message first: its idempotency keys may be taken for free: can't start new thread" in caplog.text

    renewals.add(open_message("x", id="second"))

    wait_until(lambda: held.renewed == ["second"])


def test_a_store_that_fails_is_said(store: Slow, caplog: pytest.LogCaptureFixture) -> None:
    app = App(progress=store)
    began, ends = threading.Event(), threading.Event()

    @app.on_text(idempotency_key=lambda text: text, handler_name="work")
    def work(text: str) -> None:
        began.set()
        ends.wait(PATIENCE)

    def fail(key: str, owner: str, seconds: float) -> None:
        raise OSError("no route to the database")

    store.renew = fail  # type: ignore[method-assign]
    message = open_message("x", id="m")
    thread = threading.Thread(target=app.process, args=(message,))
    thread.start()
    assert began.wait(PATIENCE)

    Renewals(lambda: parts_of(app).processor).add(message)

    wait_until(lambda: "message m: its idempotency keys may be taken for free: " in caplog.text)
    assert "no route to the database" in caplog.text
    ends.set()
    thread.join()
