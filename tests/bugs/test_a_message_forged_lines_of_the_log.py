"""A message wrote lines of its own into the log (``message 4711: deleted``), and spoke to the terminal showing it."""

from __future__ import annotations

import copy
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from megaflow import App, Reject, SqsPublisher
from megaflow.cli.logs import set_up_logging
from megaflow.local import Account, SqsClient
from megaflow.local.server import Server
from megaflow.logs import JsonFormatter, make_text_handler
from tests.cli.bad_messages import EVIL, is_harmless
from tests.cli.test_printable_output import envelope

FORGED = "message 4711: deleted"
URL = "https://sqs.us-east-1.amazonaws.com/123456789012/orders"
CONFIRMATION = json.loads(envelope(EVIL, EVIL)) | {"Type": "SubscriptionConfirmation", "SubscribeURL": EVIL}
BODIES: list[dict[str, Any]] = [
    {"kind": "fails", "text": EVIL},
    {"kind": "retried", "text": EVIL},
    {"kind": "rejected", "text": EVIL},
    {"kind": "typed", "limits": {EVIL: EVIL}},
    {"protocol": "mega", "version": EVIL, "event": {"name": EVIL, EVIL: EVIL}},
    CONFIRMATION,
]


@dataclass
class Limits:
    limits: dict[str, int]


def make_app(url: str = URL, **options: Any) -> App:
    app = App(url, **options)

    @app.on_data({"kind": "fails"})
    def fail(payload: dict[str, Any]) -> None:
        raise ValueError(payload["text"]) from KeyError(payload["text"])

    @app.on_data({"kind": "retried"}, retry_on=(ValueError,))
    def retry(payload: dict[str, Any]) -> None:
        raise ValueError(payload["text"])

    @app.on_data({"kind": "rejected"})
    def reject(payload: dict[str, Any]) -> None:
        raise Reject(payload["text"])

    @app.on_data({"kind": "typed"})
    def take(limits: Limits) -> None: ...

    return app


class Failing:
    """A client whose first call of a kind fails with what the other side says; without a client all do."""

    def __init__(self, client: SqsClient | None = None) -> None:
        self._client = client
        self._called: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        def call(**parameters: Any) -> Any:
            if self._client is None or name not in self._called:
                self._called.add(name)
                raise OSError(EVIL)
            return getattr(self._client, name)(**parameters)

        return call


def process() -> None:
    app = make_app()
    for body in BODIES:
        app.process(json.dumps(body))


def consume() -> None:
    sqs = SqsClient(Account())
    url = sqs.create_queue(QueueName="orders")["QueueUrl"]
    app = make_app(url, client=Failing(sqs), wait_time_seconds=1, concurrency=1)
    app.on_text("stop")(lambda text: app.stop())
    publisher = SqsPublisher(queue_url=url, client=sqs)
    for body in (*map(json.dumps, BODIES), "stop"):
        publisher.publish_raw_message(body)
    app.run()


def invoke() -> None:
    record = {
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:orders",
        "receiptHandle": "r",
        "attributes": {"ApproximateReceiveCount": "1"},
    }
    records = [record | {"messageId": f"{place}{EVIL}", "body": json.dumps(body)} for place, body in enumerate(BODIES)]
    unreadable = record | {"messageId": EVIL, "body": "{}", "messageAttributes": {"a": {EVIL: EVIL}}}
    make_app(client=Failing()).lambda_handler()({"Records": [*records, unreadable]})


class Records(logging.Handler):
    """The records of a user's own set-up: copies, as formatters leave something in them."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(copy.copy(record))


@pytest.fixture
def records() -> Iterator[list[logging.LogRecord]]:
    handler, log = Records(), logging.getLogger()
    log.addHandler(handler)
    try:
        yield handler.records
    finally:
        log.removeHandler(handler)


def without_traceback(record: logging.LogRecord) -> logging.LogRecord:
    bare = copy.copy(record)
    bare.exc_info = bare.exc_text = None
    return bare


@pytest.mark.parametrize("provoke", [process, consume, invoke])
def test_no_message_writes_a_line_of_its_own(provoke: Callable[[], None], records: list[logging.LogRecord]) -> None:
    provoke()

    formatter = logging.Formatter("%(levelname)s %(message)s")
    lines = [formatter.format(without_traceback(record)) for record in records]
    assert len(lines) >= len(BODIES)
    assert all(line.isprintable() for line in lines)
    assert any(FORGED in line for line in lines)


def test_the_keys_of_a_record_are_one_line_too(records: list[logging.LogRecord]) -> None:
    invoke()

    formatter = logging.Formatter("%(message_id)s", defaults={"message_id": ""})
    lines = [formatter.format(without_traceback(record)) for record in records]
    assert any(FORGED in line for line in lines)
    assert all(line.isprintable() for line in lines)


def test_json_holds_an_error_as_it_is(records: list[logging.LogRecord]) -> None:
    process()

    said = [json.loads(JsonFormatter().format(record)) for record in records]
    (failed,) = [each for each in said if "fail failed for good" in each["message"]]
    assert failed["error"] == f"ValueError: {EVIL}"
    assert EVIL in failed["traceback"]


@pytest.mark.parametrize("provoke", [process, consume, invoke])
def test_what_stands_below_a_line_cannot_pass_for_one(
    provoke: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    handler, log = make_text_handler(sys.stderr, "%(levelname)s %(message)s"), logging.getLogger()
    log.addHandler(handler)
    try:
        provoke()
    finally:
        log.removeHandler(handler)

    said = capsys.readouterr().err
    assert is_harmless(said)
    assert "  Traceback (most recent call last):" in said
    assert all(line.startswith(("WARNING message", "ERROR message", "WARNING ", "  ")) for line in said.splitlines())
    assert not any(line.startswith(FORGED) for line in said.splitlines())


def test_what_handlers_and_others_log_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        set_up_logging("text", "info")
        logging.getLogger("shop").info("paid: %s", EVIL, stack_info=True)
    finally:
        root.handlers[:], level = before
        root.setLevel(level)

    first, *rest = capsys.readouterr().err.splitlines()
    assert "INFO    paid: " in first
    assert FORGED in first
    assert rest[0] == "  Stack (most recent call last):"
    assert all(line.startswith("  ") for line in rest)


SHOP = """
import json, sys
from megaflow import App

app = App("shop")

@app.on_data({"kind": "fails"})
def fail(payload: dict) -> None:
    raise ValueError(payload["text"])

@app.on_text("stop")
def stop(text: str) -> None:
    app.stop()
"""


@pytest.mark.parametrize("command", ["run", "--debug"])
def test_the_command_line_writes_none_either(command: str, tmp_path: Path) -> None:
    broken = f"raise ValueError({EVIL!r})\n"
    (tmp_path / "shop.py").write_text(SHOP if command == "run" else broken)
    arguments = ["run", "shop.py", "--queue-url", "orders"]
    with Server() as server:
        sqs = SqsClient(server.account)
        url = sqs.create_queue(QueueName="orders")["QueueUrl"]
        for body in (json.dumps(BODIES[0]), "stop"):
            sqs.send_message(QueueUrl=url, MessageBody=body)
        ran = subprocess.run(
            [sys.executable, "-m", "megaflow", *([] if command == "run" else [command]), *arguments],
            cwd=tmp_path,
            env=os.environ | {"AWS_ENDPOINT_URL": server.url, "PYTHONPATH": str(Path.cwd())},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    assert FORGED in ran.stderr
    assert is_harmless(ran.stdout + ran.stderr)
    assert not any(line.startswith(FORGED) for line in ran.stderr.splitlines())
