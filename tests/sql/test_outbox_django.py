"""Django: the outbox writes by its connection, within transaction.atomic()."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine

from megaflow import SqsPublisher
from megaflow.sql import Outbox
from tests.publishing.queue_server import queue_server
from tests.sql.relays import relaying, rows_of
from tests.waiting import PATIENCE, wait_until

django = pytest.importorskip("django", reason="Django is not installed")

PROGRAM = """
import json, sys
import django
from django.conf import settings

settings.configure(DATABASES={"default": json.loads(sys.argv[1])}, INSTALLED_APPS=[])
django.setup()

from django.db import connection, transaction
from megaflow import SqsPublisher
from megaflow.errors import UsageError
from megaflow.sql import Outbox

outbox = Outbox(SqsPublisher(queue_url="https://sqs.eu-west-1.amazonaws.com/123456789012/orders.fifo"))
outbox.create_tables(connection)
outbox.create_tables(connection)
with transaction.atomic():
    outbox.publish(connection, "100 %s", group_id="g", attributes={"a": "%"})
try:
    with transaction.atomic():
        outbox.publish(connection, "gone", group_id="g")
        raise KeyError
except KeyError:
    pass
try:
    outbox.publish(connection, "autocommit", group_id="g")
except UsageError as error:
    print(error)
"""


def run(folder: Path, database: dict[str, Any]) -> str:
    (folder / "program.py").write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, "-W", "error", folder / "program.py", json.dumps(database)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_what_django_commits_is_sent(request: pytest.FixtureRequest, tmp_path: Path, kind: str) -> None:
    database: dict[str, Any] = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "django.db")}
    url = f"sqlite:///{tmp_path / 'django.db'}"
    if kind == "postgresql":
        server, name = request.getfixturevalue("server"), request.getfixturevalue("database")
        database |= {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": name,
            "HOST": "127.0.0.1",
            "PORT": server.port,
            "USER": "megaflow",
        }
        url = server.url(name)

    said = run(tmp_path, database)

    engine = create_engine(url)
    assert "transaction.atomic()" in said
    assert rows_of(engine, "body", "group_key", "attempts") == [("100 %s", "queue orders.fifo g", 0)]
    with queue_server() as queue, relaying(Outbox(queue.publisher("orders.fifo"), engine)):
        wait_until(lambda: queue.bodies == ["100 %s"] and not rows_of(engine))
    engine.dispose()


def test_a_database_that_is_not_known_is_refused_by_its_name() -> None:
    class Connection:
        vendor = "oracle"
        in_atomic_block = True

    from megaflow.errors import ConfigurationError

    outbox = Outbox(SqsPublisher(queue_url="https://sqs.eu-west-1.amazonaws.com/123456789012/orders"))

    with pytest.raises(ConfigurationError, match="oracle"):
        outbox.publish(Connection(), "x")
