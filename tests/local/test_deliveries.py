"""What an endpoint may do to a delivery: hang, drip, babble, answer in parts, hide behind TLS."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

from megaflow.local import Account, SnsClient, SqsClient
from megaflow.local.clock import Clock
from megaflow.local.endpoints.destinations import Destinations
from megaflow.local.http import deliveries
from megaflow.local.http.deliveries import Deliveries
from megaflow.local.served import Served
from tests.endpoints import endpoint
from tests.waiting import PATIENCE

Behave = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[object]]


class Shop:
    """A topic with one confirmed subscription over HTTP, and a dead-letter queue of it."""

    def __init__(self, url: str) -> None:
        self.account = Account(clock=Clock())
        self.account.served = Served(Destinations(["127.0.0.1", "app"]), None)
        self.sqs, self.sns = SqsClient(self.account), SnsClient(self.account)
        self.dead = self.sqs.create_queue(QueueName="dead")["QueueUrl"]
        self.topic = self.sns.create_topic(Name="news")["TopicArn"]
        policy = {"healthyRetryPolicy": {"numRetries": 0}}
        redrive = {"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:dead"}
        arn = self.sns.subscribe(
            TopicArn=self.topic,
            Protocol=url.partition(":")[0],
            Endpoint=url,
            ReturnSubscriptionArn=True,
            Attributes={"DeliveryPolicy": json.dumps(policy), "RedrivePolicy": json.dumps(redrive)},
        )["SubscriptionArn"]
        token = self.account.topics[self.topic].subscriptions[arn].token
        self.sns.confirm_subscription(TopicArn=self.topic, Token=token)
        self.account.posts.forget(lambda post: True)

    async def deliver(self, patience: float = PATIENCE) -> bool:
        """Publish, and tell whether that was delivered; otherwise it is a dead letter."""
        self.sns.publish(TopicArn=self.topic, Message="hello")
        made = Deliveries(patience)
        with self.account.turn():
            made.begin(self.account)
        while len(self.account.posts):
            await asyncio.sleep(0.001)
        await made.stop()
        return "Messages" not in self.sqs.receive_message(QueueUrl=self.dead)


@asynccontextmanager
async def behaving(behave: Behave) -> AsyncIterator[str]:
    """Run an endpoint that reads the request, behaves so, and closes the connection."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        await reader.readexactly(size)
        try:
            await behave(reader, writer)
        except ConnectionError:
            pass
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


def delivered(behave: Behave, patience: float = PATIENCE) -> bool:
    async def run() -> bool:
        async with behaving(behave) as url:
            return await asyncio.wait_for(Shop(url).deliver(patience), PATIENCE)

    return asyncio.run(run())


def saying(*parts: bytes) -> Behave:
    async def behave(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0)

    return behave


