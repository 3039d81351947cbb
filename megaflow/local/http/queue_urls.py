"""URLs of queues: they begin with the name by which the caller called the server, as that name leads back to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from megaflow.local.operations.operation import Answer

_MEMBERS: Final[Mapping[str, str]] = {
    "CreateQueue": "QueueUrl",
    "GetQueueUrl": "QueueUrl",
    "ListQueues": "QueueUrls",
    "ListDeadLetterSourceQueues": "queueUrls",
}
"""Where URLs stand in the answers of operations."""


def at_host(headers: Mapping[bytes, bytes], operation: str, answer: Answer, base: str) -> Answer:
    """Return *answer* with URLs of queues that begin as the caller's did, and no more with *base*."""
    member, host = _MEMBERS.get(operation), headers.get(b"host")
    if member is None or host is None or member not in answer:
        return answer
    begin = url_by(host)
    urls = answer[member]
    if isinstance(urls, str):
        return {**answer, member: begin + urls.removeprefix(base)}
    return {**answer, member: [begin + url.removeprefix(base) for url in urls]}


def url_by(host: bytes) -> str:
    """Return where URLs begin for a caller who names the server so in the header ``Host``."""
    return f"http://{host.decode('latin-1')}"
