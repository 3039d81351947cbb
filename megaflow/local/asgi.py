"""An account as a web application: SQS in JSON, SNS in Query, and the faults on request."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Final, Protocol

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from megaflow.local import json_protocol, query_protocol
from megaflow.local.account import Account
from megaflow.local.calls import perform
from megaflow.local.polls import Poll
from megaflow.local.refused import Refused

log = logging.getLogger(__name__)

Answer = dict[str, Any]

_BODY_SIZE: Final = 8 * 1024 * 1024
"""Bytes of a request. A message of 1 MiB takes up to six where each character is escaped."""

_ABOUT: Final = "megaflow.local: SQS and SNS on this machine, for development and tests.\n"


class _Protocol(Protocol):
    """One of AWS's ways to write calls and answers."""

    @property
    def service(self) -> str:
        """The service that is spoken so."""

    def read(self, request: Request, body: bytes) -> tuple[str, Mapping[str, Any]]:
        """Return which operation is called, and what it is asked."""

    def write(self, operation: str, answer: Answer, request_id: str) -> Response:
        """Write an answer."""

    def write_error(self, refused: Refused, request_id: str) -> Response:
        """Write an error."""


class _Json:
    service: Final = "sqs"

    def read(self, request: Request, body: bytes) -> tuple[str, Mapping[str, Any]]:
        prefix, _, operation = request.headers["x-amz-target"].rpartition(".")
        if prefix != "AmazonSQS":
            raise json_protocol.unknown_operation(operation)
        return operation, json_protocol.read(operation, body)

    def write(self, operation: str, answer: Answer, request_id: str) -> Response:
        return self._response(json_protocol.write(operation, answer), 200, request_id)

    def write_error(self, refused: Refused, request_id: str) -> Response:
        body, headers = json_protocol.write_error(refused)
        return self._response(body, refused.status, request_id, headers)

    def _response(
        self, body: bytes, status: int, request_id: str, headers: Mapping[str, str] | None = None
    ) -> Response:
        return Response(
            body, status, {"x-amzn-RequestId": request_id, **(headers or {})}, media_type="application/x-amz-json-1.0"
        )


class _Query:
    service: Final = "sns"

    def read(self, request: Request, body: bytes) -> tuple[str, Mapping[str, Any]]:
        return query_protocol.read(body)

    def write(self, operation: str, answer: Answer, request_id: str) -> Response:
        return self._response(query_protocol.write(operation, answer, request_id), 200, request_id)

    def write_error(self, refused: Refused, request_id: str) -> Response:
        return self._response(query_protocol.write_error(refused, request_id), refused.status, request_id)

    def _response(self, body: bytes, status: int, request_id: str) -> Response:
        return Response(body, status, {"x-amzn-RequestId": request_id}, media_type="text/xml")


_JSON: Final = _Json()
_QUERY: Final = _Query()


def application(account: Account, parked: set[Poll] | None = None) -> Starlette:
    """Return *account* as an ASGI application; the receives that wait stand in *parked*."""
    calls = _Calls(account, set() if parked is None else parked)
    return Starlette(
        routes=[
            Route("/{path:path}", calls.answer, methods=["POST"]),
            Route("/", _about),
        ]
    )


async def _about(_: Request) -> Response:
    return PlainTextResponse(_ABOUT)


class _Calls:
    """Answers calls; those that wait for a message cost a future each, and no thread."""

    def __init__(self, account: Account, parked: set[Poll]) -> None:
        self._account = account
        self._parked = parked

    async def answer(self, request: Request) -> Response:
        # SDKs that post to the URL of a queue name it in the body as well: any path will do.
        protocol: _Protocol = _JSON if "x-amz-target" in request.headers else _QUERY
        request_id = self._account.new_id()
        try:
            operation, ask = protocol.read(request, await _read_body(request))
            outcome = perform(self._account, protocol.service, operation, ask)
            answer = await self._wait_for(outcome, request) if isinstance(outcome, Poll) else outcome
            return protocol.write(operation, answer, request_id)
        except Refused as refused:
            return protocol.write_error(refused, request_id)
        except ClientDisconnect:
            return Response()
        except Exception:
            log.exception("request %s failed", request_id)
            return protocol.write_error(
                Refused("InternalFailure", "The embedded service failed; its log says why.", status=500), request_id
            )

    async def _wait_for(self, poll: Poll, request: Request) -> Answer:
        """Return what *poll* is answered, after at most its time in real seconds; nothing where the caller hung up."""
        answer = asyncio.ensure_future(asyncio.wrap_future(poll.answer))
        hung_up = asyncio.ensure_future(_disconnected(request))
        self._parked.add(poll)
        try:
            await asyncio.wait((answer, hung_up), timeout=poll.seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._parked.discard(poll)
            self._account.leave(poll)
            hung_up.cancel()
        # An answer that came while we gave up is as good as one in time.
        return poll.answer.result() if poll.answer.done() else {}


async def _read_body(request: Request) -> bytes:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > _BODY_SIZE:
            raise Refused("RequestEntityTooLarge", f"A request can have {_BODY_SIZE} bytes at most.", status=413)
    return bytes(body)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
