"""Log records carried verdicts and errors, and with them the message: what serialises extras printed card numbers."""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import pickle
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from pydantic import BaseModel, ConfigDict
from pythonjsonlogger.json import JsonFormatter as PythonJsonLogger

from megaflow import App, ProcessStatus, RegistrationError, Reject, RetryLater, SqsPublisher, Verdict
from megaflow.local import Account, SqsClient
from megaflow.logs import JsonFormatter
from megaflow.stores import MemoryStore
from megaflow.testing import TestClient
from tests.logs import find_unplain

CARD = "4111111111111111"
ADDRESS = "https://sqs.us-east-1.amazonaws.com/123456789012/orders"


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")

    amount: int
    limits: dict[str, int] = {}


@dataclass
class Total:
    total: dict[int, int]


class Untold(Reject):
    def __str__(self) -> str:
        raise ValueError("it has no text")


class Shop:
    """A handler bound to an object that nobody can copy."""

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def handle(self, payload: dict[str, Any]) -> None:
        """Be done."""


def make_app(url: str = ADDRESS, **options: Any) -> App:
    app = App(url, **options)
    app.on_data({"kind": "bound"})(Shop().handle)

    def raising(kind: str, error: BaseException) -> None:
        @app.on_data({"kind": kind}, retry_on=(KeyError,), handler_name=kind)
        def fail(payload: dict[str, Any]) -> None:
            raise error

    raising("fatal", ValueError("no"))
    raising("retried", KeyError("no"))
    raising("rejected", Reject("no"))
    raising("broken", Untold("no"))
    raising("later", RetryLater(after=SimpleNamespace(card=CARD)))  # type: ignore[arg-type]

    @app.on_data({"kind": "returns"})
    def returns(payload: dict[str, Any]) -> Any:
        return payload

    @app.on_data({"kind": "two"}, handler_name="first")
    async def first(payload: dict[str, Any]) -> None: ...

    @app.on_data({"kind": "two"}, handler_name="second")
    def second(payload: dict[str, Any]) -> ProcessStatus:
        return ProcessStatus.RETRY_LATER

    @app.on_data({"kind": "strict"})
    def strict(order: Strict) -> None: ...

    @app.on_data({"total": lambda total: True})
    def totals(order: Total) -> None: ...

    return app


BODIES = [
    *({"kind": kind, "card": CARD} for kind in ("bound", "fatal", "retried", "rejected", "broken", "later")),
    *({"kind": kind, "card": CARD} for kind in ("returns", "two", "nobody")),
    {"kind": "strict", CARD: 1, "amount": CARD},
    {"kind": "strict", "amount": "no", "limits": {CARD: "no"}},
    {"total": {CARD: "no"}},
    {"protocol": "mega", "version": 1, "event": {"name": "paid", "timestamp": CARD}},
    {"protocol": "mega", "version": CARD, "event": {"name": "paid"}},
    {"protocol": "mega", "version": int(CARD), "event": {"name": "paid"}},
    {"Type": "SubscriptionConfirmation", "MessageId": "m", "TopicArn": "arn", "Timestamp": "t", "Message": CARD},
]


