"""What a Lambda function made of an app takes to its first answer, beyond what boto3 takes to be imported.

``python -m benchmarks.lambda_start [--rounds N] [--quick]``. Each round is a process of its own, in which a client of
boto3's is there already, as AWS's runtime has it in its cache or other code of the function needs it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from statistics import median

from benchmarks.sqs import BODY, show

ROUNDS = 15
BAR = 150.0
"""Milliseconds."""


def start() -> None:
    """Import boto3, then start an app and give it its first event; say what the latter took."""
    import boto3

    boto3.client("sqs", region_name="us-east-1", aws_access_key_id="any", aws_secret_access_key="any")
    begin = time.perf_counter()
    import megaflow

    app = megaflow.App()

    @app.on_event(domain="shopping_cart", name="item.added")
    def handle(event: object) -> None: ...

    handler = app.lambda_handler()
    imported = time.perf_counter()
    answer = handler({"Records": [RECORD]}, None)
    end = time.perf_counter()
    assert answer == {"batchItemFailures": []}
    print(json.dumps({"import": (imported - begin) * 1000, "event": (end - imported) * 1000}))


RECORD = {
    "messageId": "5fea7756-0ea4-451a-a703-a558b933e274",
    "receiptHandle": "handle",
    "body": BODY,
    "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1545082650183"},
    "messageAttributes": {},
    "eventSource": "aws:sqs",
    "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:q",
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lambda_start", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--quick", action="store_true", help="three rounds, to see that it works")
    parser.add_argument("--start", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.start:
        start()
        return
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} cores", flush=True)
    command = [sys.executable, "-m", "benchmarks.lambda_start", "--start"]
    rounds = 3 if options.quick else options.rounds
    said = [
        json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        for _ in range(rounds + 1)
    ][1:]  # the first one has written what Python has compiled
    imports, events = (median(each[name] for each in said) for name in ("import", "event"))
    total = imports + events
    shown = f"{total:.0f} ms (import {imports:.0f}, first event {events:.1f})"
    show("first answer, beyond importing boto3", shown, f"{BAR:.0f} ms", total <= BAR)


if __name__ == "__main__":
    main()
