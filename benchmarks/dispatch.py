"""What matching costs: one event against N handlers, beside parsing its JSON and beside a plain loop, in one run.

``make bench``, or ``python -m benchmarks.dispatch [WORKLOAD ...]``; ``python -m benchmarks.dispatch many [COUNT ...]``
measures a million handlers. Absolute times drift on shared machines: read the ratios, whose sides take turns.
"""

import gc
import json
import resource
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.workloads import (
    WITHOUT_RE2,
    WORKLOADS,
    Rules,
    as_payloads,
    build_document,
    build_handlers,
    choose_events,
    hot,
    keyed,
)
from megaflow import Handler
from megaflow.dispatch.table import DispatchTable
from megaflow.match import re2_sets
from megaflow.messages.message import message_with, open_message
from tests.linear_twin import LinearTable

SIZES = (1, 10, 100, 1_000, 10_000)
MOST = SIZES[-1]
MANY = "many"
MANY_SIZES = (MOST, 100_000, 1_000_000)
MANY_EVENTS, MANY_ROUNDS = 5_000, 15
WARM, DISTINCT = 200, 20_000
ROUNDS = 7
PAIRS = 31


def time_each(call: Callable[[Any], object], values: Sequence[Any], rounds: int = ROUNDS) -> float:
    """Return the median µs of one call, over rounds through all *values*."""
    took = []
    for _ in range(rounds):
        start = time.perf_counter()
        for value in values:
            call(value)
        took.append((time.perf_counter() - start) / len(values) * 1e6)
    return median(took)


@dataclass(frozen=True)
class Measured:
    """One row of the table: µs for each number of handlers, and beside it what it is to be read against."""

    by_size: tuple[float, ...]
    distinct: float
    linear: float
    parse: float
    to_parse: float
    matches: float
    build_seconds: float
    build_megabytes: float

    def __str__(self) -> str:
        cells = "".join(f"{each:>8.2f}" for each in self.by_size)
        by_hundred, by_ten = self.by_size[-1] / self.by_size[2], self.by_size[-1] / self.by_size[1]
        return (
            f"{cells}{self.distinct:>9.2f}{self.parse:>8.2f}{self.to_parse:>7.2f}x{by_hundred:>7.2f}x"
            f"{by_ten:>7.2f}x{self.linear / self.by_size[3]:>8.0f}x{self.matches:>7.1f}"
            f"{self.build_seconds:>8.2f}{self.build_megabytes:>6.0f}"
        )


HEADING = (
    f"{'handlers:':<38}" + "".join(f"{size:>8,}" for size in SIZES) + f"{'20,000':>9}{'json':>8}{'÷ json':>8}"
    f"{'÷ 100':>8}{'÷ 10':>8}{'loop':>9}{'hits':>7}{'build':>8}{'size':>6}"
)


def measure(workload: Callable[[int], Rules], *, as_event: bool) -> Measured:
    by_size = []
    for count in SIZES:
        table = DispatchTable(build_handlers(workload, count, as_event=as_event))
        events = as_payloads(choose_events(count, WARM), as_event)
        by_size.append(time_each(table.handlers_for, events))
    bodies = [json.dumps(each) for each in choose_events(MOST, WARM)]
    rounds = [(time_each(table.handlers_for, events, 1), time_each(json.loads, bodies, 1)) for _ in range(PAIRS)]
    handlers = build_handlers(workload, MOST, as_event=as_event)
    seconds, megabytes = measure_build(handlers)
    # What is slow with a few events is no faster with more.
    distinct = as_payloads(choose_events(MOST, DISTINCT if by_size[-1] < 1_000 else WARM), as_event)
    matches = sum(len(table.handlers_for(each)) for each in distinct) / len(distinct)
    few = build_handlers(workload, SIZES[3], as_event=as_event)
    messages = [message_with(each) for each in as_payloads(choose_events(SIZES[3], 20), as_event)]
    return Measured(
        by_size=tuple(by_size),
        distinct=time_each(table.handlers_for, distinct, 3),
        linear=time_each(LinearTable(few).select, messages, 3),
        parse=median(parse for _, parse in rounds),
        to_parse=median(match / parse for match, parse in rounds),
        matches=matches,
        build_seconds=seconds,
        build_megabytes=megabytes,
    )


def measure_build(handlers: Sequence[Handler]) -> tuple[float, float]:
    """Return the seconds that a table takes to build, and the MB that it keeps."""
    gc.collect()
    start = time.perf_counter()
    DispatchTable(handlers)
    seconds = time.perf_counter() - start
    gc.collect()
    tracemalloc.start()
    table = DispatchTable(handlers)
    gc.collect()
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del table
    return seconds, kept / 1e6


