"""Calls that are abandoned: the other side hears of it, and what it answers all the same is not lost."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from typing import Any

import pytest
import trustme
from botocore.config import Config
from botocore.exceptions import ConnectionClosedError

from megaflow.wire.client import WireClient
from megaflow.wire.pending import Pending
from tests.waiting import EARLY
from tests.wire.scripted import QUEUE_URL, Scripted, answer, hang_up, scripted

OFTEN = Config(retries={"total_max_attempts": 5, "mode": "standard"})


def begin(server: Scripted, **options: Any) -> Pending[Mapping[str, Any]]:
    client = WireClient(server.client(config=OFTEN, **options), sleep=lambda seconds: None)
    return begin_again(client)


def begin_again(client: WireClient) -> Pending[Mapping[str, Any]]:
    """Begin a poll over a connection that has answered before."""
    client.receive_message(QueueUrl=QUEUE_URL)
    return client.begin("receive_message", QueueUrl=QUEUE_URL, WaitTimeSeconds=20)


def wait_for_end(connection: socket.socket) -> None:
    """Wait until the other side has hung up."""
    connection.settimeout(EARLY)
    assert connection.recv(1) == b""


def close_at_end(connection: socket.socket) -> None:
    wait_for_end(connection)
    connection.close()


def answer_at_end(connection: socket.socket) -> None:
    wait_for_end(connection)
    connection.sendall(answer(b'{"Messages": []}'))


def test_the_other_side_hears_of_it_and_nothing_is_sent_again() -> None:
    with scripted(answer(), close_at_end) as server:
        pending = begin(server)

        pending.abandon()

        with pytest.raises(ConnectionClosedError):
            pending.result()
        assert len(server.requests) == 2


def test_what_is_answered_all_the_same_is_the_result() -> None:
    with scripted(answer(), answer_at_end) as server:
        pending = begin(server)

        pending.abandon()

        assert pending.result()["Messages"] == []


def test_behind_tls_it_is_the_result_as_well(tmp_path: Any) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))

    def answer_unread(connection: socket.socket) -> None:
        # Python's TLS says no more to whom it has read the end of.
        wait_for_end_of_tcp(connection)
        connection.sendall(answer(b'{"Messages": []}'))

    with scripted(answer(), answer_unread, tls=context, host="localhost") as server:
        pending = begin(server, verify=str(tmp_path / "authority.pem"))

        pending.abandon()

        assert pending.result()["Messages"] == []


def wait_for_end_of_tcp(connection: socket.socket) -> None:
    connection.settimeout(EARLY)
    assert socket.socket.recv(connection, 1, socket.MSG_PEEK) == b""


def test_an_attempt_that_follows_is_abandoned_with_it() -> None:
    begun: list[Pending[Mapping[str, Any]]] = []

    def fail_abandoned(connection: socket.socket) -> None:
        begun[0].abandon()
        connection.sendall(answer(status="503 Slow Down"))

    with scripted(answer(), answer(status="503 Slow Down"), fail_abandoned) as server:
        begun.append(begin(server))

        with pytest.raises(Exception, match="503"):
            begun[0].result()

        assert len(server.requests) == 3


def test_a_connection_that_is_replaced_is_abandoned_with_it() -> None:
    begun: list[Pending[Mapping[str, Any]]] = []

    def abandon_again(connection: socket.socket) -> None:
        begun[0].abandon()
        close_at_end(connection)

    with scripted(answer(), hang_up, abandon_again) as server:
        begun.append(begin(server))

        with pytest.raises(ConnectionClosedError):
            begun[0].result()

        assert len(server.requests) == 3


def test_what_is_over_does_not_take_a_connection_from_others() -> None:
    with scripted(answer(), answer(), answer(b'{"Messages": []}')) as server:
        client = WireClient(server.client(config=OFTEN))
        pending = begin_again(client)
        pending.result()
        later = client.begin("receive_message", QueueUrl=QUEUE_URL)

        pending.abandon()

        assert later.result()["Messages"] == []
    assert len(server.requests) == 3


def test_to_abandon_what_nobody_has_sent_changes_nothing() -> None:
    pending = Pending(lambda: 5)

    pending.abandon()

    assert pending.result() == 5
