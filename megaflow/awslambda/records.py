"""Records of a Lambda event, read as SQS would have delivered the messages.

https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from megaflow.errors import UsageError
from megaflow.messages.message import Message
from megaflow.transport.addresses import queue_url_of
from megaflow.transport.queue import read_message


def read_records(event: Any) -> Sequence[Mapping[str, Any]]:
    """Return the records of *event*; raise `UsageError` where they are not an SQS queue's."""
    records = event.get("Records") if isinstance(event, Mapping) else None
    if not isinstance(records, list) or not all(map(_is_from_a_queue, records)):
        raise UsageError(
            f"this is no event of an SQS queue, which is what the function handles, but {_describe(event)}: add an SQS "
            "trigger with ReportBatchItemFailures, and let SNS and EventBridge send to that queue"
        )
    return records


def open_record(record: Mapping[str, Any], expires_at: float, clock: Callable[[], float]) -> Message:
    """Return the message in *record*, leased until *expires_at*; raise whatever is wrong with it."""
    for name in ("body", "receiptHandle", "eventSourceARN"):
        if not isinstance(record.get(name), str):
            raise UsageError(f"its record has no {name}")
    url = queue_url_of("eventSourceARN", record["eventSourceARN"])
    return read_message(_as_received(record), url, clock(), expires_at, clock)


def _is_from_a_queue(record: object) -> bool:
    """Tell whether *record* is an SQS queue's, and can be named in the answer."""
    if not isinstance(record, Mapping) or record.get("eventSource") != "aws:sqs":
        return False
    return isinstance(record.get("messageId"), str) and bool(record["messageId"])


def _describe(event: object) -> str:
    if not isinstance(event, Mapping):
        return f"a {type(event).__name__}"
    records = event.get("Records")
    first = records[0] if isinstance(records, list) and records else event
    names = ("eventSource", "EventSource", "source")
    sources = [first[name] for name in names if name in first] if isinstance(first, Mapping) else []
    return f"one of {sources[0]}" if sources else f"one that holds {sorted(map(str, event)) or 'nothing'}"


def _as_received(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return *record* as ``receive_message`` would have given it."""
    attributes = record.get("messageAttributes") or {}
    return {
        "MessageId": record["messageId"],
        "ReceiptHandle": record["receiptHandle"],
        "Body": record["body"],
        "Attributes": record.get("attributes") or {},
        "MessageAttributes": {name: _read_attribute(said) for name, said in attributes.items()},
    }


def _read_attribute(said: Mapping[str, Any]) -> dict[str, Any]:
    read: dict[str, Any] = {"DataType": said["dataType"], "StringValue": said.get("stringValue") or ""}
    if said.get("binaryValue") is not None:
        read["BinaryValue"] = base64.b64decode(said["binaryValue"], validate=True)
    return read
