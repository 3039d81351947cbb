"""Somebody with large payloads, to be killed: ``offload.py URL ENDPOINT FOLDER HOW``."""

import sys
import threading
from typing import Any

import boto3

from megaflow import App
from megaflow.payloads import DirectoryPayloads, Pointer

URL, ENDPOINT, FOLDER, HOW = sys.argv[1:5]


def hang(**parameters: Any) -> Any:
    print("hangs", flush=True)
    threading.Event().wait()


class CannotDelete(DirectoryPayloads):
    """Payloads that never come back from a delete."""

    def delete(self, pointer: Pointer) -> None:
        if HOW == "consume" and (self.path / pointer.key).stat().st_size:
            hang()
        super().delete(pointer)


client = boto3.client(
    "sqs", endpoint_url=ENDPOINT, region_name="us-east-1", aws_access_key_id="testing", aws_secret_access_key="testing"
)
app = App(
    URL,
    client=client,
    visibility_timeout=1,
    wait_time_seconds=1,
    large_payloads=CannotDelete(FOLDER, deletes_when_done=True),
)
app.on_text()(lambda text: None)
if HOW == "publish":
    client.send_message = hang
    app.publish("x" * 2_000_000, group_id="g" if URL.endswith(".fifo") else "")
else:
    app.run()
