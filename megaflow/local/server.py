"""The account behind HTTP on 127.0.0.1, as boto3, the AWS CLI and other SDKs speak it."""

from __future__ import annotations

import asyncio
import socket
import threading
from types import TracebackType
from typing import Final

from megaflow.errors import ConfigurationError
from megaflow.local.account import Account
from megaflow.local.polls import Poll

try:
    import uvicorn
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    from megaflow.local.asgi import application
except ImportError as error:
    raise ConfigurationError(
        f"the embedded queue behind HTTP needs the extra local ({error}); pip install 'megaflow[local]'"
    ) from error

_HOST: Final = "127.0.0.1"
_BACKLOG: Final = 2048
_KEEP_ALIVE: Final = 3600
"""Seconds. A client that finds its idle connection closed would have to try again."""

_SHORTEST_WAIT: Final = 0.001


class Server:
    """An account behind HTTP, in a thread of its own while used in a ``with`` statement, or run by :meth:`serve`.

    It listens on 127.0.0.1 and nowhere else, from the start: nobody has to wait for it. Any credentials do. *port* 0
    takes a free one. The URLs of queues begin with ``url``.

    Raises:
        ConfigurationError: the port is taken.

    Example:
        >>> import boto3
        >>> from megaflow.local.server import Server
        >>> with Server() as server:
        ...     sqs = boto3.client("sqs", endpoint_url=server.url, region_name="us-east-1",
        ...                        aws_access_key_id="any", aws_secret_access_key="any")
    """

    def __init__(self, account: Account | None = None, *, port: int = 0) -> None:
        self.account = account or Account()
        self._socket = _listen(port)
        self.url = f"http://{_HOST}:{self._socket.getsockname()[1]}"
        self.account.url = self.url
        self._server = _Uvicorn(self.account)
        self._thread = threading.Thread(target=self.serve, name="megaflow-local", daemon=True)

    def serve(self) -> None:
        """Answer until :meth:`stop` is called or, on the main thread, a signal comes."""
        self._server.run(sockets=[self._socket])

    def stop(self) -> None:
        """Stop; receives that wait are answered empty. May be called from any thread."""
        self._server.should_exit = True

    def __enter__(self) -> Server:
        """Begin to answer."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop, and wait until all is answered."""
        self.stop()
        self._thread.join()


class _Uvicorn(uvicorn.Server):
    """Serves one account, and takes a turn at it whenever time has something to do for those who poll."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._parked: set[Poll] = set()
        self._alarm: asyncio.TimerHandle | None = None
        super().__init__(
            uvicorn.Config(
                application(account, self._parked),
                http=_Connection,
                ws="none",
                loop="asyncio",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=_KEEP_ALIVE,
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._account.watchers.add(self._watch)
        await super().startup(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._account.watchers.discard(self._watch)
        with self._account.turn():
            for poll in list(self._parked):
                self._account.polls.end(poll)
        await super().shutdown(sockets)

    def _watch(self) -> None:
        # In any thread: somebody may use the account without HTTP.
        self._loop.call_soon_threadsafe(self._set_alarm)

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        time = self._account.next_alarm()
        if time is not None:
            self._alarm = self._loop.call_later(max(time - self._account.clock(), _SHORTEST_WAIT), self._ring)

    def _ring(self) -> None:
        with self._account.turn():
            pass
        # The account tells only of alarms that changed, and the clock may not have reached this one.
        self._set_alarm()


class _Connection(HttpToolsProtocol):
    """A connection that can be cut, for answers that get lost on request."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {"megaflow.cut": {"call": self.transport.abort}}


def _listen(port: int) -> socket.socket:
    # The protocol is named because asyncio sends small answers at once only where it is known to be TCP.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        # A server that starts again need not wait until old connections are forgotten.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((_HOST, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise ConfigurationError(f"cannot listen on {_HOST}:{port}: {error.strerror or error}") from error
    return listener