async def hang(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nX: ")
    while not reader.at_eof():
        writer.write(b"x")
        await asyncio.sleep(0.01)


async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while not reader.at_eof():
        writer.write(b"X: " + b"x" * 1000 + b"\r\n")
        await writer.drain()


async def answer_without_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while not reader.at_eof():
        writer.write(b"x" * 10_000)
        await writer.drain()


async def answer_and_hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nab")
    await reader.read()


@pytest.mark.parametrize(
    ("parts", "arrived"),
    [
        ((b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",), True),
        ((b"HTTP/1.0 299 Fine\r\n\r\n",), True),
        ((b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 202 Acc", b"epted\r\nContent-Length: 0\r\n\r\n"), True),
        ((b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"2\r\nok\r\n0\r\n\r\n"), True),
        ((b"HTTP/1.1 100 Continue\r\n\r\n",), False),
        ((b"HTTP/1.1 500 Broken\r\n\r\n",), False),
        ((b"HTTP/1.1 200",), False),
        ((b"SSH-2.0-OpenSSH\r\n",), False),
        ((), False),
    ],
)
def test_the_status_says_whether_it_arrived(parts: tuple[bytes, ...], arrived: bool) -> None:
    assert delivered(saying(*parts)) is arrived


@pytest.mark.parametrize("behave", [hang, drip])
def test_an_answer_that_does_not_come_is_waited_for_so_long_and_no_longer(behave: Behave) -> None:
    assert not delivered(behave, patience=0.3)


def test_a_head_without_end_is_read_to_a_bound() -> None:
    assert not delivered(babble)


def test_a_body_without_end_is_read_to_a_bound() -> None:
    assert delivered(answer_without_end)


def test_what_was_answered_counts_though_the_body_hangs() -> None:
    assert delivered(answer_and_hang, patience=0.5)


def test_the_connection_goes_to_the_address_that_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    async def resolve(name: str, port: int) -> list[str]:
        asked.append(name)
        return ["127.0.0.1"] if len(asked) == 1 else ["192.0.2.1"]

    monkeypatch.setattr(deliveries, "_resolve", resolve)

    async def run() -> bool:
        async with behaving(saying(b"HTTP/1.1 200 OK\r\n\r\n")) as url:
            return await Shop(url.replace("127.0.0.1", "app")).deliver()

    assert asyncio.run(run())
    assert asked == ["app"]


def test_an_address_at_which_nobody_listens_is_not_the_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolve(name: str, port: int) -> list[str]:
        return ["127.0.0.9", "127.0.0.1"]

    monkeypatch.setattr(deliveries, "_resolve", resolve)

    async def run() -> bool:
        async with behaving(saying(b"HTTP/1.1 200 OK\r\n\r\n")) as url:
            return await Shop(url.replace("127.0.0.1", "app")).deliver()

    assert asyncio.run(run())


def test_a_name_that_leads_to_the_metadata_of_a_machine_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolve(name: str, port: int) -> list[str]:
        return ["169.254.169.254"]

    monkeypatch.setattr(deliveries, "_resolve", resolve)

    assert not asyncio.run(Shop("http://app/").deliver())


def test_what_goes_wrong_on_the_way_out_ends_as_any_failure(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(deliveries, "body_of", lambda *_: 1 / 0)

    assert not delivered(saying(b"HTTP/1.1 200 OK\r\n\r\n"))
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("begun", [True, False])
def test_what_is_under_way_when_the_server_stops_is_begun_again(begun: bool) -> None:
    async def run() -> None:
        reached = asyncio.Event()

        async def note_and_hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            reached.set()
            await hang(reader, writer)

        async with behaving(note_and_hang) as url:
            shop = Shop(url)
            shop.sns.publish(TopicArn=shop.topic, Message="hello")
            (post,) = shop.account.posts
            made = Deliveries()
            with shop.account.turn():
                made.begin(shop.account)
            if begun:
                await asyncio.wait_for(reached.wait(), PATIENCE)

            taken = shop.account.posts.next_alarm()
            await made.stop()

            assert taken is None
            assert shop.account.posts.next_alarm() == post.due_at
            assert (list(shop.account.posts), post.tries) == ([post], 0)

    asyncio.run(run())


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls(authority: trustme.CA) -> Iterator[ssl.SSLContext]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    yield context
    deliveries._trust.cache_clear()


@pytest.mark.parametrize("trusted", [True, False])
def test_tls_is_verified(
    tls: ssl.SSLContext, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trusted: bool
) -> None:
    path = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(path))
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
    deliveries._trust.cache_clear()

    with endpoint(context=tls) as made:
        arrived = asyncio.run(Shop(made.url).deliver())

    assert arrived is trusted
    assert [each.kind for each in made.sent] == (["Notification"] if trusted else [])


def test_a_certificate_of_another_host_is_refused(
    authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(path))
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    deliveries._trust.cache_clear()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("elsewhere.example").configure_cert(context)

    with endpoint(context=context) as made:
        arrived = asyncio.run(Shop(made.url).deliver())

    deliveries._trust.cache_clear()
    assert not arrived
    assert made.sent == []


def test_each_try_is_counted_with_what_there_is_to_say(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> Any:
        async with behaving(saying(b"HTTP/1.1 503 Busy\r\n\r\n")) as url:
            return await Shop(url).deliver()

    asyncio.run(run())

    assert "given up, try 1: answered 503" in caplog.text
