from __future__ import annotations

import asyncio
import gc
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import boto3
import pytest

from megaflow.errors import ConfigurationError, UsageError
from megaflow.local import Account, SqsClient
from megaflow.local import server as module
from megaflow.local.accounts import Accounts
from megaflow.local.http.asgi import CALLER, Application, HttpCaller
from megaflow.local.http.gate import Gate
from megaflow.local.refused import Refused
from megaflow.local.server import Server
from tests.local.wire import HttpShop, Wire, in_json, port_of
from tests.waiting import EARLY, PATIENCE

Dial = Callable[[], Wire]
ANY_KEYS = {"aws_access_key_id": "any", "aws_secret_access_key": "any"}


@pytest.fixture(scope="module")
def shop() -> Iterator[HttpShop]:
    made = HttpShop()
    with Server(made.account):
        yield made


@pytest.fixture
def dial(shop: HttpShop) -> Iterator[Dial]:
    with ExitStack() as opened:
        yield lambda: opened.enter_context(Wire(shop.account.url))


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as made:
        yield made


def list_files() -> set[str]:
    """Return what this process has open, where the system tells."""
    files, found = Path("/proc/self/fd"), set()
    for each in list(files.iterdir()) if files.exists() else ():
        # The list was open itself while it was read.
        with suppress(FileNotFoundError):
            found.add(str(each.readlink()))
    return found


def test_in_process_and_over_http_polls_are_ended_by_sends_of_the_other(
    shop: HttpShop, dial: Dial, pool: ThreadPoolExecutor
) -> None:
    one, two, poll = shop.fresh_queue(), shop.fresh_queue(), dial()
    poll.poll(one)
    in_process = pool.submit(shop.bodies, two, WaitTimeSeconds=20)
    shop.wait_for_polls(2)

    shop.send(one, "in process")
    dial().call("SendMessage", QueueUrl=two, MessageBody="over HTTP")

    assert poll.answer().bodies == ["in process"]
    assert in_process.result(PATIENCE) == ["over HTTP"]


def test_in_process_and_over_http_nothing_is_lost_and_nothing_comes_twice(
    shop: HttpShop, dial: Dial, pool: ThreadPoolExecutor
) -> None:
    url = shop.fresh_queue()
    bodies = [f"{sender}-{number}" for sender in range(4) for number in range(50)]
    received: list[str] = []
    missing = threading.Semaphore(0)

    def send(sender: int) -> None:
        wire = dial()
        for number in range(50):
            if sender % 2:
                shop.send(url, f"{sender}-{number}")
            else:
                wire.call("SendMessage", QueueUrl=url, MessageBody=f"{sender}-{number}")

    def receive(receiver: int) -> None:
        wire = dial()
        while len(received) < len(bodies):
            ask: dict[str, Any] = {"MaxNumberOfMessages": 3, "WaitTimeSeconds": 1, "QueueUrl": url}
            answer = shop.sqs.receive_message(**ask) if receiver % 2 else wire.call("ReceiveMessage", **ask).json
            for message in answer.get("Messages", []):
                received.append(message["Body"])
                missing.release()

    work = [pool.submit(task, number) for number in range(4) for task in (receive, send)]
    for _ in bodies:
        assert missing.acquire(timeout=PATIENCE)
    shop.advance(1)
    for task in work:
        task.result(PATIENCE)

    assert sorted(received) == sorted(bodies)


def test_servers_come_and_go_while_the_account_is_in_use(pool: ThreadPoolExecutor) -> None:
    account = Account()
    client = SqsClient(account)
    url = client.create_queue(QueueName="orders")["QueueUrl"]
    over = threading.Event()

    def work() -> None:
        # Each of these changes when the account wants to be woken.
        while not over.is_set():
            client.send_message(QueueUrl=url, MessageBody="a")
            for message in client.receive_message(QueueUrl=url, WaitTimeSeconds=1).get("Messages", []):
                client.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])

    workers = [pool.submit(work) for _ in range(4)]
    for _ in range(4):
        with Server(account) as server, Wire(server.url) as wire:
            wire.call("SendMessage", QueueUrl=url, MessageBody="a")
    over.set()

    assert [worker.result(PATIENCE) for worker in workers] == [None] * 4
    assert account.watchers == set()


