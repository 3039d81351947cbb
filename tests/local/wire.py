"""An account behind HTTP, and HTTP as bytes: what SDKs put on the wire, and what comes back."""

from __future__ import annotations

import itertools
import json
import socket
from dataclasses import dataclass
from types import TracebackType
from typing import Any
from urllib.parse import urlencode

from tests.local.conftest import Shop
from tests.waiting import PATIENCE

_numbers = itertools.count()


class HttpShop(Shop):
    """An account on a clock that moves when told to, in this process and behind HTTP."""

    def fresh_queue(self, **attributes: str) -> str:
        return self.queue(f"queue-{next(_numbers)}", **attributes)

    def wait_for_polls(self, count: int) -> None:
        """Return once so many receives wait."""
        with self.account.changed:
            assert self.account.changed.wait_for(lambda: len(self.account.polls) == count, PATIENCE)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        read: dict[str, Any] = json.loads(self.body)
        return read

    @property
    def bodies(self) -> list[str]:
        """The bodies of the messages that a receive was answered."""
        return [message["Body"] for message in self.json.get("Messages", [])]


def post(body: bytes, *headers: str, path: str = "/") -> bytes:
    """Return a request with these headers, such as ``Expect: 100-continue``."""
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", *headers, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


def in_json(operation: str, **ask: Any) -> bytes:
    """Return the request that calls an operation of SQS, signed for us-east-1."""
    headers = f"X-Amz-Target: AmazonSQS.{operation}", "Content-Type: application/x-amz-json-1.0"
    return post(json.dumps(ask).encode(), *headers, signature("us-east-1"))


def signature(region: str, key: str = "any", service: str = "sqs") -> str:
    """Return the header of a signature, as far as anybody here reads it."""
    return f"Authorization: AWS4-HMAC-SHA256 Credential={key}/20260101/{region}/{service}/aws4_request, Signature=0"


def in_query(action: str, version: str = "2010-03-31", **ask: str) -> bytes:
    """Return the request that calls an operation of SNS."""
    form = urlencode({"Action": action, "Version": version, **ask})
    return post(form.encode(), "Content-Type: application/x-www-form-urlencoded; charset=utf-8")


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


class Wire:
    """One connection to a server."""

    def __init__(self, url: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port_of(url)), PATIENCE)
        self._reader = self.socket.makefile("rb")

    def __enter__(self) -> Wire:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._reader.close()
        self.socket.close()

    def send(self, *requests: bytes) -> None:
        self.socket.sendall(b"".join(requests))

    def call(self, operation: str, **ask: Any) -> Answer:
        self.send(in_json(operation, **ask))
        return self.answer()

    def poll(self, url: str, count: int = 1) -> None:
        """Ask for messages without waiting for the answer, which may take 20 seconds."""
        self.send(in_json("ReceiveMessage", QueueUrl=url, MaxNumberOfMessages=count, WaitTimeSeconds=20))

    def answer(self, *, bodiless: bool = False) -> Answer:
        status = int(self._reader.readline().split()[1])
        headers = {}
        while line := self._reader.readline().strip().decode():
            name, _, value = line.partition(": ")
            headers[name.lower()] = value
        length = 0 if bodiless else int(headers.get("content-length", 0))
        return Answer(status, headers, self._reader.read(length))

    def is_closed(self) -> bool:
        """Tell whether the server has closed it, with nothing more to say."""
        try:
            return self._reader.read(1) == b""
        except ConnectionResetError:
            return True
