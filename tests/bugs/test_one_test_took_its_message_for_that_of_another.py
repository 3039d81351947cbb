"""Each `TestClient` gave its messages the same ids, so an app with a progress store skipped those of the next test.

It said "deleted (DONE)" of them. What a test leaves behind, another one does not see.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from megaflow import App, Ended, MemoryStore, ProcessStatus, Reject, SqliteStore, Store
from megaflow.app import parts_of
from megaflow.messages.message import open_message
from megaflow.processing.progress import work_of
from megaflow.testing import TestClient

HOUR = 3_600.0


class Untouchable:
    """A store that must not be asked."""

    def __getattr__(self, name: str) -> Callable[..., object]:
        def refuse(*asked: object) -> object:
            raise AssertionError(f"the app's own store was asked to {name}")

        return refuse


def paying(**stores: Store | None) -> App:
    app = App(**stores)  # type: ignore[arg-type]

    @app.on_data({"kind": "order"}, idempotency_key=lambda order: order.get("key"))
    def pay(order: dict[str, object]) -> None: ...

    return app


ORDER = {"kind": "order"}


def test_ids_differ_from_client_to_client() -> None:
    app, ids = paying(idempotency=MemoryStore()), set()

    for _ in range(3):
        with TestClient(app) as client:
            ids.add(client.publish(ORDER))

    assert len(ids) == 3


def test_a_second_test_is_not_taken_for_done(tmp_path: object) -> None:
    app = paying(progress=SqliteStore(f"{tmp_path}/progress.db"))

    for _ in range(2):
        with TestClient(app) as client:
            client.publish(ORDER | {"key": "the same"})

            client.assert_handled("pay", times=1)


@pytest.mark.parametrize("kind", ["progress", "idempotency"])
def test_the_apps_own_store_is_neither_asked_nor_written(kind: str) -> None:
    app = paying(**{"idempotency": None, kind: Untouchable()})  # type: ignore[arg-type]

    with TestClient(app) as client:
        client.publish(ORDER | {"key": "a"})

        client.assert_handled("pay", times=1)
    assert isinstance(getattr(parts_of(app).assembly.stores, kind), Untouchable)


@pytest.mark.parametrize("kind", ["progress", "idempotency"])
def test_a_store_that_is_given_is_used(kind: str) -> None:
    given = MemoryStore()
    app = paying(idempotency=MemoryStore())

    for times in (1, 0):
        with TestClient(app, **{kind: given}) as client:  # type: ignore[arg-type]
            client.publish(ORDER | {"key": "a"}, attributes={"n": 1})

            client.assert_handled("pay", times=1 if kind == "progress" else times)


def test_the_store_of_a_test_has_the_clock_of_the_test() -> None:
    app = App(idempotency=MemoryStore())

    @app.on_text(idempotency_key=lambda text: "same", idempotent_for=HOUR)
    def once(text: str) -> None: ...

    with TestClient(app) as client:
        client.publish("a")
        client.publish("b")
        client.assert_handled(once, times=1)

        client.advance(HOUR + 1)
        client.publish("c")

        assert client.handled_by(once) == ["a", "c"]


def test_what_was_skipped_is_said_to_be() -> None:
    app = App(progress=MemoryStore())

    @app.on_text()
    def done(text: str) -> None: ...

    @app.on_text()
    def again(text: str) -> ProcessStatus:
        return ProcessStatus.RETRY_LATER

    with TestClient(app) as client:
        client.publish("ping")
        client.advance(1_000)

        with pytest.raises(AssertionError) as caught:
            client.assert_handled(done, times=2)
        assert f"{__name__}.test_what_was_skipped_is_said_to_be.<locals>.done: skipped: finished earlier" in str(
            caught.value
        )
        assert "done: DONE, " in client.explain()


def test_what_an_idempotency_key_skipped_is_said_to_be() -> None:
    app = paying(idempotency=MemoryStore())

    with TestClient(app) as client:
        client.publish(ORDER | {"key": "a"})
        client.publish(ORDER | {"key": "a"})

        assert "pay: skipped: finished earlier with the same key)" in client.explain()


def test_what_failed_before_is_said_to_be_skipped_for_that() -> None:
    store = MemoryStore()
    app = App(progress=store)

    @app.on_text()
    def fail(text: str) -> None:
        raise Reject("never")

    with TestClient(app, progress=store) as client:
        # As if the process had died between the store's answer and the dead-letter queue's.
        url, answer = client.queue_url, client.sqs.send_message(QueueUrl=client.queue_url, MessageBody="ping")
        work = work_of(open_message("ping", id=answer["MessageId"], queue_url=url))
        store.save(work, app.handlers[0].name, Ended(ProcessStatus.FATAL_ERROR, "Reject: never"))
        client.run()

        assert "fail: skipped: failed earlier)" in client.explain()
        assert "EarlierFailureError: Reject: never" in client.explain()
        client.assert_not_handled(fail)


def test_metrics_begin_anew() -> None:
    app = paying(idempotency=MemoryStore())

    for _ in range(2):
        with TestClient(app) as client:
            client.publish(ORDER)

        assert app.metrics.snapshot()["deleted"] == 1


def test_warnings_are_given_to_each_test(caplog: pytest.LogCaptureFixture) -> None:
    app = App()

    @app.on_text()
    def odd(text: str) -> Any:
        return object()

    for _ in range(2):
        caplog.clear()
        with caplog.at_level(logging.WARNING, "megaflow"), TestClient(app) as client:
            client.publish("ping")

        assert "which is taken as DONE" in caplog.text


def test_a_stop_that_a_test_asked_for_is_not_for_the_next() -> None:
    app = App()

    @app.on_text()
    def stop(text: str) -> None:
        app.stop()

    for _ in range(2):
        with TestClient(app) as client:
            client.publish("ping")

            client.assert_handled(stop, times=1)
