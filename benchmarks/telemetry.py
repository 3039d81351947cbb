"""What telemetry costs a message: µs of CPU, with a handler that does nothing, against a server with ready answers.

``python -m benchmarks.telemetry [--rounds N] [--quick]``. The sides take turns, each drain in a process of its own.
"""

from __future__ import annotations

import argparse
import os
import sys
from statistics import median

from benchmarks.consume import Bench
from benchmarks.consumers import OUTLETS
from benchmarks.sqs import server, show
from benchmarks.wire import queue_url

ROUNDS = 7
MESSAGES = 20_000
HANDLERS = 20
BARS = {"API": 1.0, "Prometheus": 2.5, "SDK, 1 %": 10.0}
"""µs that a side may cost more than none; the others are shown only."""


def measure(bench: Bench) -> None:
    count = bench.count(MESSAGES)
    spent: dict[str, list[float]] = {side: [] for side in OUTLETS}
    for _ in range(bench.rounds):
        for side, each in spent.items():
            options = {"handlers": HANDLERS, "outlet": side}
            each.append(bench.ask("megaflow", queue_url(count), count=count, **options)["cpu"])
    cpu = {side: median(each) for side, each in spent.items()}
    for side, microseconds in cpu.items():
        more, bar = microseconds - cpu["off"], BARS.get(side)
        said = f"{microseconds:.1f} µs, {more:+.1f} (from {min(spent[side]):.1f} to {max(spent[side]):.1f})"
        show(side, said, "none" if bar is None else f"+{bar}", bar is None or more <= bar)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.telemetry", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--quick", action="store_true", help="a tenth of the messages, to see that it works")
    options = parser.parse_args()
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} cores", flush=True)
    with server("benchmarks.canned") as endpoint_url:
        measure(Bench(endpoint_url, 1 if options.quick else options.rounds, 0.1 if options.quick else 1.0))


if __name__ == "__main__":
    main()
