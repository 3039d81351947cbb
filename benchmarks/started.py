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
    """Register 10,000 handlers, and print how many bytes of the app and its table each of them takes."""
    import gc
    import tracemalloc

    from megaflow import App
    from megaflow.app import parts_of

    count = 10_000
    app = App(queue)
    app.on_data({"type": "order.placed"})(run_table)
    parts_of(app).processor  # noqa: B018 - what is imported for a table is no handler's
    functions = [make_handler() for _ in range(count)]
    gc.collect()
    tracemalloc.start()
    for number, function in enumerate(functions):
        app.on_data({"type": f"order.{number}"})(function)
    del number, function
    parts_of(app).processor  # noqa: B018
    gc.collect()
    print(round(tracemalloc.get_traced_memory()[0] / count))


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
