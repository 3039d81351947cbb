"""Celery with the embedded server as its broker: workers of its own, tasks that note each run."""

from __future__ import annotations

import json
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from megaflow.local import SqsClient
from megaflow.local.server import Server
from tests.foreign.clients import DRIVERS, without_settings
from tests.foreign.environments import PYTHON
from tests.waiting import PATIENCE, wait_until

REGION = "us-east-1"


@dataclass
class Celery:
    """An app of celery: `DRIVERS`/tasks.py."""

    python: str
    notes: Path
    variables: dict[str, str]

    def send(self, task: str, count: int) -> None:
        subprocess.run(
            [self.python, "tasks.py", task, str(count)], cwd=DRIVERS, env=self.variables, check=True, timeout=PATIENCE
        )

    @contextmanager
    def worker(self) -> Iterator[subprocess.Popen[bytes]]:
        options = [
            "--pool",
            "threads",
            "--concurrency",
            "4",
            "--without-gossip",
            "--without-mingle",
            "--without-heartbeat",
        ]
        command = [self.python, "-m", "celery", "--app", "tasks", "worker", "--loglevel", "ERROR", *options]
        with subprocess.Popen(command, cwd=DRIVERS, env=self.variables, stdout=subprocess.DEVNULL) as process:
            yield process
            process.send_signal(signal.SIGTERM)

    def noted(self) -> list[str]:
        return self.notes.read_text().splitlines() if self.notes.exists() else []


def make(server: Server, folder: Path, **transport: Any) -> Celery:
    notes = folder / "notes.txt"
    variables = without_settings() | {
        "BROKER": f"sqs://any:any@{urlsplit(server.url).netloc}",
        "NOTES": str(notes),
        "TRANSPORT": json.dumps({"region": REGION, "is_secure": False, "wait_time_seconds": 1, **transport}),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return Celery(PYTHON.program("python"), notes, variables)


def left(server: Server) -> int:
    return sum(len(server.account.peek(name)) for name in server.account.queues)


def test_every_task_is_run_once(server: Server, tmp_path: Path) -> None:
    celery = make(server, tmp_path)
    celery.send("add", 60)
    celery.send("fail_once", 2)

    with celery.worker():
        wait_until(lambda: len(celery.noted()) >= 64 and not left(server))

    tries = [f"tried {number} for the {time}. time" for number in range(2) for time in (1, 2)]
    assert Counter(celery.noted()) == Counter([*(f"added {number}" for number in range(60)), *tries])


@pytest.mark.long
def test_tasks_go_through_a_fifo_queue_too(server: Server, tmp_path: Path) -> None:
    url = SqsClient(server.account).create_queue(
        QueueName="tasks.fifo", Attributes={"FifoQueue": "true", "ContentBasedDeduplication": "true"}
    )["QueueUrl"]
    declared = {
        "tasks.fifo": {"url": f"{server.url}{urlsplit(url).path}", "access_key_id": "any", "secret_access_key": "any"}
    }
    celery = make(server, tmp_path, predefined_queues=declared)
    celery.variables["QUEUE"] = "tasks.fifo"
    celery.send("add", 20)

    with celery.worker():
        wait_until(lambda: len(celery.noted()) >= 20 and not left(server))

    assert Counter(celery.noted()) == Counter(f"added {number}" for number in range(20))


@pytest.mark.long
def test_the_task_of_a_worker_that_is_killed_is_run_by_another(server: Server, tmp_path: Path) -> None:
    celery = make(server, tmp_path, visibility_timeout=600)
    celery.send("hang_once", 1)
    with celery.worker() as worker:
        wait_until(lambda: celery.noted() == ["hung"])
        worker.kill()

    with celery.worker():
        server.account.advance(600)
        wait_until(lambda: not left(server))

    assert celery.noted() == ["hung", "finished 0"]
