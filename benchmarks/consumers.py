"""What `benchmarks.consume` measures, each in a process of its own: ``consumers ROLE ENDPOINT QUEUE OPTIONS``.

The last line of what it prints is JSON: messages a second, µs of CPU each, milliseconds, megabytes.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import megaflow.consumer.asyncio.driver
import megaflow.consumer.threads.runner
import megaflow.wire.client  # noqa: F401 - a loop has imported everything, too, before it is measured
from benchmarks.bare import BareClient
from benchmarks.sqs import connect
from megaflow import App
from megaflow.app import parts_of
from megaflow.match.functions import gt
from megaflow.telemetry.metrics import Told

Measured = dict[str, float]

ASKED = ["ApproximateReceiveCount", "SentTimestamp", "MessageGroupId", "MessageDeduplicationId"]


def seconds_waited() -> float:
    """Return how long the threads of this process have been ready, and no core was there for them; 0 if none knows."""
    waited = 0
    for task in Path("/proc/self/task").glob("*/schedstat"):
        # A thread may end meanwhile.
        with suppress(OSError):
            waited += int(task.read_text().split()[1])
    return waited / 1e9


class Stopwatch:
    """Counts messages, from the first to the last; may be pressed by several threads."""

    def __init__(self, count: int) -> None:
        self.done = threading.Event()
        self._left = count
        self._count = count
        self._lock = threading.Lock()
        self._begin = self._cpu = self._waited = 0.0
        self.measured: Measured = {}

    def begin(self) -> None:
        if not self._begin:
            self._begin, self._cpu, self._waited = time.perf_counter(), time.process_time(), seconds_waited()

    def press(self, amount: int = 1) -> None:
        with self._lock:
            self._left -= amount
            if self._left <= 0 and not self.done.is_set():
                seconds = time.perf_counter() - self._begin
                self.measured = {
                    "rate": self._count / seconds,
                    "cpu": (time.process_time() - self._cpu) / self._count * 1e6,
                    "waited": (seconds_waited() - self._waited) / self._count * 1e6,
                }
                self.done.set()


def run_loop(
    endpoint_url: str, url: str, *, count: int, threads: int, bare: bool = False, waits: float = 0.0
) -> Measured:
    """Receive ten, parse, delete ten, over and over, with boto3 or with what is bare; each message *waits* so long."""
    make = BareClient if bare else connect
    watch, clients = Stopwatch(count), [make(endpoint_url) for _ in range(threads)]

    def work(client: Any) -> None:
        while not watch.done.is_set():
            answer = client.receive_message(
                QueueUrl=url,
                MaxNumberOfMessages=10,
                WaitTimeSeconds=1,
                VisibilityTimeout=30,
                # What megaflow asks for, so that the server sends both the same.
                MessageSystemAttributeNames=ASKED,
                MessageAttributeNames=["All"],
            )
            messages = answer.get("Messages", [])
            for message in messages:
                json.loads(message["Body"])
                if waits:
                    time.sleep(waits)
            if messages:
                entries = [
                    {"Id": str(place), "ReceiptHandle": message["ReceiptHandle"]}
                    for place, message in enumerate(messages)
                ]
                client.delete_message_batch(QueueUrl=url, Entries=entries)
                watch.press(len(messages))

    watch.begin()
    workers = [threading.Thread(target=work, args=(client,), daemon=True) for client in clients]
    for worker in workers:
        worker.start()
    watch.done.wait()
    return watch.measured


def tell_nobody(app: App) -> None:
    """Tell nobody."""


def tell_the_api(app: App) -> None:
    """Have OpenTelemetry's API there, and nobody who has set it up."""
    import opentelemetry.metrics
    import opentelemetry.trace  # noqa: F401


def tell_prometheus(app: App) -> None:
    """Be read by Prometheus."""
    from megaflow.telemetry.prometheus import PrometheusCollector

    PrometheusCollector(app.metrics)


def tell_the_sdk(app: App) -> None:
    """Have OpenTelemetry's SDK keep what it is told."""
    from opentelemetry import metrics
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    metrics.set_meter_provider(MeterProvider([InMemoryMetricReader()]))


