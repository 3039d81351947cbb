"""The server: accounts behind HTTP, for boto3, the AWS CLI and other SDKs."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Final

from megaflow.distribution import describe_missing_extra
from megaflow.errors import ConfigurationError, UsageError
from megaflow.forks import let_go, renew_in_child
from megaflow.local.account import Account
from megaflow.local.accounts import Accounts
from megaflow.local.clock import Clock
from megaflow.local.declared.config import declare
from megaflow.local.endpoints.destinations import THIS_MACHINE, Destinations
from megaflow.local.endpoints.signing import Signer, can_sign
from megaflow.local.listening import is_loopback, listen, url_from, url_to
from megaflow.local.refused import Refused
from megaflow.local.served import Served
from megaflow.logs import get_logger

try:
    import uvicorn

    from megaflow.local.http.asgi import Application
    from megaflow.local.http.connections import Connection
    from megaflow.local.http.deliveries import Deliveries
    from megaflow.local.http.gate import Gate
except ImportError as error:
    raise ConfigurationError(describe_missing_extra("the embedded queue behind HTTP", "local", error)) from error

__all__ = ["Server"]

log = get_logger(__name__)

_KEEP_ALIVE: Final = 3600
"""Seconds. A client that finds its idle connection closed would have to try again."""

_FAREWELL: Final = 1
"""Seconds that those who are slow to read their answer have when the server stops."""

_SHORTEST_WAIT: Final = 0.001


class Server:
    """SQS and SNS behind HTTP, in a thread of its own within a ``with``, or in this thread by `serve`.

    It listens as soon as it is made. Any credentials are accepted. It serves once. Close one that has never served.
    Requests of web pages are refused.

    Args:
        account: The account to serve; a new one by default.
        host: The address that it listens on. By default this machine alone reaches it; whoever reaches another address
            may make any call. ``0.0.0.0`` is all addresses of this machine, and ``::`` those of IPv6 as well.
        port: The port; 0 takes a free one.
        url: Where URLs of queues and links in envelopes begin, for a server behind a proxy:
            ``https://sqs.example.com``. By default they begin as the caller has called it, by the header ``Host``, or
            with the address that an endpoint is connected from. It answers to the host in this URL.
        allowed_hosts: Host names that it answers to, beside addresses, names without a dot, ``localhost`` and names
            below ``localhost``: ``*.example.com`` is all names below one.
        keys: Numbers of accounts by key ids. A key id of twelve digits is the number of its account; all others are
            for the number of *account*.
        region_any: Whether one account is for all calls, whatever they are signed for. Otherwise a call that is
            signed for another region, or by the key of another account, is for an account beside it, which is made
            where it is not there. By default an *account* that you give is for all calls.
        deliver_to: Where subscriptions over HTTP may be delivered to, each ``HOST`` or ``HOST:PORT``; this machine by
            default, as long as nobody else reaches the server.
        key_file: The private file that keeps the key that signs SNS's envelopes, made when it is needed; a key that
            lasts as long as this process by default.
        opened: Called with each account that is made, before anything is done to it.
        config: Queues, topics and subscriptions that are to be there, as `declare` takes them.

    Raises:
        ConfigurationError: it cannot listen there, *url* or a place to deliver to is none, or something is wrong with
            *config*.

    Example:
        >>> import boto3
        >>> from megaflow.local.server import Server
        >>> with Server() as server:
        ...     sqs = boto3.client("sqs", endpoint_url=server.url, region_name="us-east-1",
        ...                        aws_access_key_id="any", aws_secret_access_key="any")
    """

    def __init__(
        self,
        account: Account | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        url: str | None = None,
        allowed_hosts: Collection[str] = (),
        keys: Mapping[str, str] | None = None,
        region_any: bool | None = None,
        deliver_to: Collection[str] | None = None,
        key_file: Path | None = None,
        opened: Callable[[Account], object] = lambda account: None,
        config: Mapping[str, Any] | Path | str | None = None,
    ) -> None:
        self.account = account or Account(clock=Clock())
        """The account that it serves."""

        gate = Gate(allowed_hosts, url=url)
        self._socket = listen(host, port)
        self.url = url_to(self._socket)
        """Its URL on this machine: the endpoint for boto3, the AWS CLI and ``AWS_ENDPOINT_URL``."""

        is_private = is_loopback(self._socket)
        destinations = Destinations((THIS_MACHINE if is_private else ()) if deliver_to is None else deliver_to)
        signer = Signer(key_file) if can_sign() else None
        reached_from = partial(url_from, self._socket) if url is None else lambda address: None
        self.account.served = Served(destinations, signer, reached_from)
        if not is_private:
            log.warning(
                "this server listens on %s, not on this machine alone: whoever reaches port %d there may make any call",
                host,
                self._socket.getsockname()[1],
            )
        self.account.url = self.url if url is None else url.rstrip("/")
        self.accounts = Accounts(
            self.account, keys=keys, only=account is not None if region_any is None else region_any, opened=opened
        )
        """All accounts that it serves."""

        application = Application(self.accounts, gate, follows_host=url is None)
        self._server = _Uvicorn(self.accounts, application)
        self._thread: threading.Thread | None = None
        self._begun = False
        renew_in_child(self)
        if config is not None:
            self._declare(config)

    def _declare(self, config: Mapping[str, Any] | Path | str) -> None:
        try:
            declare(self.account, config)
        except BaseException:
            self.close()
            raise

    def serve(self) -> None:
        """Answer until `stop` is called or, on the main thread, a signal comes; the signal then goes on.

        Raises:
            UsageError: it has served before, or was closed.
        """
        self._begin()
        self._run()

    def stop(self) -> None:
        """Stop; receives that wait are answered empty. May be called from any thread."""
        self._server.stop()

    def close(self) -> None:
        """Stop, wait until all is answered, and give the port back. May be called more than once."""
        self.stop()
        if self._thread is not None:
            self._thread.join()
        elif not self._begun:
            self._begin()
            self._socket.close()

    def _after_fork_in_child(self) -> None:
        """See `megaflow.forks`: whoever speaks to this server hears of its end only once no child holds the line."""
        let_go(self._socket)
        self._server.let_go()

    def __enter__(self) -> Server:
        """Begin to answer.

        Raises:
            UsageError: it has served before, or was closed.
        """
        self._begin()
        self._thread = threading.Thread(target=self._run, name="megaflow-local", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop, wait until all is answered, and give the port back."""
        self.close()

    def _begin(self) -> None:
        if self._begun:
            raise UsageError("this server has served or was closed, and can do so once only: make another one")
        self._begun = True

    def _run(self) -> None:
        with self._socket:
            self._server.run(sockets=[self._socket])


