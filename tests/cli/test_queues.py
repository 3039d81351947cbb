"""``megaflow peek``, ``tail``, ``stats`` and ``purge``."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest

from megaflow.local.server import Server
from megaflow.messages.codec import encode
from tests.cli.conftest import Run, take_all
from tests.cli.processes import piped, running
from tests.messages.test_message import envelope
from tests.waiting import PATIENCE


def test_peek_shows_messages_leaves_them_and_says_what_that_costs(run: Run, sqs: Any, orders: str) -> None:
    for number in range(13):
        sqs.send_message(QueueUrl=orders, MessageBody=json.dumps({"n": number}))

    few, all_ = run("peek", orders, "--count", 3, "--json"), run("peek", "orders", "--count", 50, "--json")

    assert (few.code, len(few.json)) == (0, 3)
    assert sorted(json.loads(each["body"])["n"] for each in all_.json) == list(range(13))
    assert all_.json[0]["kind"] == "data"
    assert "counts one delivery more; at 5 it goes to the dead-letter queue" in few.err
    assert len(take_all(sqs, orders)) == 13


def test_peek_shows_people_what_a_message_is(run: Run, sqs: Any, orders: str) -> None:
    sent = sqs.send_message(QueueUrl=orders, MessageBody="x" * 600)

    short, full = run("peek", "orders"), run("peek", "orders", "--full")

    heading, body = short.out.splitlines()
    assert heading.startswith(f"{sent['MessageId']}  text  sent 20")
    assert heading.endswith("received once")
    assert body == f"  {'x' * 500}… (--full)"
    assert "received 2 times" in full.out
    assert "x" * 600 in full.out


def test_peek_shows_what_is_inside_all_envelopes(run: Run, sqs: Any, orders: str) -> None:
    in_bson = encode(envelope("hello"), binary_encoding=True).body
    sqs.send_message(QueueUrl=orders, MessageBody=json.dumps(envelope(in_bson)))

    _, body = run("peek", orders).out.splitlines()

    assert body == "  hello"


def test_peek_shows_what_is_wrong_with_a_message(run: Run, sqs: Any, orders: str) -> None:
    pointer = '["software.amazon.payloadoffloading.PayloadS3Pointer", {"s3BucketName": "b", "s3Key": "k"}]'
    sqs.send_message(QueueUrl=orders, MessageBody=pointer)

    shown, told = run("peek", orders), run("peek", orders, "--json")

    problem = "a pointer to a payload in S3 of an extended client, which nothing here reads"
    assert shown.out.splitlines()[1:] == [f"  {pointer}", f"  {problem}"]
    assert told.json[0]["problem"] == problem


def test_a_queue_is_named_by_its_arn_too(run: Run, sqs: Any, orders: str) -> None:
    ran = run("peek", "arn:aws:sqs:us-east-1:000000000000:orders")

    assert ran.code == 0
    assert ran.out == ""
    assert "there is no message to be seen" in ran.err


def test_stats_say_what_is_there_and_how_it_is_set_up(run: Run, sqs: Any, orders: str) -> None:
    sqs.send_message(QueueUrl=orders, MessageBody="a")
    sqs.send_message(QueueUrl=orders, MessageBody="b", DelaySeconds=60)

    shown, told = run("stats", "orders", "orders-dead"), run("stats", "orders", "--json")

    assert ["visible", "1"] in [line.split() for line in shown.out.splitlines()]
    assert "orders-dead" in shown.out
    known = told.json[0]
    assert (known["visible"], known["in_flight"], known["delayed"]) == (1, 0, 1)
    assert (known["dead_letter_queue"], known["max_receive_count"]) == ("orders-dead", 5)


def test_purge_asks_before_it_deletes(run: Run, sqs: Any, orders: str) -> None:
    sqs.send_message(QueueUrl=orders, MessageBody="a")

    unasked = run("purge", "orders")
    ran = run("purge", "orders", "--yes")

    assert unasked.code == 2
    assert "this deletes about 1 message of orders: say --yes" in unasked.err
    assert ran.code == 0
    assert take_all(sqs, orders) == []


def test_tail_shows_each_message_once_and_gives_it_back(server: Server, run: Run, sqs: Any, orders: str) -> None:
    sqs.send_message(QueueUrl=orders, MessageBody="first")
    with piped("tail", "orders", "--json") as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        sqs.send_message(QueueUrl=orders, MessageBody="second")
        second = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        rest, err = process.communicate(timeout=PATIENCE)

    assert (first["body"], second["body"], rest) == ("first", "second", "")
    assert process.returncode == 0
    assert "hidden from consumers for up to 30 seconds" in err
    assert sorted(each["Body"] for each in take_all(sqs, orders)) == ["first", "second"]


def test_a_peek_that_is_interrupted_gives_all_back(
    run: Run, sqs: Any, orders: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        sqs.send_message(QueueUrl=orders, MessageBody=json.dumps({"n": number}))

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("megaflow.cli.queues._show", interrupt)
        ran = run("peek", "orders")

    assert ran.code == 130
    assert len(take_all(sqs, orders)) == 5


def test_tail_is_ended_by_sigterm_as_well(server: Server, sqs: Any, orders: str) -> None:
    sqs.send_message(QueueUrl=orders, MessageBody="first")
    with running("tail", "orders", "--json") as process:
        process.wait_for("first")

        assert process.end(signal.SIGTERM) == 0
    assert len(take_all(sqs, orders)) == 1


@pytest.mark.parametrize("command", ["peek", "tail", "stats", "purge"])
def test_a_queue_that_is_not_there_is_named(run: Run, server: Server, command: str) -> None:
    ran = run(command, "nowhere")

    assert ran.code == 2
    assert f"there is no queue nowhere at {server.url}" in ran.err
