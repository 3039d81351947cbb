"""An endpoint of a subscription over HTTP: a server of Python's own, in a thread, that keeps what it was sent."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.request import urlopen

from tests.waiting import wait_until


@dataclass
class Sent:
    """One request."""

    path: str
    headers: dict[str, str]
    """By their names in lower case."""

    body: str

    @property
    def fields(self) -> dict[str, Any]:
        opened: dict[str, Any] = json.loads(self.body)
        return opened

    @property
    def kind(self) -> str:
        return self.headers["x-amz-sns-message-type"]


@dataclass
class Endpoint:
    """What an endpoint was sent, and what it answers: the next of *statuses*, then 200."""

    url: str
    sent: list[Sent] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    """Of each answer."""

    gate: threading.Event = field(default_factory=threading.Event)
    """Answers come once it is set."""

    def __post_init__(self) -> None:
        self.gate.set()

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2].partition("/")[0])

    def wait_for(self, count: int) -> list[Sent]:
        """Return what was sent, once it is so much."""
        wait_until(lambda: len(self.sent) >= count)
        return list(self.sent)

    def of_kind(self, kind: str) -> list[Sent]:
        return [each for each in list(self.sent) if each.kind == kind]

    def wait_for_kind(self, kind: str, count: int = 1) -> list[Sent]:
        wait_until(lambda: len(self.of_kind(kind)) >= count)
        return self.of_kind(kind)

    def confirm(self) -> str:
        """Visit the link of the latest request to confirm, as whoever has the endpoint would; return the answer."""
        asked = self.wait_for_kind("SubscriptionConfirmation")[-1]
        with urlopen(asked.fields["SubscribeURL"]) as answer:
            text: str = answer.read().decode()
        return text


@contextmanager
def endpoint(path: str = "/hook", context: ssl.SSLContext | None = None) -> Iterator[Endpoint]:
    """Run an endpoint, behind TLS where there is a *context*."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            made.sent.append(Sent(self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            status = made.statuses.pop(0) if made.statuses else 200
            made.gate.wait(60)
            self.send_response(status)
            for name, value in made.headers.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    scheme = "http" if context is None else "https"
    made = Endpoint(f"{scheme}://127.0.0.1:{server.server_address[1]}{path}")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield made
    finally:
        made.gate.set()
        server.shutdown()
        thread.join()
        server.server_close()
