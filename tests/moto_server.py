"""moto's server on a free port of this machine, with DynamoDB's calls one at a time.

DynamoDB looks at a write's condition and writes in one step; moto lets other calls in between, so that of two
conditional writes at once both could hold.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/WorkingWithItems.html
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import run_simple

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

_one_at_a_time = threading.Lock()
_moto: Application = DomainDispatcherApplication(create_backend_app)


def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer a request as moto does, and none of DynamoDB's while another is looked at."""
    if "DynamoDB" not in environ.get("HTTP_X_AMZ_TARGET", ""):
        return _moto(environ, start_response)
    with _one_at_a_time:
        return _moto(environ, start_response)


if __name__ == "__main__":
    run_simple("127.0.0.1", 0, answer, threaded=True, request_handler=MotoRequestHandler)
