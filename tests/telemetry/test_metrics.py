"""Counts, from any thread."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import megaflow
from megaflow import App
from megaflow.telemetry.metrics import NAMES, Counters, Metrics
from tests.waiting import PATIENCE


def test_counts_add_up_by_name() -> None:
    counters = Counters()

    counters.count("received")
    counters.count("received", 2)
    counters.count("deleted", 0)

    assert {name: count for name, count in counters.snapshot().items() if count} == {"received": 3}


def test_a_snapshot_stays_as_it_was() -> None:
    counters: Metrics = Counters()
    assert isinstance(counters, Counters)

    before = counters.snapshot()
    counters.count("received")

    assert before["received"] == 0


def test_no_count_is_lost_between_threads() -> None:
    counters, together = Counters(), Barrier(8)

    def count(_: int) -> None:
        together.wait(PATIENCE)
        for _ in range(1_000):
            counters.count("received")

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(count, range(8)))

    assert counters.snapshot()["received"] == 8_000


def test_every_name_is_there_from_the_start() -> None:
    assert App().metrics.snapshot() == dict.fromkeys(NAMES, 0)


def test_nothing_is_counted_under_another_name() -> None:
    counted = {name for path in Path(megaflow.__file__).parent.rglob("*.py") for name in find_counted(path)}

    assert counted <= set(NAMES)
    assert len(counted) > 15


def find_counted(path: Path) -> Iterator[str]:
    """Give the names that are counted in the module at *path*: whatever text stands in the first argument."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and re.search(r"(actions|metrics)\.count$|^Count$", ast.unparse(node.func)):
            given = node.args[0]
            assert not any(isinstance(part, ast.JoinedStr) for part in ast.walk(given)), f"{path}: write the name out"
            yield from (part.value for part in constants_of(given))


def constants_of(given: ast.expr) -> Iterator[Any]:
    """Give the constants that an expression may be; what an ``if`` asks is none of them."""
    if isinstance(given, ast.IfExp):
        yield from (*constants_of(given.body), *constants_of(given.orelse))
    elif isinstance(given, ast.Constant):
        yield given
