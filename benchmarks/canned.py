"""A server with ready answers to SQS's hot calls, for a process of its own: ``python -m benchmarks.canned``.

The embedded server would be what a quick client waits for. This one hands out as many messages as the queue's URL
says, ``…/canned/20000/anything``, each with an id of its own, and prints at its end what it was asked and what it took.
"""

from __future__ import annotations

import asyncio
import json
import re
import signal
import time
from collections import Counter
from collections.abc import Mapping
from typing import ClassVar

from benchmarks.sqs import BODY

TEN = 10
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_TARGET = re.compile(rb"\r\nx-amz-target: *AmazonSQS\.(\w+)", re.IGNORECASE)
_QUEUE = re.compile(rb"/canned/(\d+)/\w+")
_MESSAGE = {
    "MessageId": "%08d-0000-4000-8000-000000000000",
    "ReceiptHandle": "AQEB%08d" + "x" * 150,
    "MD5OfBody": "0" * 32,
    "Body": BODY,
}
_SYSTEM = {"ApproximateReceiveCount": "1", "SentTimestamp": "1700000000000"}


def head(length: int) -> bytes:
    said = ("content-type: application/x-amz-json-1.0", "x-amzn-requestid: canned", f"content-length: {length}")
    return "\r\n".join(["HTTP/1.1 200 OK", *said, "", ""]).encode()


def answer(said: object) -> bytes:
    body = json.dumps(said).encode()
    return head(len(body)) + body


def messages(message: Mapping[str, object]) -> bytes:
    """Return the answer with ten messages, and two places in each for its number."""
    text = json.dumps({"Messages": [message] * TEN})
    return head(len(text % ((0,) * 2 * TEN))) + text.encode()


PLAIN, WITH_ATTRIBUTES = messages(_MESSAGE), messages({**_MESSAGE, "Attributes": _SYSTEM})
EMPTY, ATTRIBUTES = answer({}), answer({"Attributes": {}})
DONE = answer({"Successful": [{"Id": str(place)} for place in range(TEN)], "Failed": []})
SENT = answer(
    {
        "Successful": [
            {"Id": str(place), "MessageId": f"{place:08}-0000-4000-8000-000000000000", "MD5OfMessageBody": "0" * 32}
            for place in range(TEN)
        ],
        "Failed": [],
    }
)


class Canned(asyncio.Protocol):
    """One connection."""

    left: ClassVar[dict[bytes, int]] = {}
    asked: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        self.data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.data += data
        while (end := self.data.find(b"\r\n\r\n")) >= 0:
            found = _LENGTH.search(self.data, 0, end + 2)
            whole = end + 4 + (int(found[1]) if found else 0)
            if len(self.data) < whole:
                return
            target = _TARGET.search(self.data, 0, end + 2)
            self.respond(target[1].decode() if target else "", self.data[end:whole])
            self.data = self.data[whole:]

    def respond(self, target: str, body: bytes) -> None:
        self.asked[target] += 1
        if target == "ReceiveMessage":
            self.receive(body)
        elif target.startswith("SendMessage"):
            self.transport.write(SENT)  # type: ignore[attr-defined]
        elif target == "GetQueueAttributes":
            self.transport.write(ATTRIBUTES)  # type: ignore[attr-defined]
        else:
            self.transport.write(DONE)  # type: ignore[attr-defined]

    def receive(self, body: bytes) -> None:
        queue = _QUEUE.search(body)
        assert queue is not None
        left = self.left.setdefault(queue[0], int(queue[1]))
        if not left:
            asyncio.get_running_loop().call_later(0.5, self.transport.write, EMPTY)  # type: ignore[attr-defined]
            return
        self.left[queue[0]] = left - TEN
        numbers = [number for number in range(left - TEN, left) for _ in range(2)]
        template = WITH_ATTRIBUTES if b"ApproximateReceiveCount" in body else PLAIN
        self.transport.write(template % tuple(numbers))  # type: ignore[attr-defined]


async def serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Canned, "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    stopped, begin = asyncio.Event(), time.process_time()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    await stopped.wait()
    cpu = (time.process_time() - begin) / max(1, sum(Canned.asked.values())) * 1e6
    print(json.dumps({**Canned.asked, "µs of CPU per call": round(cpu)}), flush=True)


if __name__ == "__main__":
    asyncio.run(serve())
