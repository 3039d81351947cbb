"""Log keys: what a user's own log lines say of the message that is being handled."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from opentelemetry.sdk.trace import TracerProvider

import megaflow
from megaflow import App, Attribute, LogFilter, Message
from megaflow.logs import LOG_KEYS, JsonFormatter
from megaflow.messages.message import open_message

log = logging.getLogger("shop")
tracer = TracerProvider().get_tracer("shop")


@pytest.fixture
def lines(request: pytest.FixtureRequest) -> Iterator[Any]:
    """What ``megaflow run --log-format json`` would write, line by line."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    handler.addFilter(LogFilter())
    loggers = [log, logging.getLogger("megaflow")]
    for each in loggers:
        each.addHandler(handler)
        each.setLevel(logging.INFO)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    for each in loggers:
        each.removeHandler(handler)
        each.setLevel(logging.NOTSET)


def keys_of(line: dict[str, Any]) -> dict[str, Any]:
    return {key: line[key] for key in LOG_KEYS if key in line}


MESSAGE = Message(
    id="m-1", body="", kind=megaflow.Kind.TEXT, payload="ping", queue_url="https://q.example/1/q", receive_count=3
)
KNOWN = {"message_id": "m-1", "queue": "https://q.example/1/q", "handler": "shop.answer", "receive_count": 3}


@pytest.mark.parametrize("is_async", [False, True])
def test_a_line_of_a_handlers_own_knows_its_message(lines: Any, is_async: bool) -> None:
    app = App(retry_on=())

    def answer(text: str) -> None:
        log.info("answering %s", "it", extra={"order": 7})

    async def answer_later(text: str) -> None:
        await asyncio.sleep(0)
        await asyncio.to_thread(answer, text)

    app.on_text(handler_name="shop.answer")(answer_later if is_async else answer)
    app.process(MESSAGE)
    log.info("afterwards")

    own, verdict, afterwards = lines()
    assert keys_of(own) == KNOWN
    assert (own["message"], own["order"], own["logger"]) == ("answering it", 7, "shop")
    assert {key: verdict[key] for key in KNOWN} == KNOWN
    assert verdict["fate"] == "deleted"
    assert keys_of(afterwards) == {}


def test_what_a_record_says_itself_stands(lines: Any) -> None:
    app = App(retry_on=())
    own = {"message_id": "another", "handler": "mine"}
    app.on_text()(lambda text: log.info("forwarded", extra=own))

    app.process(MESSAGE)

    assert {key: lines()[0][key] for key in own} == own


def test_megaflows_own_records_say_what_is_known_of_the_message(lines: Any) -> None:
    app = App(retry_on=())

    @app.on_text(handler_name="shop.answer")
    def answer(text: str) -> None:
        raise ZeroDivisionError("division by zero")

    app.process(MESSAGE)

    failed, _ = lines()
    assert {key: failed[key] for key in KNOWN} == KNOWN
    assert (failed["status"], failed["error"]) == ("FATAL_ERROR", "ZeroDivisionError: division by zero")


def test_a_line_knows_the_span_that_it_is_in_with_a_message_and_without(lines: Any) -> None:
    app = App(retry_on=())

    @app.on_text()
    def answer(text: str) -> None:
        with tracer.start_as_current_span("work"):
            log.info("in a span")

    app.process(MESSAGE)
    with tracer.start_as_current_span("request") as span:
        log.info("in a request")

    first, _, second = lines()
    assert (len(first["trace_id"]), len(first["span_id"])) == (32, 16)
    assert first["message_id"] == "m-1"
    context = span.get_span_context()
    assert keys_of(second) == {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}


def test_without_opentelemetry_there_is_no_span(monkeypatch: pytest.MonkeyPatch, lines: Any) -> None:
    with tracer.start_as_current_span("request"):
        monkeypatch.delitem(sys.modules, "opentelemetry.trace")
        log.info("in a request")
        monkeypatch.undo()

    assert keys_of(lines()[0]) == {}


