"""What the embedded queue costs: each operation at a depth of 10 and of 100,000, and a call of ten messages over HTTP.

``make bench-local``, or ``python benchmarks/local.py``. Absolute times drift on shared machines: read the ratios. The
server's CPU is read from ``/proc``, so that part needs Linux.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

from megaflow.local import Account, SqsClient

SHALLOW, DEEP = 10, 100_000
ROUNDS = 15
CYCLES = 10
CALLS = 3_000
BODY = "x" * 570
OPERATIONS = ("send_message", "send_message_batch", "receive_message", "change_message_visibility_batch",
              "delete_message_batch", "delete_message", "get_queue_attributes")  # fmt: skip

Entry = dict[str, Any]


class Load:
    """A queue of a certain depth, and cycles of calls that leave it as deep as it was."""

    def __init__(self, depth: int, *, fifo: bool = False, groups: int = 0, in_flight: bool = False) -> None:
        self.client = SqsClient(Account())
        self.numbers = count()
        self.groups, self.fifo = groups, fifo
        attributes = {"FifoQueue": "true"} if fifo else {}
        name = "load.fifo" if fifo else "load"
        self.url = self.client.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        for _ in range(depth // 10):
            self.client.send_message_batch(QueueUrl=self.url, Entries=self.entries())
            if in_flight:
                self.client.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10, VisibilityTimeout=43_200)
        self.spent = dict.fromkeys(OPERATIONS, 0.0)

    def message(self) -> Entry:
        number = next(self.numbers)
        group = {"MessageGroupId": f"group-{number % self.groups}"} if self.groups else {}
        return {"MessageBody": BODY, **group, **({"MessageDeduplicationId": str(number)} if self.fifo else {})}

    def entries(self) -> list[Entry]:
        return [{"Id": str(index), **self.message()} for index in range(10)]

    def timed(self, operation: str, **parameters: Any) -> dict[str, Any]:
        start = time.process_time()
        answer: dict[str, Any] = getattr(self.client, operation)(QueueUrl=self.url, **parameters)
        self.spent[operation] += time.process_time() - start
        return answer

    def receive(self) -> list[Entry]:
        messages = self.timed("receive_message", MaxNumberOfMessages=10)["Messages"]
        return [{"Id": str(index), "ReceiptHandle": one["ReceiptHandle"]} for index, one in enumerate(messages)]

    def cycle(self) -> None:
        self.timed("get_queue_attributes", AttributeNames=["All"])
        self.timed("send_message_batch", Entries=self.entries())
        for _ in range(10):
            self.timed("send_message", **self.message())
        received = self.receive()
        hidden = [{**entry, "VisibilityTimeout": 30} for entry in received]
        self.timed("change_message_visibility_batch", Entries=hidden)
        self.timed("delete_message_batch", Entries=received)
        left = 20 - len(received)
        while left > 0:
            for entry in self.receive()[:left]:
                self.timed("delete_message", ReceiptHandle=entry["ReceiptHandle"])
                left -= 1

    def round(self) -> dict[str, float]:
        """Return the seconds that each operation took in some cycles."""
        self.spent = dict.fromkeys(OPERATIONS, 0.0)
        for _ in range(CYCLES):
            self.cycle()
        return self.spent


def compare_depths() -> None:
    kinds: dict[str, Entry] = {
        "standard": {},
        "1,000 groups": {"groups": 1_000},
        "all in flight": {"in_flight": True},
        "FIFO": {"fifo": True, "groups": 1},
        "FIFO, 1,000 groups": {"fifo": True, "groups": 1_000},
    }
    print(f"CPU of a call at a depth of {DEEP:,}, as a multiple of the same at {SHALLOW} (median of {ROUNDS} rounds)\n")
    ratios = [compare(Load(SHALLOW, **kind), Load(DEEP, **kind)) for kind in kinds.values()]
    print(f"{'':<32}" + "".join(f"{name:>20}" for name in kinds))
    for operation in OPERATIONS:
        print(f"{operation:<32}" + "".join(f"{each[operation]:>19.2f}x" for each in ratios))


def compare(shallow: Load, deep: Load) -> dict[str, float]:
    rounds = [(shallow.round(), deep.round()) for _ in range(ROUNDS)]
    return {one: median(late[one] / early[one] for early, late in rounds) for one in OPERATIONS}


@contextmanager
def serve(*options: str) -> Iterator[tuple[int, HTTPConnection]]:
    """Run a server; give its process id and a connection to it."""
    command = [sys.executable, "-m", "megaflow.local", "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        url = next(word for word in server.stdout.readline().split() if word.startswith("http"))
        connection = HTTPConnection(urlsplit(url.rstrip(",")).netloc)
        yield server.pid, connection
        connection.close()
        server.terminate()


def call(connection: HTTPConnection, operation: str, **ask: Any) -> dict[str, Any]:
    headers = {"X-Amz-Target": f"AmazonSQS.{operation}", "Content-Type": "application/x-amz-json-1.0"}
    connection.request("POST", "/", json.dumps(ask), headers)
    body = connection.getresponse().read()
    return dict(json.loads(body)) if body else {}


def cpu_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure_server(*options: str) -> list[float]:
    """Return the µs of the server's CPU for sending, receiving and deleting ten messages in one call."""
    with serve(*options) as (process, connection):
        url = call(connection, "CreateQueue", QueueName="load")["QueueUrl"]
        sent = [{"Id": str(index), "MessageBody": BODY} for index in range(10)]
        handles: list[list[str]] = []

        def send() -> None:
            call(connection, "SendMessageBatch", QueueUrl=url, Entries=sent)

        def receive() -> None:
            messages = call(connection, "ReceiveMessage", QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
            handles.append([one["ReceiptHandle"] for one in messages])

        def delete() -> None:
            entries = [{"Id": str(index), "ReceiptHandle": one} for index, one in enumerate(handles.pop())]
            call(connection, "DeleteMessageBatch", QueueUrl=url, Entries=entries)

        return [measure_calls(process, each) for each in (send, receive, delete)]


def measure_calls(process: int, each: Callable[[], None]) -> float:
    before = cpu_seconds(process)
    for _ in range(CALLS):
        each()
    return (cpu_seconds(process) - before) / CALLS * 1e6


def main() -> None:
    compare_depths()
    print(f"\nCPU of the server for one call of ten messages of {len(BODY)} bytes, µs ({CALLS:,} calls each)\n")
    print(f"{'':<18}{'send':>8}{'receive':>9}{'delete':>8}")
    with tempfile.TemporaryDirectory() as folder:
        for name, options in (("in memory", ()), ("with --data FILE", ("--data", str(Path(folder, "queue.db"))))):
            send, receive, delete = measure_server(*options)
            print(f"{name:<18}{send:>8.0f}{receive:>9.0f}{delete:>8.0f}")


if __name__ == "__main__":
    main()
