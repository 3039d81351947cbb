"""A relay beside an app: it runs as long as the app does."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from megaflow import App, ConfigurationError
from megaflow.local.server import Server
from megaflow.sql import Outbox
from tests.cli.processes import running
from tests.consuming import Queues
from tests.waiting import PATIENCE, wait_until

SCRIPT = """
import os, sys
import boto3
from sqlalchemy import create_engine, text
from megaflow import App
from megaflow.sql import Outbox

client = boto3.client("sqs", endpoint_url=sys.argv[2], region_name="us-east-1", aws_access_key_id="any",
                      aws_secret_access_key="any")
app = App(sys.argv[1], client=client, wait_time_seconds=1)
outbox = Outbox(app, create_engine("sqlite:///" + sys.argv[3]))

@app.on_text()
def handle(text):
    with open(sys.argv[4], "a") as ledger:
        ledger.write(f"{text} in {'parent' if os.getpid() == int(os.environ['PARENT']) else 'child'}\\n")

if __name__ == "__main__":
    os.environ["PARENT"] = str(os.getpid())
    app.run(relay=outbox, processes=int(sys.argv[5]))
"""


@pytest.mark.parametrize("processes", [1, 2])
def test_what_is_committed_is_sent_and_handled(tmp_path: Path, processes: int) -> None:
    queues, ledger, database = Queues(), tmp_path / "ledger", tmp_path / "shop.db"
    script = tmp_path / "shop.py"
    script.write_text(SCRIPT)
    engine = create_engine(f"sqlite:///{database}")
    outbox = Outbox(queues.app(), engine)
    outbox.create_tables()
    with engine.begin() as connection:
        outbox.publish(connection, "order")
    with Server(queues.sqs.account) as server:
        arguments = (queues.url, server.url, str(database), str(ledger), str(processes))
        with running(*arguments, program=[str(script)]) as process:
            wait_until(ledger.exists)
            wait_until(lambda: queues.depth() == (0, 0))
            assert process.end(signal.SIGTERM) == 0

    assert ledger.read_text() == f"order in {'parent' if processes == 1 else 'child'}\n"
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM megaflow_outbox")).scalar() == 0
    engine.dispose()


def run(app: App, **options: Any) -> tuple[threading.Thread, list[BaseException]]:
    raised: list[BaseException] = []

    def live() -> None:
        try:
            app.run(**options)
        except BaseException as error:  # noqa: BLE001 - it is looked at
            raised.append(error)

    thread = threading.Thread(target=live)
    thread.start()
    return thread, raised


def test_the_health_of_the_app_says_what_is_wrong_with_the_relay(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'shop.db'}")
    app = Queues().app(wait_time_seconds=1)
    app.on_text()(lambda text: None)
    outbox = Outbox(app, engine)
    outbox.create_tables()
    thread, raised = run(app, relay=outbox)
    wait_until(lambda: app.health().ready)

    with engine.begin() as connection:
        connection.execute(text("DROP TABLE megaflow_outbox"))
    wait_until(lambda: any("megaflow_outbox" in each for each in app.health().problems))
    is_ready = app.health().ready
    outbox.create_tables()
    wait_until(lambda: app.health().ready)
    app.stop()
    thread.join(PATIENCE)

    assert not is_ready
    assert raised == []
    engine.dispose()


def test_a_relay_that_cannot_run_stops_the_app() -> None:
    app = Queues().app(wait_time_seconds=1)
    app.on_text()(lambda text: None)

    thread, raised = run(app, relay=Outbox(app))
    thread.join(PATIENCE)

    assert not thread.is_alive()
    assert isinstance(raised[0], ConfigurationError)


def test_what_is_no_relay_is_refused() -> None:
    app = Queues().app()
    app.on_text()(lambda text: None)

    with pytest.raises(ConfigurationError, match="an Outbox"):
        app.run(relay="outbox")  # type: ignore[arg-type]


def test_the_app_hears_signals_and_so_the_relay_ends(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'shop.db'}")
    app = Queues().app(wait_time_seconds=1)
    app.on_text()(lambda text: None)
    outbox = Outbox(app, engine)
    outbox.create_tables()
    with engine.begin() as connection:
        outbox.publish(connection, "order")

    def stop() -> None:
        # The consumer as well: it is what hears signals.
        wait_until(lambda: app.health().ready)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop).start()
    app.run(relay=outbox)

    assert not outbox.health().ready
    engine.dispose()
