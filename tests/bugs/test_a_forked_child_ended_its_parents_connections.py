"""A child that was forked shut its parent's sockets down as it ended, and the parent sent the message again.

Nor could it use what another thread of its parent's held, be ended by SIGTERM, or leave a handler without becoming a
second consumer of the same messages.
"""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import boto3
import pytest
import trustme

from megaflow import App, MemoryStore
from megaflow.consumer.threads.event_loop import EventLoop
from megaflow.local import Account, SqsClient
from megaflow.local.server import Server
from megaflow.messages.message import message_with
from megaflow.processing.idempotency import Idempotency
from megaflow.telemetry.metrics import Measurements
from megaflow.wire.retries import Quota
from tests.waiting import PATIENCE
from tests.wire.scripted import QUEUE_URL, answer, scripted

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here"),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]

SENT = answer(b'{"MessageId": "m"}')
KEYS = {"aws_access_key_id": "any", "aws_secret_access_key": "any", "region_name": "us-east-1"}


class Program:
    """A program in a process of its own, that says and hears lines."""

    def __init__(self, code: str, arguments: Sequence[str]) -> None:
        command = [sys.executable, "-W", "ignore", "-c", code, *arguments]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )

    def hear(self) -> str:
        assert self.process.stdout is not None
        rescue = threading.Timer(PATIENCE, self.kill)
        rescue.start()
        line = self.process.stdout.readline().strip()
        rescue.cancel()
        return line

    def kill(self) -> None:
        """Kill it, and all the children that it has left."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()


@pytest.fixture
def start() -> Iterator[Callable[..., Program]]:
    programs: list[Program] = []

    def run(code: str, *arguments: str) -> Program:
        programs.append(Program(code, arguments))
        return programs[-1]

    yield run
    for program in programs:
        with program.process:
            program.kill()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(params=["plain", "tls"])
def tls(request: Any, authority: trustme.CA) -> ssl.SSLContext | None:
    if request.param == "plain":
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    return context


_SENDING = """
import os, sys, threading
import boto3
from botocore.config import Config
from megaflow.wire.client import WireClient
url, queue_url, ca, when = sys.argv[1:]
keys = {"aws_access_key_id": "any", "aws_secret_access_key": "any", "region_name": "us-east-1"}
client = WireClient(boto3.client("sqs", endpoint_url=url, verify=ca, config=Config(proxies={}), **keys))
def send():
    client.send_message(QueueUrl=queue_url, MessageBody="{}")
send()
sending, (hears, says) = threading.Thread(target=send), os.pipe()
def start():
    sending.start()
    assert sys.stdin.readline() == "arrived\\n"
if when == "busy":
    start()
child = os.fork()
if not child:
    os.read(hears, 1)
    if when != "silent":
        send()
    sys.exit(0)
if when != "busy":
    start()
os.write(says, b"!")
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
sending.join()
send()
print("sent", flush=True)
"""


@pytest.mark.parametrize("when", ["idle", "busy", "silent"])
def test_a_request_of_the_parents_is_neither_broken_nor_doubled_by_the_end_of_a_child(
    when: str, tls: ssl.SSLContext | None, authority: trustme.CA, tmp_path: Path, start: Callable[..., Program]
) -> None:
    ended = threading.Event()

    def wait_for_the_child(connection: socket.socket) -> None:
        program.say("arrived")
        assert ended.wait(PATIENCE)
        connection.sendall(SENT)

    trusted = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(trusted))
    with scripted(SENT, wait_for_the_child, SENT, SENT, tls=tls, host="localhost") as server:
        program = start(_SENDING, server.url, QUEUE_URL, str(trusted), when)

        exit_code = program.hear()
        ended.set()
        said = program.hear()

    assert (exit_code, said) == ("0", "sent")
    childs = [] if when == "silent" else [2]
    assert [request.connection for request in server.requests] == [1, 1, *childs, 1]


_STREAMING = """
import os, sys
from megaflow import SqsPublisher
url, queue_url, wire = sys.argv[1:]
keys = {"aws_access_key_id": "any", "aws_secret_access_key": "any", "region_name": "us-east-1"}
make = lambda: SqsPublisher(queue_url=queue_url, endpoint_url=url, wire=wire == "wire", **keys)
publisher = make()
stream = publisher.publish_stream({"number": number} for number in range(200))
sent = [next(stream)]
child = os.fork()
if not child:
    try:
        goes_on = list(stream)
    except RuntimeError as error:
        print(error, flush=True)
    # boto3's own connections are inherited, and shared.
    (publisher if wire == "wire" else make()).publish({"number": "child"})
    sys.exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
