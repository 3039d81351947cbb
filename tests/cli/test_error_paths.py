"""Whatever goes wrong: one line, the right exit code, nothing lost.

A command has a process of its own where that makes a difference: where it has threads, children or signals to end.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from megaflow.local import Fault, FaultKind, Faults
from megaflow.local.server import Server
from tests import forked
from tests.cli.conftest import Ran, Run, take_all
from tests.cli.processes import MEGAFLOW, running
from tests.forked import ROOT
from tests.waiting import PATIENCE, wait_until

APP = "from megaflow import App\napp = App()\napp.on_text()(print)\n"
NOBODY = "http://127.0.0.1:9"


def start(*arguments: str) -> Ran:
    """Run the command in a process of its own."""
    done = forked.run(*MEGAFLOW, *arguments, env=os.environ | {"AWS_MAX_ATTEMPTS": "1"}, timeout=PATIENCE)
    return Ran(done.returncode, done.stdout, done.stderr)


def start_where(*arguments: str, **options: Any) -> Ran:
    """Run the command in a process that has something else to write to."""
    done = subprocess.run(
        [sys.executable, "-m", "megaflow", *arguments],
        capture_output="stdout" not in options,
        text=True,
        timeout=PATIENCE,
        check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT), "AWS_MAX_ATTEMPTS": "1"},
        **options,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def expect(done: Ran, code: int, said: str) -> None:
    assert (done.code, done.err.count("\n")) == (code, 1), done.err
    assert done.err.startswith("megaflow: ")
    assert said in done.err


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let boto3 try once."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")


@pytest.fixture
def files() -> None:
    """What a command may be given."""
    Path("shop.py").write_text(APP)
    Path("broken.py").write_text("import nothing_like_that\n")
    Path("empty.py").write_text("x = 1\n")
    Path("body.json").write_text("{}")
    Path("some.jsonl").write_text('{"n": 1}\n{"n": 2}\n')


TARGETS = {
    "nowhere.py:app": "there is no file nowhere.py",
    "nowhere:app": "there is no module 'nowhere'",
    "empty.py": "there is no app in empty.py",
    "shop.py:ap": "there is no 'ap' in shop.py; there is shop.py:app",
    "broken.py": "broken.py cannot be imported: broken.py:1: ModuleNotFoundError: No module named 'nothing_like",
}


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("command", ["run {}", "handlers {}", "explain {} body.json"])
@pytest.mark.parametrize("target", TARGETS)
def test_a_target_that_is_not_there(command: str, target: str, run: Run) -> None:
    expect(run(*command.format(target).split()), 2, TARGETS[target])


# The first one is found out by the command, the second one by the process that it starts for the app.
@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("target", ["nowhere.py:app", "broken.py"])
def test_a_target_that_is_not_there_for_dev(target: str) -> None:
    expect(start("dev", target, "--port", "0", "--no-reload"), 2, TARGETS[target])


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("target", ["nowhere:app", "shop.py:ap", "empty.py"])
def test_dev_does_not_wait_for_an_edit_where_the_target_is_mistyped(target: str) -> None:
    expect(start("dev", target, "--port", "0"), 2, TARGETS[target])


@pytest.mark.usefixtures("files", "orders")
@pytest.mark.parametrize("command", ["explain shop.py nowhere.json", "publish nowhere.json --queue orders"])
def test_a_file_that_is_not_there(command: str, run: Run) -> None:
    expect(run(*command.split()), 2, "nowhere.json")


QUEUES = [
    "peek {}",
    "tail {}",
    "stats {}",
    "purge {} --yes",
    "move {} orders",
    "move orders {}",
    "redrive {}",
    "redrive orders --to {}",
    "publish body.json --queue {}",
    "publish some.jsonl --queue {}",
]


@pytest.mark.usefixtures("files", "orders")
@pytest.mark.parametrize("command", QUEUES)
def test_a_queue_that_is_not_there(command: str, server: Server, run: Run) -> None:
    expect(run(*command.format("nowhere").split()), 2, f"there is no queue nowhere at {server.url}")


def connecting_to(endpoint: str, command: str) -> list[str]:
    url = f"{endpoint}/000000000000/orders"
    return [*command.replace(" orders", f" {url}2").format(url).split(), "--endpoint-url", endpoint]


def expect_failure(done: Ran, said: str) -> None:
    assert done.code == 1
    assert said in done.err
    assert "Traceback" not in done.err


@pytest.mark.usefixtures("files", "hasty")
@pytest.mark.parametrize("command", QUEUES)
def test_nobody_listens(command: str, run: Run) -> None:
    expect_failure(run(*connecting_to(NOBODY, command)), "Could not connect to the endpoint URL")


# These have calls under way in threads, which are not to keep the process.
@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("command", ["move {} orders", "publish some.jsonl --queue {}"])
def test_a_process_ends_where_nobody_listens(command: str) -> None:
    expect_failure(start(*connecting_to(NOBODY, command)), "Could not connect to the endpoint URL")


class _Refusal(BaseHTTPRequestHandler):
    """AWS, to someone who may do nothing."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = b'{"__type": "com.amazon.coral.service#AccessDeniedException", "message": "you may not"}'
        self.send_response(400)
        self.send_header("Content-Type", "application/x-amz-json-1.0")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def refusing() -> Iterator[str]:
    """The address of a server that refuses everything."""
    with HTTPServer(("127.0.0.1", 0), _Refusal) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.mark.usefixtures("files", "hasty")
