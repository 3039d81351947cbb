"""What the benchmarks share: a body, boto3's clients, servers in processes of their own, and how a figure is shown."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

BODY = json.dumps(
    {
        "type": "order.placed",
        "order": {"id": 61_234_567, "customer": {"id": 987_650, "email": "johndoe_86@example.com", "tier": "gold"}},
        "items": [{"sku": f"sku-{number}", "quantity": number, "price": f"{number}9.99"} for number in range(1, 7)],
        "note": "x" * 111,
    }
)


def connect(endpoint_url: str) -> Any:
    import boto3

    return boto3.client(
        "sqs",
        endpoint_url=endpoint_url,
        region_name="us-east-1",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )


def show(what: str, measured: str, bar: str, passes: bool) -> None:
    print(f"{what:24} {measured:62} bar {bar:7} {'passes' if passes else 'MISSES'}", flush=True)


@contextmanager
def server(module: str, *options: str) -> Iterator[str]:
    """Run a server in a process of its own, and give the URL that it prints."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                break
        yield found.group() if found else ""
    finally:
        process.terminate()
        print("the server:", process.stdout.read().strip().rpartition("\n")[2] or "has ended", flush=True)
        process.wait()
        process.stdout.close()
