"""Pages beside the calls: what this server is, and what goes wrong on request."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from megaflow.errors import ConfigurationError
from megaflow.local.accounts import Accounts
from megaflow.local.faults import Faults

_ABOUT: Final = "megaflow.local: SQS and SNS on this machine, for development and tests.\n"
_NO_CALL: Final = (
    "Calls of SQS and SNS come by POST, as AWS's SDKs make them, or by GET with an Action; beside them there is "
    "/_faults alone.\n"
)


def pages(accounts: Accounts) -> Sequence[Route]:
    """Return the pages of a server of these *accounts*."""
    return [
        Route("/", _about),
        Route("/_faults", _faults_of(accounts), methods=["GET", "PUT", "DELETE"]),
    ]


async def no_call(_: Request, __: Exception) -> Response:
    """Answer a request that is neither a call nor a page."""
    return PlainTextResponse(_NO_CALL, 405, {"Allow": "POST"})


async def _about(_: Request) -> Response:
    return PlainTextResponse(_ABOUT)


def _faults_of(accounts: Accounts) -> Callable[[Request], object]:
    async def faults(request: Request) -> Response:
        """Show the faults on request, or put others or none in their place."""
        if request.method != "GET":
            try:
                document = json.loads(await request.body()) if request.method == "PUT" else {}
                accounts.default.faults = Faults.from_json(document)
            except (ConfigurationError, ValueError, RecursionError) as error:
                return PlainTextResponse(f"{error}\n", 400)
        return JSONResponse(accounts.default.faults.to_json())

    return faults
