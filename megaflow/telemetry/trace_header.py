"""The trace header of AWS: ``Root=1-{8}-{24};Parent={16};Sampled=0|1``, with the ids that OpenTelemetry has.

https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader
"""

from __future__ import annotations

import os
import re
from typing import Final, NamedTuple

TRACE_ATTRIBUTE: Final = "AWSTraceHeader"
"""The system attribute of a message of SQS that holds it."""

HTTP_HEADER: Final = "X-Amzn-Trace-Id"
"""The header of a request that holds it."""

_PAIR: Final = r"[A-Za-z]+=[^;=\s]*"
_FORM: Final = re.compile(rf"(?:{_PAIR};)*Root=1-[0-9a-f]{{8}}-[0-9a-f]{{24}}(?:;{_PAIR})*;?")
_ROOT: Final = re.compile(r"1-([0-9a-f]{8})-([0-9a-f]{24})")
_PARENT: Final = re.compile(r"[0-9a-f]{16}")


class SentIn(NamedTuple):
    """The trace and the span that something was sent in."""

    trace_id: int
    span_id: int
    sampled: bool


def allows_trace_header(text: object) -> bool:
    """Tell whether AWS takes *text* as a trace header."""
    return isinstance(text, str) and _FORM.fullmatch(text) is not None


def read_trace_header(text: str) -> SentIn | None:
    """Return what *text* says; None where it names no trace, or no span in it."""
    said = dict(part.strip().split("=", 1) for part in text.split(";") if "=" in part)
    root, parent = _ROOT.fullmatch(said.get("Root", "")), _PARENT.fullmatch(said.get("Parent", ""))
    if root is None or parent is None:
        return None
    return SentIn(int(root[1] + root[2], 16), int(parent[0], 16), said.get("Sampled") == "1")


def write_trace_header(sent_in: SentIn) -> str:
    """Return the header; in a Lambda function with what Lambda knows a circle of functions by."""
    trace, sampled = f"{sent_in.trace_id:032x}", int(sent_in.sampled)
    return f"Root=1-{trace[:8]}-{trace[8:]};Parent={sent_in.span_id:016x};Sampled={sampled}{_read_lineage()}"


def _read_lineage() -> str:
    # https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html
    for part in os.environ.get("_X_AMZN_TRACE_ID", "").split(";"):
        if part.startswith("Lineage="):
            return f";{part}"
    return ""
