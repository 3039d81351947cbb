"""What a consumer says of itself over HTTP."""

import http.client
import json
import socket
from collections.abc import Callable
from typing import Any

import pytest

from megaflow import App, ConfigurationError, Health
from megaflow.health import serve_health

WELL = Health(live=True, ready=True, heard_ago=(0.5,))


def ask(port: int, path: str, method: str = "GET") -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, json.loads(body) if body else None


def say(health: Health) -> Callable[[], Health]:
    return lambda: health


def test_a_consumer_that_is_well_is_live_and_ready() -> None:
    with serve_health(0, say(WELL)) as port:
        status, said = ask(port, "/ready")

        assert status == 200
        assert said["heard_ago"] == [0.5]
        assert ask(port, "/live")[0] == 200


def test_one_that_is_not_ready_is_live_all_the_same() -> None:
    with serve_health(0, say(Health(live=True, ready=False, problems=("down",)))) as port:
        assert ask(port, "/live")[0] == 200
        status, said = ask(port, "/ready")

    assert status == 503
    assert said["problems"] == ["down"]


def test_one_that_hangs_is_not_live() -> None:
    with serve_health(0, say(Health(live=False, ready=False))) as port:
        assert ask(port, "/live?full=1")[0] == 503


def test_other_questions_are_not_answered() -> None:
    with serve_health(0, say(WELL)) as port:
        assert ask(port, "/")[0] == 404
        assert ask(port, "/live", "HEAD") == (200, None)


def test_a_health_that_cannot_be_told_is_not_well(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> Health:
        raise RuntimeError("broken")

    with serve_health(0, fail) as port:
        status, said = ask(port, "/live")

    assert status == 503
    assert "see the log" in said["error"]
    assert "the health cannot be told" in caplog.text


def test_a_client_that_says_nothing_holds_up_nobody() -> None:
    with serve_health(0, say(WELL)) as port, socket.create_connection(("127.0.0.1", port)):
        assert ask(port, "/live")[0] == 200


def test_a_port_that_is_taken_is_a_clear_error() -> None:
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]

        with (
            pytest.raises(ConfigurationError, match=f"health_port={port} cannot be listened on"),
            serve_health(port, say(WELL)),
        ):
            pass


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
