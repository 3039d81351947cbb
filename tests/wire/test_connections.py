"""Connections: kept, shared, found closed, refused, too slow, not to be trusted."""

from __future__ import annotations

import os
import socket
import ssl
import threading
from typing import Any

import pytest
import trustme
from botocore.config import Config
from botocore.exceptions import (
    ConnectionClosedError,
    EndpointConnectionError,
    HTTPClientError,
    ReadTimeoutError,
    SSLError,
)

from megaflow.wire.client import WireClient
from tests.waiting import EARLY, PATIENCE
from tests.wire.scripted import QUEUE_URL, Scripted, answer, cut_after, hang_up, keep_silent, scripted

ONCE = Config(retries={"total_max_attempts": 1, "mode": "standard"})
HASTY = Config(read_timeout=0.05).merge(ONCE)


def receive(client: Any, **parameters: Any) -> Any:
    return client.receive_message(QueueUrl=QUEUE_URL, **parameters)


def wire(server: Scripted, config: Config = ONCE, **options: Any) -> WireClient:
    return WireClient(server.client(config=config, **options), sleep=lambda seconds: None)


def test_calls_share_a_connection() -> None:
    with scripted() as server:
        client = wire(server)

        for _ in range(3):
            receive(client)

    assert [request.connection for request in server.requests] == [1, 1, 1]


