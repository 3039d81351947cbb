"""Calls of AWS, recorded on their way to a server: which operation, of which service, on what.

What is recorded is what goes over HTTP, whoever makes it: boto3, or the wire past it.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from typing_extensions import override

_SERVICES = {"AmazonSQS": "sqs", "DynamoDB_20120810": "dynamodb"}
_ANSWERED = ("content-type", "x-amzn-requestid", "x-amz-crc32")

ACTIONS = {
    "sqs:SendMessageBatch": "sqs:SendMessage",
    "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
    "sqs:ChangeMessageVisibilityBatch": "sqs:ChangeMessageVisibility",
    "sns:PublishBatch": "sns:Publish",
}
"""The actions of operations that are not called as these are.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-api-permissions-reference.html
https://docs.aws.amazon.com/sns/latest/dg/sns-access-policy-language-api-permissions-reference.html
"""

WITHOUT_RESOURCE = (
    "sns:ListTopics",
    "sns:ListSubscriptions",
    "sns:GetSubscriptionAttributes",
    "sns:SetSubscriptionAttributes",
)
"""Actions that a policy can only allow on ``*``.

https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsns.html
"""


@dataclass
class Recorder:
    """A server that passes calls on, and what was called: operations, each with the name of what it was about."""

    url: str
    operations: set[tuple[str, str]] = field(default_factory=set)

    @property
    def actions(self) -> set[tuple[str, str]]:
        """The actions that a policy has to allow for it, each with the name of the resource."""
        allowed = {(ACTIONS.get(operation, operation), name) for operation, name in self.operations}
        return {(action, "*" if action in WITHOUT_RESOURCE else name) for action, name in allowed}


def actions_of(policy: Any) -> set[tuple[str, str]]:
    """Return the actions that *policy* allows, each with the name of the resource."""
    return {
        (action, re.split("[:/]", resource)[-1])
        for statement in policy["Statement"]
        for action in statement["Action"]
        for resource in statement["Resource"]
    }


S3 = {"GET": "GetObject", "PUT": "PutObject", "DELETE": "DeleteObject", "POST": ""}
"""What is asked of S3, of an object."""


@contextmanager
def recording(target: str) -> Iterator[Recorder]:
    """Record the calls that are made to the server at *target* by way of the recorder."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            call = f"s3:{S3[self.command]}", "*"
            recorder.operations.add(read_call(self.headers, body) if self.command == "POST" else call)
            connection = HTTPConnection(urlsplit(target).netloc, timeout=60)
            connection.request(self.command, self.path, body, dict(self.headers.items()))
            answer = connection.getresponse()
            said = answer.read()
            connection.close()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() in _ANSWERED:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        do_GET = do_PUT = do_DELETE = do_POST  # noqa: N815 - http.server looks for these names

        @override
        def log_message(self, format: str, *args: object) -> None: ...

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        @override
        def handle_error(self, request: Any, client_address: Any) -> None:
            """Say nothing: who has hung up wants no answer."""

    server = Server(("127.0.0.1", 0), Handler)
    recorder = Recorder(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield recorder
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def read_call(headers: Any, body: bytes) -> tuple[str, str]:
    """Return the operation that is called, with its service, and the name of what it is about."""
    service, _, operation = headers.get("X-Amz-Target", "").partition(".")
    if operation:
        said = json.loads(body)
        about = said.get("QueueUrl") or said.get("QueueName") or said.get("TableName")
        return f"{_SERVICES[service]}:{operation}", about.rpartition("/")[2]
    form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
    about = form.get("TopicArn") or form.get("Name") or "*"
    return f"sns:{form['Action']}", about.rpartition(":")[2]
