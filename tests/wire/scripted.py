"""A server on 127.0.0.1 that notes what arrives, and answers as it is told."""

from __future__ import annotations

import itertools
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import boto3
import botocore
from botocore.config import Config

from tests.unmocked import unmocked
from tests.waiting import PATIENCE

QUEUE_URL = "https://sqs.us-east-1.amazonaws.com/123456789012/orders"

BOTOCORE = tuple(map(int, botocore.__version__.split(".")[:2]))
"""Its version here, as far as it changes what is sent and when."""

HttpAnswer: TypeAlias = bytes | Callable[[socket.socket], None]
"""What is sent, or what is done with the connection instead."""


def answer(body: bytes = b"{}", *, status: str = "200 OK", **headers: str) -> bytes:
    said = {"content-type": "application/x-amz-json-1.0", "x-amzn-requestid": "r-1"}
    said |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [
        f"HTTP/1.1 {status}",
        *(f"{name}: {value}" for name, value in said.items()),
        f"content-length: {len(body)}",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def hang_up(connection: socket.socket) -> None:
    """Close the connection without a word."""
    connection.shutdown(socket.SHUT_RDWR)


def keep_silent(connection: socket.socket) -> None:
    """Say nothing, until the other side has had enough."""
    connection.recv(1)


def cut_after(said: bytes) -> Callable[[socket.socket], None]:
    def cut(connection: socket.socket) -> None:
        connection.sendall(said)
        connection.shutdown(socket.SHUT_RDWR)

    return cut


@dataclass
class Request:
    """One request as it arrived; header names in lower case."""

    line: str
    headers: dict[str, str]
    body: bytes
    connection: int


@dataclass
class Scripted:
    """A server with its *script*; when that is over, it answers ``{}``."""

    script: list[HttpAnswer] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    url: str = ""
    tls: ssl.SSLContext | None = None

    def client(self, *, config: Config | None = None, **options: Any) -> Any:
        options = {"aws_access_key_id": "AKIDEXAMPLE", "aws_secret_access_key": "secret", **options}
        session = boto3.Session(
            region_name="us-east-1", **{name: options.pop(name) for name in list(options) if name.startswith("aws_")}
        )
        base = Config(proxies={}, connect_timeout=PATIENCE, read_timeout=PATIENCE)
        made = session.client("sqs", endpoint_url=self.url, config=base.merge(config or Config()), **options)
        return unmocked(made)

    def serve(self, connection: socket.socket, number: int) -> None:
        try:
            if self.tls is not None:
                connection = self.tls.wrap_socket(connection, server_side=True)
            with connection:
                stream = connection.makefile("rb")
                while request := self.read(stream, number):
                    self.requests.append(request)
                    said = self.script.pop(0) if self.script else answer()
                    if isinstance(said, bytes):
                        connection.sendall(said)
                    else:
                        said(connection)
        except OSError:
            pass

    @staticmethod
    def read(stream: Any, connection: int) -> Request | None:
        line = stream.readline().decode().strip()
        if not line:
            return None
        headers = {}
        while said := stream.readline().decode().strip():
            name, _, value = said.partition(":")
            headers[name.lower()] = value.strip()
        return Request(line, headers, stream.read(int(headers.get("content-length", 0))), connection)


@contextmanager
def scripted(*script: HttpAnswer, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> Iterator[Scripted]:
    """Run a server with this script."""
    listening = socket.create_server(("127.0.0.1", 0))
    scheme = "http" if tls is None else "https"
    server = Scripted(list(script), url=f"{scheme}://{host}:{listening.getsockname()[1]}", tls=tls)

    def accept() -> None:
        for number in itertools.count(1):
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=server.serve, args=(connection, number), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join(PATIENCE)


def bodies(requests: Sequence[Request]) -> list[bytes]:
    return [request.body for request in requests]