class _Uvicorn(uvicorn.Server):
    """Serves accounts, and takes a turn at them whenever time has something to do for them."""

    def __init__(self, accounts: Accounts, application: Application) -> None:
        self._accounts = accounts
        self._account = accounts.default
        self._application = application
        self._deliveries = Deliveries()
        self._alarm: asyncio.TimerHandle | None = None
        self._wake: Callable[[], object] = lambda: None
        self._stopped = asyncio.Event()
        super().__init__(
            uvicorn.Config(
                self._application,
                http=Connection,
                ws="none",
                loop="asyncio",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=False,
                proxy_headers=False,
                timeout_keep_alive=_KEEP_ALIVE,
            )
        )

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._wake = partial(self._loop.call_soon_threadsafe, self._stopped.set)
        with self._account.lock:
            self._account.watchers.add(self._watch)
        self._set_alarm()
        try:
            await super().serve(sockets)
        finally:
            # Whoever calls us has the lock: nobody does so once the loop is closed.
            with self._account.lock:
                self._account.watchers.discard(self._watch)

    def stop(self) -> None:
        """Stop, from any thread or from a signal."""
        # In this order: a loop that begins in between looks whether it should exit.
        self.should_exit = True
        # One that is closed has stopped.
        with suppress(RuntimeError):
            self._wake()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self.stop()

    async def main_loop(self) -> None:
        """Serve until it is told to stop; uvicorn's own looks ten times a second whether it was."""
        await self._stopped.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End as uvicorn does, but as soon as all is answered, not at the next tenth of a second."""
        self._application.stop_waiting()
        await self._deliveries.stop()
        # Let nobody in any more; whoever was just now is a connection in the second round of the loop.
        for each in sockets or ():
            with suppress(NotImplementedError):
                self._loop.remove_reader(each)
        for _ in range(2):
            await asyncio.sleep(0)
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        with suppress(TimeoutError):
            async with asyncio.timeout(_FAREWELL):
                while (self.server_state.connections or self.server_state.tasks) and not self.force_exit:
                    await asyncio.sleep(_SHORTEST_WAIT)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        # An aborted connection is closed in the next round of the loop.
        await asyncio.sleep(0)

    def let_go(self) -> None:
        """Close this process's end of every connection; the loop that would do so is not here."""
        for connection in list(self.server_state.connections):
            if isinstance(connection, Connection):
                connection.let_go()

    def _watch(self) -> None:
        # In any thread: somebody may use the account without HTTP.
        self._loop.call_soon_threadsafe(self._set_alarm)

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        with self._account.lock:
            time = self._accounts.next_alarm()
        if time is not None:
            self._alarm = self._loop.call_later(max(time - self._account.clock(), _SHORTEST_WAIT), self._ring)

    def _ring(self) -> None:
        try:
            # Where it cannot be written down, the store has said so; there is nobody to be answered.
            for account in self._accounts:
                with suppress(Refused), account.turn():
                    self._deliveries.begin(account)
        finally:
            # The account tells only of alarms that changed, and the clock may not have reached this one.
            self._set_alarm()
