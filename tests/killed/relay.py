"""A writer, or a relay, to be killed: ``relay.py URL ENDPOINT DATABASE LEDGER HOW``."""

import os
import sys
import threading
from typing import Any

import boto3
from sqlalchemy import create_engine

from megaflow import App
from megaflow.sql import Outbox

URL, ENDPOINT, DATABASE, LEDGER, HOW = sys.argv[1:6]


def note(what: str) -> None:
    """Write one line, which is there even if this process is killed at once; then wait for that."""
    descriptor = os.open(LEDGER, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{what}\n".encode())
    os.close(descriptor)
    threading.Event().wait()


class NeverBack:
    """A client that never comes back from sending, though it has sent."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def send_message_batch(self, **parameters: Any) -> Any:
        self._client.send_message_batch(**parameters)
        note("sent")


client = boto3.client(
    "sqs",
    endpoint_url=ENDPOINT,
    region_name="us-east-1",
    aws_access_key_id="testing",
    aws_secret_access_key="testing",
)
engine = create_engine(DATABASE)
outbox = Outbox(App(URL, client=NeverBack(client) if HOW == "never back" else client), engine, claim_seconds=2)
options: Any = {"group_id": "g"} if URL.endswith(".fifo") else {}

if HOW in ("relay", "never back"):
    outbox.relay()
elif HOW == "commits":
    with engine.begin() as connection:
        outbox.publish(connection, "order", **options)
    note("committed")
else:
    with engine.begin() as connection:
        outbox.publish(connection, "order", **options)
        note("published")
