"""Entries: what a message is in a call, its attributes as boto3 takes them, and the bytes that count."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from megaflow.messages.attributes import Attribute
from megaflow.telemetry.trace_header import TRACE_ATTRIBUTE


def measure(body: str, attributes: Mapping[str, Attribute]) -> int:
    """Return the bytes that count towards the limit: the body, and each attribute's name, type and value.

    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
    """
    if not attributes:
        return _measure(body)
    parts = (part for name, each in attributes.items() for part in (name, each.type, each.value))
    return _measure(body) + sum(map(_measure, parts))


def _measure(part: str | bytes) -> int:
    if isinstance(part, bytes) or part.isascii():
        return len(part)
    return len(part.encode("utf-8", "surrogatepass"))


def write_trace_header(header: str) -> dict[str, dict[str, Any]]:
    """Return AWS's trace header as boto3 takes it, for SQS; it counts towards no limit."""
    return {TRACE_ATTRIBUTE: {"DataType": "String", "StringValue": header}}


def write_attributes(attributes: Mapping[str, Attribute]) -> dict[str, dict[str, Any]]:
    """Return *attributes* as boto3 takes them, for SQS and SNS alike."""
    return {
        name: {
            "DataType": each.type,
            "BinaryValue" if isinstance(each.value, bytes) else "StringValue": each.value,
        }
        for name, each in attributes.items()
    }
