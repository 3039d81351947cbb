"""``megaflow move`` and ``megaflow redrive`` over HTTP: what they say, where messages end up."""

from __future__ import annotations

import json
import signal
import threading
from typing import Any

import click
import pytest

from megaflow import App, Reject
from megaflow.cli.move import _Place, _Sources
from megaflow.cli.output import count_messages
from megaflow.local.server import Server
from megaflow.transport.queue import OpenQueue
from tests.cli.conftest import Run, take_all
from tests.cli.processes import piped
from tests.fakes import client_error
from tests.waiting import PATIENCE, wait_until


def _send(sqs: Any, url: str, *bodies: object) -> None:
    for body in bodies:
        sqs.send_message(QueueUrl=url, MessageBody=body if isinstance(body, str) else json.dumps(body))


def _dead(orders: str) -> str:
    return f"{orders}-dead"


def _create_source(sqs: Any, name: str, orders: str) -> str:
    """Create a queue with the redrive policy of *orders*."""
    policy = sqs.get_queue_attributes(QueueUrl=orders, AttributeNames=["RedrivePolicy"])["Attributes"]
    return str(sqs.create_queue(QueueName=name, Attributes=policy)["QueueUrl"])


def test_a_redrive_sends_messages_to_the_queue_whose_policy_names_theirs(run: Run, sqs: Any, orders: str) -> None:
    _send(sqs, _dead(orders), "a", "b")

    ran = run("redrive", "orders-dead")

    assert (ran.code, ran.out) == (0, "moved 2 messages to orders\n")
    assert sorted(each["Body"] for each in take_all(sqs, orders)) == ["a", "b"]


def test_a_redrive_sends_what_megaflow_dead_lettered_to_where_it_was(
    run: Run, server: Server, sqs: Any, orders: str
) -> None:
    other = _create_source(sqs, "other", orders)
    app = App(other, client=sqs, wait_time_seconds=0)

    @app.on_text("bad")
    def refuse(text: str) -> None:
        app.stop()
        raise Reject("it is bad")

    app.publish("bad")
    app.run()
    peeked = run("peek", "orders-dead")

    ran = run("redrive", "orders-dead")

    assert f"{refuse.__module__}" in peeked.out
    assert "Reject: it is bad" in peeked.out
    assert (ran.code, ran.out) == (0, "moved 1 message to other\n")
    [message] = take_all(sqs, other)
    assert "megaflow-origin" in message["MessageAttributes"]


def test_what_sqs_itself_moved_goes_back_to_where_sqs_says_whatever_it_says_itself(
    run: Run, sqs: Any, orders: str
) -> None:
    public = _create_source(sqs, "public", orders)
    origin = {"DataType": "String", "StringValue": json.dumps({"message_id": "m", "queue": orders})}
    for attributes in ({}, {"megaflow-origin": origin}):
        sqs.send_message(QueueUrl=public, MessageBody="a", MessageAttributes=attributes)
    for _ in range(6):
        sqs.receive_message(QueueUrl=public, MaxNumberOfMessages=10, VisibilityTimeout=0)

    ran = run("redrive", "orders-dead")

    assert (ran.code, ran.out) == (0, "moved 2 messages to public\n")


def test_where_nobody_may_know_the_sources_a_redrive_wants_to_be_told_before_it_begins(
    run: Run, sqs: Any, orders: str
) -> None:
    _send(sqs, orders, "a")

    ran = run("redrive", "orders")

    assert (ran.code, ran.out) == (2, "")
    assert ran.err == (
        "megaflow: no queue's redrive policy names orders, so that nothing tells where its messages go back to: "
        "say --to\n"
    )
    [message] = take_all(sqs, orders)
    assert message["Attributes"]["ApproximateReceiveCount"] == "1"


def test_where_it_is_denied_to_know_the_sources_a_redrive_wants_to_be_told(sqs: Any, orders: str) -> None:
    class Denied:
        def __getattr__(self, name: str) -> Any:
            return getattr(sqs, name)

        def get_paginator(self, operation: str) -> Any:
            assert operation == "list_dead_letter_source_queues"
            raise client_error("AccessDenied", status=403)

    place = _Place(Denied(), _dead(orders), OpenQueue(sqs, _dead(orders)))

    with pytest.raises(click.ClickException, match=r"policies name orders-dead: .*AccessDenied.*; say --to$"):
        _Sources(place)