def test_structlog_says_the_same() -> None:
    written: list[Any] = []

    def write(logger: Any, method_name: str, event_dict: Any) -> Any:
        written.append(dict(event_dict))
        raise structlog.DropEvent

    chain = [structlog.contextvars.merge_contextvars, megaflow.add_message_keys, write]
    logger = structlog.wrap_logger(structlog.PrintLogger(), processors=chain)
    app = App(retry_on=())
    app.propagate("x-request-id")
    app.on_text(handler_name="shop.answer")(lambda text: logger.info("answering", handler="mine"))

    app.process(MESSAGE)
    logger.info("afterwards")
    with megaflow.context({"x-request-id": "r-1"}):
        logger.info("in a request")

    assert written == [
        {**KNOWN, "event": "answering", "handler": "mine"},
        {"event": "afterwards"},
        {"event": "in a request", "x-request-id": "r-1"},
    ]


def test_what_is_propagated_is_in_the_log_by_its_name(lines: Any) -> None:
    app = App(retry_on=())
    app.propagate("x-request-id", "count", "price", "blob", "missing", "queue", "message")
    attributes = {
        "x-request-id": Attribute("String", "r-1"),
        "count": Attribute("Number", "3"),
        "price": Attribute("Number", "1.50"),
        "blob": Attribute("Binary", b"\0"),
        "other": Attribute("String", "is not named"),
        "queue": Attribute("String", "a name of megaflow's own"),
        "message": Attribute("String", "the text of the line"),
    }
    app.on_text()(lambda text: log.info("answering"))

    app.process(open_message("ping", id="m-1", sqs_attributes=attributes))

    own, _ = lines()
    assert {key: own.get(key) for key in attributes} == {
        "x-request-id": "r-1",
        "count": 3,
        "price": "1.50",
        "blob": "b'\\x00'",
        "other": None,
        "queue": "a name of megaflow's own",
        "message": "answering",
    }
    assert "missing" not in own


def test_what_another_has_sent_forges_no_line_and_fills_no_log() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(x-request-id)s|%(message)s"))
    handler.addFilter(LogFilter())
    app = App(retry_on=())
    app.propagate("x-request-id")
    app.on_text()(lambda text: log.warning("answering"))
    log.addHandler(handler)
    try:
        for value in ("r\n2026 ERROR forged", "x" * 10_000):
            app.process(open_message("ping", id="m", sqs_attributes={"x-request-id": Attribute("String", value)}))
    finally:
        log.removeHandler(handler)

    assert stream.getvalue() == f"r\\n2026 ERROR forged|answering\n{'x' * 256}…|answering\n"


class Unsayable:
    def __repr__(self) -> str:
        raise RuntimeError("no")


def test_json_keeps_whatever_a_record_was_given(lines: Any) -> None:
    endless: list[Any] = []
    endless.append(endless)
    given = {
        "order": {"id": 7, "tags": ["a"]},
        "ratio": float("nan"),
        "pair": {(1, 2): 3},
        "endless": endless,
        "unsayable": Unsayable(),
        "surrogate": "\ud800",
        "error": "mine",
        "level": 5,
        "x-y z": True,
    }

    log.info("hello", extra=given, stack_info=True)
    log.info("plain", extra={"where": {1, 2}, "none": None})

    first, second = lines()
    assert (first["message"], first["level"], first["extra.level"], first["error"]) == ("hello", "INFO", 5, "mine")
    assert {name: first[name] for name in ("order", "ratio", "pair", "endless", "unsayable", "surrogate", "x-y z")} == {
        "order": {"id": 7, "tags": ["a"]},
        "ratio": "nan",
        "pair": "{(1, 2): 3}",
        "endless": "[[...]]",
        "unsayable": "<Unsayable>",
        "surrogate": "\ud800",
        "x-y z": True,
    }
    assert "Stack (most recent call last)" in first["stack"]
    assert (second["where"], second["none"]) == ("{1, 2}", None)