def trace_some(app: App) -> None:
    """Set OpenTelemetry's SDK up so that it keeps one trace of a hundred."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

    provider = TracerProvider(sampler=ParentBased(TraceIdRatioBased(0.01)))
    provider.add_span_processor(BatchSpanProcessor(InMemorySpanExporter()))
    trace.set_tracer_provider(provider)


OUTLETS = {
    "off": tell_nobody,
    "API": tell_the_api,
    "Prometheus": tell_prometheus,
    "SDK, metrics": tell_the_sdk,
    "SDK, 1 %": trace_some,
}
"""Who is told what is counted, measured and traced."""


async def do_nothing(data: dict[str, Any]) -> None:
    """Handle a message."""


def run_megaflow(
    endpoint_url: str,
    url: str,
    *,
    count: int,
    handlers: int = 1,
    wire: bool = True,
    outlet: str = "off",
    is_async: bool = False,
    beside_loop: bool = False,
    batch_size: int | None = None,
) -> Measured:
    """Drain with a handler that does nothing, one of *handlers*, until everything is deleted."""
    app = App(url, client=connect(endpoint_url), wait_time_seconds=1, wire=wire)
    OUTLETS[outlet](app)
    watch = Stopwatch(count)
    outlets = parts_of(app).outlets
    note = outlets.note

    def note_and_look(queue: str, counts: Mapping[Told, int], *values: Mapping[Told, Sequence[float]]) -> None:
        note(queue, counts, *values)
        if deleted := counts.get(("deleted",)):
            watch.press(deleted)

    outlets.note = note_and_look  # type: ignore[assignment, method-assign]
    app.on_data({"type": "order.placed"}, batch_size=batch_size)(do_nothing if is_async else lambda data: None)
    for number in range(1, handlers):
        app.on_data({"type": f"order.{number}", "order": {"id": gt(number)}})(lambda data: None)
    watch.begin()
    run_until(app, watch.done, beside_loop=beside_loop)
    return watch.measured


def run_waiting(
    endpoint_url: str, url: str, *, count: int, concurrency: int, is_async: bool, beside_loop: bool = False
) -> Measured:
    """Wait 20 ms in every handler, from the first one's start to the last one's end."""
    app = App(url, client=connect(endpoint_url), wait_time_seconds=1, concurrency=concurrency)
    watch = Stopwatch(count)

    def wait(data: dict[str, Any]) -> None:
        watch.begin()
        time.sleep(0.02)
        watch.press()

    async def wait_async(data: dict[str, Any]) -> None:
        watch.begin()
        await asyncio.sleep(0.02)
        watch.press()

    app.on_data()(wait_async if is_async else wait)
    run_until(app, watch.done, beside_loop=beside_loop)
    return watch.measured


def run_latency(endpoint_url: str, url: str, *, count: int, bare: bool) -> Measured:
    """Measure from a send, in a process of its own, to its handler's start, the consumer idling in its poll."""
    latencies: list[float] = []
    sender = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.consumers", "send", endpoint_url, url, json.dumps({"count": count})],
        stdin=subprocess.PIPE,
    )
    assert sender.stdin is not None
    handled = sender.stdin.fileno()

    def take(sent_at: int) -> None:
        latencies.append((time.monotonic_ns() - sent_at) / 1e6)
        os.write(handled, b".")

    def loop() -> None:
        client = connect(endpoint_url)
        while len(latencies) < count:
            answer = client.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=20)
            for message in answer.get("Messages", []):
                take(json.loads(message["Body"])["at"])
                client.delete_message_batch(
                    QueueUrl=url, Entries=[{"Id": "0", "ReceiptHandle": message["ReceiptHandle"]}]
                )

    app = App(url, client=connect(endpoint_url))
    app.on_data()(lambda data: take(data["at"]))
    consumer = threading.Thread(target=loop if bare else app.run, daemon=True)
    consumer.start()
    sender.wait()
    ordered = sorted(latencies)
    return {"p50": ordered[len(ordered) // 2], "p99": ordered[len(ordered) * 99 // 100]}


def run_sender(endpoint_url: str, url: str, *, count: int) -> None:
    """Send one message after another, each once the one before is handled and the consumer idles again."""
    client = connect(endpoint_url)
    for _ in range(count):
        time.sleep(0.003)
        # The clock is the system's: every process reads the same.
        client.send_message(QueueUrl=url, MessageBody=json.dumps({"at": time.monotonic_ns()}))
        os.read(sys.stdin.fileno(), 1)


def run_memory(endpoint_url: str, url: str, *, count: int) -> Measured:
    """Drain many messages, and look at the memory after the first tenth and at the end."""
    app, watch = App(url, client=connect(endpoint_url), wait_time_seconds=1), Stopwatch(count)
    tenth = Stopwatch(count // 10)
    sizes: list[float] = []

    def handle(data: dict[str, Any]) -> None:
        tenth.press()
        if tenth.done.is_set() and not sizes:
            sizes.append(memory())
        watch.press()

    app.on_data()(handle)
    run_until(app, watch.done)
    return {"first": sizes[0], "last": memory()}


def memory() -> float:
    """Return what this process holds, in megabytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def run_until(app: App, done: threading.Event, *, beside_loop: bool = False) -> None:
    if beside_loop:
        asyncio.run(consume_until(app, done))
        return
    consumer = threading.Thread(target=app.run, daemon=True)
    consumer.start()
    done.wait()
    app.stop()
    consumer.join()


async def consume_until(app: App, done: threading.Event) -> None:
    async with app.running():
        await asyncio.to_thread(done.wait)


def main() -> None:
    role, endpoint_url, url, options = sys.argv[1], sys.argv[2], sys.argv[3], json.loads(sys.argv[4])
    match role:
        case "loop":
            measured = run_loop(endpoint_url, url, **options)
        case "megaflow":
            measured = run_megaflow(endpoint_url, url, **options)
        case "sync" | "async":
            measured = run_waiting(endpoint_url, url, is_async=role == "async", **options)
        case "send":
            run_sender(endpoint_url, url, **options)
            return
        case "memory":
            measured = run_memory(endpoint_url, url, **options)
        case _:
            measured = run_latency(endpoint_url, url, bare=role.startswith("loop"), **options)
    print(json.dumps(measured))


if __name__ == "__main__":
    main()
