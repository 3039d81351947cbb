"""moto's server on a free port of this machine, which answers one call at a time.

AWS takes a message from a queue, and looks at the condition of a write and writes, in one step each. moto lets other
calls in between: two receives could take the same message, and of two conditional writes both could hold.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-visibility-timeout.html
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/WorkingWithItems.html
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from moto.sqs.models import Queue
from werkzeug.serving import run_simple

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

_one_at_a_time = threading.Lock()
_moto: Application = DomainDispatcherApplication(create_backend_app)
_wait_for_messages = Queue.wait_for_messages


def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer a request as moto does, and none while another is looked at."""
    with _one_at_a_time:
        return _moto(environ, start_response)


def let_others_in(queue: Queue, timeout: int) -> None:
    """Wait for messages as moto does, while others may send them."""
    _one_at_a_time.release()
    try:
        _wait_for_messages(queue, timeout)
    finally:
        _one_at_a_time.acquire()


if __name__ == "__main__":
    Queue.wait_for_messages = let_others_in  # type: ignore[method-assign, assignment]
    run_simple("127.0.0.1", 0, answer, threaded=True, request_handler=MotoRequestHandler)
