"""Pages beside the calls: what this server is, that it is well, and under ``/_megaflow`` what tests need."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, Final, TypeAlias

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from megaflow.errors import ConfigurationError, UsageError
from megaflow.local.account import Account
from megaflow.local.accounts import NUMBER, Accounts, number_in
from megaflow.local.endpoints.signing import CERTIFICATES
from megaflow.local.faults import Faults
from megaflow.local.shapes import to_base64

PREFIX: Final = "/_megaflow/"
"""Where the pages for tests are. No call of AWS comes there."""

_ABOUT: Final = "megaflow.local: SQS and SNS on this machine, for development and tests.\n"
_NO_CALL: Final = (
    "Calls of SQS and SNS come by POST, as AWS's SDKs make them, or by GET with an Action; beside them there is "
    f"{PREFIX} alone.\n"
)
_PAGES: Final = {
    f"POST {PREFIX}reset": "forget everything, or with ?queue= the messages of one queue",
    f"GET {PREFIX}messages?queue=": "all messages of a queue, without receiving them",
    f"GET {PREFIX}clock": "the time, in seconds since the epoch",
    f'POST {PREFIX}clock {{"advance": seconds}}': "let seconds pass at once",
    f"GET {PREFIX}warnings": "what worked here, and would not on AWS",
    f"GET, PUT, DELETE {PREFIX}faults": "what goes wrong on request",
}

_Page: TypeAlias = Callable[[Accounts, Request], Awaitable[Response]]


def pages(accounts: Accounts) -> Sequence[Route]:
    """Return the pages of a server of these *accounts*."""
    return [
        Route("/", _about),
        Route("/health", _health),
        Route(f"{CERTIFICATES}{{name}}.pem", partial(_certificate, accounts)),
        Route(PREFIX, _index),
        *(
            Route(f"{PREFIX}{name}", partial(_answer, page, accounts), methods=methods)
            for name, page, methods in (
                ("reset", _reset, ["POST"]),
                ("messages", _messages, ["GET"]),
                ("warnings", _warnings, ["GET"]),
                ("clock", _clock, ["GET", "POST"]),
                ("faults", _faults, ["GET", "PUT", "DELETE"]),
            )
        ),
    ]


async def no_call(_: Request, __: Exception) -> Response:
    """Answer a request that is neither a call nor a page."""
    return PlainTextResponse(_NO_CALL, 405, {"Allow": "POST"})


async def _about(_: Request) -> Response:
    return PlainTextResponse(_ABOUT)


async def _health(_: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _certificate(accounts: Accounts, request: Request) -> Response:
    """Hand out the certificate of those who sign; another name is that of a server before this one."""
    signer = accounts.default.served.signer if accounts.default.served else None
    if signer is None or await run_in_threadpool(lambda: signer.name) != request.path_params["name"]:
        return PlainTextResponse("This server has no such certificate.\n", 404)
    return Response(signer.certificate, media_type="application/x-pem-file")


async def _index(_: Request) -> Response:
    return JSONResponse(_PAGES)


async def _answer(page: _Page, accounts: Accounts, request: Request) -> Response:
    try:
        return await page(accounts, request)
    except (ConfigurationError, UsageError, ValueError, RecursionError) as error:
        return PlainTextResponse(f"{error}\n", 400)


async def _reset(accounts: Accounts, request: Request) -> Response:
    """Forget everything, in all accounts, or the messages of one queue."""
    queue = request.query_params.get("queue")
    if queue is None:
        for account in accounts:
            account.reset()
    else:
        _account(accounts, request).reset(queue)
    return Response(status_code=204)


async def _messages(accounts: Accounts, request: Request) -> Response:
    if "queue" not in request.query_params:
        raise UsageError("name the queue: ?queue=orders")
    found = _account(accounts, request).peek(request.query_params["queue"])
    text = json.dumps({"messages": [asdict(each) for each in found]}, default=to_base64)
    return Response(text, media_type="application/json")


async def _warnings(accounts: Accounts, _: Request) -> Response:
    """Show what worked, in any account, and would not on AWS."""
    found = sorted((each for account in accounts for each in account.warnings), key=lambda each: each.at)
    return JSONResponse({"warnings": [asdict(each) for each in found]})


async def _clock(accounts: Accounts, request: Request) -> Response:
    """Show the time, or let some pass."""
    if request.method == "POST":
        seconds = _seconds(json.loads(await request.body()))
        accounts.default.advance(seconds)
        for account in accounts:
            account.wake()
    return JSONResponse({"now": accounts.default.clock()})


def _seconds(document: Any) -> float:
    if isinstance(document, dict) and document.keys() == {"advance"}:
        seconds = document["advance"]
        if isinstance(seconds, int | float) and not isinstance(seconds, bool):
            return float(seconds)
    raise UsageError('say how many seconds pass: {"advance": 30}')


async def _faults(accounts: Accounts, request: Request) -> Response:
    """Show the faults on request, or put others or none in their place."""
    if request.method != "GET":
        document = json.loads(await request.body()) if request.method == "PUT" else {}
        accounts.default.faults = Faults.from_json(document)
    return JSONResponse(accounts.default.faults.to_json())


def _account(accounts: Accounts, request: Request) -> Account:
    """Return the account that ``region`` and ``account``, or the URL of the queue, name, of those that were called."""
    asked, default = request.query_params, accounts.default
    in_url = number_in(asked.get("queue", ""))
    owner = in_url if NUMBER.fullmatch(in_url) else default.account_id
    region, number = asked.get("region", default.region), asked.get("account", owner)
    for account in accounts:
        if (account.region, account.account_id) == (region, number):
            return account
    raise UsageError(f"nobody has called account {number} in {region} yet")
