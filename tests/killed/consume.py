"""A consumer to be killed, or stopped: ``consume.py URL ENDPOINT LEDGER HOW``."""

import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import boto3

from megaflow import App, SqliteStore

URL, ENDPOINT, LEDGER, HOW = sys.argv[1:5]


def note(what: str) -> None:
    """Write one line, which is there even if this process is killed at once."""
    descriptor = os.open(LEDGER, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{what}\n".encode())
    os.close(descriptor)


class CannotDelete:
    """A client that never comes back from a delete."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def delete_message_batch(self, **parameters: Any) -> Any:
        note("deletes")
        threading.Event().wait()


client = boto3.client(
    "sqs",
    endpoint_url=ENDPOINT,
    region_name="us-east-1",
    aws_access_key_id="testing",
    aws_secret_access_key="testing",
)
app = App(
    URL,
    client=CannotDelete(client) if "cannot delete" in HOW else client,
    concurrency=1,
    visibility_timeout=1,
    wait_time_seconds=1,
    progress=SqliteStore(f"{LEDGER}.db") if "progress" in HOW else None,
)


def handle(text: str) -> None:
    note(f"begins {text}")
    if text == HOW:
        threading.Event().wait()
    note(f"ends {text}")


def handle_batch(texts: list[str]) -> None:
    for text in texts:
        handle(text)


def note_in_line() -> None:
    """Say when a message waits for a batch."""
    while (health := app.health()).running or not health.in_hand or not Path(LEDGER).exists():
        time.sleep(0.01)
    note("in line")


if "in line" in HOW:
    # The first batch takes the only token: what comes after it waits.
    app.on_text(batch_size=10, batch_seconds=0, rate="1/h")(handle_batch)
    threading.Thread(target=note_in_line, daemon=True).start()
elif "batch" in HOW:
    app.on_text(batch_size=10, batch_seconds=0)(handle_batch)
else:
    app.on_text(rate="1/h" if HOW == "limited" else None)(handle)

app.run()