def test_where_several_queues_share_it_a_redrive_wants_to_be_told(run: Run, sqs: Any, orders: str) -> None:
    _create_source(sqs, "second", orders)
    _send(sqs, _dead(orders), "a")

    asked = run("redrive", "orders-dead")
    told = run("redrive", "orders-dead", "--to", "second")

    assert (asked.code, asked.out) == (1, "moved nothing\n")
    assert "1 message cannot go back by itself, and stayed: say --to" in asked.err
    assert "it does not say where it was, and 2 queues' redrive policies name orders-dead" in asked.err
    assert (told.code, told.out) == (0, "moved 1 message to second\n")


def test_a_pattern_says_which_messages_go(run: Run, sqs: Any, orders: str) -> None:
    to = sqs.create_queue(QueueName="big")["QueueUrl"]
    _send(sqs, orders, {"amount": 5}, {"amount": 500}, "no object", {"amount": 50})
    pattern = '{"amount": [{"numeric": [">", 20]}]}'

    tried = run("move", "orders", "big", "--pattern", pattern, "--dry-run", "--json")
    ran = run("move", "orders", "big", "--pattern", pattern)

    assert tried.json[0]["moved"] == {to: 2}
    assert tried.json[0]["dry_run"] is True
    assert ran.out == "moved 2 messages to big\n2 messages did not match, and stayed\n"
    assert sorted(json.loads(each["Body"])["amount"] for each in take_all(sqs, to)) == [50, 500]
    assert len(take_all(sqs, orders)) == 2


def test_a_mega_event_is_matched_as_it_is_written(run: Run, sqs: Any, orders: str) -> None:
    sqs.create_queue(QueueName="to")
    app = App(orders, client=sqs)
    from megaflow import PayloadBuilder

    for name in ("added", "removed"):
        builder = PayloadBuilder().with_event(domain="cart", name=name)
        app.publish(builder.build(), binary_encoding=True)

    ran = run("move", "orders", "to", "--pattern", '{"event": {"name": ["added"]}}')

    assert ran.out == "moved 1 message to to\n1 message did not match, and stayed\n"


def test_what_fails_again_does_not_go_round(run: Run, sqs: Any, orders: str) -> None:
    _send(sqs, _dead(orders), "a", "b")
    bounced = threading.Event()

    def bounce() -> None:
        while not bounced.is_set():
            for each in take_all(sqs, orders):
                sqs.send_message(QueueUrl=_dead(orders), MessageBody=each["Body"])

    thread = threading.Thread(target=bounce)
    thread.start()
    ran = run("redrive", "orders-dead")
    bounced.set()
    thread.join()

    assert ran.out.startswith("moved 2 messages to orders\n")
    assert len(take_all(sqs, _dead(orders))) + len(take_all(sqs, orders)) == 2


def test_a_redrive_into_the_same_queue_is_refused(run: Run, orders: str) -> None:
    ran = run("redrive", "orders-dead", "--to", _dead(orders))

    assert ran.code == 2
    assert "are the same queue" in ran.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["orders", "orders"], "orders and orders are the same queue"),
        (["orders", "nowhere"], "there is no queue nowhere at"),
        (["orders", "orders-dead", "--pattern", "{"], "--pattern: "),
        (["orders", "orders-dead", "--pattern", '{"a": 5}'], '--pattern: a: "a" must be an object or an array'),
        (["orders", "orders-dead", "--max-rate", "0"], "--max-rate"),
    ],
)
def test_what_cannot_be_done_is_refused(run: Run, orders: str, arguments: list[str], said: str) -> None:
    ran = run("move", *arguments)

    assert ran.code == 2
    assert said in ran.err
    assert ran.err.count("\n") == 1


def test_interrupted_it_ends_what_it_has_in_hand(run: Run, server: Server, sqs: Any, orders: str) -> None:
    to = sqs.create_queue(QueueName="to")["QueueUrl"]
    _send(sqs, orders, *({"n": number} for number in range(60)))
    # The first message goes at once, and the second one long after the command was interrupted.
    with piped("move", "orders", "to", "--max-rate", "0.001") as process:
        wait_until(lambda: run("stats", "to", "--json").json[0]["visible"])
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)

    assert process.returncode == 130
    assert "interrupted: what was in hand has been dealt with" in err
    there, here = ({json.loads(each["Body"])["n"] for each in take_all(sqs, url)} for url in (to, orders))
    assert 0 < len(there) < 60
    assert f"moved {count_messages(len(there))} to to" in out
    assert there | here == set(range(60))
    assert not there & here
