"""Logs: each line knows its message, and the id of the request that began it goes on from message to message."""

import logging
import sys
from collections.abc import Iterator
from typing import Any

from megaflow import App, Handler, LogFilter, Message, context
from megaflow.local import Account, SqsClient

log = logging.getLogger("shop")
sqs = SqsClient(Account())
app = App(sqs.create_queue(QueueName="orders")["QueueUrl"], client=sqs, retry_on=ConnectionError, wait_time_seconds=1)
app.propagate("x-request-id")


@app.around
def announce(handler: Handler, message: Message) -> Iterator[None]:
    """Say what is handled, and what came of it, whether the handler is async or not."""
    log.info("begins")
    status = yield
    log.info("ends: %s", status)


@app.on_data({"type": "order"}, handler_name="reserve")
def reserve(order: dict[str, Any]) -> None:
    log.info("reserving %s", order["item"])
    app.publish({"type": "reserved", "item": order["item"]})


@app.on_data({"type": "reserved"}, handler_name="ship")
async def ship(data: dict[str, Any]) -> None:
    log.info("shipping %s", data["item"])
    app.stop()


def post_order(request_id: str) -> None:
    """What a web framework calls for a request."""
    with context({"x-request-id": request_id}):
        log.info("got an order")
        app.publish({"type": "order", "item": "A-1"})


if __name__ == "__main__":
    shown = logging.StreamHandler(sys.stdout)
    shown.setFormatter(logging.Formatter("[%(x-request-id)s %(handler)s] %(message)s", defaults={"handler": "-"}))
    # On the handler of the log: a logger asks its filters for its own records alone.
    shown.addFilter(LogFilter())
    log.addHandler(shown)
    log.setLevel(logging.INFO)

    post_order("r-1")
    app.run()
