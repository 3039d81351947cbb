"""The application of the demo: handlers in both styles, the sqs-mega README's subscriber classes and plain functions.

It knows nothing of the demo. It finds its queue in MEGAFLOW_QUEUE_URL, and endpoint, region and credentials where boto3
looks for them; it writes its log to stdout as lines of JSON, and it runs until SIGTERM. demo.py starts it twice.
"""

import json
import logging
import sys
from collections import Counter
from decimal import Decimal
from typing import Any

from megaflow import Message, Payload, RetryLater, Verdict
from megaflow.aws.sqs.subscribe import DataSubscriber, EventSubscriber, ProcessStatus, SqsListener
from megaflow.match.functions import any_, empty, gt, gte, match, not_, one_of, prefix

# Four messages at once, but one to a poll: that leaves something for the other process.
listener = SqsListener(concurrency=4, max_number_of_messages=1, retry_on=ConnectionError)
app = listener.app


class ShoppingCartItemAdded(EventSubscriber):
    domain = "shopping_cart"
    name = "item.added"
    version = one_of(1, 2)
    attributes = {"item_id": not_(empty()), "quantity": gt(0)}

    def process(self, payload: Payload) -> ProcessStatus:
        return ProcessStatus.DONE


class UserLogin(EventSubscriber):
    name = match(r"user:login:(.*)")
    version = any_()
    subject = match(r"^\d+$")
    attributes = {"success": True, "attempts": gt(2)}
    object_current = {"username": not_(["test", "synthetic"]), "created_at": gte("2020-01-01")}

    def process(self, payload: Payload) -> ProcessStatus:
        return ProcessStatus.DONE


class UserNotification(DataSubscriber):
    pattern = {"type": "user_notification", "notification_type": one_of("email", "sms", "push"), "user": {"id": gt(0)}}

    def process(self, payload: dict[str, Any]) -> ProcessStatus:
        return ProcessStatus.DONE


for subscriber in (ShoppingCartItemAdded, UserLogin, UserNotification):
    listener.register_subscriber(subscriber)


@app.on_event(name="user.created", object_current={"email": not_(empty())})
async def welcome(payload: Payload, message: Message) -> None:
    if message.receive_count == 1:
        raise RetryLater("the mail server is busy", after=0)


revenue: Counter[str] = Counter()


@app.on_event(domain="shopping_cart", extra={"channel": prefix("web/")})
def count_web_sales(payload: Payload) -> None:
    revenue[payload.extra["channel"]] += int(Decimal(payload.event.price) * 100)


@app.on_data({"order": any_()})
def charge(order: dict[str, Any]) -> None:
    raise ValueError("this card has expired")


@app.on_text(one_of("ping", match("hello")))
def answer(text: str) -> None:
    pass


@app.on_binary()
def store(blob: bytes) -> None:
    pass


class JsonLines(logging.Formatter):
    """Writes each record as a line of JSON; one about a verdict with what was seen of it."""

    def format(self, record: logging.LogRecord) -> str:
        line = {"process": record.process, "level": record.levelname, "text": record.getMessage()}
        return json.dumps(line | getattr(record, "seen", {}))


def show(verdict: Verdict) -> None:
    """Log which message it was, who handled it, and what becomes of it."""
    message = verdict.message.attributes.get("what", verdict.message.id)
    handlers = [outcome.handler.name.rsplit(".", 1)[-1] for outcome in verdict.outcomes]
    seen = {"message": message, "handlers": handlers, "fate": verdict.fate.value}
    logging.getLogger(__name__).info("a verdict", extra={"seen": seen})


if __name__ == "__main__":
    output = logging.StreamHandler(sys.stdout)
    output.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[output])
    app.on_verdict(show)
    listener.listen()
