"""A queue over real HTTP that holds requests back, fails them as it is told, and notes what was under way together."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias

from megaflow import SqsPublisher
from tests.unmocked import making_unmocked
from tests.waiting import PATIENCE

Entry: TypeAlias = dict[str, Any]
Refusal: TypeAlias = tuple[int, str]
"""The status and the code of a request that is refused."""


class QueueServer(ThreadingHTTPServer):
    """Answers SendMessage and SendMessageBatch. A message's id is ``"id of "`` and its body."""

    daemon_threads = True
    request_queue_size = 100

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.go_on = threading.Event()
        """Set, as long as requests are answered."""

        self.go_on.set()
        self.seconds = 0.0
        """How late each answer is."""

        self.refuse: Callable[[list[str]], Refusal | None] = lambda bodies: None
        self.fail: Callable[[str], str] = lambda body: ""
        """Says the code with which an entry of a batch fails; the queue blames the sender for it if it begins so."""

        self.requests: list[list[str]] = []
        """The bodies of each request, as they came."""

        self.operations: Counter[str] = Counter()
        self.met: set[str] = set()
        """Groups of which two requests were under way at once."""

        self._under_way: Counter[str] = Counter()
        self._lock = threading.Lock()

    @property
    def bodies(self) -> list[str]:
        return [body for bodies in self.requests for body in bodies]

    def publisher(self, name: str = "orders", **options: Any) -> SqsPublisher:
        options = {"aws_access_key_id": "any", "aws_secret_access_key": "any", "region_name": "us-east-1", **options}
        with making_unmocked():
            publisher = SqsPublisher(queue_url=f"{self.url}/123456789012/{name}", endpoint_url=self.url, **options)
            assert publisher.client
        return publisher

    def answer(self, operation: str, asked: Entry) -> tuple[int, Entry]:
        entries = asked.get("Entries", [asked])
        groups = {each["MessageGroupId"] for each in entries if "MessageGroupId" in each}
        bodies = [each["MessageBody"] for each in entries]
        with self._lock:
            self.requests.append(bodies)
            self.operations[operation] += 1
            self.met |= {group for group in groups if self._under_way[group]}
            self._under_way.update(groups)
        self.go_on.wait(PATIENCE)
        threading.Event().wait(self.seconds)
        with self._lock:
            self._under_way.subtract(groups)
        if refused := self.refuse(bodies):
            status, code = refused
            return status, {"__type": f"com.amazonaws.sqs#{code}", "message": f"{code}, it said"}
        if operation == "SendMessage":
            return 200, _sent(asked)
        failed = {each["Id"]: code for each in entries if (code := self.fail(each["MessageBody"]))}
        return 200, {
            "Successful": [{"Id": each["Id"], **_sent(each)} for each in entries if each["Id"] not in failed],
            "Failed": [
                {"Id": id_, "Code": code, "Message": f"{code}, it said", "SenderFault": not code.startswith("Internal")}
                for id_, code in failed.items()
            ],
        }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: QueueServer

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        status, said = self.server.answer(self.headers["x-amz-target"].rpartition(".")[2], asked)
        body = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("content-type", "application/x-amz-json-1.0")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def handle(self) -> None:
        # A client that has gone, or speaks another protocol, gets no answer.
        with suppress(OSError, ValueError):
            super().handle()


def _sent(entry: Entry) -> Entry:
    return {"MessageId": f"id of {entry['MessageBody']}", "MD5OfMessageBody": "any"}


@contextmanager
def queue_server() -> Iterator[QueueServer]:
    """Run such a queue."""
    with QueueServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.go_on.set()
            server.shutdown()
            thread.join(PATIENCE)
