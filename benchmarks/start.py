"""What a process costs until it has its first message, beside a bare boto3 loop; and what 10,000 handlers hold.

``python -m benchmarks.start [--rounds N] [--quick]``, or ``make bench-start``. Each measurement is a process of its
own, and the two sides take turns. The server has ready answers, and a process of its own, too.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from statistics import median
from uuid import uuid4

from benchmarks.sqs import server, show

ROUNDS = 21
BAR = 1.05
BYTES = 2_048
MEASURED = {"memory": "MB", "CPU to 1st message": "ms", "time to 1st message": "ms"}


def measure_start(endpoint_url: str, rounds: int) -> None:
    """Compare what the two sides take to their first message."""
    found: dict[str, list[list[float]]] = {"boto3": [], "megaflow": []}
    for _ in range(rounds + 1):
        for side, measured in found.items():
            measured.append(ask(side, endpoint_url))
    # The first of a side writes what Python has compiled.
    base, ours = ([median(column) for column in zip(*each[1:], strict=True)] for each in found.values())
    for (what, unit), bare, taken in zip(MEASURED.items(), base, ours, strict=True):
        said = f"{taken:.1f} {unit} is {taken / bare:.2f} of the bare loop's {bare:.1f}"
        show(what, said, f"{BAR:.2f}", taken / bare <= BAR)


def measure_table(endpoint_url: str) -> None:
    """Say what the table of 10,000 handlers takes for each, and what that is with the handler itself."""
    table, whole = ask("table", endpoint_url)
    for what, size in (("table, per handler", table), ("with the handler", whole)):
        show(what, f"{size:,.0f} bytes", f"{BYTES:,}", size <= BYTES)


def ask(side: str, endpoint_url: str) -> list[float]:
    """Run *side* in a process of its own, and return what it prints."""
    queue = f"http://sqs.example.com/canned/10/{uuid4().hex}"
    environment = os.environ | {
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "PYTHONDONTWRITEBYTECODE": "",  # what is compiled anew at each start is no start
    }
    command = [sys.executable, "-m", "benchmarks.started", side, queue, str(time.monotonic())]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout
    return [float(each) for each in said.split()]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.start", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--quick", action="store_true", help="three rounds, to see that it works")
    options = parser.parse_args()
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} cores", flush=True)
    with server("benchmarks.canned") as endpoint_url:
        measure_start(endpoint_url, 3 if options.quick else options.rounds)
        measure_table(endpoint_url)


if __name__ == "__main__":
    main()
