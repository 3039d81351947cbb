"""moto's DynamoDB on one port, which throttles the operations that a file names: ``… table_server PORT FILE``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from moto.moto_server.werkzeug_app import MotoRequestHandler
from werkzeug.serving import run_simple

from tests import moto_server

_REFUSAL: Final = json.dumps(
    {"__type": "com.amazonaws.dynamodb.v20120810#ThrottlingException", "message": "too many requests"}
).encode()


def throttling(file: Path) -> Callable[..., Iterable[bytes]]:
    """Return an application that answers as moto does, but for the operations that *file* names."""

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        operation = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2]
        if operation and file.exists() and operation in file.read_text().split():
            start_response("400 Bad Request", [("Content-Type", "application/x-amz-json-1.0")])
            return [_REFUSAL]
        return moto_server.answer(environ, start_response)

    return answer


if __name__ == "__main__":
    _, port, path = sys.argv
    run_simple("127.0.0.1", int(port), throttling(Path(path)), threaded=True, request_handler=MotoRequestHandler)