def test_threads_share_connections_and_each_call_has_one_of_its_own() -> None:
    meeting = threading.Barrier(3)

    def meet(connection: socket.socket) -> None:
        meeting.wait(PATIENCE)
        connection.sendall(answer())

    with scripted(*[meet] * 6) as server:
        client = wire(server)
        for _ in range(2):
            threads = [threading.Thread(target=receive, args=(client,)) for _ in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(PATIENCE)

    assert {request.connection for request in server.requests} == {1, 2, 3}
    assert len(server.requests) == 6


def test_no_more_connections_are_kept_than_the_client_says() -> None:
    meeting = threading.Barrier(3)

    def meet(connection: socket.socket) -> None:
        meeting.wait(PATIENCE)
        connection.sendall(answer())

    with scripted(*[meet] * 3) as server:
        client = wire(server, Config(max_pool_connections=1).merge(ONCE))
        threads = [threading.Thread(target=receive, args=(client,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        for _ in range(3):
            receive(client)

    assert len({request.connection for request in server.requests[3:]}) == 1


def test_a_connection_that_was_closed_while_idle_is_replaced_unnoticed() -> None:
    closed = threading.Event()

    def answer_and_close(connection: socket.socket) -> None:
        connection.sendall(answer())
        connection.shutdown(socket.SHUT_RDWR)
        closed.set()

    with scripted(answer_and_close) as server:
        client = wire(server)

        receive(client)
        assert closed.wait(PATIENCE)
        answered = receive(client)

    assert answered["ResponseMetadata"]["RetryAttempts"] == 0
    assert [request.connection for request in server.requests] == [1, 2]


def test_a_connection_that_closes_as_it_is_used_again_is_replaced_once() -> None:
    with scripted(answer(), hang_up, answer()) as server:
        client = wire(server)
        receive(client)

        receive(client)

    assert [request.connection for request in server.requests] == [1, 1, 2]


def test_it_is_replaced_once_only() -> None:
    with scripted(answer(), hang_up, hang_up) as server:
        client = wire(server)
        receive(client)

        with pytest.raises(ConnectionClosedError):
            receive(client)

    assert len(server.requests) == 3


def test_nothing_is_sent_again_after_a_byte_of_an_answer() -> None:
    with scripted(answer(), cut_after(b"HTTP/1.1 2"), answer()) as server:
        client = wire(server)
        receive(client)

        with pytest.raises(HTTPClientError, match="within its head"):
            receive(client)

    assert len(server.requests) == 2


def test_a_new_connection_that_is_closed_is_not_replaced() -> None:
    with scripted(hang_up, answer()) as server, pytest.raises(ConnectionClosedError):
        receive(wire(server))

    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        (cut_after(answer(b'{"Messages": []}')[:-3]), "within its body"),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "not HTTP/1.1"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n", "longer than"),
    ],
)
def test_a_broken_answer_is_an_error_and_the_next_call_works(said: Any, problem: str) -> None:
    with scripted(said, answer()) as server:
        client = wire(server)

        with pytest.raises(HTTPClientError, match=problem):
            receive(client)
        assert receive(client)["ResponseMetadata"]["HTTPStatusCode"] == 200


@pytest.mark.parametrize(
    "body", [b"<html>captive portal</html>", b"[]", b'{"Messages": [{"Body": "half"}]}', b'{"Mess']
)
def test_what_is_not_sqs_is_no_empty_queue(body: bytes) -> None:
    from botocore.parsers import ResponseParserError

    with scripted(answer(body)) as server, pytest.raises(ResponseParserError, match="ReceiveMessage"):
        receive(wire(server))


def test_an_answer_that_does_not_come_is_a_read_timeout() -> None:
    with scripted(keep_silent) as server, pytest.raises(ReadTimeoutError):
        wire(server, HASTY).delete_message(QueueUrl=QUEUE_URL, ReceiptHandle="r")


def test_an_answer_that_comes_drop_by_drop_without_end_is_a_read_timeout() -> None:
    def drip(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nx-slow: ")
        while True:
            connection.sendall(b"x")

    with scripted(drip) as server, pytest.raises((ReadTimeoutError, HTTPClientError)):
        wire(server, HASTY).delete_message(QueueUrl=QUEUE_URL, ReceiptHandle="r")


def test_a_long_poll_may_take_longer_than_the_read_timeout() -> None:
    waited = threading.Event()

    def answer_late(connection: socket.socket) -> None:
        waited.wait(0.15)
        connection.sendall(answer())

    with scripted(answer_late) as server:
        answered = receive(wire(server, HASTY), WaitTimeSeconds=20)

    assert answered["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_where_nobody_listens_the_endpoint_is_named() -> None:
    with scripted() as server:
        client = wire(server)

    with pytest.raises(EndpointConnectionError, match=server.url):
        receive(client)


def test_close_ends_the_calls_that_are_under_way() -> None:
    arrived, ended = threading.Event(), threading.Event()

    def note(connection: socket.socket) -> None:
        arrived.set()
        keep_silent(connection)

    with scripted(note) as server:
        client = wire(server)

        def poll() -> None:
            with pytest.raises(HTTPClientError):
                receive(client, WaitTimeSeconds=20)
            ended.set()

        threading.Thread(target=poll, daemon=True).start()
        assert arrived.wait(PATIENCE)
        client.close()

        assert ended.wait(EARLY)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_process_does_not_use_the_connections_of_its_parent() -> None:
    with scripted() as server:
        client = wire(server)
        receive(client)

        child = os.fork()
        if not child:
            try:
                receive(client)
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        receive(client)

    assert [request.connection for request in server.requests] == [1, 2, 1]


# TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def serving_as(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Any) -> str:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


def test_a_server_with_a_certificate_of_whom_the_client_trusts_is_used(authority: trustme.CA, trusted: str) -> None:
    with scripted(tls=serving_as(authority, "localhost"), host="localhost") as server:
        client = wire(server, verify=trusted)

        for _ in range(2):
            receive(client)
        client.close()

    assert [request.connection for request in server.requests] == [1, 1]


def test_the_bundle_of_the_environment_is_trusted(
    authority: trustme.CA, trusted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", trusted)
    with scripted(tls=serving_as(authority, "localhost"), host="localhost") as server:
        client = wire(server)

        assert receive(client)["ResponseMetadata"]["HTTPStatusCode"] == 200
        client.close()


@pytest.mark.parametrize("stranger", [True, False])
def test_a_stranger_or_a_wrong_name_is_not_spoken_to(authority: trustme.CA, trusted: str, stranger: bool) -> None:
    issuer, name = (trustme.CA(), "localhost") if stranger else (authority, "sqs.example.com")
    with scripted(tls=serving_as(issuer, name), host="localhost") as server:
        client = wire(server, verify=trusted)

        with pytest.raises(SSLError, match="CERTIFICATE_VERIFY_FAILED"):
            receive(client)

    assert server.requests == []


def test_whoever_says_so_speaks_to_strangers() -> None:
    with scripted(tls=serving_as(trustme.CA(), "elsewhere"), host="localhost") as server:
        client = wire(server, verify=False)

        assert receive(client)["ResponseMetadata"]["HTTPStatusCode"] == 200
        client.close()
