"""Connections: kept open, shared by threads, each used by one at a time."""

from __future__ import annotations

import contextlib
import math
import os
import select
import socket
import ssl
import struct
import time
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from megaflow.errors import UsageError
from megaflow.forks import let_go, renew_in_child
from megaflow.wire.http import HttpAnswer, NoAnswerError, read_answer

_PATIENCE: Final = 5
"""So many read timeouts may pass until an answer that comes drop by drop is complete."""

_SHORT: Final = 1.0
"""Seconds within which nobody closes a connection for being idle: to look would take its time."""


_GLANCE: Final = 0.001
"""Seconds for what is there already."""

_TAKEN_AT_ONCE: Final = 16_384
"""Bytes: what a connection takes from us whether or not the other side reads."""


class ConnectError(Exception):
    """There is no connection; its cause says why."""


class Connection:
    """One connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.used_at = 0.0
        """When an answer came over it, by the monotonic clock; 0 is that there was none."""

        self.has_answered = False
        """Whether a byte has come of the answer to the last request."""

        self.is_given_up = False
        """Whether it was closed because nobody wants the answer any more."""

        self.is_inherited = False
        """Whether this process is a child, and the connection its parent's."""

        self._socket = sock
        self._timeout = 0.0
        self._deadline = 0.0
        renew_in_child(self)

    def send(self, request: bytes, timeout: float, until: float) -> None:
        """Send *request*; up to *timeout* seconds may pass without a byte gone, or come. Raises `OSError`."""
        if timeout != self._timeout:
            self._set_timeout(timeout)
        self.has_answered = False
        try:
            if len(request) <= _TAKEN_AT_ONCE:
                self._socket.sendall(request)
            else:
                self._send_in_parts(request, until)
        except OSError as error:
            self._explain(error, f"nothing was taken within {timeout:g} s")
            raise

    def receive(self, until: float) -> HttpAnswer:
        """Return the answer to what was sent; raises `BrokenAnswerError` or `OSError`.

        It is not waited for after *until*, by the monotonic clock; what has come by then is read.
        """
        if self.is_inherited:
            raise _parents_call()
        self._deadline = min(until, time.monotonic() + self._timeout * _PATIENCE)
        try:
            answer = read_answer(self._receive)
        except OSError as error:
            self._explain(error, f"nothing came within {self._timeout:g} s")
            raise
        self.used_at = time.monotonic()
        return answer

    def has_news_within(self, seconds: float) -> bool:
        """Tell whether something comes so soon, or is there: of an answer, or the end of the connection."""
        try:
            if not hasattr(select, "poll"):
                return bool(select.select([self._socket], [], [], seconds)[0])
            poll = select.poll()
            poll.register(self._socket, select.POLLIN)
            return bool(poll.poll(seconds * 1000))
        except (OSError, ValueError):
            # Another thread has closed it: whoever reads is told.
            return True

    @property
    def is_dropped(self) -> bool:
        """Whether the other side has closed it meanwhile, or spoken without being asked, or it is no longer ours."""
        if self.is_inherited or self.is_given_up:
            return True
        return time.monotonic() - self.used_at >= _SHORT and self.has_news_within(0)

    @property
    def may_be_replaced(self) -> bool:
        """Whether what failed over it can be sent again over another one: it was closed while nobody used it."""
        return self.used_at > 0 and not (self.has_answered or self.is_given_up)

    def give_up(self) -> None:
        """Close it; whoever waits for an answer gets an error."""
        self.is_given_up = True
        self.close()

    def hang_up(self) -> None:
        """Tell the other side that nobody waits for more; what it answers all the same can be read."""
        with contextlib.suppress(OSError):
            # Not by the method of TLS, after which nothing could be read.
            socket.socket.shutdown(self._socket, socket.SHUT_WR)

    def close(self) -> None:
        """Close it."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _after_fork_in_child(self) -> None:
        """See `megaflow.forks`."""
        self.is_inherited = True
        let_go(self._socket)

    def _explain(self, error: OSError, late: str) -> None:
        """Raise what says more than *error*, where there is such; *late* is what that nothing came in time means."""
        if self.is_inherited:
            # It forked in the midst of this: to try again would be to do what the parent does.
            raise _parents_call() from error
        if isinstance(error, BlockingIOError):
            raise TimeoutError(late) from error

    def _receive(self, size: int) -> bytes:
        left = self._deadline - time.monotonic()
        if left < self._timeout:
            if left <= 0 and (self.has_answered or not self.has_news_within(0)):
                raise TimeoutError("the answer does not end")
            self._set_timeout(max(left, _GLANCE))
        chunk = self._socket.recv(size)
        self.has_answered = self.has_answered or bool(chunk)
        return chunk

    def _send_in_parts(self, request: bytes, until: float) -> None:
        """Send what may be more than the other side takes at once, which could take it drop by drop."""
        left = memoryview(request)
        while left:
            if time.monotonic() > until:
                raise TimeoutError("the request is not taken")
            left = left[self._socket.send(left) :]

    def _set_timeout(self, seconds: float) -> None:
        _set_timeout(self._socket, seconds)
        self._timeout = seconds


@dataclass(slots=True)
class SentRequest:
    """A request that was sent, and whose answer nobody has read."""

    connection: Connection
    request: bytes
    timeout: float
    until: float = math.inf
    is_over: bool = False
    """Whether nothing of its answer is missing any more: the connection may be in use for something else."""

    is_abandoned: bool = False
    """Whether nobody waits for its answer any more."""

    _is_answered: bool = False

    @property
    def is_visible(self) -> bool:
        """Whether it can be seen that its answer is there: what comes first over a connection may be of TLS's own."""
        return self.connection.used_at > 0

    def is_answered_within(self, seconds: float) -> bool:
        """Wait at most so long until its answer is there, or begins to be, where that is visible; tell whether."""
        if not self._is_answered:
            # What is there stays there: to ask the system again would take its time.
            self._is_answered = self.is_over or (self.is_visible and self.connection.has_news_within(seconds))
        return self._is_answered

    def abandon(self) -> None:
        """Hang up, as nobody waits for the answer any more; one that comes all the same can be read."""
        self.is_abandoned = True
        # Before it is asked whether it is over: whoever ends it meanwhile keeps no connection that was given up.
        self.connection.is_given_up = True
        if not self.is_over:
            self.connection.hang_up()

    def go_on_over(self, connection: Connection) -> None:
        """Take note that it was sent again over another *connection*."""
        self.connection = connection
        if self.is_abandoned:
            self.abandon()


