"""Logs as JSON, for programs that set up logging by themselves: without the command line and what it needs."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from megaflow import App, LogFilter
from megaflow.logs import LOG_KEYS, JsonFormatter
from megaflow.testing import TestClient
from tests.waiting import PATIENCE

ROOT = Path(__file__).parents[1]
PROGRAM = """
import logging, sys
sys.modules["click"] = sys.modules["rich"] = None
from megaflow.logs import JsonFormatter
handler = logging.StreamHandler(sys.stdout)
handler.setFormatter(JsonFormatter())
logging.basicConfig(level=logging.INFO, handlers=[handler])
from megaflow import App
app = App(retry_on=ConnectionError)
app.on_text()(lambda text: None)
app.process("ping")
"""


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """What the log has, as JSON lines of records from INFO on."""
    stream, root = io.StringIO(), logging.getLogger()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    handler.addFilter(LogFilter())
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield stream
    root.removeHandler(handler)


def lines_of(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_it_needs_no_extra() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["fate"] == "deleted"


def test_a_verdict_has_its_keys(stream: io.StringIO) -> None:
    app = App(retry_on=ConnectionError)
    app.on_text(handler_name="answer")(lambda text: None)

    with TestClient(app) as client:
        sent = client.publish("ping")

    (line,) = [each for each in lines_of(stream) if each.get("fate")]
    assert set(line) - set(LOG_KEYS) == {"time", "level", "logger", "message"}
    assert (line["message_id"], line["handler"], line["status"]) == (sent, "answer", "DONE")
    assert line["logger"].startswith("megaflow.")
    assert datetime.fromisoformat(line["time"]).utcoffset() is not None


def test_an_error_stands_with_its_traceback(stream: io.StringIO) -> None:
    app = App(retry_on=())

    @app.on_text()
    def fail(text: str) -> None:
        raise ValueError("no\nsuch thing")

    app.process("ping")

    (line,) = [each for each in lines_of(stream) if each["level"] == "ERROR" and "error" in each]
    assert line["error"] == "ValueError: no\nsuch thing"
    assert line["traceback"].startswith("Traceback")


def test_a_record_of_the_users_own_keeps_what_it_was_given(stream: io.StringIO) -> None:
    logging.getLogger("shop").info("shipping", extra={"order": 7, "level": "high"})

    (line,) = lines_of(stream)
    assert (line["message"], line["order"], line["level"], line["extra.level"]) == ("shipping", 7, "INFO", "high")