@pytest.mark.parametrize("command", QUEUES)
def test_access_that_is_refused(command: str, refusing: str, run: Run) -> None:
    done = run(*connecting_to(refusing, command))

    expect_failure(done, "AccessDenied")
    assert "you may not" in done.err


@pytest.mark.usefixtures("files")
def test_access_that_is_refused_to_an_app(refusing: str) -> None:
    done = start("run", "shop.py", "--queue-url", f"{refusing}/000000000000/orders", "--endpoint-url", refusing)

    assert done.code == 2
    assert "access is refused; check the credentials" in done.err.splitlines()[-1]
    assert "Traceback" not in done.err


@pytest.mark.usefixtures("files")
def test_line_seven_is_no_json(sqs: Any, orders: str) -> None:
    lines = [json.dumps({"n": number}) for number in range(1, 2_001)]
    lines[6] = '{"n": 7'
    Path("many.jsonl").write_text("\n".join(lines))

    done = start("publish", "many.jsonl", "--queue", "orders")

    assert done.code == 1
    assert done.out.startswith("sent 1,999 messages to orders in ")
    assert done.err.splitlines()[0] == "1 message failed: they are in many.failed.jsonl"
    assert done.err.splitlines()[1].startswith("  line 7: is no JSON: ")
    assert Path("many.failed.jsonl").read_text() == '{"n": 7\n'
    assert len(take_all(sqs, orders)) == 1_999


def _almost_full() -> None:
    """Let no file grow beyond four bytes, as where a disk is full."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (4, 4))


@pytest.mark.usefixtures("files")
def test_a_full_disk_loses_no_line(sqs: Any, orders: str) -> None:
    Path("all.jsonl").write_text('{"n": 1}\n{"n": \n{"n": 3}\n')

    done = start_where("publish", "all.jsonl", "--queue", "orders", preexec_fn=_almost_full)

    expect_failure(
        done, "all.failed.jsonl: File too large, so these lines failed and are not in it: 2; go on with --skip"
    )


@pytest.mark.usefixtures("files", "orders")
@pytest.mark.parametrize("command", ["stats orders", "publish body.json --queue orders", "--help"])
def test_an_output_that_is_full(command: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = start_where(*command.split(), stdout=full, stderr=subprocess.PIPE)

    expect(done, 1, "No space left on device")


# At this rate the first message goes at once, and the second one long after the command was interrupted.
@pytest.mark.parametrize("command", ["tail orders", "move orders orders-dead --max-rate 0.001"])
def test_ctrl_c_in_the_middle(command: str, server: Server, sqs: Any, orders: str) -> None:
    for number in range(3):
        sqs.send_message(QueueUrl=orders, MessageBody=f"message {number}")
    with running(*command.split(), "--json") as process:
        if command.startswith("tail"):
            process.wait_for('"body"')
        else:
            _wait_for_message(sqs, f"{orders}-dead")

        code = process.end(signal.SIGINT)

    assert code == (0 if command.startswith("tail") else 130)
    left = [each["Body"] for url in (orders, f"{orders}-dead") for each in take_all(sqs, url)]
    assert sorted(left) == ["message 0", "message 1", "message 2"]


def _wait_for_message(sqs: Any, url: str) -> None:
    """Return once there is a message in the queue."""
    wait_until(lambda: "Messages" in sqs.receive_message(QueueUrl=url, VisibilityTimeout=0, WaitTimeSeconds=1))


HEARS_THE_SECOND_FIRST = """
import signal, sys
from megaflow.cli.main import main
from megaflow.cli.publishing import Lines

def stop(lines, now):
    if not now:
        signal.raise_signal(signal.SIGTERM)
    real(lines, now)

real, Lines._stop = Lines._stop, stop
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("heard_first", [False, True])
def test_a_second_ctrl_c_keeps_the_lines_that_were_under_way(
    server: Server, sqs: Any, orders: str, heard_first: bool
) -> None:
    program: tuple[str, ...] = MEGAFLOW
    if heard_first:
        Path("hearing.py").write_text(HEARS_THE_SECOND_FIRST)
        program = ("hearing.py",)
    server.account.faults = Faults([Fault("SendMessageBatch", FaultKind.SLOW, seconds=2 * PATIENCE, skip=1)])
    Path("all.jsonl").write_text("".join(f'{{"n": {number}}}\n' for number in range(30)))
    with running("publish", "all.jsonl", "--queue", "orders", program=program) as process:
        _wait_for_message(sqs, orders)
        process.interrupt()
        # Two of the same signal, one right after the other, can come to no more than one.
        if not heard_first:
            process.interrupt(signal.SIGTERM)
        read = int(process.wait_for("go on with --skip").split()[-1])
        code = process.wait()

    failed = Path("all.failed.jsonl").read_text().splitlines() if Path("all.failed.jsonl").exists() else []
    there = {each["Body"] for each in take_all(sqs, orders)}
    assert code == 130
    assert {*there, *failed} == {f'{{"n": {number}}}' for number in range(read)}
