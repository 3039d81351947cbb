"""A call under way: what its result is made into, and what is known before it is there."""

from __future__ import annotations

import socket
import threading
from operator import length_hint

import boto3
import pytest
from botocore.exceptions import NoCredentialsError

from megaflow.local import Account, SqsClient
from megaflow.wire.client import WireClient, begin_call
from megaflow.wire.pending import Pending, failing
from tests.waiting import PATIENCE, wait_until
from tests.wire.scripted import QUEUE_URL, answer, scripted


def refuse() -> int:
    raise OSError("no way")


def test_a_result_is_made_into_another_once_it_is_asked_for() -> None:
    calls = iter([20])
    pending = Pending(lambda: next(calls)).map(lambda number: number + 1).map(str)
    assert length_hint(calls) == 1, "nobody has asked"

    result = pending.result()

    assert result == "21"


def test_an_error_comes_with_the_result() -> None:
    with pytest.raises(OSError, match="no way"):
        Pending(refuse).map(str).result()


def test_an_error_is_made_into_a_result_where_that_is_wanted() -> None:
    assert Pending(refuse).map(str, lambda error: f"it said {error}").result() == "it said no way"


def test_only_an_error_of_the_call_is_made_into_a_result() -> None:
    pending = Pending(lambda: 1).map(lambda number: refuse(), lambda error: 2)

    with pytest.raises(OSError, match="no way"):
        pending.result()


@pytest.mark.parametrize("pending", [Pending(lambda: 1), failing(OSError()), Pending(refuse).map(str)])
def test_what_has_sent_nothing_is_not_under_way(pending: Pending[object]) -> None:
    assert (pending.is_under_way, pending.is_answered) == (False, False)


def test_what_is_made_of_a_call_is_under_way_and_answered_as_the_call_is() -> None:
    may_answer = threading.Event()

    def answer_later(connection: socket.socket) -> None:
        may_answer.wait(PATIENCE)
        connection.sendall(answer())

    with scripted(answer(), answer_later) as server:
        client = WireClient(server.client())
        client.receive_message(QueueUrl=QUEUE_URL)
        pending = client.begin("receive_message", QueueUrl=QUEUE_URL).map(len)

        assert (pending.is_under_way, pending.is_answered) == (True, False)
        may_answer.set()
        wait_until(lambda: pending.is_answered)
        pending.result()


def test_a_client_that_sends_and_waits_in_one_does_so_when_it_is_asked_for_the_result() -> None:
    client = SqsClient(Account())
    url = client.create_queue(QueueName="q")["QueueUrl"]

    pending = begin_call(client, "send_message", QueueUrl=url, MessageBody="a")

    assert "Messages" not in client.receive_message(QueueUrl=url)
    assert pending.result()["MessageId"]
    assert client.receive_message(QueueUrl=url)["Messages"]


def test_that_there_are_no_credentials_is_told_with_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    client = boto3.client("sqs", region_name="us-east-1")
    monkeypatch.setattr(client._request_signer, "_credentials", None)
    pending = WireClient(client).begin("receive_message", QueueUrl=QUEUE_URL)

    with pytest.raises(NoCredentialsError):
        pending.result()
