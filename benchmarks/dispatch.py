"""What matching costs: one event against N handlers, beside parsing its JSON and beside a plain loop, in one run.

``make bench``, or ``python -m benchmarks.dispatch [WORKLOAD ...]``. Absolute times drift on shared machines: read the
ratios. Every event of 570 bytes and 20 leaves reaches about two of the handlers, whatever their number.
"""

import gc
import json
import random
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import date, timedelta
from statistics import median
from typing import Any

from megaflow import Handler, Router
from megaflow.dispatch.table import DispatchTable
from megaflow.event import deserialize_payload
from megaflow.match import re2_sets
from megaflow.match.functions import between, gt, gte, lt, match, not_, one_of, prefix, search
from megaflow.messages.message import message_with, open_message
from tests.linear_twin import LinearTable

WITHOUT_RE2 = "regexes, no re2"
SIZES = (1, 10, 100, 1_000, 10_000)
MOST = SIZES[-1]
WARM, DISTINCT = 200, 20_000
ROUNDS = 7
FIRST_DAY = date(2000, 1, 1)

Document = dict[str, Any]
Rules = dict[str, Any]


def build_document(number: int) -> Document:
    """Return the event that handler *number* of every workload is for, and the one beside it."""
    pair = number // 2 * 2
    return {
        "protocol": "mega",
        "version": 1,
        "event": {
            "domain": f"domain-{pair // 2 % 100}",
            "name": f"event-{pair // 2}",
            "version": 1,
            "timestamp": "2026-05-04T15:53:23.123+00:00",
            "subject": "987650",
            "publisher": "cart",
            "attributes": {
                "tenant": f"tenant-{pair // 2}",
                "quantity": pair,
                "code": f"{pair:05}-item",
                "day": (FIRST_DAY + timedelta(pair)).isoformat(),
                "path": f"/shop/{pair}/cart",
                f"key-{pair}": 5,
                f"key-{pair + 1}": 5,
            },
        },
        "object": {
            "type": "cart",
            "id": "18a3f92e-1fbf-45eb-8769-d836d0a1be55",
            "version": 2,
            "current": {"user_id": 987650, "currency": "USD", "value": "377.37"},
        },
        "extra": {"channel": "web"},
    }


def keyed(number: int) -> Rules:
    pair = number // 2
    rules = {"domain": f"domain-{pair % 100}", "name": f"event-{pair}", "version": one_of(1, 2)}
    return rules | {"attributes": {"quantity": gt(-1), "code": not_("")}}


def hot(number: int) -> Rules:
    return {"object_type": "cart", "attributes": {"tenant": f"tenant-{number // 2}", "quantity": gt(-1)}}


def ranges(number: int) -> Rules:
    low = number // 2 * 2
    return {"object_type": "cart", "attributes": {"quantity": between(low, low + 1), "path": prefix("/shop/")}}


def no_equality(number: int) -> Rules:
    pair = number // 2 * 2
    forms = (
        {"quantity": gte(pair) & lt(pair + 2), "code": not_("")},
        {"path": prefix(f"/shop/{pair}/"), "quantity": gt(-1)},
        {"code": match(rf"{pair:05}-[a-z]+$")},
    )
    return {"attributes": forms[pair % 5 % 3]}


def many_paths(number: int) -> Rules:
    return {"attributes": {f"key-{number}": gt(0)}}


def dates(number: int) -> Rules:
    day = FIRST_DAY + timedelta(number // 2 * 2)
    return {"object_type": "cart", "attributes": {"day": between(day, day + timedelta(1))}}


def mixed(number: int) -> Rules:
    return (keyed, hot, ranges, no_equality, many_paths, dates)[number // 2 % 6](number)


def mixed_with_lambdas(number: int) -> Rules:
    rules = mixed(number)
    if number % 20 == 0:
        rules["extra"] = {"channel": lambda channel: channel == "web"}
    return rules


def lambdas_alone(number: int) -> Rules:
    wanted = number // 2 * 2
    return mixed(number) if number % 20 else {"attributes": {"quantity": lambda quantity: quantity == wanted}}


def regexes(number: int) -> Rules:
    return {"attributes": {"path": search(rf"p/{number // 2 * 2}/[a-z]+$")}}


WORKLOADS: dict[str, Callable[[int], Rules]] = {
    "keyed": keyed,
    "hot": hot,
    "ranges": ranges,
    "no equality": no_equality,
    "many paths": many_paths,
    "mixed": mixed,
    "dates": dates,
    "mixed, 5 % lambdas": mixed_with_lambdas,
    "mixed, 5 % lambdas alone": lambdas_alone,
    "regexes": regexes,
    WITHOUT_RE2: regexes,
}
SECTIONS = {"object_type": ("object", "type"), "attributes": ("event", "attributes")}


def build_handlers(workload: Callable[[int], Rules], count: int, *, as_event: bool) -> tuple[Handler, ...]:
    """Return *count* handlers, for events or for data objects that look like them."""
    router = Router()
    for number in range(count):
        rules = workload(number)
        if as_event:
            router.on_event(**rules)(handle)
            continue
        pattern: Document = {}
        for name, wanted in rules.items():
            section, key = SECTIONS.get(name, ("event", name))
            pattern.setdefault(section, {})[key] = wanted
        router.on_data(pattern)(handle)
    return router.handlers


def handle(payload: Any) -> None:
    """Do nothing: handlers are selected here, and not run."""


def choose_events(count: int, number: int) -> list[Document]:
    """Return *number* events that handlers among the first *count* are for."""
    chance = random.Random(1)
    return [build_document(chance.randrange(count)) for _ in range(number)]


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
    matches: float
    build_seconds: float
    build_megabytes: float

    def __str__(self) -> str:
        cells = "".join(f"{each:>8.2f}" for each in self.by_size)
        by_hundred, by_ten = self.by_size[-1] / self.by_size[2], self.by_size[-1] / self.by_size[1]
        return (
            f"{cells}{self.distinct:>9.2f}{self.parse:>8.2f}{self.by_size[-1] / self.parse:>7.2f}x{by_hundred:>7.2f}x"
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
        by_size.append(time_each(table.handlers_for, as_payloads(choose_events(count, WARM), as_event)))
    handlers = build_handlers(workload, MOST, as_event=as_event)
    seconds, megabytes = measure_build(handlers)
    # What is slow with a few events is no faster with more.
    distinct = as_payloads(choose_events(MOST, DISTINCT if by_size[-1] < 1_000 else WARM), as_event)
    matches = sum(len(table.handlers_for(each)) for each in distinct) / len(distinct)
    few = build_handlers(workload, SIZES[3], as_event=as_event)
    messages = [message_with(each) for each in as_payloads(choose_events(SIZES[3], 20), as_event)]
    bodies = [json.dumps(each) for each in choose_events(MOST, WARM)]
    return Measured(
        by_size=tuple(by_size),
        distinct=time_each(table.handlers_for, distinct, 3),
        linear=time_each(LinearTable(few).select, messages, 3),
        parse=time_each(json.loads, bodies),
        matches=matches,
        build_seconds=seconds,
        build_megabytes=megabytes,
    )


def as_payloads(documents: Sequence[Document], as_event: bool) -> list[Any]:
    return [deserialize_payload(each) for each in documents] if as_event else list(documents)


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