print(len(sent + [each for each in stream if each.message_id]), flush=True)
"""

_LEAVING = _STREAMING.replace("goes_on = list(stream)", "raise RuntimeError('left')")


@pytest.mark.parametrize("wire", ["wire", "boto3"])
@pytest.mark.parametrize(
    ("code", "said"),
    [
        (_STREAMING, "this was begun before a fork, and goes on in the parent: begin another one"),
        (_LEAVING, "left"),
    ],
)
def test_a_stream_goes_on_in_the_parent_alone(code: str, said: str, wire: str, start: Callable[..., Program]) -> None:
    with Server() as server:
        queue_url = SqsClient(server.account).create_queue(QueueName="orders")["QueueUrl"]
        program = start(code, server.url, queue_url, wire)

        heard = [program.hear() for _ in range(3)]

        bodies = receive_all(SqsClient(server.account), queue_url)
    assert heard == [said, "0", "200"]
    assert sorted(map(str, (json.loads(body)["number"] for body in bodies))) == sorted([*map(str, range(200)), "child"])


def receive_all(sqs: Any, queue_url: str) -> list[str]:
    bodies: list[str] = []
    while came := sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10).get("Messages"):
        bodies += [each["Body"] for each in came]
    return bodies


_CONSUMING = """
import json, multiprocessing, os, signal, sys, threading, time
from megaflow import App
url, queue_url, how = sys.argv[1:]
keys = {"aws_access_key_id": "any", "aws_secret_access_key": "any", "region_name": "us-east-1"}
app = App(queue_url, endpoint_url=url, wait_time_seconds=1, **keys)
codes, seen = [], []
def work(data):
    app.publish(f"child of {data['number']}")
    if how == "exits":
        sys.exit(3)
    if how == "waits":
        signal.pause()
def fork(data):
    if how == "spawns":
        process = multiprocessing.get_context("fork").Process(target=work, args=(data,))
        process.start()
        process.join()
        codes.append(process.exitcode)
        return
    child = os.fork()
    if not child:
        return work(data)
    if how == "waits":
        while not any(child_of == f"child of {data['number']}" for child_of in seen):
            time.sleep(0.01)
        os.kill(child, signal.SIGTERM)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
HANDLERS
@app.on_text()
def note(text):
    seen.append(text)
def report():
    while len(codes) < 3 or len(seen) < 3:
        time.sleep(0.01)
    print(json.dumps([codes, sorted(seen)]), flush=True)
threading.Thread(target=report, daemon=True).start()
app.run()
print("stopped", flush=True)
"""
_SYNC = _CONSUMING.replace("HANDLERS", "app.on_data()(fork)")
_ASYNC = _CONSUMING.replace("HANDLERS", "@app.on_data()\nasync def handle(data): fork(data)")


@pytest.mark.parametrize(
    ("code", "how", "exit_code"),
    [
        (_SYNC, "exits", 3),
        (_SYNC, "returns", 0),
        (_SYNC, "spawns", 0),
        (_SYNC, "waits", -signal.SIGTERM),
        (_ASYNC, "exits", 3),
        (_ASYNC, "returns", 0),
        (_ASYNC, "spawns", 0),
    ],
)
def test_a_child_that_a_handler_forks_is_no_consumer(
    code: str, how: str, exit_code: int, start: Callable[..., Program]
) -> None:
    with Server() as server:
        sqs = SqsClient(server.account)
        queue_url = sqs.create_queue(QueueName="orders")["QueueUrl"]
        for number in range(3):
            sqs.send_message(QueueUrl=queue_url, MessageBody=json.dumps({"number": number}))
        program = start(code, server.url, queue_url, how)

        codes, seen = json.loads(program.hear())
        program.process.terminate()
        said = program.hear()

        left = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["All"])["Attributes"]
    assert (codes, seen) == ([exit_code] * 3, ["child of 0", "child of 1", "child of 2"])
    assert said == "stopped"
    assert (left["ApproximateNumberOfMessages"], left["ApproximateNumberOfMessagesNotVisible"]) == ("0", "0")


_SERVING = """
import os, sys, time
from megaflow.local.server import Server
server = Server().__enter__()
print(server.url, flush=True)
sys.stdin.readline()
child = os.fork()
if not child:
    os.close(1)
    time.sleep(120)
    os._exit(0)
