"""Consuming beside a bare boto3 loop: ratios taken in one run, same server in its own process, same bodies.

``python -m benchmarks.consume [--endpoint-url URL] [--only NAME] [--quick]``. Every measurement is a process of its
own, and the two sides take turns. An absolute figure says little on a shared machine; the ratio does.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import uuid4

from benchmarks.sqs import BODY, connect, server, show

SENDERS = 4


@dataclass(frozen=True)
class Bench:
    """Where to measure, and how much."""

    endpoint_url: str
    rounds: int
    scale: float

    @contextmanager
    def queue(self) -> Iterator[str]:
        client = connect(self.endpoint_url)
        url = client.create_queue(QueueName=f"bench-{uuid4().hex[:12]}", Attributes={"VisibilityTimeout": "120"})[
            "QueueUrl"
        ]
        try:
            yield url
        finally:
            client.delete_queue(QueueUrl=url)

    def fill(self, url: str, count: int) -> None:
        """Send *count* messages."""
        batches = [range(start, min(start + 10, count)) for start in range(0, count, 10)]

        def send(share: Sequence[range]) -> None:
            client = connect(self.endpoint_url)
            for batch in share:
                entries = [{"Id": str(place), "MessageBody": BODY} for place, _ in enumerate(batch)]
                client.send_message_batch(QueueUrl=url, Entries=entries)

        with ThreadPoolExecutor(SENDERS) as pool:
            list(pool.map(send, [batches[start::SENDERS] for start in range(SENDERS)]))

    def count(self, full: int) -> int:
        return max(100, int(full * self.scale))

    def ask(self, role: str, url: str, **options: object) -> dict[str, float]:
        """Let a process of its own consume, and return what it measured."""
        command = [sys.executable, "-m", "benchmarks.consumers", role, self.endpoint_url, url, json.dumps(options)]
        answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        measured: dict[str, float] = json.loads(answer.stdout.splitlines()[-1])
        return measured

    def drain(self, role: str, count: int, **options: object) -> dict[str, float]:
        with self.queue() as url:
            self.fill(url, count)
            return self.ask(role, url, count=count, **options)


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def best_loop(bench: Bench, count: int) -> int:
    """Return with how many threads the bare loop is quickest."""
    rates = {threads: bench.drain("loop", count, threads=threads)["rate"] for threads in (1, 2, 4)}
    print("bare loop by threads:", {threads: round(rate) for threads, rate in rates.items()}, flush=True)
    return max(rates, key=lambda threads: rates[threads])


def measure_drain(bench: Bench) -> None:
    count = bench.count(20_000)
    threads = best_loop(bench, count // 2)
    loops, ours = [], []
    for _ in range(bench.rounds):
        loops.append(bench.drain("loop", count, threads=threads))
        ours.append(bench.drain("megaflow", count))
    ratio = median([each["rate"] for each in ours]) / median([each["rate"] for each in loops])
    show(
        "drain",
        f"{median([each['rate'] for each in ours]):,.0f}/s is {ratio:.2f} of the bare loop",
        "0.9",
        ratio >= 0.9,
    )
    cpu, base = median([each["cpu"] for each in ours]), median([each["cpu"] for each in loops])
    show("CPU per message", f"{cpu:.0f} µs, {cpu - base:+.0f} to the bare loop's {base:.0f}", "+30", cpu - base <= 30)


def measure_async(bench: Bench) -> None:
    count = bench.count(20_000)
    ways: dict[str, dict[str, object]] = {
        "plain": {},
        "async, run()": {"is_async": True},
        "async, arun()": {"is_async": True, "beside_loop": True},
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(bench.rounds):
        for name, options in ways.items():
            rates[name].append(bench.drain("megaflow", count, **options)["rate"])
    plain, *others = (median(each) for each in rates.values())
    for name, rate in zip(list(ways)[1:], others, strict=True):
        show(f"drain, {name}", f"{rate:,.0f}/s is {rate / plain:.2f} of a plain handler", "0.85", rate / plain >= 0.85)


def measure_batches(bench: Bench) -> None:
    """Drain with a handler that gets 500 at once, beside one that gets them one by one."""
    count = bench.count(20_000)
    plain, batched = [], []
    for _ in range(bench.rounds):
        plain.append(bench.drain("megaflow", count))
        batched.append(bench.drain("megaflow", count, batch_size=500))
    rate, base = (median([each["rate"] for each in measured]) for measured in (batched, plain))
    show("batches of 500", f"{rate:,.0f}/s is {rate / base:.2f} of a plain handler's {base:,.0f}", "1.0", rate >= base)


def measure_waiting(bench: Bench) -> None:
    """Drain with handlers that wait for 20 ms, 32 at once: two seconds a time, so that start and end weigh 2 %.

    The CPU of each message stands beside that of as many threads, each of which receives, waits and deletes.
    """
    count = bench.count(3_200)
    threads = best_loop(bench, count // 2)
    ways: dict[str, tuple[str, bool, float]] = {
        "sync, run()": ("sync", False, 0.9),
        "async, run()": ("async", False, 0.95),
        "async, arun()": ("async", True, 0.95),
    }
    nulls: list[float] = []
    loops: list[float] = []
    found: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    for _ in range(bench.rounds):
        nulls.append(bench.drain("loop", count, threads=threads)["rate"])
        loops.append(bench.drain("loop", count, threads=32, waits=0.02)["cpu"])
        for name, (role, beside_loop, _) in ways.items():
            found[name].append(bench.drain(role, count, concurrency=32, beside_loop=beside_loop))
    ideal = min(1_600.0, median(nulls))
    for name, (_, _, bar) in ways.items():
        rate, cpu = (median([each[figure] for each in found[name]]) for figure in ("rate", "cpu"))
        show(
            f"20 ms, {name}", f"{rate:,.0f}/s is {rate / ideal:.0%} of {ideal:,.0f}", f"{bar:.0%}", rate / ideal >= bar
        )
        base = median(loops)
        said = f"{cpu:.0f} µs are {cpu / base:.2f} of {base:.0f} µs of a loop of 32 threads"
        show(f"20 ms, {name}, CPU", said, "0.46", cpu / base <= 0.46)


def measure_latency(bench: Bench) -> None:
    count = bench.count(2_000)
    found: dict[str, list[dict[str, float]]] = {"loop latency": [], "megaflow latency": []}
    for _ in range(bench.rounds):
        for role, measured in found.items():
            with bench.queue() as url:
                measured.append(bench.ask(role, url, count=count))
    for point, bar in (("p50", 0.9), ("p99", 1.2)):
        loop, ours = (median([each[point] for each in measured]) for measured in found.values())
        show(f"latency {point}", f"{ours:.2f} ms is {ours / loop:.2f} of {loop:.2f} ms", f"{bar}", ours / loop <= bar)


def measure_memory(bench: Bench) -> None:
    count = bench.count(100_000)
    with bench.queue() as url, ThreadPoolExecutor(1) as pool:
        filling = pool.submit(bench.fill, url, count)
        measured = bench.ask("memory", url, count=count)
        filling.result()
    growth = measured["last"] - measured["first"]
    show("memory", f"{growth:+.1f} MB from the first tenth to the end of {count:,}", "+5 MB", growth <= 5)


MEASUREMENTS: dict[str, Callable[[Bench], None]] = {
    "drain": measure_drain,
    "async": measure_async,
    "batches": measure_batches,
    "waiting": measure_waiting,
    "latency": measure_latency,
    "memory": measure_memory,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.consume", description=__doc__)
    parser.add_argument("--endpoint-url", help="another server that speaks SQS")
    parser.add_argument("--only", choices=sorted(MEASUREMENTS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="a tenth of the messages, to see that it works")
    options = parser.parse_args()
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} cores", flush=True)

    def measure(endpoint_url: str) -> None:
        bench = Bench(endpoint_url, 1 if options.quick else options.rounds, 0.1 if options.quick else 1.0)
        for name, each in MEASUREMENTS.items():
            if options.only in (None, name):
                each(bench)

    if options.endpoint_url:
        measure(options.endpoint_url)
        return
    with server("megaflow.local", "--port", "0") as endpoint_url:
        measure(endpoint_url)


if __name__ == "__main__":
    main()
