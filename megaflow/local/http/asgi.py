"""An account as a web application: SQS in JSON, SNS in Query, and the faults on request."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from megaflow.errors import ConfigurationError
from megaflow.local.account import Account
from megaflow.local.calls import SERVICES, perform
from megaflow.local.faults import NO_STRIKE, Faults
from megaflow.local.http import json_protocol, query_protocol
from megaflow.local.http.gate import Gate, check_form
from megaflow.local.http.trace import with_trace_header
from megaflow.local.operations.operation import Answer
from megaflow.local.polls import Poll
from megaflow.local.refused import Refused
from megaflow.logs import get_logger

log = get_logger(__name__)

Headers = Mapping[bytes, bytes]

_BODY_SIZE: Final = 8 * 1024 * 1024
"""Bytes of a request. A message of 1 MiB takes up to six where each character is escaped."""

_ABOUT: Final = "megaflow.local: SQS and SNS on this machine, for development and tests.\n"
_NO_CALL: Final = "Calls of SQS and SNS come by POST, as AWS's SDKs make them; beside them there is /_faults alone.\n"

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


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes back over HTTP."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...]


class _Protocol(Protocol):
    """One of AWS's ways to write calls and answers."""

    @property
    def service(self) -> str:
        """The service that is spoken so."""

    def unknown_operation(self, operation: str) -> Refused:
        """Make the error for an operation that AWS has, and the embedded service has not."""

    def read(self, headers: Headers, body: bytes) -> tuple[str, Mapping[str, Any]]:
        """Return which operation is called, and what it is asked."""

    def write(self, operation: str, answer: Answer, request_id: str) -> Reply:
        """Write an answer."""

    def write_error(self, refused: Refused, request_id: str) -> Reply:
        """Write an error."""


class _Json:
    service: Final = "sqs"
    unknown_operation = staticmethod(json_protocol.unknown_operation)
    _type: Final = (b"content-type", b"application/x-amz-json-1.0")

    def read(self, headers: Headers, body: bytes) -> tuple[str, Mapping[str, Any]]:
        target = headers.get(b"x-amz-target", b"").decode("latin-1")
        prefix, _, operation = target.rpartition(".")
        if prefix != "AmazonSQS":
            raise _wrong_target(target)
        return operation, json_protocol.read(operation, body)

    def write(self, operation: str, answer: Answer, request_id: str) -> Reply:
        return Reply(200, json_protocol.write(operation, answer), (self._type, _identified(request_id)))

    def write_error(self, refused: Refused, request_id: str) -> Reply:
        body, headers = json_protocol.write_error(refused)
        further = [(name.encode(), value.encode()) for name, value in headers.items()]
        return Reply(refused.status, body, (self._type, _identified(request_id), *further))


class _Query:
    service: Final = "sns"
    unknown_operation = staticmethod(query_protocol.unknown_operation)
    _type: Final = (b"content-type", b"text/xml")

    def read(self, headers: Headers, body: bytes) -> tuple[str, Mapping[str, Any]]:
        # As a value of some other parameter it would be escaped.
        if b"Version=2012-11-05" in body:
            raise _old_sqs()
        operation, ask = query_protocol.read(body)
        check_form(headers)
        return operation, ask

    def write(self, operation: str, answer: Answer, request_id: str) -> Reply:
        body = query_protocol.write(operation, answer, request_id)
        return Reply(200, body, (self._type, _identified(request_id)))

    def write_error(self, refused: Refused, request_id: str) -> Reply:
        body = query_protocol.write_error(refused, request_id)
        return Reply(refused.status, body, (self._type, _identified(request_id)))


_JSON: Final = _Json()
_QUERY: Final = _Query()


