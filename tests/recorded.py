"""An embedded server that notes which call came, and for which region it was signed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from megaflow.local.server import Server

_SCOPE = re.compile(rb"Credential=[^/]*/[0-9]{8}/([^/]+)/(sqs|sns)/aws4_request")


@dataclass
class Recorded:
    """The server's URL, and the calls so far: the operation and the region that signed it."""

    url: str
    calls: list[tuple[str, str]] = field(default_factory=list)

    def regions_of(self, *operations: str) -> set[str]:
        """Return the regions that signed these operations; all of them where none is named."""
        return {region for operation, region in self.calls if operation in operations or not operations}


@contextmanager
def recorded() -> Iterator[Recorded]:
    """Run a server that notes its calls."""
    server = Server(region_any=True)
    noted = Recorded(server.url)
    config = server._server.config
    application: Any = config.app

    async def record(scope: Any, receive: Any, send: Any) -> None:
        headers = dict(scope["headers"])
        found = _SCOPE.search(headers.get(b"authorization", b""))

        async def receive_and_note() -> Any:
            event = await receive()
            if found and event["type"] == "http.request" and not event.get("more_body"):
                operation = headers.get(b"x-amz-target", b"").decode().rpartition(".")[2]
                asked = parse_qs(event.get("body", b"").decode(errors="replace")) if not operation else {}
                noted.calls.append((operation or asked.get("Action", ["?"])[0], found[1].decode()))
            return event

        await application(scope, receive_and_note, send)

    config.app = record
    with server:
        yield noted