print("forked", flush=True)
sys.stdin.readline()
print("answers", flush=True)
server.close()
print(child, flush=True)
"""


def test_who_speaks_to_a_server_hears_of_its_end_while_a_child_lives(start: Callable[..., Program]) -> None:
    program = start(_SERVING)
    url = program.hear()
    sqs = boto3.client("sqs", endpoint_url=url, **KEYS)
    sqs.create_queue(QueueName="orders")
    port = int(url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as idle:
        idle.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert idle.recv(1)
        program.say("fork")
        assert program.hear() == "forked"
        assert sqs.list_queues()["QueueUrls"]
        program.say("close")
        assert program.hear() == "answers"

        child = int(program.hear())
        while idle.recv(65_536):
            pass
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), PATIENCE)
        os.kill(child, signal.SIGKILL)


# Locks, in this process


def exit_code_of(child: Callable[[], object]) -> int:
    """Run *child* in a child, which is ended where it hangs."""
    pid = os.fork()
    if not pid:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(20)
        try:
            child()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _publish(account: Account) -> None:
    SqsClient(account).create_queue(QueueName="another")


async def _do_nothing() -> None: ...


@pytest.mark.parametrize(
    ("made", "lock", "use"),
    [
        (Measurements(), "_lock", lambda measurements: measurements.note("a", {("handled",): 1}, {})),
        (Quota(), "_lock", lambda quota: quota.acquire(1)),
        (MemoryStore(), "_lock", lambda store: store.load("work")),
        (Idempotency(MemoryStore(), 30.0), "_lock", lambda keys: keys.renew(message_with("text"))),
        (EventLoop(lambda error: None), "_lock", lambda loop: loop.wait(_do_nothing())),
        (Account(), "lock", _publish),
        (App()._running, "_changing", lambda running: running.stop()),
        (App()._assembly, "_changing", lambda assembly: assembly.use(lambda call_next: call_next)),
        (App()._assembly._dependencies, "_lock", lambda dependencies: dependencies.close()),
    ],
)
def test_what_another_thread_held_is_free_in_a_child(made: Any, lock: str, use: Callable[[Any], object]) -> None:
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with getattr(made, lock):
            held.set()
            done.wait(PATIENCE)

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(PATIENCE)

    exit_code = exit_code_of(lambda: use(made))

    done.set()
    holder.join(PATIENCE)
    assert exit_code == 0


_LEAVING_HEALTH = """
import os, sys
from megaflow.consumer.core.health import NOT_RUNNING
from megaflow.runtime.health_server import serve_health
with serve_health(0, lambda: NOT_RUNNING, host="127.0.0.1") as port:
    child = os.fork()
    if not child:
        os.close(1)
        sys.exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), port, flush=True)
    sys.stdin.readline()
"""


def test_a_child_leaves_the_health_server_to_its_parent(start: Callable[..., Program]) -> None:
    program = start(_LEAVING_HEALTH)

    exit_code, port = program.hear().split()

    assert exit_code == "0"
    with socket.create_connection(("127.0.0.1", int(port)), PATIENCE) as asking:
        asking.sendall(b"GET /live HTTP/1.0\r\n\r\n")
        assert asking.recv(12) == b"HTTP/1.0 200"
