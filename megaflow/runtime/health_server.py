"""The health server: an HTTP port that answers ``/live``, ``/ready`` and ``/metrics``."""

from __future__ import annotations

import json
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, TypeAlias

from typing_extensions import override

from megaflow import forks
from megaflow.consumer.core.health import Health
from megaflow.errors import ConfigurationError
from megaflow.forks import let_go, renew_in_child
from megaflow.logs import get_logger

log = get_logger(__name__)

_CLIENT_TIMEOUT: Final = 5.0
"""Seconds after which a connection is closed, however slowly its client asks or listens."""

_GLANCE: Final = 0.1
"""Seconds after which the server looks whether it is to end, and whose time is up."""


Scrape: TypeAlias = Callable[[str], tuple[bytes, str]] | ConfigurationError
"""Gives all metrics, and their content type, for what a header ``Accept`` says; or is why it cannot."""

_NO_METRICS: Final = ConfigurationError("there are no metrics here")


@contextmanager
def serve_health(
    port: int, get_health: Callable[[], Health], scrape: Scrape = _NO_METRICS, *, host: str | None = None
) -> Iterator[int]:
    """Answer ``/live`` and ``/ready`` on *port* until the end, 200 or 503, with the rest as JSON; give the port.

    ``/metrics`` is answered with what *scrape* gives for the header ``Accept``, or with 404 and the error that it is.
    0 takes any free port. *host* is a name or an address of this machine, v4 or v6; by default it is all IPv4
    addresses, since what asks is mostly another machine. *get_health* is called from any thread, several times at once.
    Raises `ConfigurationError` where the port cannot be had there.
    """

    class Answers(_Answers):
        ask = staticmethod(get_health)
        metrics = scrape if isinstance(scrape, Exception) else staticmethod(scrape)

    try:
        server = _Server((host or "", port), Answers)
    except (OSError, OverflowError, TypeError, ValueError) as error:
        where = f"health_port={port!r}" if host is None else f"health_host={host!r} with health_port={port!r}"
        raise ConfigurationError(f"{where} cannot be listened on: {error}; give another one") from error
    threading.Thread(target=server.serve_forever, args=(_GLANCE,), name="megaflow-health", daemon=True).start()
    where = host or "every IPv4 address"
    log.info("health is answered on port %d of %s: /live, /ready, /metrics", server.server_port, where)
    begun = forks.generation
    try:
        yield server.server_port
    finally:
        # In a child, nobody is there who would say that it has ended.
        if forks.generation == begun:
            server.shutdown()
            server.server_close()


class _Server(ThreadingHTTPServer):
    """Gives each connection a thread, and a time after which it is closed."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_port = False

    def __init__(self, address: tuple[str, int], answers: type[BaseHTTPRequestHandler]) -> None:
        self._open: dict[socket.socket, float] = {}
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, answers)
        renew_in_child(self)

    @override
    def server_bind(self) -> None:
        # HTTPServer's own asks DNS for this machine's name, which may take long, and is not needed.
        socketserver.TCPServer.server_bind(self)
        self.server_port = self.server_address[1]

    @override
    def process_request(self, request: Any, client_address: Any) -> None:
        self._open[request] = time.monotonic()
        super().process_request(request, client_address)

    @override
    def shutdown_request(self, request: Any) -> None:
        self._open.pop(request, None)
        super().shutdown_request(request)

    @override
    def service_actions(self) -> None:
        """End what has taken too long: a timeout of the socket's would begin anew with every byte."""
        for request, since in tuple(self._open.items()):
            if time.monotonic() - since > _CLIENT_TIMEOUT:
                _hang_up(request)

    def _after_fork_in_child(self) -> None:
        """See `megaflow.forks`: who asks on this port asks the parent, and once that is gone nobody listens."""
        for sock in (self.socket, *self._open):
            let_go(sock)

    @override
    def handle_error(self, request: Any, client_address: Any) -> None:
        log.debug("health: %s was not answered", str(client_address), exc_info=True)


def _hang_up(request: socket.socket) -> None:
    try:
        request.shutdown(socket.SHUT_RDWR)
    except OSError:
        log.debug("health: a client that took too long is gone already")


class _Answers(BaseHTTPRequestHandler):
    """Answers one connection."""

    ask: Callable[[], Health]
    metrics: Scrape
    timeout = _CLIENT_TIMEOUT
    server_version = "megaflow"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer a question."""
        path = self.path.partition("?")[0]
        if path not in ("/live", "/ready", "/metrics"):
            self._answer(HTTPStatus.NOT_FOUND, {"error": "ask for /live, /ready or /metrics"})
            return
        try:
            self._tell_metrics() if path == "/metrics" else self._tell_health(path)
        except Exception:
            what = "the metrics" if path == "/metrics" else "the health"
            log.exception("%s cannot be told", what)
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, {"error": f"{what} cannot be told; see the log"})

    def _tell_metrics(self) -> None:
        scrape = type(self).metrics
        if isinstance(scrape, Exception):
            self._answer(HTTPStatus.NOT_FOUND, {"error": str(scrape)})
            return
        body, content_type = scrape(self.headers.get("Accept", ""))
        self._send(HTTPStatus.OK, body, content_type)

    def _tell_health(self, path: str) -> None:
        health = type(self).ask()
        is_well = health.live if path == "/live" else health.ready
        self._answer(HTTPStatus.OK if is_well else HTTPStatus.SERVICE_UNAVAILABLE, health.as_dict())

    do_HEAD = do_GET  # noqa: N815 - the library's own name

    def _refuse(self) -> None:
        self._answer(HTTPStatus.METHOD_NOT_ALLOWED, {"error": "ask with GET or HEAD"}, Allow="GET, HEAD")

    do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _refuse  # noqa: N815 - the library's own names

    def _answer(self, status: HTTPStatus, said: dict[str, object], **headers: str) -> None:
        self._send(status, json.dumps(said).encode(), "application/json", **headers)

    def _send(self, status: HTTPStatus, body: bytes, content_type: str, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    @override
    def log_message(self, format: str, *args: Any) -> None:
        log.debug("health: %s", format % args)
