"""Connections: uvicorn's, that can be cut, tell at once that their caller hung up, and write in one go."""

from __future__ import annotations

import asyncio
import os

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from megaflow.local.http.asgi import CALLER, HttpCaller


class Connection(HttpToolsProtocol):
    """A connection that can be cut, and that tells at once when its caller hung up."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        gathered = _Gathered(transport, self.loop)
        self.transport, self.let_go = gathered, gathered.let_go  # type: ignore[assignment]
        self._caller = HttpCaller(cut=transport.abort)
        self._extensions = {CALLER: self._caller}

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = self._extensions  # type: ignore[typeddict-item]

    def eof_received(self) -> bool:  # type: ignore[override]
        """Answer what was asked, and then close: what a receive has taken would be lost to others with its answer."""
        self._caller.hang_up()
        self.shutdown()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        # Now, not when the loop comes round to it: a message that is sent next must not go to who has left.
        self._caller.hang_up()

    def shutdown(self) -> None:
        if self.cycle is not None and self.cycle.more_body:
            # Nobody knows when the rest of the request comes, or whether.
            self.transport.close()
        else:
            super().shutdown()


class _Gathered:
    """A transport, as far as uvicorn writes to one: what a round of the loop has to say goes in one packet.

    An answer's head and body are written apart, and each packet costs a tenth of a call.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._parts: list[bytes] = []
        self.is_closing = transport.is_closing
        self.abort = transport.abort

    def let_go(self) -> None:
        # In its place: the transport that has the number is not ours to close.
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, self._transport.get_extra_info("socket").fileno(), inheritable=False)
        os.close(nothing)

    def write(self, part: bytes) -> None:
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(part)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._parts:
            self._transport.write(b"".join(self._parts))
            self._parts.clear()
