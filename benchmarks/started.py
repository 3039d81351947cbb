"""What `benchmarks.start` measures, each in a process of its own: ``started SIDE QUEUE BEGAN``, with nothing imported.

A side prints megabytes, milliseconds of CPU, and milliseconds since *BEGAN*, once it has the first message. Where it
calls, and with which credentials, is in the environment.
"""

import sys
from collections.abc import Callable


def run_boto3(queue: str) -> None:
    """Receive, parse and delete, as one does with boto3."""
    import json

    import boto3

    client = boto3.client("sqs")
    answer = client.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=20)
    for message in answer["Messages"]:
        json.loads(message["Body"])
        tell()
        client.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        break


def run_megaflow(queue: str) -> None:
    """Run an app of one handler."""
    from megaflow import App

    app = App(queue, concurrency=1)

    @app.on_data({"type": "order.placed"})
    def handle(data: dict[str, object]) -> None:
        tell()
        app.stop(now=True)

    app.run()


def run_table(queue: str) -> None:
    """Print how many bytes each of 10,000 handlers takes: its table, and all in all."""
    import gc
    import tracemalloc

    from megaflow import App
    from megaflow.app import parts_of
    from megaflow.match.functions import gt

    app, count = App(queue), 10_000
    functions = [make_handler() for _ in range(count)]
    app.on_data({"type": "order.placed", "order": {"id": gt(0)}})(make_handler())
    parts_of(app).processor  # noqa: B018 - what it imports is not to be counted
    tracemalloc.start()
    for number, function in enumerate(functions):
        app.on_data({"type": f"order.{number}", "order": {"id": gt(number)}})(function)
    gc.collect()
    registered, _ = tracemalloc.get_traced_memory()
    parts_of(app).processor  # noqa: B018
    gc.collect()
    whole, _ = tracemalloc.get_traced_memory()
    print((whole - registered) / count, whole / count)


def make_handler() -> Callable[[dict[str, object]], None]:
    def handle(data: dict[str, object]) -> None: ...

    return handle


def tell() -> None:
    """Print what the process holds and has taken, once."""
    import time

    cpu, seconds = time.process_time(), time.monotonic() - float(sys.argv[3])
    from pathlib import Path

    if not TOLD:
        TOLD.append(True)
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        print(pages * 4096 / 1e6, cpu * 1000, seconds * 1000, flush=True)


TOLD: list[bool] = []
SIDES = {"boto3": run_boto3, "megaflow": run_megaflow, "table": run_table}

if __name__ == "__main__":
    SIDES[sys.argv[1]](sys.argv[2])