class Connections:
    """Connections to one server. May be used from any thread; *connect* opens one more, *most_idle* are kept."""

    def __init__(self, connect: Callable[[], socket.socket], *, most_idle: int) -> None:
        self._connect = connect
        self._idle: deque[Connection] = deque(maxlen=most_idle)
        self._busy: set[Connection] = set()
        weakref.finalize(self, _close_all, self._idle)

    def send(self, request: bytes, timeout: float, until: float = math.inf) -> SentRequest:
        """Send *request* over a connection, on which *timeout* seconds may pass without a byte, and none after *until*.

        A connection that was closed meanwhile, as it is found, is replaced once, and so in `receive`: but never after
        a byte of an answer. Raises `ConnectError` or `OSError`.
        """
        connection = self._take()
        try:
            return self._send(connection, request, timeout, until)
        except ConnectionError:
            if not connection.may_be_replaced:
                raise
        return self._send(self._open(), request, timeout, until)

    def receive(self, sent: SentRequest) -> HttpAnswer:
        """Return the answer to what was sent; raises `ConnectError`, `BrokenAnswerError` or `OSError`."""
        try:
            return self._receive(sent)
        except (NoAnswerError, ConnectionError):
            if not sent.connection.may_be_replaced:
                raise
        again = self._send(self._open(), sent.request, sent.timeout, sent.until)
        sent.go_on_over(again.connection)
        return self._receive(sent)

    def close(self) -> None:
        """Close all of them, those in use as well."""
        for connection in tuple(self._busy):
            connection.give_up()
        _close_all(self._idle)

    def _send(self, connection: Connection, request: bytes, timeout: float, until: float) -> SentRequest:
        self._busy.add(connection)
        try:
            connection.send(request, timeout, until)
        except BaseException:
            self._busy.discard(connection)
            connection.close()
            raise
        return SentRequest(connection, request, timeout, until)

    def _receive(self, sent: SentRequest) -> HttpAnswer:
        connection = sent.connection
        try:
            answer = connection.receive(sent.until)
        except BaseException:
            connection.close()
            raise
        finally:
            self._busy.discard(connection)
            sent.is_over = True
        if answer.keeps_alive and not connection.is_given_up and len(self._idle) < (self._idle.maxlen or 0):
            self._idle.append(connection)
        else:
            connection.close()
        return answer

    def _take(self) -> Connection:
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:
                break
            if not connection.is_dropped:
                return connection
            connection.close()
        return self._open()

    def _open(self) -> Connection:
        try:
            return Connection(self._connect())
        except OSError as error:
            raise ConnectError(str(error)) from error


def _set_timeout(sock: socket.socket, seconds: float) -> None:
    """Let *sock* wait so long for each byte.

    Python asks the system twice, whether something can be read and then for it, and lets other threads in each time.
    Where the system itself can keep the time, once is enough; TLS does not hear of that.
    """
    if os.name != "posix" or isinstance(sock, ssl.SSLSocket):
        sock.settimeout(seconds)
        return
    sock.settimeout(None)
    whole, part = divmod(max(seconds, 0.000_001), 1)
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        sock.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", int(whole), int(part * 1e6)))


def _parents_call() -> UsageError:
    return UsageError("this call was begun before a fork, and its answer is the parent's: begin another one")


def _close_all(connections: deque[Connection]) -> None:
    while connections:
        connections.pop().close()
