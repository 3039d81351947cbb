"""Whole answers: boto3 has its read timeout for each piece of one; here it is the time for all of it.

What is called within `answered_by` has an end besides, which boto3 does not know for its attempts together.
"""

from __future__ import annotations

import io
import math
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import cache
from http.client import HTTPResponse
from typing import Any, Final

from typing_extensions import override

from megaflow.logs import get_logger

log = get_logger(__name__)


_until: Final[ContextVar[float]] = ContextVar("megaflow-answered-by", default=math.inf)


@contextmanager
def answered_by(until: float) -> Iterator[None]:
    """Let no request of a client with whole answers begin after *until*, by the monotonic clock, or be waited for."""
    token = _until.set(until)
    try:
        yield
    finally:
        _until.reset(token)


def want_whole_answers(client: Any) -> None:
    """Have every call of the boto3 client *client* end in time, even where its answer comes byte by byte."""
    try:
        session = client._endpoint.http_session
        pools = {scheme: _bound_pool(pool) for scheme, pool in session._pool_classes_by_scheme.items()}
        # The latter is for proxies, which come later.
        session._manager.pool_classes_by_scheme = session._pool_classes_by_scheme = pools
    except AttributeError as error:
        log.debug("this version of botocore is not known, and its read timeout is for each piece: %s", str(error))


@cache
def _bound_pool(pool: Any) -> Any:
    from urllib3.exceptions import ConnectTimeoutError

    base = pool.ConnectionCls

    def request(connection: Any, *args: Any, **options: Any) -> Any:
        if time.monotonic() > _until.get():
            raise ConnectTimeoutError(connection, "there is no time left for another attempt")
        return base.request(connection, *args, **options)

    connection = type(base.__name__, (base,), {"response_class": _Answer, "request": request})
    return type(pool.__name__, (pool,), {"ConnectionCls": connection})


class _Answer(HTTPResponse):
    """An answer that has to be there within the timeout of its socket."""

    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(_Readable(sock), *args, **options)  # type: ignore[arg-type]


class _Readable:
    """What an answer asks of a socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Pieces(self._socket))


class _Pieces(io.RawIOBase):
    """The bytes that come over a socket, up to its timeout in all."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._timeout = sock.gettimeout()
        self._until = min(_until.get(), math.inf if self._timeout is None else time.monotonic() + self._timeout)
        self._pieces: Any = sock.makefile("rb", buffering=0)

    @override
    def readable(self) -> bool:
        return True

    @override
    def readinto(self, buffer: Any) -> int | None:
        if self._until < math.inf:
            left = self._until - time.monotonic()
            if left <= 0:
                raise TimeoutError("the answer does not end")
            self._socket.settimeout(left)
        read: int | None = self._pieces.readinto(buffer)
        return read

    @override
    def close(self) -> None:
        if not self.closed:
            # The next request goes over it.
            with suppress(OSError):
                self._socket.settimeout(self._timeout)
            self._pieces.close()
        super().close()
