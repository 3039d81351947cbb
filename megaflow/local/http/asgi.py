"""Accounts as a web application: calls of SQS and SNS in whichever of AWS's protocols, and pages beside them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache, partial
from typing import Final

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from megaflow.local.account import Account
from megaflow.local.accounts import Accounts, signature_of
from megaflow.local.calls import SERVICES, perform
from megaflow.local.faults import NO_STRIKE
from megaflow.local.http.call_checks import AnsweredCall, check_call
from megaflow.local.http.gate import Gate, check_form
from megaflow.local.http.pages import no_call, pages
from megaflow.local.http.protocols import Call, Headers, Reply, is_call, likely_protocol, protocol_of
from megaflow.local.http.queue_urls import at_host
from megaflow.local.http.sender import with_sender
from megaflow.local.http.trace import with_trace_header
from megaflow.local.operations.operation import Answer
from megaflow.local.polls import Poll
from megaflow.local.refused import Refused
from megaflow.logs import get_logger

log = get_logger(__name__)

_BODY_SIZE: Final = 8 * 1024 * 1024
"""Bytes of a request. A message of 1 MiB takes up to six where each character is escaped."""

CALLER: Final = "megaflow.caller"
"""The extension of an ASGI scope that holds its `HttpCaller`."""


def _do_nothing() -> None:
    pass


@dataclass(eq=False, slots=True)
class HttpCaller:
    """Whoever is at the other end of a connection, as the server and the application both know them."""

    cut: Callable[[], None]
    """Closes the connection without a further word. For the application."""

    hang_up: Callable[[], None] = _do_nothing
    """Ends what the caller waits for: they closed the connection. For the server, on the thread of its loop."""


class Application:
    """Accounts as an ASGI application. Calls that wait for a message cost a future each, and no thread.

    Args:
        accounts: What is called.
        gate: Says which requests are let in.
        follows_host: Whether URLs of queues begin with the name that the caller has called.
    """

    def __init__(self, accounts: Accounts, gate: Gate, *, follows_host: bool) -> None:
        self._accounts = accounts
        self._follows_host = follows_host
        self._gate = gate
        self._parked: dict[Poll, Account] = {}
        self._patient = True
        self._pages = Starlette(routes=pages(accounts), exception_handlers=dict.fromkeys((404, 405), no_call))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request: POSTs are calls, at whatever path, and so are GETs that name an operation."""
        # SDKs that post to the URL of a queue name it in the body as well.
        if scope["type"] == "http" and is_call(scope):
            await self._answer(scope, receive, send)
            return
        try:
            self._gate.check(dict(scope["headers"]))
        except Refused as refused:
            await PlainTextResponse(f"{refused.message}\n", refused.status)(scope, receive, send)
        else:
            await self._pages(scope, receive, send)

    def stop_waiting(self) -> None:
        """Answer all who wait for a message, and let nobody wait any more. To be called on the loop's thread."""
        self._patient = False
        for poll, account in self._parked.items():
            _end(account, poll)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        connection: HttpCaller = scope["extensions"][CALLER]
        request_id = self._accounts.default.new_id()
        protocol = likely_protocol(headers)
        strike = NO_STRIKE
        try:
            self._gate.check(headers)
            call = Call(headers, scope["path"], scope["query_string"], await _read_body(headers, receive))
            protocol = protocol_of(call)
            operation, ask = protocol.read(call)
            if protocol.is_form:
                check_form(scope["method"], headers, call.body)
            if operation not in SERVICES[protocol.service]:
                raise protocol.unknown_operation(operation)
            ask = with_trace_header(operation, ask, headers)
            ask = with_sender(operation, ask, call, follows_host=self._follows_host)
            signature = signature_of(headers, call.query)
            caller = self._accounts.of(signature)
            account = self._accounts.serving(caller, ask)
            strike = self._accounts.default.faults.strike(operation, ask)
            outcome = perform(account, protocol.service, operation, ask, strike)
            answer = await self._wait_for(outcome, account, connection) if isinstance(outcome, Poll) else outcome
            agent = headers.get(b"user-agent", b"")
            check_call(AnsweredCall(protocol.service, operation, ask, signature, caller, account, agent))
            strike.fail_after()
            if self._follows_host:
                answer = at_host(headers, operation, answer, account.url)
            reply = protocol.write(operation, answer, request_id)
        except Refused as refused:
            reply = protocol.write_error(refused, request_id)
        except _HungUp:
            return
        except Exception:
            log.exception("request %s failed", request_id)
            failure = Refused("InternalFailure", "The embedded service failed; its log says why.", status=500)
            reply = protocol.write_error(failure, request_id)
        if strike.seconds:
            await asyncio.sleep(strike.seconds)
        if strike.loses_answer:
            connection.cut()
            # In the next round of the loop uvicorn knows of it, and expects no answer.
            await asyncio.sleep(0)
            return
        await _send(reply, send)

    async def _wait_for(self, poll: Poll, account: Account, caller: HttpCaller) -> Answer:
        """Return what *poll* is answered, after at most its time in real seconds; nothing where the caller hung up."""
        answered, wake_up = asyncio.Event(), asyncio.get_running_loop().call_soon_threadsafe
        poll.answer.add_done_callback(lambda _: wake_up(answered.set))
        self._parked[poll] = account
        caller.hang_up = partial(_end, account, poll)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(poll.seconds if self._patient else 0):
                    await answered.wait()
        finally:
            caller.hang_up = _do_nothing
            self._parked.pop(poll, None)
            account.leave(poll)
        # An answer that came while we gave up is as good as one in time.
        return poll.answer.result() if poll.answer.done() else {}


def _end(account: Account, poll: Poll) -> None:
    with account.lock:
        account.polls.end(poll)


class _HungUp(Exception):
    """The caller closed the connection in the middle of a request."""


async def _read_body(headers: Headers, receive: Receive) -> bytes:
    coding = headers.get(b"content-encoding", b"identity")
    if coding != b"identity":
        raise _not_read(coding.decode("latin-1"))
    declared = headers.get(b"content-length", b"")
    # The server has checked that it is a number, and that no more comes.
    if declared and int(declared) > _BODY_SIZE:
        raise _too_large()
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _HungUp
        body += message["body"]
        if len(body) > _BODY_SIZE:
            raise _too_large()
        if not message["more_body"]:
            return bytes(body)


async def _send(reply: Reply, send: Send) -> None:
    length, date = (b"content-length", b"%d" % len(reply.body)), (b"date", _write_date(int(time.time())))
    await send({"type": "http.response.start", "status": reply.status, "headers": [*reply.headers, length, date]})
    await send({"type": "http.response.body", "body": reply.body})


@lru_cache(maxsize=1)
def _write_date(seconds: int) -> bytes:
    # Not uvicorn's, which is of a second ago, or of longer where the machine is busy: clients tell the time by it.
    return formatdate(seconds, usegmt=True).encode()


def _too_large() -> Refused:
    return Refused("RequestEntityTooLarge", f"A request can have {_BODY_SIZE} bytes at most.", status=413)


def _not_read(coding: str) -> Refused:
    return Refused(
        "UnsupportedMediaType", f"A request comes as it is here, without the content encoding {coding}.", status=415
    )
