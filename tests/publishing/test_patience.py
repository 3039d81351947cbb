"""Patience: publishing to what does not connect, does not answer or does not end its answer comes to an end."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ConnectTimeoutError, EndpointConnectionError, ReadTimeoutError

from megaflow import App, ConfigurationError, Outgoing, PublishError, SnsPublisher, SqsPublisher
from megaflow.app import parts_of
from megaflow.cli.options import connect
from megaflow.publishing.batches import BatchSender, EntryAnswer
from megaflow.publishing.outgoing import Prepared, prepare
from megaflow.transport.session import AwsOptions, AwsSettings
from megaflow.transport.times import CONSUMING, PUBLISHING
from megaflow.wire.client import WireClient
from megaflow.wire.patience import PATIENCE as WITHOUT_A_NETWORK
from megaflow.wire.patience import read_patience
from megaflow.wire.pending import Pending
from tests.unmocked import making_unmocked
from tests.wire.scripted import answer, keep_silent, scripted

QUEUE = "https://sqs.us-east-1.amazonaws.com/123456789012/orders"
TOPIC = "arn:aws:sns:us-east-1:123456789012:orders"
KEYS: dict[str, Any] = {"aws_access_key_id": "any", "aws_secret_access_key": "any"}
QUICK: dict[str, Any] = {**KEYS, "connect_timeout": 0.2, "read_timeout": 0.2, "max_attempts": 2}
LONGEST = 15.0
"""Seconds that publishing takes by default, at most."""


@pytest.fixture(autouse=True)
def nothing_else_to_find(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Leave boto3 what the test gives it."""
    for name in ("AWS_MAX_ATTEMPTS", "AWS_RETRY_MODE", "AWS_PROFILE", "AWS_DEFAULTS_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))


@pytest.fixture(autouse=True)
def _unmocked() -> Iterator[None]:
    with making_unmocked():
        yield


@contextmanager
def full() -> Iterator[str]:
    """Give the URL of a server that takes no connection: its backlog is full, and nobody accepts."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(listening.getsockname())
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            for each in waiting:
                each.close()


def _name(given: object) -> str:
    """Return what a case is called, in every process alike."""
    return ", ".join(given) if isinstance(given, dict) else str(given)


def drip(connection: socket.socket) -> None:
    """Answer byte by byte, for as long as anybody listens."""
    for byte in answer(b" " * 100_000):
        connection.sendall(bytes([byte]))
        threading.Event().wait(0.05)


@contextmanager
def silent() -> Iterator[str]:
    with scripted(*[keep_silent] * 20) as server:
        yield server.url


@contextmanager
def dripping() -> Iterator[str]:
    with scripted(*[drip] * 20) as server:
        yield server.url


def to_queue(url: str, wire: bool, **options: Any) -> Any:
    return SqsPublisher(queue_url=QUEUE, endpoint_url=url, wire=wire, **options)


def to_topic(url: str, **options: Any) -> Any:
    return SnsPublisher(topic_arn=TOPIC, endpoint_url=url, **options)


MAKE: dict[str, Callable[..., SqsPublisher | SnsPublisher]] = {
    "wire": lambda url, **options: to_queue(url, True, **options),
    "boto3": lambda url, **options: to_queue(url, False, **options),
    "topic": to_topic,
}


def seconds_of(publish: Callable[[], object], error: type[Exception]) -> float:
    began = time.monotonic()
    with pytest.raises(error):
        publish()
    return time.monotonic() - began


# What is given, and what becomes of it


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
def test_the_times_that_were_given_are_those_of_the_client(make: Callable[..., Any]) -> None:
    config = make("http://127.0.0.1:1", **KEYS, connect_timeout=1.5, read_timeout=7, max_attempts=4).client.meta.config

    assert (config.connect_timeout, config.read_timeout) == (1.5, 7)
    assert config.retries["total_max_attempts"] == 4


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
def test_by_default_publishing_is_over_within_15_seconds(make: Callable[..., Any]) -> None:
    config = make("http://127.0.0.1:1", **KEYS).client.meta.config

    attempts, longest_pauses = config.retries["total_max_attempts"], 1 + 2
    assert attempts * max(config.connect_timeout, config.read_timeout) + longest_pauses <= LONGEST
    assert attempts > 1


def test_what_config_says_holds_and_the_defaults_are_for_the_rest() -> None:
    given = Config(read_timeout=9, retries={"mode": "adaptive", "max_attempts": 1}, max_pool_connections=3)

    config = to_topic("http://127.0.0.1:1", **KEYS, config=given).client.meta.config

    assert (config.connect_timeout, config.read_timeout, config.max_pool_connections) == (2, 9, 3)
    assert config.retries == {"mode": "adaptive", "total_max_attempts": 2}


def test_attempts_are_those_of_config_s_mode() -> None:
    given = Config(retries={"mode": "adaptive"})

    config = to_topic("http://127.0.0.1:1", **KEYS, config=given, max_attempts=5).client.meta.config

    assert config.retries == {"mode": "adaptive", "total_max_attempts": 5}


def test_what_the_environment_says_of_attempts_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "7")

    of_environment = to_topic("http://127.0.0.1:1", **KEYS).client.meta.config
    given = to_topic("http://127.0.0.1:1", **KEYS, max_attempts=2).client.meta.config

    assert of_environment.retries["total_max_attempts"] == 7
    assert given.retries["total_max_attempts"] == 2


def test_a_fips_endpoint_is_called_with_the_times_too() -> None:
    url = "https://sqs-fips.us-east-1.amazonaws.com/123456789012/orders"

    client = SqsPublisher(queue_url=url, **KEYS, read_timeout=3, config=Config(max_pool_connections=2)).client

    meta: Any = client
    assert meta.meta.config.use_fips_endpoint
    assert (meta.meta.config.read_timeout, meta.meta.config.max_pool_connections) == (3, 2)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"connect_timeout": 0}, "connect_timeout=0 leaves no time"),
        ({"read_timeout": -1}, "read_timeout=-1 must be a number of seconds"),
        ({"read_timeout": "5"}, "read_timeout='5' must be a number of seconds"),
        ({"read_timeout": float("inf")}, "read_timeout=inf must be a number of seconds"),
        ({"max_attempts": 0}, "max_attempts=0 must be a whole number from 1 to 100"),
        ({"max_attempts": True}, "max_attempts=True must be a whole number"),
        ({"config": {"read_timeout": 1}}, "must be a botocore.config.Config"),
        ({"config": Config(connect_timeout=2), "connect_timeout": 1}, "connect_timeout=1 contradicts"),
        ({"config": Config(read_timeout=None), "read_timeout": 1}, "read_timeout=1 contradicts"),
        ({"config": Config(retries={"max_attempts": 2}), "max_attempts": 3}, "max_attempts=3 contradicts"),
        ({"config": Config(retries={"total_max_attempts": 2}), "max_attempts": 3}, "max_attempts=3 contradicts"),
        (
            {"config": Config(region_name="us-east-1"), "region_name": "us-west-2"},
            "region_name='us-west-2' contradicts",
        ),
        ({"config": Config(region_name="us-east-1")}, "give region_name="),
    ],
    ids=_name,
)
@pytest.mark.parametrize("make", [SqsPublisher, SnsPublisher, App])
def test_what_cannot_be_is_refused_where_it_is_given(
    make: Callable[..., Any], options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said.replace("(", r"\(")):
        make(**options)


@pytest.mark.parametrize("options", [{"config": Config()}, {"read_timeout": 1}, {"max_attempts": 1}], ids=_name)
def test_beside_a_client_they_are_refused(options: dict[str, Any]) -> None:
    client = AwsSettings(**KEYS).create_client("sqs", QUEUE)
    (name,) = options

    with pytest.raises(ConfigurationError, match=f"{name}= changes nothing about a client that is made already"):
        SqsPublisher(client=client, **options)


# Consumers


@pytest.mark.parametrize("wire", [True, False])
@pytest.mark.parametrize(
    ("options", "read_timeout"),
    [({}, 60), ({"read_timeout": 3}, 25), ({"read_timeout": 40}, 40), ({"config": Config(read_timeout=3)}, 25)],
    ids=_name,
)
def test_a_consumer_waits_for_long_polls_whatever_is_said(
    wire: bool, options: dict[str, Any], read_timeout: float
) -> None:
    app = App(QUEUE, **KEYS, **options, wire=wire, retry_on=ConnectionError)

    queue = parts_of(app).destination.open_queue(None)

    client: Any = queue._client
    assert client.meta.config.read_timeout == read_timeout
    assert isinstance(client, WireClient) == wire


def test_a_consumer_and_a_publisher_of_an_app_have_times_of_their_own() -> None:
    assert CONSUMING.read_timeout is None
    assert PUBLISHING.read_timeout is not None


def test_the_command_line_s_polls_have_their_time_too() -> None:
    keys: AwsOptions = {"aws_access_key_id": "any", "aws_secret_access_key": "any"}

    polls, _ = connect(QUEUE, keys)
    publishes, _ = connect(QUEUE, keys, PUBLISHING)

    assert (polls.meta.config.read_timeout, publishes.meta.config.read_timeout) == (60, 4)


# Patience


def test_who_was_told_nothing_has_the_patience_of_the_defaults() -> None:
    assert read_patience(object()) == WITHOUT_A_NETWORK
    assert read_patience(to_queue("http://127.0.0.1:1", True, **KEYS).client) == WITHOUT_A_NETWORK <= LONGEST


def test_a_client_s_patience_is_what_its_attempts_take() -> None:
    client = AwsSettings(**KEYS, connect_timeout=1, read_timeout=10, max_attempts=1).create_client("sqs", QUEUE)
    endless = AwsSettings(**KEYS, config=Config(read_timeout=None)).create_client("sqs", QUEUE)

    assert (read_patience(client), read_patience(endless)) == (10, float("inf"))


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
def test_a_server_that_says_nothing_is_given_up(make: Callable[..., Any]) -> None:
    with silent() as url:
        seconds = seconds_of(lambda: make(url, **QUICK).publish("ping"), ReadTimeoutError)

    assert seconds < LONGEST


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
def test_a_server_that_does_not_accept_is_given_up(make: Callable[..., Any]) -> None:
    with full() as url:
        seconds = seconds_of(
            lambda: make(url, **QUICK).publish("ping"),
            (ConnectTimeoutError, EndpointConnectionError),  # type: ignore[arg-type]
        )

    assert seconds < LONGEST


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
def test_an_answer_that_comes_byte_by_byte_is_given_up(make: Callable[..., Any]) -> None:
    with dripping() as url:
        publisher = make(url, **QUICK)

        seconds = seconds_of(lambda: publisher.publish("ping"), ReadTimeoutError)

    assert seconds < LONGEST


@pytest.mark.parametrize("make", [MAKE["boto3"], MAKE["topic"]])
def test_what_a_batch_tries_again_has_the_time_that_is_left(make: Callable[..., Any]) -> None:
    with scripted(keep_silent) as server:
        publisher = make(server.url, **KEYS, read_timeout=60, max_attempts=1)
        entry = prepare(Outgoing("ping"), max_size=1_000)
        assert publisher.client

        late = seconds_of(lambda: publisher._begin([entry], time.monotonic() + 0.2).result(), ReadTimeoutError)
        over = seconds_of(lambda: publisher._begin([entry], time.monotonic() - 1).result(), ConnectTimeoutError)

    assert max(late, over) < LONGEST
    assert len(server.requests) == 1


def test_a_connection_of_boto3_s_is_used_again_with_the_time_it_had() -> None:
    said = b'{"MessageId": "m", "MD5OfMessageBody": "7815696ecbf1c96e6894b779456d330e"}'

    def answer_late(connection: socket.socket) -> None:
        threading.Event().wait(0.1)
        connection.sendall(answer(said))

    with scripted(answer_late, answer_late) as server:
        publisher = to_queue(server.url, False, **{**KEYS, "read_timeout": 60})

        publisher.publish("asd")
        (pool,) = publisher.client._endpoint.http_session._manager.pools._container.values()
        (connection,) = [each for each in pool.pool.queue if each is not None]
        timeout = connection.sock.gettimeout()
        publisher.publish("asd")

    assert timeout == 60
    assert [each.connection for each in server.requests] == [1, 1]


def test_a_request_that_is_taken_byte_by_byte_is_given_up() -> None:
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    over = threading.Event()

    def take() -> None:
        connection, _ = listening.accept()
        with connection:
            while not over.wait(0.02) and connection.recv(1):
                pass

    thread = threading.Thread(target=take)
    thread.start()
    publisher = to_queue(f"http://127.0.0.1:{listening.getsockname()[1]}", True, **{**QUICK, "max_attempts": 1})
    try:
        seconds = seconds_of(lambda: publisher.publish("x" * 1_000_000), ReadTimeoutError)
    finally:
        over.set()
        thread.join()
        listening.close()

    assert seconds < LONGEST


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
def test_all_batches_together_are_given_up(make: Callable[..., Any]) -> None:
    """They are under way at once, and each of them is waited for until the same time."""
    with silent() as url:
        publisher = make(url, **QUICK)
        began = time.monotonic()
        with pytest.raises(PublishError) as raised:
            publisher.publish_batch([{"n": n} for n in range(80)])

    assert time.monotonic() - began < LONGEST
    assert len(raised.value.failed) == 80
    assert {each.code for each in raised.value.failed} <= {"ReadTimeoutError", "NotSent"}
    assert all(each.unknown == (each.code == "ReadTimeoutError") for each in raised.value.failed)


def test_what_has_come_meanwhile_is_read_all_the_same() -> None:
    sent = b'{"Successful": [{"Id": "0", "MessageId": "m", "MD5OfMessageBody": "x"}], "Failed": []}'
    with scripted(answer(sent)) as server:
        client: Any = to_queue(server.url, True, **KEYS).client
        client.send_message_batch(QueueUrl=QUEUE, Entries=[{"Id": "0", "MessageBody": "x"}])
        server.script.append(answer(sent))

        pending = client.begin(
            "send_message_batch",
            until=time.monotonic() + 0.01,
            QueueUrl=QUEUE,
            Entries=[{"Id": "0", "MessageBody": "x"}],
        )
        while not pending.is_answered:
            threading.Event().wait(0.01)
        threading.Event().wait(0.02)

        assert pending.result()["Successful"][0]["MessageId"] == "m"


# Entries that are tried again


class Slow:
    """A client that fails every entry so that it is worth another try, and takes so many seconds for it."""

    def __init__(self, seconds: float) -> None:
        self.now = 0.0
        self.untils: list[float] = []
        self._seconds = seconds

    def __call__(self, batch: list[Prepared], until: float) -> Pending[list[EntryAnswer]]:
        self.untils.append(until)
        self.now += self._seconds
        return Pending(lambda: [EntryAnswer(code="InternalError", retriable=True)] * len(batch))

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_entries_are_tried_again_only_as_long_as_there_is_time() -> None:
    slow = Slow(6.0)
    sender = BatchSender(slow, fifo=False, sleep=slow.sleep, patience=14.0, clock=lambda: slow.now)  # type: ignore[arg-type]

    (sent,) = sender.send([Prepared(0, Outgoing("x"), "x", {}, 1)])

    assert sent.failure is not None
    assert (sent.failure.code, sent.failure.unknown) == ("InternalError", False)
    assert len(slow.untils) == 3
    assert set(slow.untils) == {14.0}


@pytest.mark.long
@pytest.mark.parametrize("server", [silent, full, dripping])
@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
def test_by_default_it_takes_no_longer_than_it_says(make: Callable[..., Any], server: Callable[..., Any]) -> None:
    with server() as url:
        publisher = make(url, **KEYS)
        assert publisher.client

        alone = seconds_of(lambda: publisher.publish("ping"), Exception)
        batch = seconds_of(lambda: publisher.publish_batch(["ping"] * 100), PublishError)

    assert max(alone, batch) <= LONGEST
