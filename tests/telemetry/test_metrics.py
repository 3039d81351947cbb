"""Counts, from any thread."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from megaflow.telemetry.metrics import Counters, Metrics
from tests.waiting import PATIENCE


def test_counts_add_up_by_name() -> None:
    counters = Counters()

    counters.count("received")
    counters.count("received", 2)
    counters.count("deleted", 0)

    assert counters.snapshot() == {"received": 3, "deleted": 0}


def test_a_snapshot_stays_as_it_was() -> None:
    counters: Metrics = Counters()
    assert isinstance(counters, Counters)

    before = counters.snapshot()
    counters.count("received")

    assert before == {}


def test_no_count_is_lost_between_threads() -> None:
    counters, together = Counters(), Barrier(8)

    def count(_: int) -> None:
        together.wait(PATIENCE)
        for _ in range(1_000):
            counters.count("received")

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(count, range(8)))

    assert counters.snapshot() == {"received": 8_000}
