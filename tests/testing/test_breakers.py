"""Circuit breakers and pauses with the test client: time passes at the test's word."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from megaflow import App, CircuitBreaker, ConfigurationError, MemoryStore, PartialFailure, ProcessStatus
from megaflow.testing import TestClient

BREAKER = CircuitBreaker(failures=5, seconds=30, on=(ConnectionError,))


class Database:
    """Is away, or is not."""

    def __init__(self) -> None:
        self.is_away = False
        self.calls: list[Any] = []

    def store(self, data: Any) -> None:
        self.calls.append(data)
        if self.is_away:
            raise ConnectionError("the database is away")


@pytest.fixture
def database() -> Database:
    return Database()


def make_app(database: Database, **options: Any) -> App:
    app = App(**{"breaker": BREAKER, "backoff": lambda count: 1.0, **options})
    app.on_text(handler_name="store")(database.store)
    return app


def test_an_outage_costs_no_message_more_than_one_delivery_and_none_is_dead_lettered(database: Database) -> None:
    # By SQS itself those would be that are received a fourth time.
    with TestClient(make_app(database, max_receives=3)) as client:
        database.is_away = True
        for number in range(300):
            client.publish(f"{number}")
            client.advance(18 / 300)
        database.is_away = False
        client.advance(60)

        assert client.dead_lettered == []
        assert sorted(int(each.payload) for each in client.deleted) == list(range(300))
        assert max(each.receive_count for each in client.deleted) == 2
        assert len(database.calls) <= 300 + 5


def test_an_outage_of_any_length_costs_no_delivery_of_what_tries(database: Database) -> None:
    with TestClient(make_app(database, breaker=CircuitBreaker(failures=1, seconds=30), max_receives=1)) as client:
        database.is_away = True
        client.publish("a")

        client.advance(6 * 3600)
        assert len(database.calls) == 1 + 6 * 3600 / 30
        database.is_away = False
        client.advance(30)

        assert [each.receive_count for each in client.deleted] == [1]


@pytest.mark.parametrize("of_app", [True, False])
def test_a_batch_that_fails_is_one_failure_and_waits_in_hand_for_another_try(database: Database, of_app: bool) -> None:
    breaker = CircuitBreaker(failures=2, seconds=30)
    app = App(breaker=breaker if of_app else None, backoff=lambda count: 1.0)

    @app.on_text(batch_size=10, batch_seconds=1, breaker=None if of_app else breaker)
    def store(texts: list[str]) -> None:
        database.store(texts)

    with TestClient(app) as client:
        database.is_away = True
        client.publish_batch([f"{number}" for number in range(10)])
        assert [sorted(call) for call in database.calls] == [sorted(f"{number}" for number in range(10))]
        client.advance(5)
        assert len(database.calls) == 2
        client.advance(3600)
        assert len(database.calls) == 2 + 3600 // 30
        database.is_away = False
        client.advance(30)

        assert len(client.deleted) == 10
        assert {each.receive_count for each in client.deleted} == {2}
        assert client.dead_lettered == []


def test_what_gets_through_in_a_batch_is_enough_to_close_its_breaker() -> None:
    app, calls, bad = App(breaker=CircuitBreaker(failures=1, seconds=30)), list[list[str]](), {"a", "b"}

    @app.on_text(batch_size=2, batch_seconds=1)
    def store(texts: list[str]) -> None:
        calls.append(texts)
        raise PartialFailure({place: ConnectionError() for place, text in enumerate(texts) if text in bad})

    with TestClient(app) as client:
        client.publish_batch(["a", "b"])
        bad.discard("b")
        client.advance(40)

        assert calls[:2] == [["a", "b"], ["a", "b"]]
        assert sorted(each.payload for each in client.deleted) == ["b"]
        bad.clear()
        client.advance(60)
        assert sorted(each.payload for each in client.deleted) == ["a", "b"]


def test_a_message_that_stays_in_hand_beyond_its_time_comes_again(database: Database) -> None:
    breaker = CircuitBreaker(failures=1, seconds=30)
    with TestClient(make_app(database, breaker=breaker, max_processing_time=100)) as client:
        database.is_away = True
        client.publish("a")
        client.advance(200)
        database.is_away = False
        client.advance(60)

        assert [each.receive_count for each in client.deleted] == [2]


def test_only_the_handlers_that_have_not_finished_try_again(database: Database) -> None:
    seen: list[str] = []
    app = App(breaker=CircuitBreaker(failures=1, seconds=30))
    app.on_text(handler_name="before")(lambda text: seen.append("before"))
    app.on_text(handler_name="store")(database.store)
    app.on_text(handler_name="after")(lambda text: seen.append("after"))
    with TestClient(app) as client:
        database.is_away = True
        client.publish("a")
        client.advance(65)
        database.is_away = False
        client.advance(30)

        assert database.calls == ["a"] * 4
        assert seen == ["before", "after"]
        tries = [each.status for each in client.handled if each.handler == "store"]
        assert tries == [ProcessStatus.RETRIABLE_ERROR] * 3 + [ProcessStatus.DONE]
        assert len(client.handled) == 6


def test_a_try_gets_the_payload_as_it_was_received() -> None:
    app, seen = App(breaker=CircuitBreaker(failures=1, seconds=30)), []

    @app.on_data({"kind": "order"})
    def store(order: dict[str, Any]) -> None:
        seen.append(order.pop("id"))
        if len(seen) < 3:
            raise ConnectionError

    with TestClient(app) as client:
        client.publish({"kind": "order", "id": 7})
        client.advance(60)

        assert seen == [7, 7, 7]
        assert len(client.deleted) == 1


@pytest.mark.parametrize("retry_on", [None, (), (OSError,)])
def test_what_counts_is_worth_another_try_by_itself(database: Database, retry_on: Any) -> None:
    with TestClient(make_app(database, retry_on=retry_on)) as client:
        database.is_away = True
        client.publish("a")

        assert len(client.kept) == 1


def test_what_does_not_count_is_what_it_was_and_opens_nothing() -> None:
    app = App(breaker=CircuitBreaker(failures=1))

    @app.on_text()
    def store(text: str) -> None:
        raise ValueError(text)

    with TestClient(app) as client:
        client.publish("a")
        client.publish("b")

        assert len(client.dead_lettered) == 2


def test_a_factory_that_cannot_connect_counts(database: Database) -> None:
    class Connection: ...

    app, asked = App(breaker=CircuitBreaker(failures=1, seconds=30)), []

    def connect() -> Connection:
        asked.append(client.now)
        if database.is_away:
            raise ConnectionRefusedError
        return Connection()

    app.provide(Connection, connect)

    @app.on_text()
    def store(text: str, connection: Connection) -> None: ...

    with TestClient(app) as client:
        database.is_away = True
        client.publish("a")
        client.advance(90)
        assert [each - asked[0] for each in asked] == [0, 30, 60, 90]
        database.is_away = False
        client.advance(30)

        assert [each.receive_count for each in client.deleted] == [1]


def test_a_group_of_errors_counts_where_one_of_them_does() -> None:
    breaker = CircuitBreaker(on=ConnectionError)

    assert breaker.counts(ExceptionGroup("", [ValueError(), ExceptionGroup("", [ConnectionResetError()])]))
    assert not breaker.counts(ExceptionGroup("", [ValueError()]))


def test_of_a_handler_alone_its_messages_wait_and_others_are_handled(database: Database) -> None:
    app, others = App(), list[str]()
    app.on_text(lambda text: text == "store", breaker=CircuitBreaker(failures=1, seconds=30))(database.store)
    app.on_text(lambda text: text != "store")(others.append)
    with TestClient(app) as client:
        database.is_away = True
        client.publish("store")
        client.publish("store")
        client.publish("other")
        assert (len(database.calls), others) == (1, ["other"])
        database.is_away = False
        client.advance(30)

        assert [each.receive_count for each in client.deleted] == [1, 1, 1]


def test_an_async_handler_has_a_breaker_too(database: Database) -> None:
    app = App(breaker=CircuitBreaker(failures=1, seconds=30))

    @app.on_text()
    async def store(text: str) -> None:
        database.store(text)

    with TestClient(app) as client:
        database.is_away = True
        client.publish("a")
        client.advance(30)
        database.is_away = False
        client.advance(30)

        assert len(database.calls) == 3
        assert [each.receive_count for each in client.deleted] == [1]


def test_a_key_is_claimed_for_each_try_and_progress_is_kept(database: Database) -> None:
    app, seen = App(breaker=CircuitBreaker(failures=1, seconds=30), progress=MemoryStore()), list[str]()
    app.on_text(idempotency_key=lambda text: text)(database.store)
    app.on_text(handler_name="other")(seen.append)
    with TestClient(app) as client:
        database.is_away = True
        client.publish("a")
        client.advance(30)
        database.is_away = False
        client.advance(30)
        client.publish("a")

        assert database.calls == ["a"] * 3
        assert seen == ["a", "a"]


def test_the_order_of_a_group_is_kept(database: Database) -> None:
    app = make_app(database, breaker=CircuitBreaker(failures=1, seconds=30))
    with TestClient(app, fifo=True) as client:
        database.is_away = True
        for text in "abc":
            client.publish(text, group_id="one")
        client.advance(60)
        database.is_away = False
        client.advance(30)

        assert [each.payload for each in client.deleted] == ["a", "b", "c"]


def test_two_apps_with_one_breaker_have_a_state_each(database: Database) -> None:
    breaker = CircuitBreaker(failures=1, seconds=30)
    with TestClient(make_app(database, breaker=breaker)) as client:
        database.is_away = True
        client.publish("a")
    database.is_away = False
    with TestClient(make_app(database, breaker=breaker)) as client:
        client.publish("a")

        assert len(client.deleted) == 1


def test_nobody_waits_without_a_queue(database: Database) -> None:
    app = make_app(database, breaker=CircuitBreaker(failures=1))
    database.is_away = True

    verdicts = [app.process("a") for _ in range(3)]

    assert [str(each) for each in verdicts] == ["kept (store: RETRIABLE_ERROR)"] * 3


@pytest.mark.anyio
async def test_nobody_waits_in_an_event_loop_without_a_queue(database: Database) -> None:
    app = make_app(database, breaker=CircuitBreaker(failures=1))
    database.is_away = True

    assert str(await app.aprocess("a")) == "kept (store: RETRIABLE_ERROR)"


# Pauses


def test_a_paused_app_receives_nothing_until_it_is_resumed(database: Database) -> None:
    app = make_app(database)
    with TestClient(app) as client:
        app.pause()
        client.publish("a")
        client.advance(3600)
        assert database.calls == []
        app.resume()
        client.run()

        assert database.calls == ["a"]


def test_what_one_test_has_paused_is_not_paused_in_the_next_one(database: Database) -> None:
    app = make_app(database)
    with TestClient(app):
        app.pause()

    with TestClient(app) as client:
        client.publish("a")

        assert database.calls == ["a"]


def test_an_app_that_was_paused_before_stays_so(database: Database) -> None:
    app = make_app(database)
    app.pause()
    with TestClient(app) as client:
        client.publish("a")
        assert database.calls == []

    with TestClient(app) as client:
        client.publish("a")

        assert database.calls == []


# What is given


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: CircuitBreaker(failures=0), "failures=0 must be a whole number from 1 to 10,000"),
        (lambda: CircuitBreaker(seconds=0), "seconds=0 must be a number of seconds, 0.1 or more"),
        (lambda: CircuitBreaker(seconds=float("inf")), "seconds=inf must be a number of seconds, 0.1 or more"),
        (lambda: CircuitBreaker(on=()), r"on=\(\) must hold exception types: with none of them it never opens"),
        (
            lambda: CircuitBreaker(on=cast(Any, KeyboardInterrupt)),
            "on=.* must hold exception types; .*KeyboardInterrupt.* is none",
        ),
        (lambda: App(breaker=cast(Any, ConnectionError)), "breaker=.*ConnectionError.* must be a CircuitBreaker"),
        (lambda: App().on_text(breaker=cast(Any, 5)), "breaker=5 must be a CircuitBreaker"),
    ],
)
def test_what_cannot_work_is_refused(make: Callable[[], object], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        make()


def test_a_breaker_is_a_value() -> None:
    assert CircuitBreaker(on=ConnectionError) == CircuitBreaker(on=[ConnectionError]) == CircuitBreaker()
    assert hash(CircuitBreaker()) == hash(CircuitBreaker())
    with pytest.raises(AttributeError):
        CircuitBreaker().failures = 3  # type: ignore[misc]