class Journal:
    """A journal that fails when told to."""

    def __init__(self) -> None:
        self.failure: Exception | None = None

    def write(self, account: Account, touched: object) -> None:
        if self.failure is not None:
            raise self.failure


def test_an_alarm_goes_on_ringing_though_nothing_can_be_written_down() -> None:
    account = Account()
    client = SqsClient(account)
    journal = account.journal = Journal()
    one, two = (client.create_queue(QueueName=name)["QueueUrl"] for name in ("one", "two"))
    with Server(account) as server, Wire(server.url) as first, Wire(server.url) as second:
        first.send(in_json("ReceiveMessage", QueueUrl=one, WaitTimeSeconds=1))
        second.poll(two)
        with account.changed:
            account.changed.wait_for(lambda: len(account.polls) == 2, PATIENCE)
        client.send_message(QueueUrl=two, MessageBody="a", DelaySeconds=1)
        journal.failure = Refused("InternalFailure", "the disk is full", status=500)

        empty = first.answer()
        began = time.monotonic()
        second.answer()

    assert empty.json == {}
    assert time.monotonic() - began < EARLY


def test_an_answer_has_the_time_of_its_own_second() -> None:
    """`megaflow move` tells by it what came since it began."""
    with Server() as server:
        client = boto3.client("sqs", endpoint_url=server.url, region_name="us-east-1", **ANY_KEYS)
        second = int(time.time())
        while int(time.time()) == second:
            time.sleep(0.001)

        said = client.list_queues()["ResponseMetadata"]["HTTPHeaders"]["date"]

    assert parsedate_to_datetime(said).timestamp() > second


def test_stopping_answers_all_who_wait_at_once() -> None:
    shop = HttpShop()
    url = shop.queue()
    with ExitStack() as opened:
        with Server(shop.account) as server:
            polls = [opened.enter_context(Wire(server.url)) for _ in range(10)]
            for poll in polls:
                poll.poll(url)
            shop.wait_for_polls(10)
            began = time.monotonic()
        took = time.monotonic() - began

        answers = [poll.answer() for poll in polls]

    assert [(answer.status, answer.json) for answer in answers] == [(200, {})] * 10
    assert took < EARLY


def test_stopping_does_not_wait_for_idle_connections_or_halves_of_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FAREWELL", 2 * PATIENCE)
    request = in_json("ListQueues")
    with ExitStack() as opened:
        with Server() as server:
            idle, in_headers, in_body = wires = [opened.enter_context(Wire(server.url)) for _ in range(3)]
            for wire in wires:
                wire.call("ListQueues")
            in_headers.send(request[:20])
            in_body.send(request[:-1])
            idle.call("ListQueues")
            began = time.monotonic()
        took = time.monotonic() - began

        assert all(wire.is_closed() for wire in wires)
    assert took < EARLY


def test_stopping_hangs_up_on_who_comes_as_it_stops() -> None:
    with ExitStack() as opened:
        late: list[socket.socket] = []

        def stop_as_somebody_comes() -> float:
            """Be the time, that the server's own thread asks for while it answers."""
            if threading.current_thread().name == "megaflow-local" and asked and not late:
                late.append(
                    opened.enter_context(socket.create_connection(("127.0.0.1", port_of(server.url)), PATIENCE))
                )
                server.stop()
            return 0.0

        asked: list[str] = []
        server = Server(Account(clock=stop_as_somebody_comes))
        url = SqsClient(server.account).create_queue(QueueName="orders")["QueueUrl"]
        with server:
            wire = opened.enter_context(Wire(server.url))
            asked.append("by now")
            wire.call("SendMessage", QueueUrl=url, MessageBody="late")

        assert late[0].recv(1) == b""


