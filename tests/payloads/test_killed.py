"""Somebody is killed while a payload is in one place, and its message in another."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from megaflow.local.server import Server
from megaflow.payloads import DirectoryPayloads
from tests.consuming import Queues
from tests.forked import Program
from tests.guarantees import guarantee
from tests.waiting import wait_until

SCRIPT = Path(__file__).parent.parent / "killed" / "offload.py"
LARGE = "x" * 2_000_000


def group_of(queues: Queues) -> str:
    return "g" if queues.url.endswith(".fifo") else ""


Kill = Callable[[str], None]


@pytest.fixture(params=["standard", "FIFO"])
def queues(request: pytest.FixtureRequest) -> Iterator[Queues]:
    credentials: Any = {"region_name": "us-east-1", "aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    with Server() as server:
        sqs = boto3.client("sqs", endpoint_url=server.url, **credentials)
        yield Queues(sqs, fifo=request.param == "FIFO")
        sqs.close()


@pytest.fixture
def kill(queues: Queues, tmp_path: Path) -> Kill:
    """Start the script, and kill it once it hangs."""

    def kill(how: str) -> None:
        command = (str(SCRIPT), queues.url, queues.sqs.meta.endpoint_url, str(tmp_path), how)
        with Program(*command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "hangs\n"
            process.kill()

    return kill


@guarantee(
    "standard, FIFO",
    "the process is killed after it wrote a large payload, before it sent the message",
    "the payload stays where it is, and no message points to it: a lifecycle rule of the bucket deletes it",
    "never with it",
)
def test_a_payload_without_a_message_stays(queues: Queues, kill: Kill, tmp_path: Path) -> None:
    kill("publish")

    assert [file.stat().st_size for file in tmp_path.iterdir()] == [len(LARGE)]
    assert queues.depth() == (0, 0)


@guarantee(
    "standard, FIFO",
    "the process is killed after it deleted a message, before its large payload",
    "the payload stays where it is, and no message points to it: a lifecycle rule of the bucket deletes it",
    "once",
)
def test_a_payload_whose_message_is_gone_stays(queues: Queues, kill: Kill, tmp_path: Path) -> None:
    payloads = DirectoryPayloads(tmp_path)
    queues.app(large_payloads=payloads).publish(LARGE, group_id=group_of(queues))

    kill("consume")

    wait_until(lambda: queues.depth() == (0, 0))
    assert [file.stat().st_size for file in tmp_path.iterdir()] == [len(LARGE)]


@guarantee(
    "standard, FIFO",
    "a large payload cannot be written",
    "it is not sent, and `PublishError` says so; others of its batch go, but on FIFO none after it in its group",
    "never with it",
)
def test_nothing_points_to_a_payload_that_is_not_there(queues: Queues, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    app = queues.app(large_payloads=DirectoryPayloads(tmp_path / "file"))
    group = group_of(queues)

    sent = list(app.publish_stream([LARGE, "small"], group_id=group))

    codes = [each.failure.code if each.failure else "" for each in sent]
    assert codes == ["PayloadNotStored", "NotSent" if group else ""]
    assert queues.depth() == (0 if group else 1, 0)
