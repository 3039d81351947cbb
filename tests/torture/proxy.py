"""A TCP proxy on 127.0.0.1 that resets, stalls, delays, and cuts answers in half."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
import time
from contextlib import suppress
from typing import Final

_HOST: Final = "127.0.0.1"
_CHUNK: Final = 65536
_LOOK_AGAIN: Final = 0.02
_PATIENCE: Final = 10.0
_CUT_SHARE: Final = 0.5
_RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER of no time: closing sends a reset."""


class Proxy:
    """Passes on what comes to the server on *port*, in a thread of its own while used in a ``with`` statement.

    Its faults last for so many seconds. They may be asked for from any thread.
    """

    def __init__(self, port: int, seed: int) -> None:
        self._target = port
        self._luck = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._live, name="torture-proxy", daemon=True)
        self._listens = threading.Event()
        self._ends = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        self._stalled_until = self._delayed_until = self._cut_until = 0.0
        self._delay = 0.0
        self.port = 0
        self.connections = 0
        self.resets = 0

    def __enter__(self) -> Proxy:
        self._thread.start()
        if not self._listens.wait(_PATIENCE):
            raise TimeoutError("the proxy did not start")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._ends.set)
        self._thread.join(_PATIENCE)

    def reset(self) -> None:
        """Reset every connection."""
        self._loop.call_soon_threadsafe(self._reset_all)

    def stall(self, seconds: float) -> None:
        """Accept, and pass nothing."""
        self._stalled_until = time.monotonic() + seconds

    def delay(self, seconds: float, delay: float) -> None:
        """Hold everything up for *delay* seconds."""
        self._delay, self._delayed_until = delay, time.monotonic() + seconds

    def cut(self, seconds: float) -> None:
        """Pass half of some answers, and reset their connections."""
        self._cut_until = time.monotonic() + seconds

    def calm(self) -> None:
        """Pass everything from now on."""
        self._stalled_until = self._delayed_until = self._cut_until = 0.0

    def _live(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._connect, _HOST, 0)
        self.port = server.sockets[0].getsockname()[1]
        self._listens.set()
        await self._ends.wait()
        server.close()
        self.calm()
        # Not cancelled: a stream server complains of callbacks that are.
        for writer in tuple(self._writers):
            _reset(writer)
        if tasks := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(tasks, timeout=_PATIENCE / 2)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            far_reader, far_writer = await asyncio.open_connection(_HOST, self._target)
        except OSError:
            await _close(writer, reset=True)
            return
        pair = (writer, far_writer)
        self._writers.update(pair)
        asks = asyncio.ensure_future(self._pump(reader, far_writer, answers=False))
        answers = asyncio.ensure_future(self._pump(far_reader, writer, answers=True))
        harmed = True
        try:
            done, _ = await asyncio.wait((asks, answers), return_when=asyncio.FIRST_COMPLETED)
            harmed = any(pump.exception() is not None for pump in done)
        finally:
            asks.cancel()
            answers.cancel()
            await asyncio.gather(asks, answers, return_exceptions=True)
            self._writers.difference_update(pair)
            for each in pair:
                await _close(each, reset=harmed)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool) -> None:
        while chunk := await reader.read(_CHUNK):
            await self._hold_up()
            if answers and time.monotonic() < self._cut_until and self._luck.random() < _CUT_SHARE:
                writer.write(chunk[: len(chunk) // 2])
                await writer.drain()
                raise ConnectionAbortedError
            writer.write(chunk)
            await writer.drain()

    async def _hold_up(self) -> None:
        if time.monotonic() < self._delayed_until:
            await asyncio.sleep(self._delay)
        while time.monotonic() < self._stalled_until:
            await asyncio.sleep(_LOOK_AGAIN)

    def _reset_all(self) -> None:
        self.resets += len(self._writers) // 2
        for writer in tuple(self._writers):
            _reset(writer)


async def _close(writer: asyncio.StreamWriter, *, reset: bool) -> None:
    if reset:
        _reset(writer)
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


def _reset(writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
