"""The trace header of a request to SNS, which has no system attributes: boto3 sends it with the calls that have one.

Only clients of SNS are told to: one of SQS's with an event handler of somebody's would not be the wire's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from megaflow.telemetry.trace_header import HTTP_HEADER

_header: Final[ContextVar[str]] = ContextVar("megaflow-trace-header", default="")


def let_header_through(client: Any) -> None:
    """Have *client*, where it is boto3's, send the header of `sending_header`; botocore never signs it."""
    events = getattr(getattr(client, "meta", None), "events", None)
    if events is not None:
        events.register("before-call.sns", _add_header, unique_id="megaflow-trace-header")


@contextmanager
def sending_header(header: str) -> Iterator[None]:
    """Send *header* with what is called within a ``with``; ``""`` is none."""
    token = _header.set(header)
    try:
        yield
    finally:
        _header.reset(token)


def _add_header(params: dict[str, Any], **_: object) -> None:
    if header := _header.get():
        params["headers"][HTTP_HEADER] = header
