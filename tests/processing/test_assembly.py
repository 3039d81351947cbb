"""The assembly of an app: what is added later counts, and what is there is closed."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Any

import pytest

from megaflow import App, MemoryStore, ProcessStatus, RegistrationError, Verdict
from megaflow.app import parts_of
from megaflow.messages.message import message_with
from megaflow.processing.assembly import Stores
from megaflow.processing.middleware import Call


class Noted(MemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def app() -> App:
    return App()


def test_what_is_registered_while_the_processor_is_made_counts(app: App) -> None:
    handled: list[str] = []
    app.on_text()(lambda text: handled.append("first"))
    registered: list[str] = []

    def register(call_next: Call) -> Call:
        if not registered:
            registered.append("second")
            app.on_text()(lambda text: handled.append("second"))
        return call_next

    app.use(register)

    app.process("ping")

    assert handled == ["first", "second"]


def test_middleware_that_is_added_later_counts(app: App) -> None:
    seen: list[str] = []
    app.on_text()(lambda text: seen.append("handler"))
    app.process("ping")

    @app.use
    def note(call_next: Call) -> Call:
        def call(*arguments: Any) -> Any:
            seen.append("middleware")
            return call_next(*arguments)

        return call

    app.process("ping")

    assert seen == ["handler", "middleware", "handler"]


def test_who_watches_from_later_on_is_told_and_the_verdict_still_logged(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    seen: list[Verdict] = []
    app.process("ping")
    caplog.clear()
    app.on_verdict(seen.append)

    verdict = app.process("ping")

    assert seen == [verdict]
    assert [record.getMessage() for record in caplog.records] == [
        f"message {verdict.message.id}: deleted (no handler matched)"
    ]


def test_one_who_watches_and_fails_is_said_and_the_others_told(app: App, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[Verdict] = []
    app.on_verdict(lambda verdict: 1 / 0)
    app.on_verdict(seen.append)

    verdict = app.process("ping")

    assert seen == [verdict]
    assert f"message {verdict.message.id}: what on_verdict was given failed" in caplog.text


@pytest.mark.parametrize("add", [App.use, App.on_verdict])
def test_what_is_no_function_is_refused(app: App, add: Any) -> None:
    with pytest.raises(RegistrationError):
        add(app, "text")


def test_a_body_has_an_id_of_its_own_and_a_message_keeps_its(app: App) -> None:
    first, second = app.process("ping"), app.process("ping")
    known = app.process(replace(message_with("ping"), id="m"))

    assert first.message.id != second.message.id
    assert len(first.message.id) == 36
    assert known.message.id == "m"


@pytest.mark.parametrize("with_progress", [False, True])
@pytest.mark.parametrize("with_keys", [False, True])
def test_stores_are_closed_where_there_are_any(with_progress: bool, with_keys: bool) -> None:
    progress, keys = Noted(), Noted()

    stores = Stores(progress if with_progress else None, keys if with_keys else None)
    stores.close()

    assert (progress.closed, keys.closed) == (int(with_progress), int(with_keys))
    assert stores.keys is (keys if with_keys else progress if with_progress else None)


def test_an_app_without_handlers_has_no_processor_to_run(app: App) -> None:
    with pytest.raises(RegistrationError, match="no handler is registered"):
        app._assembly.processor_to_run()
    app.on_text()(lambda text: None)

    assert app._assembly.processor_to_run() is parts_of(app).processor


def test_a_processor_without_handlers_says_nothing_of_retries(app: App, caplog: pytest.LogCaptureFixture) -> None:
    parts_of(app).processor.log_start()

    assert caplog.records == []


def test_the_processor_is_made_once(app: App) -> None:
    assert parts_of(app).processor is parts_of(app).processor


def test_an_interruption_is_raised_to_who_processes(app: App) -> None:
    @app.on_text()
    def leave(text: str) -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        app.process("ping")


def test_a_handler_that_says_that_it_failed_for_good_is_logged(app: App, caplog: pytest.LogCaptureFixture) -> None:
    app.on_text(handler_name="charge")(lambda text: ProcessStatus.FATAL_ERROR)

    verdict = app.process("ping")

    assert f"message {verdict.message.id}: charge failed for good" in caplog.text


@pytest.mark.parametrize(("retry_on", "undecided"), [(None, 1), ((), 0), (OSError, 0)])
def test_where_the_app_says_what_is_retried_no_handler_leaves_it_open(retry_on: Any, undecided: int) -> None:
    app = App(retry_on=retry_on)
    app.on_text()(lambda text: None)
    app.on_text(retry_on=())(lambda text: None)

    assert len(parts_of(app).processor.undecided) == undecided


def test_to_process_a_message_waits_for_no_limit() -> None:
    app, seen = App(), []

    @app.on_text(rate="1/h", max_concurrency=1)
    def handle(text: str) -> None:
        seen.append(text)
        if text == "outer":
            app.process("inner")

    app.process("outer")
    asyncio.run(app.aprocess("last"))

    assert seen == ["outer", "inner", "last"]
