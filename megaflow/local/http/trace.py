"""The header ``X-Amzn-Trace-Id``: what is sent with it has it as ``AWSTraceHeader``, by way of SNS too."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from megaflow.local.content import TRACE_HEADER

_ENTRIES: Final[Mapping[str, str]] = {
    "SendMessage": "",
    "SendMessageBatch": "Entries",
    "Publish": "",
    "PublishBatch": "PublishBatchRequestEntries",
}
"""The operations that send, and where the messages stand in what they are asked; ``""`` is that there is one."""

# https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader
_HEADER: Final = re.compile(r"(?:[A-Za-z]+=[^;=\s]+;)*Root=1-[0-9a-f]{8}-[0-9a-f]{24}(?:;[A-Za-z]+=[^;=\s]*)*;?")


def with_trace_header(operation: str, ask: Mapping[str, Any], headers: Mapping[bytes, bytes]) -> Mapping[str, Any]:
    """Return *ask* with what the header says of its messages; one that is malformed says nothing."""
    said = headers.get(b"x-amzn-trace-id", b"").decode("latin-1")
    if operation not in _ENTRIES or not _HEADER.fullmatch(said):
        return ask
    name = _ENTRIES[operation]
    if not name:
        return {**ask, TRACE_HEADER: said}
    return {**ask, name: [{**entry, TRACE_HEADER: said} for entry in ask.get(name, ())]}