def test_stopping_does_not_wait_long_for_who_does_not_read_their_answer() -> None:
    shop = HttpShop()
    url = shop.queue()
    shop.send(url, *["x" * 1_000_000] * 10)
    with ExitStack() as opened:
        with Server(shop.account) as server:
            wire = opened.enter_context(Wire(server.url))
            for _ in range(10):
                ask = {"QueueUrl": url, "MaxNumberOfMessages": 10, "VisibilityTimeout": 0}
                wire.send(in_json("ReceiveMessage", **ask))
            opened.enter_context(Wire(server.url)).call("ListQueues")
            began = time.monotonic()
        took = time.monotonic() - began

    assert took < EARLY


def test_nobody_waits_any_more_once_it_stops(shop: HttpShop) -> None:
    url = shop.fresh_queue()
    sent: list[Any] = []

    async def call() -> None:
        application = Application(Accounts(shop.account), Gate(), follows_host=True)
        application.stop_waiting()
        body = json.dumps({"QueueUrl": url, "WaitTimeSeconds": 20}).encode()
        headers = [(b"x-amz-target", b"AmazonSQS.ReceiveMessage")]
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/",
            "query_string": b"",
            "headers": headers,
            "extensions": {CALLER: HttpCaller(cut=lambda: None)},
        }

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        await application(scope, receive, send)

    asyncio.run(asyncio.wait_for(call(), EARLY))

    assert [message.get("status", message.get("body")) for message in sent] == [200, b"{}"]


def test_it_listens_on_one_address_only(shop: HttpShop) -> None:
    port = port_of(shop.account.url)

    with pytest.raises(OSError, match=r"refused|assign|timed out"), socket.create_connection(("127.0.0.2", port), 1):
        pass


def test_a_port_that_is_taken_is_named(shop: HttpShop) -> None:
    port = port_of(shop.account.url)

    said = rf"127.0.0.1:{port}: Address already in use \(is another one running\?\); port 0 takes a free one$"
    with pytest.raises(ConfigurationError, match=said):
        Server(port=port)


def test_it_leaves_no_thread_and_nothing_open_and_its_port_free() -> None:
    gc.collect()
    threads, files = set(threading.enumerate()), list_files()
    port = 0

    for _ in range(2):
        with ExitStack() as opened, Server(port=port) as server:
            # The server hangs up first: it is its port that the system then remembers for a while.
            opened.enter_context(Wire(server.url)).call("ListQueues")
            port = port_of(server.url)
    gc.collect()

    # Those of other tests may end meanwhile.
    assert set(threading.enumerate()) <= threads
    assert list_files() <= files


def test_it_serves_once() -> None:
    with Server() as server, pytest.raises(UsageError, match="once"):
        server.serve()

    with pytest.raises(UsageError, match="once"), server:
        pass
    with pytest.raises(UsageError, match="once"):
        server.serve()


def test_one_that_never_served_gives_its_port_back_when_it_is_closed() -> None:
    server = Server()
    port = port_of(server.url)

    server.close()
    server.close()
    del server
    gc.collect()

    Server(port=port).close()


def test_one_that_has_served_may_be_closed_again() -> None:
    with Server() as server, Wire(server.url) as wire:
        wire.call("ListQueues")
        server.close()

        server.close()


def test_it_can_serve_in_a_thread_of_ones_own_until_it_is_stopped(pool: ThreadPoolExecutor) -> None:
    server = Server()
    serving = pool.submit(server.serve)
    with Wire(server.url) as wire:
        answer = wire.call("ListQueues")

    server.close()

    assert answer.status == 200
    assert serving.result(PATIENCE) is None


def test_one_that_is_stopped_before_it_serves_does_not_begin() -> None:
    server = Server()

    server.stop()
    server.serve()

    with pytest.raises(ConnectionRefusedError):
        Wire(server.url)


def test_in_process_queue_urls_begin_with_its_url(shop: HttpShop) -> None:
    assert shop.queue("named") == f"{shop.account.url}/000000000000/named"
