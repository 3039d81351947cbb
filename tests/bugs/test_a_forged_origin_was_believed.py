"""Anybody who may send to a queue can set ``megaflow-origin``, and a redrive sent each message to where that says.

An operator's ``megaflow redrive public-dead`` moved a message from there into ``payments``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from megaflow import App, Attribute, Reject
from megaflow.messages.message import open_message
from megaflow.messages.origin import ORIGIN_ATTRIBUTE, replace_origin
from megaflow.processing.dead_letters import has_room_for_origin, why_too_large
from megaflow.transport.entries import measure
from tests.awslambda.test_awslambda import Context, receive
from tests.cli.conftest import Run, _alone, run, server, sqs, take_all
from tests.consuming import Queues, running
from tests.waiting import wait_until

__all__ = ["_alone", "run", "server", "sqs"]  # fixtures


def forge(queue: object) -> dict[str, Any]:
    """Return the attributes of a message that says that it was in *queue*."""
    said = json.dumps({"message_id": "m", "queue": queue, "failed": {}, "finished": []})
    return {ORIGIN_ATTRIBUTE: {"DataType": "String", "StringValue": said}}


def fill(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return ten attributes, *attributes* among them: there is room for no other one."""
    return {name: {"DataType": "String", "StringValue": "x"} for name in "abcdefghi"} | attributes


@pytest.fixture
def public(sqs: Any) -> Queues:
    """A queue to which anybody may send, and its dead-letter queue."""
    return Queues(sqs)


@pytest.fixture
def payments(sqs: Any) -> str:
    return str(sqs.create_queue(QueueName="payments")["QueueUrl"])


def run_rejecting(queues: Queues) -> None:
    app = queues.app(wait_time_seconds=1)

    @app.on_text()
    def reject(text: str) -> None:
        raise Reject("no")

    with running(app):
        wait_until(lambda: app.metrics.snapshot().get("deleted"))


def call_rejecting(queues: Queues) -> None:
    app = queues.app()

    @app.on_text()
    def reject(text: str) -> None:
        raise Reject("no")

    assert app.lambda_handler()(receive(queues), Context(900)) == {"batchItemFailures": []}


def test_a_redrive_sends_nothing_to_a_queue_that_only_the_message_names(
    run: Run, sqs: Any, public: Queues, payments: str
) -> None:
    sqs.send_message(QueueUrl=public.dead_letters, MessageBody="pay me", MessageAttributes=forge(payments))

    ran = run("redrive", public.dead_letters)

    assert (ran.code, ran.out) == (1, "moved nothing\n")
    assert "1 message cannot go back by itself, and stayed: say --to" in ran.err
    assert f"it says that it was in {payments}, and that queue's redrive policy does not name dead" in ran.err
    assert take_all(sqs, payments) == []
    assert len(take_all(sqs, public.dead_letters)) == 1


def test_it_goes_where_the_operator_says(run: Run, sqs: Any, public: Queues, payments: str) -> None:
    sqs.send_message(QueueUrl=public.dead_letters, MessageBody="a", MessageAttributes=forge(payments))

    assert run("redrive", public.dead_letters, "--to", public.url).out == "moved 1 message to q\n"


@pytest.mark.parametrize("end", [run_rejecting, call_rejecting])
def test_what_is_dead_lettered_says_where_it_was_and_not_what_it_said(
    run: Run, sqs: Any, public: Queues, payments: str, end: Callable[[Queues], None]
) -> None:
    sqs.send_message(QueueUrl=public.url, MessageBody="pay me", MessageAttributes=forge(payments))
    end(public)

    (dead,) = public.receive_dead_letters()
    said = json.loads(dead["MessageAttributes"][ORIGIN_ATTRIBUTE]["StringValue"])
    sqs.change_message_visibility(
        QueueUrl=public.dead_letters, ReceiptHandle=dead["ReceiptHandle"], VisibilityTimeout=0
    )

    assert said["message_id"] != "m"
    assert said["queue"].endswith("/q")
    assert run("redrive", public.dead_letters).out == "moved 1 message to q\n"


@pytest.mark.parametrize("end", [run_rejecting, call_rejecting])
def test_one_that_has_room_for_no_origin_but_its_own_has_ours(
    sqs: Any, public: Queues, payments: str, end: Callable[[Queues], None]
) -> None:
    sqs.send_message(QueueUrl=public.url, MessageBody="pay me", MessageAttributes=fill(forge(payments)))

    end(public)

    (dead,) = public.receive_dead_letters()
    assert len(dead["MessageAttributes"]) == 10
    assert payments not in dead["MessageAttributes"][ORIGIN_ATTRIBUTE]["StringValue"]


