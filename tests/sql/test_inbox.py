"""The inbox: a handler in a transaction of its own, whose first statement says that it ran."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, NullPool, create_engine, event, text
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session, sessionmaker

from megaflow import (
    App,
    ConfigurationError,
    Handler,
    KeyBusyError,
    MemoryStore,
    Outcome,
    ProcessStatus,
    RegistrationError,
    Reject,
    RetryLater,
    Router,
    UsageError,
)
from megaflow.handlers.inboxes import InboxRow
from megaflow.messages.attributes import Attribute
from megaflow.messages.message import Message, open_message
from megaflow.messages.origin import ORIGIN_ATTRIBUTE, digest_of
from megaflow.processing.middleware import Call
from megaflow.sql import Inbox
from megaflow.testing import TestClient
from tests.consuming import Queues, running
from tests.sql.banks import Bank, charge
from tests.telemetry.spans import attributes_of, recording
from tests.waiting import PATIENCE, wait_until


def app_of(inbox: Inbox, **options: Any) -> App:
    app = App(**options)
    app.provide(Session, inbox)
    return app


def charging(app: App, then: Callable[[Session], object] = lambda session: None, **options: Any) -> list[str]:
    """Let *app* charge each text, and return what its handler was called with."""
    called: list[str] = []

    @app.on_text(handler_name="charge", **options)
    def charge_text(what: str, session: Session) -> Any:
        called.append(what)
        charge(session, what)
        return then(session)

    return called


def received(body: str, *, id: str = "1", queue_url: str = "", **attributes: str) -> Message:
    """Return a message as it is received, with attributes whose names have ``-`` for ``_``."""
    carried = {name.replace("_", "-"): Attribute("String", value) for name, value in attributes.items()}
    return open_message(body, id=id, queue_url=queue_url, sqs_attributes=carried)


def process(app: App, body: str, **message: Any) -> Outcome:
    """Take a text through the one handler of *app*."""
    [outcome] = app.process(received(body, **message)).outcomes
    return outcome


# Once


def test_a_handler_runs_once_for_a_message(bank: Bank) -> None:
    app = app_of(bank.inbox())
    called = charging(app)

    first, second = process(app, "a"), process(app, "a")

    assert (first.status, first.skipped) == (ProcessStatus.DONE, "")
    assert (second.status, second.skipped) == (ProcessStatus.DONE, "done earlier")
    assert called == bank.charged() == ["a"]


def test_two_handlers_of_a_message_each_run_once(bank: Bank) -> None:
    app = app_of(bank.inbox())

    @app.on_text(handler_name="one")
    def one(what: str, session: Session) -> None:
        charge(session, "one")

    @app.on_text(handler_name="two")
    def two(what: str, session: Session) -> ProcessStatus:
        charge(session, "two")
        return ProcessStatus.DONE if bank.keys() else ProcessStatus.RETRY_LATER

    for _ in range(2):
        app.process(received("a"))

    assert bank.charged() == ["one", "two"]


@pytest.mark.parametrize("status", [each for each in ProcessStatus if each is not ProcessStatus.DONE])
def test_a_status_that_is_not_done_rolls_back(bank: Bank, status: ProcessStatus) -> None:
    app = app_of(bank.inbox())
    charging(app, lambda session: status)

    assert process(app, "a").status is status

    assert (bank.charged(), bank.rows()) == ([], [])


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("no"), ProcessStatus.FATAL_ERROR),
        (ConnectionError("no"), ProcessStatus.RETRIABLE_ERROR),
        (RetryLater("no"), ProcessStatus.RETRY_LATER),
        (Reject("no"), ProcessStatus.FATAL_ERROR),
    ],
)
def test_an_error_rolls_back(bank: Bank, error: Exception, status: ProcessStatus) -> None:
    app = app_of(bank.inbox(), retry_on=(ConnectionError,))

    def fail(session: Session) -> None:
        raise error

    charging(app, fail)

    outcome = process(app, "a")

    assert (outcome.status, outcome.error) == (status, error)
    assert (bank.charged(), bank.rows()) == ([], [])


def test_what_ends_the_process_rolls_back(bank: Bank) -> None:
    app = app_of(bank.inbox())

    def leave(session: Session) -> None:
        raise SystemExit(3)

    charging(app, leave)

    with pytest.raises(SystemExit):
        app.process(received("a"))

    assert (bank.charged(), bank.rows()) == ([], [])


def test_what_was_rolled_back_runs_again(bank: Bank) -> None:
    said = iter([ProcessStatus.RETRY_LATER, None])
    app = app_of(bank.inbox())
    called = charging(app, lambda session: next(said))

    outcomes = [process(app, "a").status for _ in range(2)]

    assert outcomes == [ProcessStatus.RETRY_LATER, ProcessStatus.DONE]
    assert called == ["a", "a"]
    assert bank.charged() == ["a"]


def test_a_message_that_is_not_what_the_annotations_say_is_deleted_without_a_row(bank: Bank) -> None:
    app = app_of(bank.inbox(), on_invalid="delete")

    @dataclass
    class Order:
        id: int

    @app.on_data({})
    def handle(order: Order, session: Session) -> None: ...

    verdict = app.process(received('{"id": "none"}'))

    assert verdict.deletes
    assert bank.rows() == []


# By which key


def test_a_message_is_known_by_its_id_and_its_queue(bank: Bank) -> None:
    app = app_of(bank.inbox())
    charging(app)

    process(app, "a", queue_url="https://sqs.eu-west-1.amazonaws.com/123456789012/orders")

    assert bank.rows() == [("eu-west-1:123456789012:orders", "charge", "message:1")]


def test_a_message_is_known_by_the_identity_that_its_sender_gave_it(bank: Bank) -> None:
    app = app_of(bank.inbox())
    charging(app)

    first, second = process(app, "a", megaflow_id="x"), process(app, "a", id="2", megaflow_id="x")

    assert (first.skipped, second.skipped) == ("", "done earlier")
    assert bank.keys() == ["id:x"]


def test_the_identity_is_found_inside_an_envelope_of_sns(bank: Bank) -> None:
    app = app_of(bank.inbox())
    charging(app)
    envelope = {
        "Type": "Notification",
        "MessageId": "m",
        "TopicArn": "arn:aws:sns:eu-west-1:1:t",
        "Message": "a",
        "Timestamp": "2026-01-01T00:00:00.000Z",
        "MessageAttributes": {"megaflow-id": {"Type": "String", "Value": "x"}},
    }

    process(app, json.dumps(envelope))

    assert bank.keys() == ["id:x"]


@pytest.mark.parametrize("identity", ["", "x" * 257])
def test_an_identity_that_is_none_is_not_taken_for_one(bank: Bank, identity: str) -> None:
    app = app_of(bank.inbox())
    charging(app)
    message = received("a", megaflow_id=identity) if identity else received("a")

    app.process(message)

    assert bank.keys() == ["message:1"]


def test_a_message_is_known_by_its_idempotency_key_without_a_store(bank: Bank) -> None:
    app = app_of(bank.inbox())
    called = charging(app, idempotency_key=lambda what: what)

    first = process(app, "a", megaflow_id="x")
    second = process(app, "a", id="2", megaflow_id="y")
    third = process(app, "b", id="2", megaflow_id="y")

    assert [each.skipped for each in (first, second, third)] == ["", "done earlier", ""]
    assert called == ["a", "b"]
    assert bank.keys() == ["key:a", "key:b"]


def test_a_message_without_idempotency_key_is_known_by_what_comes_next(bank: Bank) -> None:
    app = app_of(bank.inbox())
    charging(app, idempotency_key=lambda what: None)

    process(app, "a", megaflow_id="x")
    process(app, "a", id="2")

    assert bank.keys() == ["id:x", "message:2"]


def test_a_store_is_not_asked_for_a_key_that_the_inbox_has(bank: Bank) -> None:
    class Untouched(MemoryStore):
        def claim(self, *args: Any) -> Any:
            raise AssertionError("it was asked")

    app = app_of(bank.inbox(), idempotency=Untouched())
    charging(app, idempotency_key=lambda what: what)

    assert process(app, "a").status is ProcessStatus.DONE


def test_a_function_of_the_key_that_fails_is_read_as_the_handler_s_error(bank: Bank) -> None:
    app = app_of(bank.inbox(), retry_on=(KeyError,))
    called = charging(app, idempotency_key=lambda what: {}[what])

    outcome = process(app, "a")

    assert (outcome.status, type(outcome.error)) == (ProcessStatus.RETRIABLE_ERROR, KeyError)
    assert (called, bank.rows()) == ([], [])


@pytest.mark.parametrize("key", ["x" * 5_000, "a\0b", "\ud800"])
def test_a_key_that_no_database_takes_is_known_by_its_hash(bank: Bank, key: str) -> None:
    app = app_of(bank.inbox())
    called = charging(app, idempotency_key=lambda what: key)

    assert [process(app, "a", id=id).skipped for id in "12"] == ["", "done earlier"]

    assert called == ["a"]
    assert bank.keys()[0].startswith("sha256:")


def test_a_redriven_message_is_known_by_the_id_that_it_had_first(bank: Bank) -> None:
    app = app_of(bank.inbox())
    called = charging(app)
    before = received("a", queue_url="https://sqs.eu-west-1.amazonaws.com/1/q")
    app.process(before)
    origin = {"message_id": "1", "queue": before.queue_url, "digest": digest_of(before)}
    redriven = received(
        "a", id="2", queue_url=before.queue_url, **{ORIGIN_ATTRIBUTE.replace("-", "_"): json.dumps(origin)}
    )

    [outcome] = app.process(redriven).outcomes

    assert outcome.skipped == "done earlier"
    assert called == ["a"]


def test_a_forged_origin_says_nothing_of_another_message(bank: Bank) -> None:
    app = app_of(bank.inbox())
    called = charging(app)
    before = received("a", queue_url="https://sqs.eu-west-1.amazonaws.com/1/q")
    app.process(before)
    origin = {"message_id": "1", "queue": before.queue_url, "digest": digest_of(before)}
    forged = received(
        "b", id="2", queue_url=before.queue_url, **{ORIGIN_ATTRIBUTE.replace("-", "_"): json.dumps(origin)}
    )

    app.process(forged)

    assert called == ["a", "b"]


# What is told of it


def test_what_was_done_earlier_is_said_in_the_log(bank: Bank, caplog: pytest.LogCaptureFixture) -> None:
    app = app_of(bank.inbox())
    charging(app)
    process(app, "a")

    with caplog.at_level(logging.INFO, "megaflow"):
        process(app, "a")

    assert "message 1: deleted (charge: skipped: done earlier)" in caplog.messages


def test_what_was_done_earlier_is_explained_by_the_test_client(bank: Bank) -> None:
    app = app_of(bank.inbox())
    called = charging(app, idempotency_key=lambda what: what)

    with TestClient(app) as client:
        client.publish("a")
        client.publish("a")

        assert "deleted (charge: skipped: done earlier)" in client.explain()

    assert called == bank.charged() == ["a"]


def test_what_was_done_earlier_is_said_in_the_trace(bank: Bank) -> None:
    with recording() as spans:
        app = app_of(bank.inbox())
        charging(app)
        for _ in range(2):
            process(app, "a")
        handled = [attributes_of(span) for span in spans.named("handle charge")]

    assert [each.get("megaflow.skipped") for each in handled] == [None, "done earlier"]
    assert [each["megaflow.status"] for each in handled] == ["DONE", "DONE"]


def test_an_error_has_one_line_in_the_log(bank: Bank, caplog: pytest.LogCaptureFixture) -> None:
    app = app_of(bank.inbox())

    def fail(session: Session) -> None:
        raise ValueError("no")

    charging(app, fail)

    process(app, "a")

    assert [each for each in caplog.messages if "failed" in each] == ["message 1: charge failed for good"]


# Around it


def test_the_inbox_is_asked_before_middleware(bank: Bank) -> None:
    app = app_of(bank.inbox())
    called = charging(app)
    through: list[str] = []

    def note(call_next: Call) -> Call:
        def call(handler: Handler, message: Message) -> Any:
            through.append(message.body)
            return call_next(handler, message)

        return call

    app.use(note)

    for _ in range(2):
        process(app, "a")

    assert called == through == ["a"]


def test_what_middleware_raises_afterwards_rolls_back(bank: Bank) -> None:
    app = app_of(bank.inbox())
    charging(app)

    def fail(call_next: Call) -> Call:
        def call(handler: Handler, message: Message) -> Any:
            call_next(handler, message)
            raise ValueError("no")

        return call

    app.use(fail)

    assert process(app, "a").status is ProcessStatus.FATAL_ERROR
    assert (bank.charged(), bank.rows()) == ([], [])


def test_what_is_around_the_handler_is_told_and_a_commit_follows(bank: Bank) -> None:
    app = app_of(bank.inbox())
    charging(app)
    told: list[object] = []

    def note(handler: Handler, message: Message) -> Iterator[None]:
        told.append((yield))
        told.append(len(bank.keys()) if not bank.is_sqlite else 0)

    app.around(note)

    process(app, "a")

    assert told == [ProcessStatus.DONE, 0]
    assert bank.charged() == ["a"]


def test_a_middleware_that_leaves_the_context_behind_is_told_so(bank: Bank) -> None:
    app = app_of(bank.inbox())
    charging(app)

    def elsewhere(call_next: Call) -> Call:
        def call(handler: Handler, message: Message) -> Any:
            raised: list[BaseException] = []

            def run() -> None:
                try:
                    call_next(handler, message)
                except BaseException as error:  # noqa: BLE001
                    raised.append(error)

            thread = threading.Thread(target=run)
            thread.start()
            thread.join(PATIENCE)
            raise raised[0]

        return call

    app.use(elsewhere)

    assert "copy_context" in str(process(app, "a").error)
    assert bank.rows() == []


# What the handler gets


def test_everything_within_a_message_shares_the_session(bank: Bank) -> None:
    inbox = bank.inbox()
    app = app_of(inbox)
    app.provide(Connection, inbox, scope="message")

    class Ledger:
        def __init__(self, session: Session) -> None:
            self.session = session

    app.provide(Ledger, Ledger, scope="message")
    shared: list[bool] = []

    @app.on_text()
    def handle(what: str, session: Session, ledger: Ledger, connection: Connection) -> None:
        shared.append(ledger.session is session and session.connection() is connection)
        charge(connection, what)

    app.process("a")

    assert shared == [True]
    assert bank.charged() == ["a"]


def test_a_handler_that_needs_the_session_only_by_another_has_the_inbox_too(bank: Bank) -> None:
    app = app_of(bank.inbox())

    class Ledger:
        def __init__(self, session: Session) -> None:
            self.session = session

    app.provide(Ledger, Ledger, scope="message")

    @app.on_text()
    def handle(what: str, ledger: Ledger) -> None:
        charge(ledger.session, what)

    for _ in range(2):
        app.process(received("a"))

    assert bank.charged() == ["a"]


def test_a_session_of_a_class_of_its_own_is_welcome(bank: Bank) -> None:
    class OwnSession(Session):
        pass

    app, got = App(), []
    app.provide(OwnSession, bank.inbox())

    @app.on_text()
    def handle(what: str, session: OwnSession) -> None:
        got.append(type(session))

    app.process("a")

    assert got == [OwnSession]


def test_a_sessionmaker_makes_the_sessions(bank: Bank) -> None:
    bank.inbox()
    app = app_of(Inbox(sessionmaker(bank.engine, info={"made": "here"})))
    made: list[Any] = []
    charging(app, lambda session: made.append(session.info["made"]))

    process(app, "a")

    assert made == ["here"]
    assert bank.charged() == ["a"]


def test_a_sessionmaker_that_begins_nothing_by_itself_works_too(bank: Bank) -> None:
    bank.inbox()
    app = app_of(Inbox(sessionmaker(bank.engine, autobegin=False)))
    charging(app)

    process(app, "a")

    assert bank.charged() == ["a"]


def test_a_router_provides_it(bank: Bank) -> None:
    router, app = Router(), App()
    router.provide(Session, bank.inbox())

    @router.on_text()
    def handle(what: str, session: Session) -> None:
        charge(session, what)

    app.include(router)

    for _ in range(2):
        app.process(received("a"))

    assert bank.charged() == ["a"]


def test_a_test_client_puts_another_inbox_in_its_place(bank: Bank, tmp_path: Path) -> None:
    app = app_of(Inbox(create_engine("sqlite:////nowhere/at/all.db")))
    called = charging(app, idempotency_key=lambda what: what)

    with TestClient(app, replacing={Session: bank.inbox()}) as client:
        client.publish("a")
        client.publish("a")

    assert called == bank.charged() == ["a"]


def test_a_test_client_puts_a_plain_session_in_its_place(bank: Bank) -> None:
    app = app_of(Inbox(create_engine("sqlite:////nowhere/at/all.db")))
    called = charging(app)

    def make() -> Iterator[Session]:
        with Session(bank.engine) as session, session.begin():
            yield session

    with TestClient(app, replacing={Session: make}) as client:
        client.publish("a")

    assert called == bank.charged() == ["a"]


# What it may not do with it


@pytest.mark.parametrize("what", ["commit", "rollback", "close", "begin", "invalidate"])
def test_a_handler_may_not_end_the_transaction(bank: Bank, what: str) -> None:
    app = app_of(bank.inbox())
    charging(app, lambda session: getattr(session, what)())

    outcome = process(app, "a")

    assert outcome.status is ProcessStatus.RETRIABLE_ERROR
    assert isinstance(outcome.error, UsageError)
    assert str(outcome.error).startswith(f"{what}() is not the handler's")
    assert (bank.charged(), bank.rows()) == ([], [])


def test_a_handler_may_not_end_it_by_its_connection(bank: Bank) -> None:
    app = app_of(bank.inbox())
    charging(app, lambda session: session.connection().commit())

    assert isinstance(process(app, "a").error, UsageError)
    assert (bank.charged(), bank.rows()) == ([], [])


def test_a_handler_that_keeps_to_itself_that_it_may_not_is_not_done(bank: Bank) -> None:
    app = app_of(bank.inbox())

    def roll_back_regardless(session: Session) -> None:
        try:
            session.rollback()
        except UsageError:
            return

    charging(app, roll_back_regardless)

    assert process(app, "a").status is ProcessStatus.RETRIABLE_ERROR
    assert (bank.charged(), bank.rows()) == ([], [])


def test_a_handler_that_ends_the_transaction_by_a_side_door_is_told(bank: Bank) -> None:
    app = app_of(bank.inbox())

    def end(session: Session) -> None:
        transaction = session.connection().get_transaction()
        assert transaction is not None
        transaction.rollback()

    charging(app, end)

    outcome = process(app, "a")

    assert outcome.status is ProcessStatus.RETRIABLE_ERROR
    assert "has ended the transaction" in str(outcome.error)
    assert bank.charged() == []


@pytest.mark.parametrize("door", ["a statement", "the driver"])
def test_a_handler_that_rolls_back_behind_sqlalchemy_s_back_is_not_done(bank: Bank, door: str) -> None:
    app = app_of(bank.inbox())

    def end(session: Session) -> None:
        if door == "the driver":
            session.connection().connection.rollback()
        else:
            session.execute(text("ROLLBACK"))

    charging(app, end)

    outcome = process(app, "a")

    assert outcome.status is ProcessStatus.RETRIABLE_ERROR
    assert "has ended the transaction" in str(outcome.error)
    assert (bank.charged(), bank.rows()) == ([], [])


def test_savepoints_are_the_handler_s(bank: Bank) -> None:
    app = app_of(bank.inbox())

    def save(session: Session) -> None:
        with session.begin_nested():
            charge(session, "kept")
        with session.begin_nested() as savepoint:
            charge(session, "lost")
            savepoint.rollback()
        with session.connection().begin_nested():
            charge(session, "kept, too")

    charging(app, save)

    assert process(app, "a").status is ProcessStatus.DONE
    assert bank.charged() == ["a", "kept", "kept, too"]


def test_a_handler_that_goes_on_after_a_statement_failed_loses_nothing_in_silence(bank: Bank) -> None:
    # PostgreSQL answers COMMIT with ROLLBACK then, and no error.
    app = app_of(bank.inbox())

    def go_on(session: Session) -> None:
        with pytest.raises(Exception, match="nothing_of_the_kind"):
            session.execute(text("SELECT * FROM nothing_of_the_kind"))

    charging(app, go_on)

    outcome = process(app, "a")

    if bank.is_sqlite:
        assert outcome.status is ProcessStatus.DONE
        assert bank.charged() == ["a"]
    else:
        assert outcome.status is ProcessStatus.RETRIABLE_ERROR
        assert (bank.charged(), bank.rows()) == ([], [])


def test_a_statement_that_failed_within_a_savepoint_does_no_harm(bank: Bank) -> None:
    app = app_of(bank.inbox())

    def go_on(session: Session) -> None:
        with pytest.raises(Exception, match="nothing_of_the_kind"), session.begin_nested():
            session.execute(text("SELECT * FROM nothing_of_the_kind"))

    charging(app, go_on)

    assert process(app, "a").status is ProcessStatus.DONE
    assert bank.charged() == ["a"]


# What it costs


def test_it_costs_one_statement(bank: Bank) -> None:
    app = app_of(bank.inbox())
    charging(app)
    process(app, "first", id="0")

    with bank.counting() as said:
        process(app, "a")
        process(app, "a")

    assert len(said) == 3
    assert [each.split()[0] for each in said] == ["INSERT", "INSERT", "INSERT"]
    assert ["megaflow_inbox" in each for each in said] == [True, False, True]


# Who comes at the same time


def test_the_second_of_two_at_once_waits_and_is_done_earlier(bank: Bank) -> None:
    one, other = app_of(bank.inbox()), app_of(bank.inbox())
    within, may_go_on = threading.Event(), threading.Event()

    def wait(session: Session) -> None:
        within.set()
        assert may_go_on.wait(PATIENCE)

    called = charging(one, wait), charging(other)
    outcomes: list[Outcome] = []
    threads = [threading.Thread(target=lambda app=app: outcomes.append(process(app, "a"))) for app in (one, other)]

    threads[0].start()
    assert within.wait(PATIENCE)
    threads[1].start()
    may_go_on.set()
    for thread in threads:
        thread.join(PATIENCE)

    assert sorted(outcome.skipped for outcome in outcomes) == ["", "done earlier"]
    assert called == (["a"], [])
    assert bank.charged() == ["a"]


def test_the_second_of_two_at_once_runs_where_the_first_rolls_back(bank: Bank) -> None:
    one, other = app_of(bank.inbox()), app_of(bank.inbox())
    within, may_go_on = threading.Event(), threading.Event()

    def fail(session: Session) -> None:
        within.set()
        assert may_go_on.wait(PATIENCE)
        raise RetryLater

    charging(one, fail)
    called = charging(other)
    threads = [threading.Thread(target=process, args=(app, "a")) for app in (one, other)]

    threads[0].start()
    assert within.wait(PATIENCE)
    threads[1].start()
    may_go_on.set()
    for thread in threads:
        thread.join(PATIENCE)

    assert called == bank.charged() == ["a"]


def test_who_waits_too_long_comes_again_later(bank: Bank) -> None:
    # No longer than half a visibility timeout, and in SQLite as long as its driver does.
    app, other = app_of(bank.inbox(), visibility_timeout=1), bank.inbox()
    called = charging(app)
    transaction = other.begin(InboxRow("::", "charge", "message:1"), 1.0)
    assert transaction is not None

    outcome = process(app, "a")
    transaction.end(commit=False)

    assert (outcome.status, outcome.skipped) == (ProcessStatus.RETRY_LATER, "")
    assert called == bank.charged() == []


def test_the_lock_timeout_lasts_no_longer_than_the_transaction(server: Any, database: str) -> None:
    bank = Bank(server.url(database))
    app = app_of(bank.inbox(), visibility_timeout=20)
    said: list[str] = []
    charging(app, lambda session: said.append(session.scalar(text("SHOW lock_timeout"))))

    process(app, "a")

    with bank.engine.connect() as connection:
        said.append(connection.scalar(text("SHOW lock_timeout")) or "")
    bank.engine.dispose()
    assert said == ["10s", "0"]


@pytest.mark.parametrize(("own", "used"), [("2s", "2s"), ("1min", "10s"), ("0", "10s"), ("1500ms", "1500ms")])
def test_a_shorter_lock_timeout_of_one_s_own_is_kept(server: Any, database: str, own: str, used: str) -> None:
    bank = Bank(server.url(database))
    server.execute(f"ALTER DATABASE {database} SET lock_timeout = '{own}'")
    bank.engine.dispose()
    app = app_of(bank.inbox(), visibility_timeout=20)
    said: list[str] = []
    charging(app, lambda session: said.append(session.scalar(text("SHOW lock_timeout"))))

    process(app, "a")

    bank.engine.dispose()
    assert said == [used]


def test_one_handler_at_a_time_writes_to_sqlite_and_none_is_turned_away(tmp_path: Path) -> None:
    # The driver would wait for others no time at all.
    bank = Bank(f"sqlite:///{tmp_path / 'bank.db'}", timeout=0)
    app, running_now, most = app_of(bank.inbox()), 0, 0

    def count(session: Session) -> None:
        nonlocal running_now, most
        running_now += 1
        most = max(most, running_now)
        threading.Event().wait(0.005)
        running_now -= 1

    charging(app, count)
    outcomes: list[Outcome] = []
    threads = [
        threading.Thread(target=lambda number=number: outcomes.append(process(app, "a", id=str(number))))
        for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)

    assert [outcome.status for outcome in outcomes] == [ProcessStatus.DONE] * 8
    assert most == 1
    assert bank.charged() == ["a"] * 8
    bank.engine.dispose()


def test_who_waits_too_long_for_sqlite_in_one_process_comes_again_later(tmp_path: Path) -> None:
    bank = Bank(f"sqlite:///{tmp_path / 'bank.db'}")
    inbox = bank.inbox()
    app = app_of(inbox, visibility_timeout=1)
    charging(app)
    transaction = inbox.begin(InboxRow("::", "charge", "message:2"), 1.0)
    assert transaction is not None

    outcome = process(app, "a")
    transaction.end(commit=False)

    assert (outcome.status, type(outcome.error)) == (ProcessStatus.RETRY_LATER, KeyBusyError)
    bank.engine.dispose()


# What the database says


@pytest.mark.parametrize("state", ["40001", "40P01", "55P03"])
def test_what_others_are_in_the_way_of_comes_again_later(server: Any, database: str, state: str) -> None:
    bank = Bank(server.url(database))
    app = app_of(bank.inbox(), retry_on=())
    failing = text(f"DO $$ BEGIN RAISE EXCEPTION 'in the way' USING ERRCODE = '{state}'; END $$")
    charging(app, lambda session: session.execute(failing))

    outcome = process(app, "a")

    assert outcome.status is ProcessStatus.RETRY_LATER
    assert (bank.charged(), bank.rows()) == ([], [])
    bank.engine.dispose()


def test_a_real_deadlock_is_no_failure(server: Any, database: str) -> None:
    bank = Bank(server.url(database))
    app, both = app_of(bank.inbox(), retry_on=()), threading.Barrier(2)
    server.execute("CREATE TABLE accounts (name text PRIMARY KEY)", database)
    server.execute("INSERT INTO accounts VALUES ('a'), ('b')", database)
    lock = text("SELECT name FROM accounts WHERE name = :name FOR UPDATE")

    @app.on_text(handler_name="lock")
    def lock_both(what: str, session: Session) -> None:
        session.execute(lock, {"name": what[0]})
        both.wait(PATIENCE)
        session.execute(lock, {"name": what[1]})

    outcomes: list[Outcome] = []
    threads = [
        threading.Thread(target=lambda what=what: outcomes.append(process(app, what, id=what))) for what in ("ab", "ba")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)

    assert sorted(outcome.status.name for outcome in outcomes) == ["DONE", "RETRY_LATER"]
    bank.engine.dispose()


def test_an_error_of_the_handler_s_own_statement_is_the_handler_s(bank: Bank) -> None:
    app = app_of(bank.inbox())
    charging(app, lambda session: session.execute(text("SELECT * FROM nothing_of_the_kind")))

    assert process(app, "a").status is ProcessStatus.FATAL_ERROR


def test_a_reject_because_of_a_deadlock_is_still_one(server: Any, database: str) -> None:
    bank = Bank(server.url(database))
    app = app_of(bank.inbox())

    def reject(session: Session) -> None:
        try:
            session.execute(text("DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '40P01'; END $$"))
        except OperationalError as error:
            raise Reject("no") from error

    charging(app, reject)

    assert process(app, "a").status is ProcessStatus.FATAL_ERROR
    bank.engine.dispose()


def test_a_connection_that_is_lost_within_the_handler_is_not_the_message_s_fault(server: Any, database: str) -> None:
    bank = Bank(server.url(database))
    app = app_of(bank.inbox(), retry_on=())
    charging(app, lambda session: session.execute(text("SELECT pg_terminate_backend(pg_backend_pid())")))

    outcome = process(app, "a")

    assert outcome.status is ProcessStatus.RETRIABLE_ERROR
    assert (bank.charged(), bank.rows()) == ([], [])
    bank.engine.dispose()


def test_a_connection_that_is_lost_before_the_commit_is_told_by_it(server: Any, database: str) -> None:
    bank = Bank(server.url(database))
    app = app_of(bank.inbox(), retry_on=())

    def lose(session: Session) -> None:
        process_id = session.scalar(text("SELECT pg_backend_pid()"))
        server.execute(f"SELECT pg_terminate_backend({process_id}, 10000)")

    charging(app, lose)

    outcome = process(app, "a")

    assert outcome.status is ProcessStatus.RETRIABLE_ERROR
    assert "whether its row stands decides" in "".join(getattr(outcome.error, "__notes__", []))
    assert (bank.charged(), bank.rows()) == ([], [])
    bank.engine.dispose()


def test_a_commit_that_fails_is_worth_another_try_whatever_retry_on_says(server: Any, database: str) -> None:
    bank = Bank(server.url(database))
    deferred = "UNIQUE (what) DEFERRABLE INITIALLY DEFERRED"
    server.execute(f"ALTER TABLE charges ADD CONSTRAINT once {deferred}", database)
    app = app_of(bank.inbox(), retry_on=())
    called = charging(app)
    process(app, "a")

    outcome = process(app, "a", id="2")

    assert (outcome.status, type(outcome.error)) == (ProcessStatus.RETRIABLE_ERROR, IntegrityError)
    assert called == ["a", "a"]
    assert bank.charged() == ["a"]
    assert bank.keys() == ["message:1"]
    bank.engine.dispose()


def test_a_commit_that_fails_is_said_in_the_log(bank: Bank, caplog: pytest.LogCaptureFixture) -> None:
    app = app_of(bank.inbox(), retry_on=())

    def fail(*args: object) -> None:
        raise OSError("the disk is gone")

    charging(app, lambda session: event.listen(bank.engine, "commit", fail))

    outcome = process(app, "a")
    event.remove(bank.engine, "commit", fail)

    assert outcome.status is ProcessStatus.RETRIABLE_ERROR
    assert (bank.charged(), bank.rows()) == ([], [])
    assert "message 1: charge failed and will be tried again" in caplog.messages


def test_an_inbox_that_cannot_begin_keeps_the_handler_from_running(bank: Bank, tmp_path: Path) -> None:
    app = app_of(Inbox(bank.engine), retry_on=())
    called = charging(app)

    outcome = process(app, "a")

    assert outcome.status is ProcessStatus.RETRIABLE_ERROR
    assert "the inbox could not begin" in "".join(getattr(outcome.error, "__notes__", []))
    assert called == []


@pytest.mark.parametrize("place", ["engine", "sessionmaker"])
def test_an_engine_that_commits_each_statement_is_refused_before_anything_is_written(bank: Bank, place: str) -> None:
    bank.inbox()
    inbox = Inbox(sessionmaker(bank.engine.execution_options(isolation_level="AUTOCOMMIT")))
    if place == "engine":
        inbox = Inbox(create_engine(bank.url, isolation_level="AUTOCOMMIT", poolclass=NullPool))
    app = app_of(inbox)
    called = charging(app)

    outcome = process(app, "a")

    assert (outcome.status, type(outcome.error)) == (ProcessStatus.RETRIABLE_ERROR, ConfigurationError)
    assert (called, bank.rows()) == ([], [])


def test_a_consumer_does_not_begin_with_an_engine_that_commits_each_statement(bank: Bank) -> None:
    bank.inbox()
    app = Queues().app()
    app.provide(Session, Inbox(create_engine(bank.url, isolation_level="AUTOCOMMIT", poolclass=NullPool)))
    charging(app)

    with pytest.raises(ConfigurationError, match="AUTOCOMMIT"):
        app.run()

    assert bank.rows() == []


def test_who_waits_too_long_for_a_connection_comes_again_later(bank: Bank) -> None:
    engine = create_engine(bank.url, pool_size=1, max_overflow=0, pool_timeout=0.01)
    inbox = Inbox(engine)
    inbox.create_tables()
    app = app_of(inbox)
    called = charging(app)

    with engine.connect():
        outcome = process(app, "a")

    assert outcome.status is ProcessStatus.RETRY_LATER
    assert called == []
    engine.dispose()


def test_sqlite_that_begins_immediately_by_a_listener_works_too(tmp_path: Path) -> None:
    # As SQLAlchemy's documentation has it, for savepoints that work in every Python.
    bank = Bank(f"sqlite:///{tmp_path / 'bank.db'}")

    @event.listens_for(bank.engine, "connect")
    def connect(connection: Any, record: object) -> None:
        connection.isolation_level = None

    @event.listens_for(bank.engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    app = app_of(bank.inbox())
    called = charging(app)

    outcomes = [process(app, "a") for _ in range(2)]

    assert [each.skipped for each in outcomes] == ["", "done earlier"]
    assert called == bank.charged() == ["a"]
    bank.engine.dispose()


# How long it is kept


def test_what_has_expired_is_swept_now_and_then(bank: Bank) -> None:
    now = [1_000_000.0]
    inbox = bank.inbox(keep_for=timedelta(days=2), clock=lambda: now[0])
    app = app_of(inbox)
    charging(app)
    process(app, "a", id="old")
    now[0] += 2 * 86_400

    inbox._sweeping._writes = 999
    process(app, "a", id="last")
    assert bank.keys() == ["message:last", "message:old"]
    process(app, "a", id="next")

    assert bank.keys() == ["message:last", "message:next"]


def test_it_is_kept_for_28_days(bank: Bank) -> None:
    now = [1_000_000.0]
    app = app_of(bank.inbox(clock=lambda: now[0]))
    charging(app)
    process(app, "a")

    now[0] += 28 * 86_400 - 1
    app = app_of(bank.inbox(clock=lambda: now[0]))
    charging(app)
    assert process(app, "a").skipped == "done earlier"
    now[0] += 1
    app = app_of(bank.inbox(clock=lambda: now[0]))
    charging(app)

    assert process(app, "a").skipped == ""


# What is refused


@pytest.mark.parametrize("source", [None, "sqlite://", object(), sessionmaker()])
def test_what_is_no_source_is_refused(source: Any) -> None:
    with pytest.raises(ConfigurationError, match="sessionmaker"):
        Inbox(source)


def test_a_database_that_is_not_known_is_refused() -> None:
    engine = create_engine("sqlite://")
    engine.dialect.name = "mysql"

    with pytest.raises(ConfigurationError, match=r"mysql is a database that megaflow\.sql does not know"):
        Inbox(engine)


@pytest.mark.parametrize("keep_for", [0, -1, timedelta(0), float("inf"), "28 days"])
def test_a_time_to_keep_that_is_none_is_refused(keep_for: Any) -> None:
    with pytest.raises(ConfigurationError, match="keep_for"):
        Inbox(create_engine("sqlite://"), keep_for=keep_for)


def test_another_scope_is_refused() -> None:
    inbox = Inbox(create_engine("sqlite://"))

    with pytest.raises(RegistrationError, match="leave scope= out, or give scope='message'"):
        App().provide(Session, inbox, scope="process")


@pytest.mark.parametrize("type_", [str, "Session", sessionmaker, int | None])
def test_a_type_that_it_does_not_give_is_refused(type_: Any) -> None:
    inbox = Inbox(create_engine("sqlite://"))

    with pytest.raises(RegistrationError, match="gives a Session or a Connection, and no"):
        App().provide(type_, inbox)


def test_a_class_of_sessions_that_the_sessionmaker_does_not_make_is_refused() -> None:
    class OwnSession(Session):
        pass

    inbox = Inbox(sessionmaker(create_engine("sqlite://")))

    with pytest.raises(RegistrationError, match=r"sessionmaker\(engine, class_=.*OwnSession\)"):
        App().provide(OwnSession, inbox)


def test_a_batch_handler_is_refused() -> None:
    app = app_of(Inbox(create_engine("sqlite://")))

    with pytest.raises(RegistrationError, match="gets batches, and the transaction of an inbox is for one message"):

        @app.on_text(batch_size=10)
        def handle(texts: list[str], session: Session) -> None: ...


def test_an_async_handler_does_not_get_what_would_hold_up_its_event_loop() -> None:
    app = app_of(Inbox(create_engine("sqlite://")))

    with pytest.raises(RegistrationError, match="async_sessionmaker or an AsyncEngine"):

        @app.on_text()
        async def handle(what: str, session: Session) -> None: ...


def test_a_handler_of_two_inboxes_is_refused() -> None:
    app = App()
    app.provide(Session, Inbox(create_engine("sqlite://")))
    app.provide(Connection, Inbox(create_engine("sqlite://")))

    with pytest.raises(RegistrationError, match="2 transactions"):

        @app.on_text()
        def handle(what: str, session: Session, connection: Connection) -> None: ...


def test_a_time_of_an_idempotency_key_is_the_inbox_s() -> None:
    app = app_of(Inbox(create_engine("sqlite://")))

    with pytest.raises(RegistrationError, match=r"what Inbox\(keep_for=\) says"):

        @app.on_text(idempotency_key=lambda what: what, idempotent_for=60)
        def handle(what: str, session: Session) -> None: ...


def test_what_is_made_once_may_not_need_the_session() -> None:
    app = app_of(Inbox(create_engine("sqlite://")))

    class Ledger:
        def __init__(self, session: Session) -> None: ...

    with pytest.raises(RegistrationError, match="made once, and needs"):
        app.provide(Ledger, Ledger)


# In a consumer, and on Lambda


def test_a_consumer_charges_once_what_was_sent_twice(bank: Bank) -> None:
    queues = Queues()
    app = queues.app(concurrency=4)
    app.provide(Session, bank.inbox())
    called = charging(app)
    for number in range(20):
        for _ in range(2):
            app.publish(f"{number:02}", attributes={"megaflow-id": str(number)})

    with running(app):
        wait_until(lambda: queues.depth() == (0, 0))

    assert sorted(called) == bank.charged() == [f"{number:02}" for number in range(20)]


def test_a_consumer_does_not_begin_without_the_table(bank: Bank) -> None:
    app = Queues().app()
    app.provide(Session, Inbox(bank.engine))
    charging(app)

    with pytest.raises(ConfigurationError, match=r"the table megaflow_inbox is not there.*create_tables\(\)"):
        app.run()


def test_a_lambda_function_charges_once(bank: Bank) -> None:
    queues = Queues()
    app = queues.app()
    app.provide(Session, bank.inbox())
    called = charging(app)
    record = {
        "messageId": "1",
        "receiptHandle": "r",
        "body": "a",
        "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "0"},
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "eventSourceARN": queues.arn(queues.url),
        "awsRegion": "us-east-1",
    }
    handle = app.lambda_handler()

    answers = [handle({"Records": [record]}) for _ in range(2)]

    assert answers == [{"batchItemFailures": []}] * 2
    assert called == bank.charged() == ["a"]


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_that_was_forked_has_connections_of_its_own(bank: Bank) -> None:
    app = app_of(bank.inbox())
    charging(app)
    process(app, "a")

    child = os.fork()
    if not child:
        try:
            process(app, "b", id="2")
        finally:
            os._exit(len(bank.charged()))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    process(app, "c", id="3")

    assert code == 2
    assert bank.charged() == ["a", "b", "c"]
