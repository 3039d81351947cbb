"""The table of guarantees, made from marks on tests; `tests.docs.generated` writes it.

A test shows a row by ``@guarantee("standard, FIFO", "a handler raises", "dead-lettered, then deleted", "once")``.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

ROOT = Path(__file__).parent.parent
QUEUES = ("standard", "FIFO")

SITUATIONS = (
    "a handler raises",
    "a batch handler raises",
    "one message of a batch fails",
    "a handler asks for it later",
    "a handler hangs, with a `timeout=`",
    "a handler outlives the visibility timeout",
    "a handler's `rate=` or `max_concurrency=` is reached",
    "the lease is lost all the same",
    "the process is killed before handling",
    "the process is killed while it waits for a batch",
    "the process is killed while handling",
    "the process is killed after handling",
    "a delete fails",
    "the dead-letter queue refuses it",
    "the queue is out of reach",
    "the store cannot be opened or written at the start",
    "the store is out of reach",
    "the store takes no writes",
    "the store takes no writes until the process ends",
    "a large payload is missing, refused or too large",
    "large payloads are out of reach",
    "a large payload cannot be written",
    "the process is killed after it wrote a large payload, before it sent the message",
    "the process is killed after it deleted a message, before its large payload",
    "with an inbox, the process is killed before the commit",
    "with an inbox, the process is killed after the commit, before the delete",
    "with an inbox, the commit fails",
    "with an inbox, two consumers have the message at once",
    "with an inbox, the database is down",
    "what handlers need is away, with a `breaker=`",
    "SIGTERM",
    "SIGTERM, and handlers outlive `shutdown_timeout`",
    "SIGTERM, twice",
    "SIGTERM, and a `rate=` is used up",
    "SIGTERM while idle",
    "the task of `arun` is cancelled",
    "the task of `arun` is cancelled, twice",
    "a message is delivered twice at once",
    "it is given back unhandled",
    "too many messages are in flight",
    "a transaction with an outbox is rolled back",
    "the process is killed between commit and send",
    "a relay is killed after it has sent",
    "AWS is out of reach for an outbox",
    "AWS refuses a message of an outbox",
)
"""What can go wrong; the table has a row for each of them and each kind of queue."""

Test = TypeVar("Test", bound=Callable[..., object])


@dataclass(frozen=True)
class Row:
    """A row, and the test that shows it."""

    queues: str
    situation: str
    outcome: str
    runs: str
    test: str


def guarantee(queues: str, situation: str, outcome: str, runs: str) -> Callable[[Test], Test]:
    """Mark a test as the one that shows a row: for which queues, what happens, how often a handler can run."""
    assert set(queues.split(", ")) <= set(QUEUES), queues
    assert situation in SITUATIONS, situation
    mark: Callable[[Test], Test] = pytest.mark.guarantee(queues, situation, outcome, runs)
    return mark


def collect() -> list[Row]:
    """Return every row, in the order of `SITUATIONS`."""
    rows = [row for path in sorted((ROOT / "tests").rglob("test_*.py")) for row in _read(path)]
    return sorted(rows, key=lambda row: (SITUATIONS.index(row.situation), row.queues == "FIFO"))


def _read(path: Path) -> Iterator[Row]:
    if "@guarantee(" not in path.read_text():
        return
    module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    for name, value in vars(module).items():
        marks: list[Any] = getattr(value, "pytestmark", [])
        for mark in marks:
            if mark.name == "guarantee":
                queues, situation, outcome, runs = mark.args
                yield Row(queues, situation, outcome, runs, name)


def render(rows: list[Row]) -> str:
    """Return the table in Markdown."""
    lines = [
        "| queue | what goes wrong | what happens | a handler runs | shown by |",
        "|---|---|---|---|---|",
        *(f"| {row.queues} | {row.situation} | {row.outcome} | {row.runs} | `{row.test}` |" for row in rows),
    ]
    return "\n".join(lines)
