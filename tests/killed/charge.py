"""A consumer with an inbox, to be killed: ``charge.py URL ENDPOINT DATABASE LEDGER HOW``."""

import os
import sys
import threading
from typing import Any

import boto3
from sqlalchemy import create_engine, event
from sqlalchemy.orm import Session

from megaflow import App
from megaflow.sql import Inbox
from tests.sql.banks import charge

URL, ENDPOINT, DATABASE, LEDGER, HOW = sys.argv[1:6]


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
engine = create_engine(DATABASE)
app = App(
    URL,
    client=CannotDelete(client) if HOW == "after commit" else client,
    concurrency=1,
    visibility_timeout=1,
    wait_time_seconds=1,
)
app.provide(Session, Inbox(engine))


@app.on_text(handler_name="charge")
def handle(text: str, session: Session) -> None:
    charge(session, text)
    note(f"charges {text}")
    if HOW == "before commit":
        event.listen(engine, "commit", wait)


def wait(connection: object) -> None:
    """Keep it from being committed, for ever."""
    note("commits")
    threading.Event().wait()


app.run()