@pytest.mark.parametrize("end", [run_rejecting, call_rejecting])
def test_one_without_room_for_ours_has_none(
    run: Run, sqs: Any, public: Queues, payments: str, end: Callable[[Queues], None]
) -> None:
    body = "x" * (2_048 - len(json.dumps(forge(payments))))
    sqs.set_queue_attributes(QueueUrl=public.dead_letters, Attributes={"MaximumMessageSize": "2048"})
    sqs.send_message(QueueUrl=public.url, MessageBody=body, MessageAttributes=forge(payments))

    end(public)

    assert run("peek", public.dead_letters, "--json").json[0]["attributes"] == {}
    assert run("redrive", public.dead_letters).out == "moved 1 message to q\n"


def test_sizes_are_measured_without_the_origin_that_came() -> None:
    message = replace(open_message("ping"), sqs_attributes={ORIGIN_ATTRIBUTE: Attribute("String", "x" * 1_000)})

    assert why_too_large(message, 4) == ""
    assert why_too_large(message, 3) == "it has 4 bytes, and the dead-letter queue takes 3"
    size = measure("ping", replace_origin(message, "own"))
    assert has_room_for_origin(message, "own", size)
    assert not has_room_for_origin(message, "own", size - 1)


@pytest.mark.parametrize(
    "queue", ["\ud800", "", "http://[", "\x1b]52;c;Zm9v\x07", "x" * 9_000, 5, ["q"], {"a": 1}, None, "https:///a/b"]
)
def test_whatever_one_message_says_the_others_go_and_it_is_given_back(
    run: Run, sqs: Any, public: Queues, queue: object
) -> None:
    sqs.send_message(QueueUrl=public.dead_letters, MessageBody="odd", MessageAttributes=forge(queue))
    for number in range(9):
        sqs.send_message(QueueUrl=public.dead_letters, MessageBody=str(number))

    tried = run("redrive", public.dead_letters, "--dry-run", "--json")
    ran = run("redrive", public.dead_letters)

    is_named = isinstance(queue, str) and queue and len(queue) < 9_000
    moved = {each["Body"] for each in take_all(sqs, public.url)}
    assert moved - {"odd"} == set(map(str, range(9)))
    assert ("odd" in moved) is not is_named  # what does not say where it was goes to the only queue there is
    assert [each["Body"] for each in take_all(sqs, public.dead_letters)] == (["odd"] if is_named else [])
    assert ran.code == (1 if is_named else 0)
    assert "\x1b" not in ran.err
    assert (tried.json[0]["lost_track"], len(tried.json[0]["reasons"])) == ((1, 1) if is_named else (0, 0))


def test_peek_shows_what_an_origin_says_whatever_it_is(run: Run, sqs: Any, public: Queues) -> None:
    deep = "[" * 900 + "]" * 900
    said = f'{{"queue": "\\ud800", "failed": {{"charge": {deep}, "notify": "down"}}, "problem": {deep}}}'
    for origin in (said, '{"failed": 5, "problem": 5}', "[]"):
        attributes = {ORIGIN_ATTRIBUTE: {"DataType": "String", "StringValue": origin}}
        sqs.send_message(QueueUrl=public.dead_letters, MessageBody="ping", MessageAttributes=attributes)

    ran = run("peek", public.dead_letters)

    assert ran.code == 0
    assert ran.out.count("ping") == 3
    assert "was ? in \\ud800\n  notify: down\n" in ran.out


def test_what_goes_to_a_dead_letter_queue_that_no_policy_names_needs_to_be_told_where_to(
    run: Run, sqs: Any, public: Queues
) -> None:
    elsewhere = sqs.create_queue(QueueName="elsewhere")["QueueUrl"]
    app = App(public.url, client=sqs, dead_letter_queue_url=elsewhere, wait_time_seconds=1)

    @app.on_text()
    def reject(text: str) -> None:
        raise Reject("no")

    app.publish("ping")
    with running(app):
        wait_until(lambda: app.metrics.snapshot().get("deleted"))

    asked, told = run("redrive", elsewhere), run("redrive", elsewhere, "--to", "q")

    assert (asked.code, told.out) == (2, "moved 1 message to q\n")
    assert "no queue's redrive policy names elsewhere" in asked.err
