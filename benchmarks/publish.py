"""Publishing in bulk beside a bare `send_message_batch` loop of boto3's, against a server with ready answers.

``python -m benchmarks.publish [--endpoint-url URL] [--rounds N] [--quick]``. Both encode the same 100,000 objects, or
send the same lines of a file; ``megaflow publish`` then sends a million, for its memory. The sides take turns, each in
a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext, redirect_stdout
from io import StringIO
from itertools import islice, repeat
from pathlib import Path
from statistics import median
from typing import Any
from uuid import uuid4

from benchmarks.sqs import BODY, connect, server, show
from megaflow import SqsPublisher
from megaflow.cli.main import main as main_of_command

ROUNDS = 5
COUNT = 100_000


def run_loop(endpoint_url: str, url: str, bodies: Iterator[str]) -> None:
    client = connect(endpoint_url)
    for batch in batched_by_ten(bodies):
        entries = [{"Id": str(place), "MessageBody": body} for place, body in enumerate(batch)]
        assert not client.send_message_batch(QueueUrl=url, Entries=entries).get("Failed")


def batched_by_ten(bodies: Iterator[str]) -> Iterator[list[str]]:
    while batch := list(islice(bodies, 10)):
        yield batch


def make_publisher(endpoint_url: str, url: str) -> SqsPublisher:
    return SqsPublisher(queue_url=url, client=connect(endpoint_url))


def objects(count: int) -> Iterator[dict[str, Any]]:
    return repeat(json.loads(BODY), count)


def loop(endpoint_url: str, url: str, count: int, path: str) -> None:
    run_loop(endpoint_url, url, (json.dumps(each) for each in objects(count)))


def batch(endpoint_url: str, url: str, count: int, path: str) -> None:
    make_publisher(endpoint_url, url).publish_batch(objects(count))


def stream(endpoint_url: str, url: str, count: int, path: str) -> None:
    for sent in make_publisher(endpoint_url, url).publish_stream(objects(count)):
        assert sent.failure is None


def loop_of_lines(endpoint_url: str, url: str, count: int, path: str) -> None:
    with Path(path).open() as lines:
        run_loop(endpoint_url, url, (line.rstrip("\n") for line in lines))


def command(endpoint_url: str, url: str, count: int, path: str) -> None:
    with redirect_stdout(StringIO()):
        assert main_of_command(["publish", path, "--lines", "--queue", url, "--endpoint-url", endpoint_url]) == 0


SIDES: dict[str, Callable[[str, str, int, str], None]] = {
    "loop": loop,
    "batch": batch,
    "stream": stream,
    "loop-of-lines": loop_of_lines,
    "command": command,
}


def run_side(options: argparse.Namespace) -> None:
    """Publish as one side does, in this process, and say what it took."""
    cpu, begin = time.process_time(), time.perf_counter()
    SIDES[options.side](options.endpoint_url, options.url, options.count, options.lines)
    said = {"seconds": time.perf_counter() - begin, "cpu": time.process_time() - cpu, "megabytes": peak_memory()}
    print(json.dumps(said))


def peak_memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(side: str, endpoint_url: str, count: int, path: str) -> dict[str, float]:
    """Return what a side takes, in a process of its own."""
    url = f"{endpoint_url}/canned/0/{uuid4().hex}"
    command = ["--side", side, "--endpoint-url", endpoint_url, "--url", url, "--count", str(count), "--lines", path]
    said = subprocess.run(
        [sys.executable, "-m", "benchmarks.publish", *command], check=True, stdout=subprocess.PIPE, text=True
    )
    measured: dict[str, float] = json.loads(said.stdout)
    return measured


def compare(endpoint_url: str, rounds: int, count: int, path: str) -> None:
    found: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    for _ in range(rounds):
        for side, each in found.items():
            each.append(measure(side, endpoint_url, count, path))
    middle = {side: {name: median([each[name] for each in said]) for name in said[0]} for side, said in found.items()}
    for side, said in middle.items():
        cpu = said["cpu"] / count * 1e6
        print(f"  {side:16} {count / said['seconds']:8,.0f}/s {cpu:6.0f} µs of CPU each {said['megabytes']:6.0f} MB")
    for side in ("batch", "stream"):
        ratio = middle["loop"]["seconds"] / middle[side]["seconds"]
        show(f"publish_{side}, to boto3's loop", f"{ratio:.2f} x its rate", "2.80", ratio >= 2.8)
    ratio = middle["command"]["seconds"] / middle["loop-of-lines"]["seconds"]
    show("megaflow publish, to boto3's loop", f"{ratio:.2f} x its time", "1.15", ratio <= 1.15)


def measure_memory(endpoint_url: str, count: int, folder: str) -> None:
    path = write_lines(Path(folder, "many.jsonl"), count)
    megabytes = measure("command", endpoint_url, count, path)["megabytes"]
    show(f"megaflow publish, {count:,} lines", f"{megabytes:.0f} MB at most", "200 MB", megabytes <= 200)


def write_lines(path: Path, count: int) -> str:
    # A chunk at a time: the sides inherit what this process holds.
    with path.open("w") as lines:
        for _ in range(count):
            lines.write(f"{BODY}\n")
    return str(path)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.publish", description=__doc__)
    parser.add_argument("--endpoint-url", default="", help="another server than the one with ready answers")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--quick", action="store_true", help="a tenth of the work, once, to see that it works")
    parser.add_argument("--side", choices=sorted(SIDES), help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--lines", default="", help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, default=COUNT, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        run_side(options)
        return
    count = options.count // 10 if options.quick else options.count
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} cores", flush=True)
    there = nullcontext(options.endpoint_url) if options.endpoint_url else server("benchmarks.canned")
    with there as endpoint_url, tempfile.TemporaryDirectory() as folder:
        path = write_lines(Path(folder, "lines.jsonl"), count)
        compare(endpoint_url, 1 if options.quick else options.rounds, count, path)
        measure_memory(endpoint_url, 10 * count, folder)


if __name__ == "__main__":
    main()
