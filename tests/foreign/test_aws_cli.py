"""The AWS CLI by its command, and what it sends."""

from __future__ import annotations

import json
import subprocess
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from megaflow.local.server import Server
from tests.foreign.clients import without_settings
from tests.foreign.environments import AWS_CLI, AWS_CLI_OF_OLD, Environment
from tests.waiting import PATIENCE

KEYS = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_DEFAULT_REGION": "us-east-1"}
BOTH = pytest.mark.parametrize("cli", [AWS_CLI, AWS_CLI_OF_OLD], ids=lambda cli: cli.name)


def aws(cli: Environment, url: str, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [cli.program("aws"), "--endpoint-url", url, "sqs", *command],
        env=without_settings() | KEYS,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@BOTH
def test_the_command_says_what_is_there_and_fails_where_nothing_is(cli: Environment, server: Server) -> None:
    made = aws(cli, server.url, "create-queue", "--queue-name", "orders", "--attributes", "DelaySeconds=3")
    missing = aws(cli, server.url, "get-queue-url", "--queue-name", "nowhere")

    assert json.loads(made.stdout) == {"QueueUrl": f"{server.url}/000000000000/orders"}
    assert missing.returncode not in (0, 1)
    assert "(AWS.SimpleQueueService.NonExistentQueue) when calling the GetQueueUrl operation" in missing.stderr


class Listener(BaseHTTPRequestHandler):
    """Answers nothing, and keeps the type of what it is sent."""

    types: list[str | None]

    def do_POST(self) -> None:
        self.types.append(self.headers["Content-Type"])
        self.send_error(400)

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.mark.parametrize(
    ("cli", "content_type"),
    [(AWS_CLI, "application/x-amz-json-1.0"), (AWS_CLI_OF_OLD, "application/x-www-form-urlencoded; charset=utf-8")],
    ids=["today", "of old"],
)
def test_the_one_of_old_speaks_query(cli: Environment, content_type: str) -> None:
    Listener.types = []
    with HTTPServer(("127.0.0.1", 0), Listener) as listener:
        answering = Thread(target=listener.handle_request)
        answering.start()
        aws(cli, f"http://127.0.0.1:{listener.server_port}", "list-queues")
        answering.join(PATIENCE)

    assert Listener.types == [content_type]
