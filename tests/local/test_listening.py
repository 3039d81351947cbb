"""Where the embedded server listens, what it says of that, and where the URLs that it gives lead."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from megaflow.errors import ConfigurationError
from megaflow.local.server import Server
from tests.local.wire import Wire, in_json, port_of


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


def client(service: str, url: str) -> Any:
    config = Config(retries={"total_max_attempts": 1}, proxies={})
    keys = {"aws_access_key_id": "any", "aws_secret_access_key": "any"}
    return boto3.client(service, endpoint_url=url, region_name="us-east-1", config=config, **keys)


@pytest.fixture
def sent(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.WARNING, "megaflow"):
        yield caplog


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.5", "localhost", pytest.param("::1", marks=ipv6)])
def test_on_this_machine_alone_it_says_nothing(sent: pytest.LogCaptureFixture, host: str) -> None:
    with Server(host=host) as server:
        assert client("sqs", server.url).list_queues()["ResponseMetadata"]["HTTPStatusCode"] == 200

    assert not [record for record in sent.records if "listens" in record.getMessage()]


@pytest.mark.parametrize(
    ("host", "callers"),
    [
        ("0.0.0.0", ["127.0.0.1", "127.0.0.5"]),
        pytest.param("::", ["[::1]", "127.0.0.1"], marks=ipv6),
    ],
)
def test_on_every_address_it_answers_all_of_them_and_says_so_in_one_line(
    sent: pytest.LogCaptureFixture, host: str, callers: list[str]
) -> None:
    with Server(host=host) as server:
        port = port_of(server.url)
        urls = [f"http://{caller}:{port}" for caller in callers]
        made = [client("sqs", url).create_queue(QueueName="orders")["QueueUrl"] for url in urls]

    assert server.url == urls[0]
    assert made == [f"{url}/000000000000/orders" for url in urls]
    (said,) = [record.getMessage() for record in sent.records if "listens" in record.getMessage()]
    assert said == (
        f"this server listens on {host}, not on this machine alone: whoever reaches port {port} there may make any call"
    )


@pytest.mark.parametrize(
    ("host", "why"),
    [
        ("192.0.2.1", "cannot listen on 192.0.2.1:0: Cannot assign requested address"),
        ("2001:db8::1", r"cannot listen on \[2001:db8::1\]:0: "),
        ("", "it names no address"),
        ("a" * 300, "cannot listen on a"),
    ],
)
def test_an_address_that_is_not_here_is_named(host: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why) as raised:
        Server(host=host)

    assert "port 0" not in str(raised.value)


@pytest.mark.parametrize("name", ["localhost", "megaflow", "10.0.0.7", "[2001:db8::7]", "sqs.localhost"])
def test_urls_of_queues_begin_as_the_caller_has_called(name: str) -> None:
    with Server() as server, Wire(server.url) as wire:

        def ask(operation: str, **parameters: Any) -> dict[str, Any]:
            request = in_json(operation, **parameters)
            wire.send(request.replace(b"Host: localhost", f"Host: {name}:4566".encode()))
            return wire.answer().json

        url = f"http://{name}:4566/000000000000/orders"
        dead = ask("CreateQueue", QueueName="dead")["QueueUrl"]
        arn = ask("GetQueueAttributes", QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        redrive = f'{{"deadLetterTargetArn": "{arn}", "maxReceiveCount": 1}}'

        assert ask("CreateQueue", QueueName="orders", Attributes={"RedrivePolicy": redrive})["QueueUrl"] == url
        assert ask("GetQueueUrl", QueueName="orders")["QueueUrl"] == url
        assert ask("ListQueues", QueueNamePrefix="o")["QueueUrls"] == [url]
        assert ask("ListDeadLetterSourceQueues", QueueUrl=dead)["queueUrls"] == [url]
        assert ask("ListQueues", QueueNamePrefix="x") == {}
        assert ask("SendMessage", QueueUrl=url, MessageBody="a")["MessageId"]


def test_urls_in_xml_begin_so_too() -> None:
    with Server() as server, Wire(server.url) as wire:
        wire.send(b"GET /?Action=CreateQueue&QueueName=orders HTTP/1.1\r\nHost: megaflow:80\r\n\r\n")

        assert b"<QueueUrl>http://megaflow:80/000000000000/orders</QueueUrl>" in wire.answer().body


def test_urls_begin_with_the_address_where_no_name_was_called() -> None:
    with Server() as server, Wire(server.url) as wire:
        wire.send(b"GET /?Action=CreateQueue&QueueName=orders HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")

        assert f"<QueueUrl>{server.url}/000000000000/orders</QueueUrl>".encode() in wire.answer().body


@pytest.mark.parametrize(
    "url", ["https://sqs.example.com", "https://sqs.example.com/", "http://sqs.example.com:80/aws"]
)
def test_behind_a_proxy_urls_begin_as_they_are_told_to(url: str) -> None:
    with Server(url=url) as server:
        sqs = client("sqs", server.url)
        made = sqs.create_queue(QueueName="orders")["QueueUrl"]
        sqs.send_message(QueueUrl=made, MessageBody="a")

        assert made == f"{url.rstrip('/')}/000000000000/orders"
        assert sqs.list_queues()["QueueUrls"] == [made]
        assert len(sqs.receive_message(QueueUrl=made)["Messages"]) == 1
    assert ip_address(server.url.removeprefix("http://").rpartition(":")[0]).is_loopback


def test_a_client_that_is_led_here_by_an_odd_name_is_told_what_to_do() -> None:
    with Server() as server:
        sqs = client("sqs", server.url)
        sqs.meta.events.register("before-send.sqs", lambda request, **_: request.headers.__setitem__("Host", "a.test"))

        with pytest.raises(ClientError, match=r"start it with --allow-host a\.test"):
            sqs.list_queues()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_it_says_that_it_is_well(method: str) -> None:
    with Server() as server, Wire(server.url) as wire:
        wire.send(f"{method} /health HTTP/1.1\r\nHost: 10.0.0.7\r\n\r\n".encode())
        answer = wire.answer(bodiless=method == "HEAD")

    assert answer.status == 200
    assert answer.body == (b"" if method == "HEAD" else b'{"status":"ok"}')
