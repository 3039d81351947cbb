"""`megaflow stats` failed where a server says ``CreatedTimestamp`` with a fraction.

So did receiving, and all else that reads a number which a queue says, had one been written so.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from megaflow.cli import queues
from megaflow.cli.main import main
from megaflow.local import Account, SqsClient
from megaflow.transport.numbers import read_time, read_whole
from megaflow.transport.queue import OpenQueue

NOW = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)


class Fractional(SqsClient):
    """Says every number with a fraction."""

    def get_queue_attributes(self, **parameters: Any) -> Any:
        answer = super().get_queue_attributes(**parameters)
        said = {name: f"{text}.0" if text.isdigit() else text for name, text in answer["Attributes"].items()}
        return answer | {
            "Attributes": said | {"RedrivePolicy": '{"deadLetterTargetArn": "", "maxReceiveCount": "5.0"}'}
        }

    def receive_message(self, **parameters: Any) -> Any:
        answer = super().receive_message(**parameters)
        for each in answer.get("Messages", ()):
            each["Attributes"] = {
                name: f"{text}.0" if text.isdigit() else text for name, text in each["Attributes"].items()
            }
        return answer


@pytest.fixture
def client() -> SqsClient:
    return Fractional(Account(clock=NOW.timestamp))


def test_stats_reads_them(
    client: SqsClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = client.create_queue(QueueName="orders")["QueueUrl"]
    monkeypatch.setattr(queues, "connect", lambda queue, aws: (client, url))

    code = main(["stats", "orders", "--json"])

    said = json.loads(capsys.readouterr().out)
    assert code == 0
    assert (said["created"], said["visible"], said["retention"]) == ("2023-11-14T22:13:20+00:00", 0, 345_600)
    assert said["max_receive_count"] == 5


def test_a_consumer_reads_them(client: SqsClient) -> None:
    url = client.create_queue(QueueName="orders")["QueueUrl"]
    client.send_message(QueueUrl=url, MessageBody="ping")
    queue = OpenQueue(client, url)

    facts = queue.inspect()
    (message,) = queue.receive(1, wait_time_seconds=0, visibility_timeout=30)

    assert facts.visible == 1
    assert (message.receive_count, message.sent_at) == (1, NOW)


@pytest.mark.parametrize(
    "said", ["1700000000", "1700000000.0", "1700000000000", "1700000000000.0", 1_700_000_000, 1_700_000_000.0]
)
def test_a_time_is_in_seconds_or_milliseconds_as_text_or_number(said: object) -> None:
    assert read_time(said) == NOW


@pytest.mark.parametrize("said", [None, "", "yesterday", "nan", "1e400", "-1e300", []])
def test_what_is_no_time_is_none(said: object) -> None:
    assert read_time(said) is None


@pytest.mark.parametrize("said", [None, ""])
def test_a_number_that_is_not_said_is_what_it_is_otherwise(said: object) -> None:
    assert read_whole(said, 7) == 7


@pytest.mark.parametrize("said", ["12", "12.0", "12.9", 12, 12.0])
def test_a_whole_number_may_have_a_fraction(said: object) -> None:
    assert read_whole(said, 7) == 12


def test_a_part_of_a_second_stays() -> None:
    assert read_time("1700000000123") == NOW.replace(microsecond=123_000)
    assert read_time("1700000000.25") == NOW.replace(microsecond=250_000)
