"""The wire beside boto3 and beside a bare `http.client` loop, against a server with ready answers in its own process.

``python -m benchmarks.wire [--only NAME] [--quick]``. The sides take turns, each drain in a process of its own.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any
from uuid import uuid4

from benchmarks.bare import BareClient
from benchmarks.consume import Bench
from benchmarks.sqs import BODY, connect, server, show
from megaflow.wire.client import WireClient

ROUNDS = 7
HANDLERS = 20
TEN = range(10)
PARAMETERS: dict[str, dict[str, Any]] = {
    "receive_message": {"MaxNumberOfMessages": 10},
    "delete_message_batch": {"Entries": [{"Id": str(place), "ReceiptHandle": "AQEB" + "x" * 160} for place in TEN]},
    "send_message_batch": {"Entries": [{"Id": str(place), "MessageBody": BODY} for place in TEN]},
}


def measure_calls(bench: Bench) -> None:
    """Compare the CPU of one call of ten."""
    boto3 = connect(bench.endpoint_url)
    clients = {"boto3": boto3, "wire": WireClient(boto3), "bare": BareClient(bench.endpoint_url)}
    count = bench.count(1_000)
    for method, parameters in PARAMETERS.items():
        spent: dict[str, list[float]] = {name: [] for name in clients}
        for _ in range(bench.rounds):
            for name, client in clients.items():
                spent[name].append(cpu_of(getattr(client, method), parameters, queue_url(count * 10), count))
        cpu = {name: median(each) for name, each in spent.items()}
        ratio = cpu["wire"] / cpu["boto3"]
        said = f"{cpu['wire']:.0f} µs is {ratio:.2f} of boto3's {cpu['boto3']:.0f}; http.client's {cpu['bare']:.0f}"
        show(f"CPU of {method}", said, "0.30", ratio <= 0.3)


def cpu_of(call: Callable[..., object], parameters: Mapping[str, object], url: str, count: int) -> float:
    begin = time.process_time()
    for _ in range(count):
        call(QueueUrl=url, **parameters)
    return (time.process_time() - begin) / count * 1e6


def measure_drain(bench: Bench) -> None:
    """Compare draining a queue with a handler that does nothing.

    A machine that others share is half as fast at times, so each ratio is that of two neighbours in a round, and the
    median of all rounds; who comes first changes.
    """
    count = bench.count(20_000)
    sides: dict[str, tuple[str, dict[str, object]]] = {
        "boto3": ("loop", {"threads": 2}),
        "off": ("megaflow", {"handlers": HANDLERS, "wire": False}),
        "bare": ("loop", {"threads": 2, "bare": True}),
        "on": ("megaflow", {"handlers": HANDLERS}),
        "bare, one thread": ("loop", {"threads": 1, "bare": True}),
    }
    rounds: list[dict[str, dict[str, float]]] = []
    for number in range(bench.rounds):
        turn = list(sides.items())[:: -1 if number % 2 else 1]
        rounds.append(
            {side: bench.ask(role, queue_url(count), count=count, **options) for side, (role, options) in turn}
        )
    for side in sides:
        rate, cpu, waited = (median(each[side][what] for each in rounds) for what in ("rate", "cpu", "waited"))
        print(f"  {side:20} {rate:8,.0f}/s {cpu:6.0f} µs of CPU each, {waited:4.0f} µs of waiting for it", flush=True)

    def ratio(what: str, other: str) -> float:
        return median(each["on"][what] / each[other][what] for each in rounds)

    best = min(("bare", "bare, one thread"), key=lambda each: ratio("rate", each))
    show_ratio("drain, to boto3's loop", ratio("rate", "boto3"), 2.8)
    show_ratio("drain, to http.client's", ratio("rate", best), 0.9)
    show_ratio("CPU, to boto3's loop", ratio("cpu", "boto3"), 0.4, at_most=True)
    show_ratio("CPU, to http.client's", ratio("cpu", best), 1.4, at_most=True)


def show_ratio(what: str, ratio: float, bar: float, *, at_most: bool = False) -> None:
    show(what, f"{ratio:.2f}", f"{bar:.2f}", ratio <= bar if at_most else ratio >= bar)


def queue_url(count: int) -> str:
    return f"http://sqs.example.com/canned/{count}/{uuid4().hex}"


MEASUREMENTS: dict[str, Callable[[Bench], None]] = {"calls": measure_calls, "drain": measure_drain}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.wire", description=__doc__)
    parser.add_argument("--only", choices=sorted(MEASUREMENTS))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--quick", action="store_true", help="a tenth of the work, to see that it works")
    options = parser.parse_args()
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} cores", flush=True)
    with server("benchmarks.canned") as endpoint_url:
        bench = Bench(endpoint_url, 1 if options.quick else options.rounds, 0.1 if options.quick else 1.0)
        for name, measure in MEASUREMENTS.items():
            if options.only in (None, name):
                measure(bench)


if __name__ == "__main__":
    main()
