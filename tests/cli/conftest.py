"""A server of our own, and the command run against it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

from megaflow.cli import mover, queues
from megaflow.cli.main import main
from megaflow.local.server import Server
from tests.logs import logging_as_before


@dataclass(frozen=True)
class Ran:
    """What a command did: its exit code, and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> list[Any]:
        """What stands in its lines."""
        return [json.loads(line) for line in self.out.splitlines()]


Run = Callable[..., Ran]


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Give each test a folder of its own, and nothing of the machine's configuration."""
    for name in [each for each in os.environ if each.startswith(("AWS_", "MEGAFLOW_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.chdir(tmp_path)


def wait_for_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let commands that take what is there not wait for more, as none comes meanwhile."""
    for module in (mover, queues):
        monkeypatch.setattr(module, "_WAIT", 0)


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command, in this process."""
    wait_for_no_message(monkeypatch)

    def run(*arguments: object) -> Ran:
        capfd.readouterr()
        # The server's thread may have something to say, too, when nobody listens any more.
        with logging_as_before():
            code = main([str(each) for each in arguments])
        out, err = capfd.readouterr()
        return Ran(code, out, err)

    return run


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """SQS and SNS for the command, as AWS_ENDPOINT_URL says."""
    with Server() as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        yield server


@pytest.fixture
def sqs(server: Server) -> Any:
    """Real boto3 for the same server."""
    return boto3.client(
        "sqs", endpoint_url=server.url, region_name="us-east-1", aws_access_key_id="any", aws_secret_access_key="any"
    )


@pytest.fixture
def orders(sqs: Any) -> str:
    """The URL of a queue, whose dead-letter queue is ``orders-dead``."""
    dead = sqs.create_queue(QueueName="orders-dead")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 5})
    return str(sqs.create_queue(QueueName="orders", Attributes={"RedrivePolicy": policy})["QueueUrl"])


def take_all(sqs: Any, url: str) -> list[Any]:
    """Take the messages that can be received, out of the queue."""
    taken: list[Any] = []
    while found := sqs.receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"], MessageSystemAttributeNames=["All"]
    ).get("Messages"):
        entries = [{"Id": str(at), "ReceiptHandle": each["ReceiptHandle"]} for at, each in enumerate(found)]
        sqs.delete_message_batch(QueueUrl=url, Entries=entries)
        taken += found
    return taken