class Records(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def records() -> Iterator[list[logging.LogRecord]]:
    handler, log = Records(), logging.getLogger("megaflow")
    log.addHandler(handler)
    level = log.level
    log.setLevel(logging.DEBUG)
    try:
        yield handler.records
    finally:
        log.setLevel(level)
        log.removeHandler(handler)


def handle_everything() -> None:
    app = make_app()
    app.on_verdict(lambda verdict: 1 // 0)
    for body in BODIES:
        app.process(json.dumps(body))
    asyncio.run(app.aprocess(json.dumps(BODIES[0])))
    with TestClient(make_app(progress=MemoryStore())) as client:
        for body in BODIES:
            client.publish_raw_message(json.dumps(body))
        client.advance(3600)


def consume_everything() -> None:
    """Consume without a dead-letter queue, with a backoff and a client that fail."""
    sqs = SqsClient(Account())
    url = sqs.create_queue(QueueName="orders")["QueueUrl"]
    app = make_app(url, client=Failing(sqs), wait_time_seconds=1, concurrency=1, backoff=lambda count: 1 // 0)
    app.on_text("stop")(lambda text: app.stop())
    publisher = SqsPublisher(queue_url=url, client=sqs)
    for body in BODIES:
        publisher.publish_raw_message(json.dumps(body))
    publisher.publish("stop")
    app.run()


def invoke_everything() -> None:
    """Call the Lambda function, whose role may do nothing."""
    record = {
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:orders",
        "receiptHandle": "r",
        "attributes": {"ApproximateReceiveCount": "1"},
    }
    records = [record | {"messageId": f"m-{place}", "body": json.dumps(body)} for place, body in enumerate(BODIES)]
    odd = record | {"messageId": "odd", "body": CARD, "attributes": {"SentTimestamp": OddError(CARD)}}
    make_app(client=Failing(None)).lambda_handler()({"Records": [*records, odd]})


class Failing:
    """A client whose first call of a kind fails with an error that holds more than it says; without a client all do."""

    def __init__(self, client: SqsClient | None) -> None:
        self._client = client
        self._called: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        def call(**parameters: Any) -> Any:
            if self._client is None or (name not in self._called and name != "get_queue_attributes"):
                self._called.add(name)
                raise OddError(CARD, parameters)
            return getattr(self._client, name)(**parameters)

        return call


class OddError(Exception):
    def __str__(self) -> str:
        return "the line is down"


def write(formatter: logging.Formatter, records: list[logging.LogRecord]) -> str:
    return "\n".join(formatter.format(copy.copy(record)) for record in records)


def structlogs() -> logging.Formatter:
    formatter: logging.Formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.ExtraAdder()],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.JSONRenderer(default=repr),
        ],
    )
    return formatter


@pytest.mark.parametrize("provoke", [handle_everything, consume_everything, invoke_everything])
def test_no_record_leads_to_a_body(provoke: Callable[[], None], records: list[logging.LogRecord]) -> None:
    provoke()

    assert len(records) > len(BODIES)
    assert [found for record in records for found in find_unplain(record)] == []
    for formatter in (PythonJsonLogger(), structlogs(), JsonFormatter(), logging.Formatter("%(message)s %(args)s")):
        assert CARD not in write(formatter, records)


def test_each_line_about_a_message_has_its_keys(records: list[logging.LogRecord]) -> None:
    handle_everything()

    about = [record for record in records if record.getMessage().startswith("message ")]
    failed = [record for record in about if "failed for good" in record.getMessage()]
    both = [record for record in about if getattr(record, "handler", "") == "first, second"]
    assert about
    assert all(record.getMessage().split()[1].strip(":") == record.message_id for record in about)  # type: ignore[attr-defined]
    assert {(record.handler, record.status) for record in failed} == {("fatal", "FATAL_ERROR")}  # type: ignore[attr-defined]
    assert {(record.status, record.fate) for record in both} == {("DONE, RETRY_LATER", "kept")}  # type: ignore[attr-defined]
    assert all(record.seconds >= 0 for record in failed + both)  # type: ignore[attr-defined]


def test_a_handler_of_an_object_with_a_lock_has_its_line(records: list[logging.LogRecord]) -> None:
    make_app().process({"kind": "bound"})

    (record,) = records
    assert record.getMessage().endswith("Shop.handle: DONE)")
    assert pickle.loads(pickle.dumps(record)).getMessage() == record.getMessage()


def test_an_error_without_a_text_is_named_by_its_type(records: list[logging.LogRecord]) -> None:
    app = App(ADDRESS)

    @app.on_data({})
    def refuse(payload: dict[str, Any]) -> None:
        raise Untold("no")

    app.process({})

    assert "rejects it: Untold" in records[0].getMessage()


def test_a_watcher_sees_the_verdict_and_its_message() -> None:
    seen: list[Verdict] = []
    app = make_app()
    app.on_verdict(seen.append)

    verdict = app.process({"kind": "bound", "card": CARD})

    assert seen == [verdict]
    assert seen[0].message.payload["card"] == CARD


def test_what_is_no_function_is_no_watcher() -> None:
    with pytest.raises(RegistrationError, match="on_verdict takes a function"):
        App(ADDRESS).on_verdict("show")  # type: ignore[arg-type]