class Application:
    """An account as an ASGI application. Calls that wait for a message cost a future each, and no thread."""

    def __init__(self, account: Account, allowed_hosts: Collection[str] = ()) -> None:
        self._account = account
        self._gate = Gate(allowed_hosts)
        self._parked: set[Poll] = set()
        self._patient = True
        self._pages = Starlette(
            routes=[Route("/", _about), Route("/_faults", self._faults, methods=["GET", "PUT", "DELETE"])],
            exception_handlers=dict.fromkeys((404, 405), _no_call),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request: POSTs are calls, at whatever path."""
        # SDKs that post to the URL of a queue name it in the body as well.
        if scope["type"] == "http" and scope["method"] == "POST":
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
        for poll in self._parked:
            self._end(poll)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        caller: HttpCaller = scope["extensions"][CALLER]
        request_id = self._account.new_id()
        protocol: _Protocol = _JSON if _is_json(headers) else _QUERY
        strike = NO_STRIKE
        try:
            self._gate.check(headers)
            operation, ask = protocol.read(headers, await _read_body(headers, receive))
            if operation not in SERVICES[protocol.service]:
                raise protocol.unknown_operation(operation)
            ask = with_trace_header(operation, ask, headers)
            strike = self._account.faults.strike(operation, ask)
            outcome = perform(self._account, protocol.service, operation, ask, strike)
            answer = await self._wait_for(outcome, caller) if isinstance(outcome, Poll) else outcome
            strike.fail_after()
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
            caller.cut()
            # In the next round of the loop uvicorn knows of it, and expects no answer.
            await asyncio.sleep(0)
            return
        await _send(reply, send)

    async def _faults(self, request: Request) -> Response:
        """Show the faults on request, or put others or none in their place."""
        if request.method != "GET":
            try:
                document = json.loads(await request.body()) if request.method == "PUT" else {}
                self._account.faults = Faults.from_json(document)
            except (ConfigurationError, ValueError, RecursionError) as error:
                return PlainTextResponse(f"{error}\n", 400)
        return JSONResponse(self._account.faults.to_json())

    async def _wait_for(self, poll: Poll, caller: HttpCaller) -> Answer:
        """Return what *poll* is answered, after at most its time in real seconds; nothing where the caller hung up."""
        answered, wake_up = asyncio.Event(), asyncio.get_running_loop().call_soon_threadsafe
        poll.answer.add_done_callback(lambda _: wake_up(answered.set))
        self._parked.add(poll)
        caller.hang_up = partial(self._end, poll)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(poll.seconds if self._patient else 0):
                    await answered.wait()
        finally:
            caller.hang_up = _do_nothing
            self._parked.discard(poll)
            self._account.leave(poll)
        # An answer that came while we gave up is as good as one in time.
        return poll.answer.result() if poll.answer.done() else {}

    def _end(self, poll: Poll) -> None:
        with self._account.lock:
            self._account.polls.end(poll)


class _HungUp(Exception):
    """The caller closed the connection in the middle of a request."""


def _is_json(headers: Headers) -> bool:
    return b"x-amz-target" in headers or b"json" in headers.get(b"content-type", b"")


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
    length = (b"content-length", b"%d" % len(reply.body))
    await send({"type": "http.response.start", "status": reply.status, "headers": [*reply.headers, length]})
    await send({"type": "http.response.body", "body": reply.body})


def _identified(request_id: str) -> tuple[bytes, bytes]:
    return (b"x-amzn-requestid", request_id.encode())


def _wrong_target(target: str) -> Refused:
    called = f"no operation {target}" if target else "no operation without the header X-Amz-Target"
    return Refused(
        "UnknownOperationException",
        f"There is {called} here: SQS is spoken as AmazonSQS.SendMessage, say, and SNS in the Query protocol.",
    )


def _old_sqs() -> Refused:
    return Refused(
        "InvalidAction",
        "SQS is spoken in AWS's JSON protocol here, and no longer in Query. Take an SDK that does so: boto3 1.28.82 "
        "(botocore 1.31.82), the SDK for JavaScript 3.447.0, for Java 2.21.19, for Go 2 1.28.0, or later ones. "
        "See https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-json-faqs.html",
    )


def _too_large() -> Refused:
    return Refused("RequestEntityTooLarge", f"A request can have {_BODY_SIZE} bytes at most.", status=413)


def _not_read(coding: str) -> Refused:
    return Refused(
        "UnsupportedMediaType", f"A request comes as it is here, without the content encoding {coding}.", status=415
    )


async def _about(_: Request) -> Response:
    return PlainTextResponse(_ABOUT)


async def _no_call(_: Request, __: Exception) -> Response:
    return PlainTextResponse(_NO_CALL, 405, {"Allow": "POST"})
