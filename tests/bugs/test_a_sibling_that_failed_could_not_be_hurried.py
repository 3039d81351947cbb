"""Where a sibling in its `asyncio.TaskGroup` fails, `arun` is cancelled: it drains, and two signals end it at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.waiting import EARLY, PATIENCE

SCRIPT = """
import asyncio, sys, threading

from megaflow import App
from megaflow.local import Account, SqsClient

sqs = SqsClient(Account())
app = App(sqs.create_queue(QueueName="q")["QueueUrl"], client=sqs, shutdown_timeout=float(sys.argv[1]), retry_on=())
begun = threading.Event()


@app.on_text()
def handle(text: str) -> None:
    begun.set()
    threading.Event().wait(600)


async def fail() -> None:
    while not begun.is_set():
        await asyncio.sleep(0.01)
    raise ValueError("the sibling")


async def main() -> None:
    app.publish("a")
    async with asyncio.TaskGroup() as group:
        group.create_task(app.arun(signals=True))
        group.create_task(fail())


asyncio.run(main())
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    (tmp_path / "script.py").write_text("import logging; logging.basicConfig(level=logging.INFO)\n" + SCRIPT)
    return tmp_path / "script.py"


def start(script: Path, shutdown_timeout: float) -> subprocess.Popen[str]:
    paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    process = subprocess.Popen(
        [sys.executable, str(script), str(shutdown_timeout)],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
    )
    assert process.stderr is not None
    while "stopping: waiting" not in (line := process.stderr.readline()):
        assert line
    return process


def test_it_ends_with_the_siblings_error_once_handlers_had_their_time(script: Path) -> None:
    process = start(script, 0.1)

    said = process.communicate(timeout=PATIENCE)[1]

    assert process.returncode == 1
    assert "ValueError: the sibling" in said


def test_two_signals_end_it_at_once(script: Path) -> None:
    process = start(script, PATIENCE)
    began = time.monotonic()

    while process.poll() is None:
        process.send_signal(signal.SIGINT)
        assert time.monotonic() < began + EARLY
        time.sleep(0.2)

    assert "ValueError: the sibling" in process.communicate(timeout=PATIENCE)[1]
