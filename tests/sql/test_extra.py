"""The extra: what says that it is missing, and what works without a part of it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.waiting import PATIENCE

_WITHOUT_GREENLET = """
import sys
sys.modules["greenlet"] = None
from sqlalchemy import StaticPool, create_engine
from sqlalchemy.orm import Session
from megaflow import App
from megaflow.sql import Inbox, Outbox, SqlStore
engine = create_engine("sqlite://", poolclass=StaticPool)
url = "https://sqs.eu-west-1.amazonaws.com/123456789012/orders"
store, inbox, app = SqlStore(engine), Inbox(engine), App(url)
outbox = Outbox(app, engine)
outbox.create_tables()
with engine.begin() as connection:
    outbox.publish(connection, "a")
store.create_tables()
inbox.create_tables()
store.check()
inbox.check()
app.provide(Session, inbox)
@app.on_text(idempotency_key=lambda what: what)
def handle(what: str, session: Session) -> None: ...
print([str(outcome.skipped) for _ in range(2) for outcome in app.process("a").outcomes])
"""


def run(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=PATIENCE)


def test_stores_inboxes_and_outboxes_work_without_greenlet() -> None:
    ended = run(_WITHOUT_GREENLET)

    assert (ended.stdout, ended.stderr) == ("['', 'done earlier']\n", "")


def test_without_sqlalchemy_the_extra_is_named() -> None:
    ended = run("import sys; sys.modules['sqlalchemy'] = None; import megaflow.sql")

    assert "megaflow.sql needs the extra sql" in ended.stderr
    assert "pip install 'megaflow-sqs[sql]'" in ended.stderr


@pytest.mark.parametrize("command", ["relay", "outbox"])
def test_commands_name_the_extra_once(command: str) -> None:
    ended = run(
        "import sys; sys.modules['sqlalchemy'] = None; from megaflow.cli.main import main; "
        f"sys.exit(main([{command!r}, 'shop.py']))"
    )

    assert ended.returncode == 2
    assert ended.stderr.count("needs the extra sql") == ended.stderr.count("\n") == 1


def test_megaflow_itself_does_not_import_sqlalchemy() -> None:
    ended = run("import megaflow, sys; print('sqlalchemy' in sys.modules)")

    assert ended.stdout == "False\n"
