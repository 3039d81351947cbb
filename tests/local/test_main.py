from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest

from megaflow.local.__main__ import main
from tests import forked
from tests.local.wire import Wire, post, signature
from tests.waiting import EARLY, PATIENCE

NO_UVICORN = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"uvicorn", "starlette", "httptools"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
"""


@dataclass
class Program:
    """``python -m megaflow.local``, once it has said where it listens."""

    process: forked.Program
    first_line: str

    @property
    def url(self) -> str:
        found = re.search(r"http://127\.0\.0\.1:\d+", self.first_line)
        assert found, self.first_line
        return found.group()

    def stop(self, by: signal.Signals = signal.SIGTERM) -> tuple[int, str, float]:
        """Return the exit code, what it had to complain of, and how many seconds it took."""
        began = time.monotonic()
        self.process.send_signal(by)
        _, complaints = self.process.communicate(timeout=PATIENCE)
        return self.process.wait(), complaints, time.monotonic() - began


@contextmanager
def started(*arguments: str) -> Iterator[Program]:
    command = ("-m", "megaflow.local", "--port", "0", *arguments)
    with forked.Program(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield Program(process, process.stdout.readline())
        finally:
            process.kill()


def refused(*arguments: str) -> str:
    """Return what it says when it does not start."""
    ended = forked.run("-m", "megaflow.local", "--port", "0", *arguments, timeout=PATIENCE)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "Traceback" not in ended.stderr
    return ended.stderr


def test_a_place_to_deliver_to_that_is_none_is_refused() -> None:
    said = refused("--deliver-to", "app:8080", "--deliver-to", "http://app")

    assert said == (
        "megaflow.local: cannot deliver to 'http://app': give a host, or a host, a colon and a port, such as app:8080\n"
    )


def test_it_delivers_to_the_places_that_it_is_told() -> None:
    with started("--deliver-to", "127.0.0.2:9") as program:
        topic = query(program.url, Action="CreateTopic", Name="news")
        arn = "arn:aws:sns:us-east-1:000000000000:news"
        asked = {"Action": "Subscribe", "TopicArn": arn, "Protocol": "http"}
        taken = query(program.url, **asked, Endpoint="http://127.0.0.2:9/")
        not_taken = query(program.url, **asked, Endpoint="http://127.0.0.1:8080/")

    assert arn in topic
    assert "<SubscriptionArn>pending confirmation</SubscriptionArn>" in taken
    assert "this server delivers to 127.0.0.2:9 alone" in not_taken


def query(url: str, **asked: str) -> str:
    """Return what is answered to a call by GET, whether it is refused or not."""
    try:
        with urlopen(f"{url}/?{urlencode(asked)}") as answer:
            text: str = answer.read().decode()
    except HTTPError as error:
        with error:
            text = error.read().decode()
    return text


def test_its_first_line_says_where_it_listens_and_for_whom() -> None:
    with started("--account", "424566909325", "--region", "eu-west-1") as program, Wire(program.url) as wire:
        url = signed(wire, "eu-west-1", "any", "CreateQueue", QueueName="orders")["QueueUrl"]
        asked = {"QueueUrl": url, "AttributeNames": ["QueueArn"]}
        attributes = signed(wire, "eu-west-1", "any", "GetQueueAttributes", **asked)["Attributes"]

        stopped = program.stop()[:2]

    assert program.first_line == f"SQS and SNS on {program.url}, account 424566909325 in eu-west-1, in memory\n"
    assert url == "http://localhost/424566909325/orders"
    assert attributes == {"QueueArn": "arn:aws:sqs:eu-west-1:424566909325:orders"}
    assert stopped == (0, "")


def test_it_goes_by_the_names_it_is_told() -> None:
    with started("--allow-host", "queue.example.com", "--allow-host", "*.dev.example.com") as program:
        answers = []
        for name in ("queue.example.com", "sqs.dev.example.com", "evil.example"):
            with Wire(program.url) as wire:
                wire.send(f"GET / HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
                answers.append(wire.answer().status)

    assert answers == [200, 200, 403]


def test_what_is_in_the_data_file_is_there_again(tmp_path: Path) -> None:
    file = tmp_path / "orders.sqlite"
    with started("--data", str(file)) as program, Wire(program.url) as wire:
        url = wire.call("CreateQueue", QueueName="orders").json["QueueUrl"]
        wire.call("SendMessage", QueueUrl=url, MessageBody="a")
        program.stop()

    with started("--data", str(file)) as again, Wire(again.url) as wire:
        received = wire.call("ReceiveMessage", QueueUrl=url)

        code, complaints, _ = again.stop()

    assert f"kept in {file}: 0 queues, 0 topics, 0 messages" in program.first_line
    assert f"kept in {file}: 1 queue, 0 topics, 1 message\n" in again.first_line
    assert received.bodies == ["a"]
    assert (code, complaints) == (0, "")


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_well_and_soon_though_somebody_polls(tmp_path: Path, by: signal.Signals) -> None:
    file = tmp_path / "orders.sqlite"
    with started("--data", str(file)) as program, ExitStack() as opened:
        wire, poll = (opened.enter_context(Wire(program.url)) for _ in range(2))
        urls = [wire.call("CreateQueue", QueueName=name).json["QueueUrl"] for name in ("full", "empty")]
        poll.poll(urls[1])
        wire.call("SendMessage", QueueUrl=urls[0], MessageBody="a")

        code, complaints, took = program.stop(by)
        polled = poll.answer()

    with started("--data", str(file)) as again, Wire(again.url) as wire:
        kept = wire.call("ReceiveMessage", QueueUrl=urls[0]).bodies

    assert (code, complaints) == (0, "")
    assert took < EARLY
    assert (polled.status, polled.json) == (200, {})
    assert kept == ["a"]


def test_a_signal_ends_it_well_as_soon_as_it_has_said_where_it_listens() -> None:
    ends = []
    for _ in range(3):
        with started() as program:
            ends.append(program.stop()[:2])

    assert ends == [(0, "")] * 3


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        complaint = refused("--port", str(port))

    said = f"cannot listen on 127.0.0.1:{port}: Address already in use (is another one running?)"
    assert complaint == f"megaflow.local: {said}; port 0 takes a free one\n"


def test_a_file_of_something_else_is_refused_and_stays_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "letter.txt"
    file.write_text("Dear Sir or Madam, " * 100)

    complaint = refused("--data", str(file))

    assert complaint.startswith(f"megaflow.local: cannot use {file} as data file: ")
    assert file.read_text() == "Dear Sir or Madam, " * 100


def test_a_file_where_there_is_no_folder_is_refused(tmp_path: Path) -> None:
    complaint = refused("--data", str(tmp_path / "none" / "orders.sqlite"))

    assert complaint.startswith(f"megaflow.local: cannot use {tmp_path}")


def test_a_file_is_for_one_server_at_a_time(tmp_path: Path) -> None:
    file = tmp_path / "orders.sqlite"
    with started("--data", str(file)):
        complaint = refused("--data", str(file))

    assert complaint.startswith(f"megaflow.local: cannot use {file} as data file: another process has it open")


def test_a_file_is_for_one_account(tmp_path: Path) -> None:
    file = tmp_path / "orders.sqlite"
    with started("--data", str(file)) as program:
        program.stop()

    complaint = refused("--data", str(file), "--account", "424566909325")

    assert "424566909325" in complaint
    assert "000000000000" in complaint


@pytest.mark.parametrize(
    ("option", "value", "allowed"),
    [
        ("--account", "42", "twelve digits"),
        ("--account", "42456690932x", "twelve digits"),
        ("--account", "\u0664" * 12, "twelve digits"),
        ("--region", "Ireland", "such as eu-west-1"),
        ("--region", "eu west 1", "such as eu-west-1"),
        ("--port", "65536", "from 0 to 65535"),
        ("--port", "-1", "from 0 to 65535"),
        ("--port", "http", "from 0 to 65535"),
        ("--port", "\u0664", "from 0 to 65535"),
    ],
)
def test_a_value_that_is_not_allowed_is_refused_with_what_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, value: str, allowed: str
) -> None:
    # Were the value taken, the folder would not be: nothing starts in either case.
    with pytest.raises(SystemExit) as exited:
        main([f"{option}={value}", "--data", str(tmp_path)])

    assert exited.value.code == 2
    assert f"argument {option}: {value!r} is not allowed: give" in (complaint := capsys.readouterr().err)
    assert allowed in complaint


@pytest.mark.parametrize("region", ["us-east-1", "ap-southeast-2", "us-gov-west-1", "cn-north-1", "eusc-de-east-1"])
def test_each_partition_of_aws_has_regions(capsys: pytest.CaptureFixture[str], region: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code = main(["--region", region, "--port", str(taken.getsockname()[1])])

    assert code == 2
    assert "cannot listen" in capsys.readouterr().err


def test_its_help_names_each_option_and_how_to_point_an_sdk_at_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        main(["--help"])

    help_text = capsys.readouterr().out
    assert exited.value.code == 0
    assert all(
        option in help_text for option in ("--port", "--data FILE", "--allow-host NAME", "--region", "--account")
    )
    assert "AWS_ENDPOINT_URL=http://127.0.0.1:4566" in help_text


def without_uvicorn(program: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", NO_UVICORN + program]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)


def test_without_the_extra_it_says_which_one_it_needs() -> None:
    program = "import sys; sys.argv[1:] = ['--port', '0']; from megaflow.local.__main__ import main; sys.exit(main())"

    ended = without_uvicorn(program)

    assert ended.returncode == 2
    assert "pip install 'megaflow-sqs[local]'" in ended.stderr
    assert "No module named 'uvicorn'" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_without_the_extra_the_embedded_queue_works_in_process() -> None:
    program = "from megaflow.local import Account, SqsClient; print(SqsClient(Account()).list_queues().keys())"

    ended = without_uvicorn(program)

    assert (ended.returncode, ended.stdout) == (0, "dict_keys(['ResponseMetadata'])\n")


def signed(wire: Wire, region: str, key: str, operation: str, **ask: Any) -> dict[str, Any]:
    """Call an operation of SQS as somebody, in a region."""
    headers = f"X-Amz-Target: AmazonSQS.{operation}", "Content-Type: application/x-amz-json-1.0"
    wire.send(post(json.dumps(ask).encode(), *headers, signature(region, key)))
    answer = wire.answer()
    assert answer.status == 200, answer.body
    return answer.json if answer.body else {}


def test_each_account_outlives_a_kill(tmp_path: Path) -> None:
    options = ("--data", str(tmp_path / "orders.db"), "--accounts", "OTHERS=210987654321")
    with started(*options) as program, Wire(program.url) as wire:
        for region, key in (("us-east-1", "any"), ("eu-west-1", "any"), ("eu-west-1", "OTHERS")):
            signed(wire, region, key, "CreateQueue", QueueName="orders")
            signed(wire, region, key, "SendMessage", QueueUrl="orders", MessageBody=f"{key} in {region}")
        program.stop(signal.SIGKILL)

    with started(*options) as again, Wire(again.url) as wire:
        bodies = [
            [message["Body"] for message in signed(wire, region, key, "ReceiveMessage", QueueUrl="orders")["Messages"]]
            for region, key in (("us-east-1", "any"), ("eu-west-1", "any"), ("eu-west-1", "210987654321"))
        ]

    assert bodies == [["any in us-east-1"], ["any in eu-west-1"], ["OTHERS in eu-west-1"]]


def test_one_account_may_be_for_all_regions(tmp_path: Path) -> None:
    with started("--region-any", "--data", str(tmp_path / "orders.db")) as program, Wire(program.url) as wire:
        signed(wire, "us-east-1", "any", "CreateQueue", QueueName="orders")
        signed(wire, "eu-west-1", "210987654321", "SendMessage", QueueUrl="orders", MessageBody="a")

        assert "Messages" in signed(wire, "us-east-1", "any", "ReceiveMessage", QueueUrl="orders")
    assert [path.name for path in tmp_path.glob("orders.db.*")] == []


def test_it_may_be_relaxed() -> None:
    with started("--relaxed") as program, Wire(program.url) as wire:
        signed(wire, "us-east-1", "any", "CreateQueue", QueueName="orders")
        for _ in range(2):
            signed(wire, "us-east-1", "any", "PurgeQueue", QueueUrl="orders")


@pytest.mark.parametrize("value", ["KEY", "KEY=1", "=123456789012", "KEY=12345678901x"])
def test_an_account_of_a_key_has_twelve_digits(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--accounts", value])

    assert "give a key id, =, and twelve digits" in capsys.readouterr().err


def test_it_says_loudly_that_others_reach_it() -> None:
    with started("--host", "0.0.0.0") as program, Wire(program.url) as wire:
        wire.send(b"GET /health HTTP/1.1\r\nHost: megaflow:4566\r\n\r\n")
        status = wire.answer().status

        code, complaints, _ = program.stop()

    (line,) = complaints.splitlines()
    assert "WARNING this server listens on 0.0.0.0, not on this machine alone" in line
    assert (code, status) == (0, 200)


def test_urls_may_begin_as_a_proxy_is_called() -> None:
    with started("--url", "https://sqs.example.com") as program, Wire(program.url) as wire:
        assert signed(wire, "us-east-1", "any", "CreateQueue", QueueName="orders") == {
            "QueueUrl": "https://sqs.example.com/000000000000/orders"
        }


@pytest.mark.parametrize(
    ("option", "value", "why"),
    [
        ("--host", "192.0.2.1", "cannot listen on 192.0.2.1:0"),
        ("--url", "sqs", "cannot begin URLs of queues"),
        ("--allow-host", "a:80", "is no name of a host"),
    ],
)
def test_an_address_that_makes_no_sense_is_refused(option: str, value: str, why: str) -> None:
    complaint = refused(option, value)

    assert why in complaint
    assert complaint.count("\n") == 1


def may_unshare() -> bool:
    """Tell whether a test may start the first process of a new namespace, as a container does."""
    command = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "true"]
    try:
        return subprocess.run(command, capture_output=True, timeout=PATIENCE, check=False).returncode == 0
    except OSError:
        return False


@pytest.mark.skipif(not may_unshare(), reason="no process can be the first of a namespace here")
@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_as_the_first_process_of_a_container(tmp_path: Path, by: signal.Signals) -> None:
    namespace = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child"]
    number = tmp_path / "number"
    program = f"import os; open({str(number)!r}, 'w').write(str(os.getpid())); from megaflow.local.__main__ import main"
    command = [sys.executable, "-c", f"{program}; raise SystemExit(main(['--port', '0', '--host', '0.0.0.0']))"]
    with subprocess.Popen([*namespace, *command], stdout=subprocess.PIPE, text=True) as outer:
        assert outer.stdout is not None
        outer.stdout.readline()
        (server,) = Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split()
        began = time.monotonic()
        os.kill(int(server), by)

        assert outer.wait(PATIENCE) == 0
    assert time.monotonic() - began < EARLY
    assert number.read_text() == "1"


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_well_before_it_serves(tmp_path: Path, by: signal.Signals) -> None:
    program = f"""
import os, signal, sys
from megaflow.local import __main__ as local
from megaflow.local.file.store import Store

class SlowStore(Store):
    def load(self, account):
        super().load(account)
        os.kill(os.getpid(), {by.value})

local.Store = SlowStore
sys.exit(local.main(["--port", "0", "--data", {str(tmp_path / "queue.db")!r}]))
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE)

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


@pytest.mark.parametrize("value", ["Stage", "=dev"])
def test_a_parameter_has_a_name_and_a_value(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--parameter", value])

    assert "give a name, =, and a value" in capsys.readouterr().err
