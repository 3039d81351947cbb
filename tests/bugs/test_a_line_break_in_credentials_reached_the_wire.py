"""A line break in credentials, as a mounted secret has at its end, was sent: it ends a header, and begins another."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.credentials import RefreshableCredentials
from botocore.session import get_session

from megaflow import App, ConfigurationError, SnsPublisher, SqsPublisher
from megaflow.transport.session import AwsSettings
from tests.cli.conftest import Run, _alone, run
from tests.unmocked import unmocked

__all__ = ["_alone", "run"]

SECRET = "AKIA-SECRET"
KEYS = {"aws_access_key_id": "any", "aws_secret_access_key": "any", "aws_session_token": "any"}
ENDS = ["\n", "\r\n", "\r", "\0", "\r\nx-evil: 1", "\x1b[31m"]
URL = "https://sqs.us-east-1.amazonaws.com/123456789012/orders"
TOPIC = "arn:aws:sns:us-east-1:123456789012:news"


@pytest.fixture
def listener() -> Iterator[tuple[str, list[bytes]]]:
    """The address of a server, and what has reached it."""
    reached: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            try:
                while True:
                    connection, _ = server.accept()
                    with connection:
                        reached.append(connection.recv(65_536))
            except OSError:
                return

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", reached
        server.shutdown(socket.SHUT_RDWR)
    thread.join()


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("name", [*KEYS, "region_name", "profile_name", "endpoint_url"])
@pytest.mark.parametrize("make", [AwsSettings, App, SqsPublisher, SnsPublisher])
def test_what_is_given_is_refused_by_its_name(make: Callable[..., object], name: str, end: str) -> None:
    given = KEYS | {name: f"{SECRET}{end}"}

    with pytest.raises(ConfigurationError, match=f"^{name}.* holds a line break or another control char") as caught:
        make(**given)

    assert (SECRET in str(caught.value)) == (name not in KEYS)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("variable", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"])
@pytest.mark.parametrize(
    "publish",
    [
        lambda: SqsPublisher(queue_url=URL).publish("x"),
        lambda: SnsPublisher(topic_arn=TOPIC).publish("x"),
    ],
)
def test_so_is_what_the_environment_holds(
    variable: str, publish: Callable[[], str], monkeypatch: pytest.MonkeyPatch, listener: tuple[str, list[bytes]]
) -> None:
    address, reached = listener
    monkeypatch.setenv("AWS_ENDPOINT_URL", address)
    for name, value in KEYS.items():
        monkeypatch.setenv(name.upper(), value)
    monkeypatch.setenv(variable, f"{SECRET}\n")

    with pytest.raises(
        ConfigurationError, match=rf"^{variable.lower()} \(found by boto3: env\) holds a line"
    ) as caught:
        publish()

    assert SECRET not in str(caught.value)
    assert reached == []


@pytest.mark.parametrize("arguments", [["stats", "orders"], ["publish", "x", "--topic", "news"]])
def test_a_command_shows_no_secret(
    run: Run, arguments: list[str], monkeypatch: pytest.MonkeyPatch, listener: tuple[str, list[bytes]], tmp_path: Path
) -> None:
    (tmp_path / "x").write_text("x")
    for name in KEYS:
        monkeypatch.setenv(name.upper(), f"{SECRET}\n")

    ran = run(*arguments, "--endpoint-url", listener[0], "--region", "us-east-1")

    assert ran.code == 2
    assert "aws_access_key_id (found by boto3: env) holds a line break" in ran.err
    assert SECRET not in ran.out + ran.err


def of_client(address: str, **options: Any) -> Any:
    session = boto3.Session(**{**KEYS, "region_name": "us-east-1"} | options.pop("session", {}))
    return session.client("sqs", endpoint_url=address, **options)


def with_user_agent(address: str) -> Any:
    return of_client(address, config=Config(user_agent=f"{SECRET}\r\nx-evil: 1"))


def with_token(address: str) -> Any:
    return of_client(address, session={"aws_session_token": f"{SECRET}\n"})


def renewing(address: str, **renewed: str) -> Any:
    found = {"access_key": "any", "secret_key": "any", "token": "any", "expiry_time": "2100-01-01T00:00:00Z"} | renewed
    session = get_session()
    session._credentials = RefreshableCredentials.create_from_metadata(found, lambda: found, "test")
    return boto3.Session(botocore_session=session).client("sqs", region_name="us-east-1", endpoint_url=address)


def with_renewed_token(address: str) -> Any:
    return renewing(address, token=f"{SECRET}\n")


def with_renewed_key(address: str) -> Any:
    return renewing(address, access_key=f"{SECRET}\r")


@pytest.mark.parametrize(
    ("make_client", "what"),
    [
        (with_user_agent, "the user agent"),
        (with_renewed_token, "aws_session_token"),
        (with_renewed_key, "aws_access_key_id, or region_name,"),
        (with_token, r"aws_session_token \(found by boto3: explicit\)"),
    ],
)
def test_the_wire_sends_no_line_break_of_a_client_that_was_given(
    make_client: Callable[[str], Any], what: str, listener: tuple[str, list[bytes]]
) -> None:
    address, reached = listener
    publisher = SqsPublisher(queue_url=f"{address}/123456789012/orders", client=unmocked(make_client(address)))

    with pytest.raises(ConfigurationError, match=f"^{what} holds a line break or another control char") as caught:
        publisher.publish("x")

    assert SECRET not in str(caught.value)
    assert reached == []


def test_the_command_line_names_its_option(run: Run) -> None:
    ran = run("stats", "orders", "--region", "us-east-1\n", "--endpoint-url", "http://127.0.0.1:1")

    assert ran.code == 2
    assert r"megaflow: --region 'us-east-1\n' holds a line break" in ran.err


def test_a_run_ends_at_once(monkeypatch: pytest.MonkeyPatch, listener: tuple[str, list[bytes]]) -> None:
    address, reached = listener
    app = App(f"{address}/123456789012/orders", client=with_token(address))
    app.on_data({})(lambda payload: None)

    with pytest.raises(ConfigurationError, match=r"^aws_session_token"):
        app.run()

    assert not any(SECRET.encode() in request for request in reached)
