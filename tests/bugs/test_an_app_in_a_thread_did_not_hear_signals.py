"""`await asyncio.to_thread(app.run)`, which the docs recommended, hung on SIGINT, and SIGTERM cut handlers off.

Nothing said that signals are not heard in a thread.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import megaflow
from megaflow import App
from megaflow.local import Account, SqsClient
from megaflow.local.server import Server
from megaflow.runtime.supervisor import Supervisor
from megaflow.runtime.targets import Targets
from tests.forked import Program
from tests.waiting import PATIENCE, wait_until

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "tests" / "threaded" / "consume.py"
UNHEARD = "SIGTERM and SIGINT are not heard in this thread"


@pytest.mark.parametrize(
    ("how", "number", "says_unheard"),
    [
        ("as in the docs", signal.SIGINT, 0),
        ("as in the docs", signal.SIGTERM, 0),
        ("in a thread", signal.SIGINT, 1),
        ("in a thread", signal.SIGTERM, 1),
        ("several apps", signal.SIGTERM, 1),
        ("several apps, on the main thread", signal.SIGINT, 0),
    ],
)
def test_it_stops_well_as_readme_says(tmp_path: Path, how: str, number: signal.Signals, says_unheard: int) -> None:
    ledger = tmp_path / "ledger"
    with Server() as server:
        sqs = SqsClient(server.account)
        url, _ = (sqs.create_queue(QueueName=name)["QueueUrl"] for name in ("orders", "orders-2"))
        sqs.send_message(QueueUrl=url, MessageBody='{"type": "order"}')
        with run_script(url, server.url, ledger, how) as script, script.stderr:  # type: ignore[union-attr]
            wait_until(lambda: ledger.exists())
            script.send_signal(number)
            said = read_until("stopping: waiting up to", script)
            Path(f"{ledger}.go").touch()
            said += script.stderr.read()  # type: ignore[union-attr]

            assert script.wait(PATIENCE) == 0, said
        assert ledger.read_text().split() == ["begins", "ends", "returned"]
        depths = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        assert set(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=depths)["Attributes"].values()) == {"0"}
        assert said.count(UNHEARD) == says_unheard
        assert "WARNING SIGTERM" not in said


@contextmanager
def run_script(url: str, endpoint: str, ledger: Path, how: str) -> Iterator[Program]:
    environment = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_DEFAULT_REGION": "us-east-1"}
    command = (str(SCRIPT), url, endpoint, str(ledger), how)
    script = Program(*command, stderr=subprocess.PIPE, env=os.environ | environment)
    try:
        yield script
    finally:
        script.kill()
        script.wait()


def read_until(wanted: str, script: Program) -> str:
    assert script.stderr is not None
    said = ""
    for line in script.stderr:
        said += line
        if wanted in line:
            return said
    raise AssertionError(f"{wanted!r} was not said, but:\n{said}")


# What the log says


@pytest.fixture
def app() -> App:
    sqs = SqsClient(Account())
    app = App(sqs.create_queue(QueueName="orders")["QueueUrl"], client=sqs)
    app.on_text("stop")(lambda text: app.stop())
    app.publish("stop")
    return app


@pytest.fixture
def handled_sigterm() -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, lambda number, frame: None)
    yield
    signal.signal(signal.SIGTERM, before)


def unheard(caplog: pytest.LogCaptureFixture, run: Callable[[], object]) -> list[logging.LogRecord]:
    """Return the lines that speak of signals, where *run* runs in a thread."""
    with caplog.at_level(logging.INFO, "megaflow"):
        thread = threading.Thread(target=run)
        thread.start()
        thread.join(PATIENCE)
    assert not thread.is_alive()
    return [record for record in caplog.records if UNHEARD in record.getMessage()]


def run_with_another(app: App) -> None:
    sqs = SqsClient(Account())
    another = App(sqs.create_queue(QueueName="mails")["QueueUrl"], client=sqs)
    another.on_text()(lambda text: None)
    another.stop()
    megaflow.run(app, another)


def stop_at_once() -> None:
    supervisor = Supervisor(Targets({}), 2, shutdown_timeout=0)
    supervisor.stop()
    supervisor.run()


@pytest.mark.parametrize(
    "run",
    [App.run, run_with_another, lambda app: stop_at_once()],
    ids=["App.run", "several apps", "processes"],
)
def test_the_log_warns_once_that_nothing_hears_them(
    app: App, run: Callable[[App], object], caplog: pytest.LogCaptureFixture
) -> None:
    (said,) = unheard(caplog, lambda: run(app))

    assert said.levelno == logging.WARNING
    assert re.search(r"call app\.stop\(\) .*loop\.add_signal_handler\(signal\.SIGTERM, app\.stop\)", said.getMessage())
    assert said.getMessage().endswith("SIGTERM ends the process in the middle of handlers")


@pytest.mark.usefixtures("handled_sigterm")
def test_it_is_no_warning_where_somebody_hears_them(app: App, caplog: pytest.LogCaptureFixture) -> None:
    (said,) = unheard(caplog, app.run)

    assert said.levelno == logging.INFO
    assert said.getMessage().endswith("does in an event loop")


def test_nothing_is_said_on_the_main_thread(app: App, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "megaflow"):
        app.run()

    assert UNHEARD not in caplog.text


def test_a_thread_that_was_stopped_by_another_is_told_the_next_time(app: App, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "megaflow"):
        run_with_another(app)
    assert UNHEARD not in caplog.text

    app.publish("stop")

    assert len(unheard(caplog, app.run)) == 1