def measure_many(counts: Sequence[int]) -> Iterator[str]:
    """Compare tables of *counts* handlers, told apart by their tenants, with one of `MOST`, in turn."""
    small, _, _ = build_many(MOST)
    few = as_payloads(choose_events(MOST, MANY_EVENTS), as_event=True)
    bodies = [json.dumps(each) for each in choose_events(MOST, MANY_EVENTS)]
    for count in counts:
        table, seconds, kilobytes = build_many(count)
        many = as_payloads(choose_events(count, MANY_EVENTS), as_event=True)
        gc.collect()
        sides = ((table.handlers_for, many), (small.handlers_for, few), (json.loads, bodies))
        rounds = [[time_each(call, values, 1) for call, values in sides] for _ in range(MANY_ROUNDS)]
        took, to_small, to_parse = zip(*((one, one / other, one / parse) for one, other, parse in rounds), strict=True)
        yield (
            f"{count:>10,}{seconds:>9.2f}{kilobytes:>9.2f}{min(took):>9.2f}{median(to_small):>8.2f}x"
            f"{median(to_parse):>8.2f}x"
        )


def build_many(count: int) -> tuple[DispatchTable, float, float]:
    """Return a table of *count* handlers, the seconds of CPU that it took, and the KB that it holds for each."""
    handlers = build_handlers(hot, count, as_event=True)
    gc.collect()
    before, start = resident_bytes(), time.process_time()
    table = DispatchTable(handlers)
    seconds = time.process_time() - start
    gc.collect()
    return table, seconds, (resident_bytes() - before) / count / 1e3


def resident_bytes() -> int:
    """Return how much memory this process has; Linux says so."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def measure_one_handler() -> Iterator[str]:
    """Compare one handler and one event that it matches with the loop, and whole bodies with parsing them."""
    for as_event in (False, True):
        handlers = build_handlers(keyed, 1, as_event=as_event)
        table, linear = DispatchTable(handlers), LinearTable(handlers)
        messages = [message_with(each) for each in as_payloads([build_document(0)] * 2_000, as_event)]
        pairs = [(time_each(table.select, messages, 1), time_each(linear.select, messages, 1)) for _ in range(15)]
        ratio = median(fast / slow for fast, slow in pairs)
        yield f"one handler, one event it matches, {form(as_event)}: {ratio:.2f} x the loop"


def measure_bodies() -> Iterator[str]:
    """Compare a body's way to its handlers, parsing included, with parsing alone."""
    for as_event in (False, True):
        table = DispatchTable(build_handlers(keyed, MOST, as_event=as_event))
        documents = choose_events(MOST, WARM) * 10
        if not as_event:
            documents = [each | {"protocol": "data"} for each in documents]
        bodies = [json.dumps(each) for each in documents]

        def select(body: str, table: DispatchTable = table) -> object:
            return table.select(open_message(body)).matched

        pairs = [(time_each(select, bodies, 1), time_each(json.loads, bodies, 1)) for _ in range(15)]
        ratio = median(all_ / parse for all_, parse in pairs)
        yield f"from a body to its handlers, {MOST:,} of them, {form(as_event)}: {ratio:.2f} x json.loads"


def form(as_event: bool) -> str:
    return "as Payload" if as_event else "as dict"


def main() -> None:
    if sys.argv[1:2] == [MANY]:
        print(
            "handlers by tenant; seconds of CPU for the table, KB a handler; µs per event, ÷ 10,000 handlers, ÷ json\n"
        )
        for row in measure_many([int(count) for count in sys.argv[2:]] or MANY_SIZES):
            print(row, flush=True)
        return
    chosen = sys.argv[1:] or list(WORKLOADS)
    print(f"µs per event, {WARM} events; then with {DISTINCT:,} distinct ones at {MOST:,} handlers; json.loads of the")
    print(
        f"event; {MOST:,} handlers ÷ json.loads, ÷ 100 handlers, ÷ 10; the loop ÷ the table at {SIZES[3]:,}; handlers"
    )
    print("an event reaches; seconds and MB for the table\n")
    print(HEADING)
    for name in chosen:
        with hidden_re2() if name == WITHOUT_RE2 else nullcontext():
            print_rows(name)
    print()
    for line in (*measure_one_handler(), *measure_bodies()):
        print(line)


def print_rows(name: str) -> None:
    for as_event in (False, True):
        measured = measure(WORKLOADS[name], as_event=as_event)
        print(f"{name + ', ' + form(as_event):<38}{measured}", flush=True)


@contextmanager
def hidden_re2() -> Iterator[None]:
    """Let google-re2 count as not installed."""
    module: Any = re2_sets
    installed, module.re2 = module.re2, None
    try:
        yield
    finally:
        module.re2 = installed


if __name__ == "__main__":
    main()
