"""What a consumer says of itself over HTTP."""

import http.client
import json
import logging
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

import pytest

from megaflow import App, ConfigurationError, Health
from megaflow.local import Account, SqsClient
from megaflow.runtime import health_server as module
from megaflow.runtime.health_server import serve_health
from tests.waiting import EARLY, PATIENCE, wait_until

HOST = "127.0.0.1"
WELL = Health(live=True, ready=True, heard_ago=(0.5,))


def ask(port: int, path: str, method: str = "GET") -> tuple[int, Any]:
    connection = http.client.HTTPConnection(HOST, port, timeout=PATIENCE)
    connection.request(method, path)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, json.loads(body) if body else None


def say(health: Health) -> Callable[[], Health]:
    return lambda: health


def test_a_consumer_that_is_well_is_live_and_ready() -> None:
    with serve_health(0, say(WELL), host=HOST) as port:
        status, said = ask(port, "/ready")

        assert status == 200
        assert said["heard_ago"] == [0.5]
        assert ask(port, "/live")[0] == 200


def test_one_that_is_not_ready_is_live_all_the_same() -> None:
    with serve_health(0, say(Health(live=True, ready=False, problems=("down",))), host=HOST) as port:
        assert ask(port, "/live")[0] == 200
        status, said = ask(port, "/ready")

    assert status == 503
    assert said["problems"] == ["down"]


def test_one_that_hangs_is_not_live() -> None:
    with serve_health(0, say(Health(live=False, ready=False)), host=HOST) as port:
        assert ask(port, "/live?full=1")[0] == 503


def test_other_questions_are_not_answered() -> None:
    with serve_health(0, say(WELL), host=HOST) as port:
        assert ask(port, "/")[0] == 404
        assert ask(port, "/live", "HEAD") == (200, None)


def test_an_answer_is_json_that_nobody_keeps() -> None:
    with serve_health(0, say(WELL), host=HOST) as port:
        connection = http.client.HTTPConnection(HOST, port, timeout=PATIENCE)
        connection.request("GET", "/live")
        answer = connection.getresponse()
        said = json.loads(answer.read())
        connection.close()

    assert (answer.headers["Content-Type"], answer.headers["Cache-Control"]) == ("application/json", "no-store")
    assert said == WELL.as_dict() | {"problems": [], "heard_ago": [0.5], "open_breakers": []}


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_other_methods_are_refused(method: str) -> None:
    with serve_health(0, say(WELL), host=HOST) as port:
        status, said = ask(port, "/live", method)

    assert (status, said) == (405, {"error": "ask with GET or HEAD"})


def test_a_health_that_cannot_be_told_is_not_well(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> Health:
        raise RuntimeError("broken")

    with serve_health(0, fail, host=HOST) as port:
        status, said = ask(port, "/live")

    assert status == 503
    assert "see the log" in said["error"]
    assert "the health cannot be told" in caplog.text


def test_a_client_that_says_nothing_holds_up_nobody() -> None:
    with serve_health(0, say(WELL), host=HOST) as port, socket.create_connection((HOST, port)):
        assert ask(port, "/live")[0] == 200


def is_hung_up(client: socket.socket) -> bool:
    try:
        client.send(b"G")
        return client.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def test_a_client_that_asks_byte_by_byte_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CLIENT_TIMEOUT", 0.2)

    with serve_health(0, say(WELL), host=HOST) as port, socket.create_connection((HOST, port)) as client:
        client.settimeout(0.05)

        wait_until(lambda: is_hung_up(client))


def test_a_client_that_goes_away_is_no_error(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)

    with serve_health(0, say(WELL), host=HOST) as port:
        client = socket.create_connection((HOST, port))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.send(b"GET /li")
        client.close()
        wait_until(lambda: "was not answered" in caplog.text)

    assert capfd.readouterr().err == ""
    assert {record.levelno for record in caplog.records if "not answered" in record.message} == {logging.DEBUG}


def test_it_ends_soon_whoever_is_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module._Answers, "timeout", 2 * PATIENCE)

    with serve_health(0, say(WELL), host=HOST) as port, socket.create_connection((HOST, port)):
        assert ask(port, "/live")[0] == 200
        began = time.monotonic()

    assert time.monotonic() - began < EARLY
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, port))


@pytest.mark.parametrize("port", [-1, 65_536, "8080"])
def test_a_port_that_is_none_is_a_clear_error(port: int) -> None:
    with (
        pytest.raises(ConfigurationError, match=f"health_port={port!r} cannot be listened on"),
        serve_health(port, say(WELL), host=HOST),
    ):
        pass


def test_a_port_that_is_taken_is_a_clear_error() -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]

        with (
            pytest.raises(ConfigurationError, match=f"health_port={port} cannot be listened on"),
            serve_health(port, say(WELL), host=HOST),
        ):
            pass


def test_it_is_answered_at_the_given_address_alone() -> None:
    with serve_health(0, say(WELL), host="127.0.0.2") as port:
        socket.create_connection(("127.0.0.2", port), PATIENCE).close()

        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((HOST, port), PATIENCE)


def test_it_is_answered_on_every_address_where_none_is_given() -> None:
    with serve_health(0, say(WELL)) as port:
        for address in (HOST, "127.0.0.2"):
            socket.create_connection((address, port), PATIENCE).close()


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
def test_it_is_answered_at_an_address_of_version_6() -> None:
    with serve_health(0, say(WELL), host="::1") as port:
        socket.create_connection(("::1", port), PATIENCE).close()


@pytest.mark.parametrize("host", ["192.0.2.1", "no such host.invalid", "2001:db8::1", "a\0b", "." * 300, 7])
def test_an_address_of_elsewhere_is_a_clear_error(host: str) -> None:
    with (
        pytest.raises(ConfigurationError, match=r"^health_host=.* with health_port=0 cannot be listened on: .*; give "),
        serve_health(0, say(WELL), host=host),
    ):
        pass


def test_an_app_answers_where_it_is_told() -> None:
    account = Account()
    url = SqsClient(account).create_queue(QueueName="orders")["QueueUrl"]
    app = App(url, client=SqsClient(account), wait_time_seconds=1)
    app.on_data({})(lambda payload: None)
    with socket.create_server(("127.0.0.2", 0)) as taken:
        port = taken.getsockname()[1]

        with pytest.raises(ConfigurationError, match=f"health_host='127.0.0.2' with health_port={port} cannot be"):
            app.run(health_port=port, health_host="127.0.0.2")


@pytest.mark.parametrize("processes", [1, 2])
def test_a_host_without_a_port_is_a_clear_error(processes: int) -> None:
    app = App("https://sqs.us-east-1.amazonaws.com/123456789012/orders", client=SqsClient(Account()))
    app.on_data({})(lambda payload: None)

    with pytest.raises(ConfigurationError, match="health_host='::1' needs a health_port="):
        app.run(processes=processes, health_host="::1")


@pytest.mark.parametrize(
    ("health", "said"),
    [
        (WELL, "ready"),
        (Health(live=True, ready=False, problems=("a", "b")), "live, not ready: a; b"),
        (Health(live=False, ready=False), "not live"),
    ],
)
def test_it_is_said_in_one_line(health: Health, said: str) -> None:
    assert str(health) == said


def test_an_app_that_does_not_run_is_not_ready() -> None:
    assert str(App().health()) == "live, not ready: it is not running"
