"""Batches in what is observed: their spans, their lines of the log, what is around them, and the message in hand."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from megaflow import App, Handler, Message, PartialFailure, ProcessStatus, current_message
from megaflow.testing import TestClient
from tests.telemetry.spans import Spans, attributes_of, links_of, recording


@pytest.fixture
def spans() -> Iterator[Spans]:
    with recording() as spans:
        yield spans


def test_a_batch_has_one_handle_that_is_linked_to_what_processes_each_message(spans: Spans) -> None:
    app = App(telemetry=True)

    @app.on_text(batch_size=2, handler_name="store")
    def store(texts: list[str]) -> None:
        with spans.tracer.start_as_current_span("below"):
            pass

    with TestClient(app) as client:
        client.publish_batch(["a", "b"])

    (handle,) = [span for span in spans.all if span.name == "handle store"]
    (below,) = [span for span in spans.all if span.name == "below"]
    processed = [span for span in spans.all if span.name.startswith("process")]
    assert len(processed) == 2
    assert sorted(links_of(handle)) == sorted(span.context.span_id for span in processed if span.context)
    assert attributes_of(handle)["messaging.batch.message_count"] == 2
    assert below.parent is not None
    assert handle.context is not None
    assert below.parent.span_id == handle.context.span_id


def test_what_is_around_goes_around_the_call_and_gets_the_message_that_stands_for_the_batch(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app, seen = App(), []

    @app.around
    def note(handler: Handler, message: Message) -> Iterator[None]:
        seen.append(("around", message.payload))
        status = yield
        seen.append(("ended", status))

    @app.on_text(batch_size=2)
    def store(texts: list[str]) -> list[ProcessStatus]:
        message = current_message()
        assert message is not None
        seen.append(("call", message.payload))
        assert message.attributes == {}
        return [ProcessStatus.DONE, ProcessStatus.RETRY_LATER]

    with TestClient(app) as client:
        client.publish_batch(["a", "b"])

        assert seen == [("around", ["a", "b"]), ("call", ["a", "b"]), ("ended", ProcessStatus.RETRY_LATER)]
        assert [len(client.deleted), len(client.kept)] == [1, 1]


def test_an_error_of_all_has_one_line_and_those_of_each_have_their_own(caplog: pytest.LogCaptureFixture) -> None:
    app, errors = App(), [ValueError("all"), PartialFailure({0: ValueError("a"), 2: ValueError("c")})]

    @app.on_text(batch_size=3)
    def store(texts: list[str]) -> None:
        raise errors.pop(0)

    with TestClient(app) as client, caplog.at_level(logging.ERROR):
        client.publish_batch(["a", "b", "c"])
        assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == ["all"]
        assert "and 2 more" in caplog.records[0].getMessage()
        caplog.clear()
        client.publish_batch(["a", "b", "c"])

    assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == ["a", "c"]


def test_each_message_has_its_share_of_the_time() -> None:
    app, seconds = App(), []

    @app.on_verdict
    def note(verdict: object) -> None:
        seconds.append(verdict.seconds)  # type: ignore[attr-defined]

    @app.on_text(batch_size=4)
    def store(texts: list[str]) -> None: ...

    with TestClient(app) as client:
        client.publish_batch(["a", "b", "c", "d"])

    assert len(set(seconds)) == 1
    assert 0 < seconds[0] < 0.25
