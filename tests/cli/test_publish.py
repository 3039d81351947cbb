"""``megaflow publish``: what arrives, and what is in the file of what failed."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from megaflow.local.server import Server
from megaflow.messages.attributes import Attribute
from megaflow.messages.message import open_message
from tests.cli.conftest import Run, take_all
from tests.waiting import PATIENCE, wait_until

EVENT = (
    '{"protocol": "mega", "version": 1, "event": {"domain": "shop", "name": "added", "version": 1, '
    '"timestamp": "2020-05-04T15:53:23.123Z"}}'
)


def _open(raw: Any) -> Any:
    attributes = {
        name: Attribute(each["DataType"], each["StringValue"])
        for name, each in raw.get("MessageAttributes", {}).items()
    }
    return open_message(raw["Body"], sqs_attributes=attributes)


def test_a_file_is_one_message_as_it_stands(run: Run, sqs: Any, orders: str, tmp_path: Path) -> None:
    Path("event.json").write_text(f"{EVENT}\n")

    ran = run("publish", "event.json", "--queue", "orders", "--attribute", "origin=test=1")

    [message] = take_all(sqs, orders)
    assert ran.code == 0
    assert ran.out.split() == [message["MessageId"], "sent", "to", "orders"]
    assert message["Body"] == EVENT
    assert message["MessageAttributes"]["origin"]["StringValue"] == "test=1"


@pytest.mark.parametrize("text", ["ping", "[1, 2]", "aGVsbG8gd29ybGQ=", "{not json", "7"])
def test_what_is_no_object_is_text(run: Run, sqs: Any, orders: str, text: str) -> None:
    Path("text").write_text(text)

    run("publish", "text", "--queue", "orders")

    [message] = map(_open, take_all(sqs, orders))
    assert (message.kind, message.payload) == ("text", text)


def test_an_object_goes_as_bson_where_that_is_said(run: Run, sqs: Any, orders: str) -> None:
    Path("event.json").write_text(EVENT)

    run("publish", "event.json", "--queue", "orders", "--binary-encoding")

    [message] = map(_open, take_all(sqs, orders))
    assert not message.body.startswith("{")
    assert message.payload.event.name == "added"


def test_what_claims_to_be_an_event_and_is_none_goes_with_a_warning(run: Run, sqs: Any, orders: str) -> None:
    Path("event.json").write_text('{"protocol": "mega", "version": 1}')

    ran = run("publish", "event.json", "--queue", "orders")

    assert ran.code == 0
    assert "not a valid MEGA event" in ran.err
    assert len(take_all(sqs, orders)) == 1


def test_the_environment_says_where_to(run: Run, sqs: Any, orders: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEGAFLOW_QUEUE_URL", orders)
    Path("text").write_text("ping")

    assert run("publish", "text").code == 0
    assert len(take_all(sqs, orders)) == 1


def test_a_topic_gets_it_with_its_subject(run: Run, server: Server, sqs: Any, orders: str) -> None:
    import boto3

    sns = boto3.client(
        "sns", endpoint_url=server.url, region_name="us-east-1", aws_access_key_id="any", aws_secret_access_key="any"
    )
    topic = sns.create_topic(Name="events")["TopicArn"]
    arn = sqs.get_queue_attributes(QueueUrl=orders, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    Path("text").write_text("ping")

    for address in (topic, "events"):
        assert run("publish", "text", "--topic", address, "--subject", "hello").out.endswith("sent to events\n")

        [message] = map(_open, take_all(sqs, orders))
        assert (message.payload, message.sns.subject) == ("ping", "hello")


def test_a_topic_is_found_by_its_name_among_many(run: Run, server: Server) -> None:
    import boto3

    sns = boto3.client(
        "sns", endpoint_url=server.url, region_name="us-east-1", aws_access_key_id="any", aws_secret_access_key="any"
    )
    for number in range(130):
        sns.create_topic(Name=f"events-{number}")
    Path("text").write_text("ping")

    assert run("publish", "text", "--topic", "events-99").out.endswith("sent to events-99\n")
    ran = run("publish", "text", "--topic", "events")
    assert (ran.code, ran.err) == (2, f"megaflow: there is no topic events at {server.url}, in us-east-1\n")


@pytest.mark.parametrize("variable", ["MEGAFLOW_QUEUE_URL", "MEGAFLOW_TOPIC_ARN"])
def test_the_environment_holds_addresses_and_no_names(
    run: Run, sqs: Any, orders: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "orders")
    Path("text").write_text("ping")

    ran = run("publish", "text")

    assert ran.code == 2
    assert f"{variable}='orders' is not the" in ran.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--queue", "arn:aws:sns:us-east-1:000000000000:orders"), "but that of a topic: give its ARN as --topic"),
        (("--topic", "http://127.0.0.1:4566/000000000000/orders"), "but that of a queue: give it as --queue-url"),
    ],
)
def test_an_address_of_the_other_kind_is_refused(run: Run, server: Server, arguments: Any, said: str) -> None:
    Path("text").write_text("ping")

    ran = run("publish", "text", *arguments)

    assert (ran.code, said in ran.err) == (2, True)


def test_each_line_is_a_message(run: Run, sqs: Any, orders: str) -> None:
    Path("all.jsonl").write_text(f'{EVENT}\n\n{{"a": 1}}\n"ping"\n"{{}}"')

    ran = run("publish", "all.jsonl", "--queue", "orders", "--json")

    got = sorted((message.kind.value, str(message.payload)) for message in map(_open, take_all(sqs, orders)))
    assert [kind for kind, _ in got] == ["data", "mega", "text", "text"]
    assert got[0][1] == "{'a': 1}"
    assert {text for kind, text in got if kind == "text"} == {"ping", "{}"}
    assert ran.json[0] | {"seconds": 0} == {
        "sent": 4, "failed": 0, "unknown": 0, "seconds": 0, "to": "orders", "failed_file": None,
    }  # fmt: skip


def test_lines_that_fail_are_in_a_file_that_can_be_fed_in_again(run: Run, sqs: Any, orders: str) -> None:
    bad = ['{"a": ', "17", json.dumps({"much": "x" * 1_100_000}), '{"b": "\x00"}']
    lines = [line for number in range(4) for line in (f'{{"n": {number}}}', bad[number])]
    Path("all.jsonl").write_text("\n".join(lines))

    ran = run("publish", "all.jsonl", "--queue", "orders")

    assert ran.code == 1
    assert "sent 4 messages" in ran.out
    assert "4 messages failed: they are in all.failed.jsonl" in ran.err
    assert "line 2: is no JSON" in ran.err
    assert Path("all.failed.jsonl").read_text().splitlines() == bad
    assert stat.S_IMODE(Path("all.failed.jsonl").stat().st_mode) == 0o600
    assert sorted(json.loads(each["Body"])["n"] for each in take_all(sqs, orders)) == [0, 1, 2, 3]


def test_what_is_no_utf8_comes_back_as_it_was(run: Run, sqs: Any, orders: str) -> None:
    Path("all.jsonl").write_bytes(b'{"a": "\xff\xfe"}\r\n{"b": 1}\n')

    assert run("publish", "all.jsonl", "--queue", "orders").code == 1

    assert Path("all.failed.jsonl").read_bytes() == b'{"a": "\xff\xfe"}\r\n'
    assert [each["Body"] for each in take_all(sqs, orders)] == ['{"b": 1}']


def test_what_failed_once_goes_the_second_time(run: Run, server: Server, sqs: Any) -> None:
    Path("all.jsonl").write_text("".join(f'{{"n": {number}}}\n' for number in range(30)))
    first = run("publish", "all.jsonl", "--queue", f"{server.url}/000000000000/later")
    url = sqs.create_queue(QueueName="later")["QueueUrl"]

    second = run("publish", "all.failed.jsonl", "--queue", url)

    assert (first.code, second.code) == (1, 0)
    assert "NonExistentQueue" in first.err
    assert sorted(json.loads(each["Body"])["n"] for each in take_all(sqs, url)) == list(range(30))
    assert not Path("all.failed.failed.jsonl").exists()


def test_what_failed_before_is_not_written_over(run: Run, orders: str) -> None:
    Path("all.jsonl").write_text("{}")
    Path("all.failed.jsonl").write_text("precious")

    ran = run("publish", "all.jsonl", "--queue", "orders")

    assert ran.code == 2
    assert "all.failed.jsonl is there from before" in ran.err
    assert Path("all.failed.jsonl").read_text() == "precious"


def test_groups_and_deduplication_ids_come_from_the_lines(run: Run, sqs: Any) -> None:
    url = sqs.create_queue(QueueName="q.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    rows = [{"cart": {"id": cart}, "n": number} for number, cart in enumerate(["a", 7, "a", None])]
    Path("all.jsonl").write_text("\n".join(map(json.dumps, rows)))

    ran = run("publish", "all.jsonl", "--queue", "q.fifo", "--group-key", "cart.id", "--deduplication-key", "n")

    assert ran.code == 1
    assert "line 4: cart.id: there is no text or whole number" in ran.err
    got = {each["Attributes"]["MessageGroupId"] for each in take_all(sqs, url)}
    assert got == {"a", "7"}


def test_lines_come_from_the_standard_input(run: Run, sqs: Any, orders: str, monkeypatch: pytest.MonkeyPatch) -> None:
    readable, writable = os.pipe()
    os.write(writable, b'{"n": 1}\n{"n": 2}\n')
    os.close(writable)
    with os.fdopen(readable) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        ran = run("publish", "-", "--lines", "--queue", "orders", "--skip", "1")

    assert ran.code == 0
    assert [each["Body"] for each in take_all(sqs, orders)] == ['{"n": 2}']


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "say where to"),
        (["--queue", "q", "--topic", "t"], "not to both"),
        (["--queue", "orders", "--attribute", "x"], "'x' is not NAME=VALUE"),
        (["--queue", "orders", "--group-id", "a", "--group-key", "b"], "not both"),
        (["--queue", "orders", "--raw", "--binary-encoding"], "--raw does not look into what it sends"),
        (["--queue", "orders", "--lines", "--deduplication-id", "a"], "--deduplication-id is for one message"),
        (["--queue", "nowhere"], "there is no queue nowhere at http://127.0.0.1"),
    ],
)
def test_what_contradicts_itself_is_refused(run: Run, orders: str, arguments: list[str], said: str) -> None:
    Path("text").write_text("ping")

    ran = run("publish", "text", *arguments)

    assert ran.code == 2
    assert said in ran.err
    assert ran.err.count("\n") == 1


def test_an_interrupted_publish_says_how_far_it_came(server: Server, sqs: Any, orders: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "megaflow", "publish", "-", "--lines", "--queue", "orders"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdin is not None
        process.stdin.write("".join(f'{{"n": {number}}}\n' for number in range(25)))
        process.stdin.flush()
        wait_until(lambda: _depth(sqs, orders) >= 20)
        process.send_signal(signal.SIGINT)
        process.wait(PATIENCE)
        assert process.stderr is not None
        said = process.stderr.read()

    assert process.returncode == 130
    # Those that did not fill a batch may not have been read yet.
    found = re.search(r"interrupted after (2[0-5]) lines, all of which have been dealt with", said)
    assert found, said
    assert sorted(json.loads(each["Body"])["n"] for each in take_all(sqs, orders)) == list(range(int(found[1])))


def _depth(sqs: Any, url: str) -> int:
    name = "ApproximateNumberOfMessages"
    return int(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[name])["Attributes"][name])


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ('{\n  "a": 1,\n  "b" 2\n}\n', "it is no JSON (line 3, column 7: Expecting ':' delimiter), and goes as text"),
        ('{"a": 1} {', "it is no JSON (line 1, column 10: Extra data), and goes as text"),
        ("[1, 2]", "it is no JSON object, and goes as text"),
    ],
)
def test_what_is_wrong_in_broken_json_is_named(run: Run, sqs: Any, orders: str, body: str, why: str) -> None:
    Path("order.json").write_text(body)

    ran = run("publish", "order.json", "--queue", "orders")

    assert ran.code == 0
    assert why in " ".join(ran.err.split())
