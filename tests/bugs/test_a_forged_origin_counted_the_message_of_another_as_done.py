"""Progress was remembered by the id that ``megaflow-origin`` names, and anybody can write that.

Somebody else's message was counted as done, and deleted without its handler; of three innocent copies of one origin
two were lost.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from megaflow import App, Attribute, MemoryStore, Message, Reject, RetryLater, SqliteStore
from megaflow.local.server import Server
from megaflow.messages.message import open_message
from megaflow.messages.origin import ORIGIN_ATTRIBUTE, digest_of
from tests.cli.conftest import Run, _alone, run, server, sqs
from tests.consuming import Queues, running
from tests.waiting import wait_until

__all__ = ["_alone", "run", "server", "sqs"]  # fixtures

QUEUE = "https://sqs.eu-west-1.amazonaws.com/123456789012/orders"


def message(id: str, body: str = "pay", *, says: str = "", queue: str = QUEUE, **origin: object) -> Message:
    """Return a message that *says* that it once had another id."""
    plain = replace(open_message(body), id=id, queue_url=queue)
    if not says:
        return plain
    origin = {"message_id": says, "queue": QUEUE, "digest": digest_of(plain)} | origin
    return replace(plain, sqs_attributes={ORIGIN_ATTRIBUTE: Attribute("String", json.dumps(origin))})


class Payments:
    """An app that remembers, and what its handler did; *ends* are how it ends, one after another."""

    def __init__(self, store: Any = None, ends: tuple[Exception | None, ...] = ()) -> None:
        self.app = App(progress=store or MemoryStore())
        self.ran: list[str] = []
        rest = list(ends)

        @self.app.on_text(handler_name="pay")
        def pay(text: str, message: Message) -> None:
            self.ran.append(message.id)
            if rest and (end := rest.pop(0)):
                raise end

    def ran_for(self, one: Message) -> bool:
        """Process *one*; tell whether the handler ran."""
        before = len(self.ran)
        self.app.process(one)
        return len(self.ran) > before


@pytest.mark.parametrize("body", ["pay", "give me"])
def test_a_message_is_done_by_no_other_that_says_to_be_it(body: str) -> None:
    payments = Payments()
    assert payments.ran_for(message("forged", body, says="victim"))

    assert payments.ran_for(message("victim"))


def test_three_copies_of_one_origin_are_three_messages() -> None:
    payments = Payments()
    origin = {ORIGIN_ATTRIBUTE: Attribute("String", '{"message_id": "first", "queue": "https://queue"}')}

    for id in ("a", "b", "c"):
        payments.app.process(replace(message(id), sqs_attributes=origin))
        payments.app.process(message(f"{id}{id}", says="first"))

    assert payments.ran == ["a", "aa", "b", "bb", "c", "cc"]


@pytest.mark.parametrize(
    "forged",
    [
        message("forged", "another body", says="done"),
        message("forged", says="done", digest="?"),
        message("forged", says="done", digest=None),
        message("forged", says="done", queue=QUEUE, message_id=5),
        replace(message("forged", says="done"), body="another body"),
    ],
)
def test_one_that_says_to_be_done_runs_all_the_same_where_it_is_another_message(forged: Message) -> None:
    payments = Payments()
    payments.app.process(message("done"))

    assert payments.ran_for(forged)


def test_at_worst_the_senders_own_copy_is_skipped() -> None:
    payments = Payments()
    payments.app.process(message("done"))

    assert not payments.ran_for(message("copy", says="done"))
    assert payments.ran_for(message("other"))


def test_what_failed_for_good_is_tried_again_by_whom_it_was_redriven() -> None:
    payments = Payments(ends=(Reject("no"), None))
    payments.app.process(message("first"))

    assert payments.ran_for(message("second", says="first"))


def test_a_message_is_the_same_whatever_form_the_address_of_its_queue_has() -> None:
    payments = Payments()
    payments.app.process(message("m"))
    legacy = "https://eu-west-1.queue.amazonaws.com/123456789012/orders"

    assert not payments.ran_for(message("m", queue=legacy))
    assert not payments.ran_for(message("n", says="m", queue=legacy))
    assert payments.ran_for(message("m", queue=QUEUE.replace("eu-west-1", "us-east-1")))


@pytest.mark.parametrize("queue", ["\ud800", "http://[", "x" * 5_000])
def test_whatever_an_origin_names_the_message_is_handled(queue: str, tmp_path: Any) -> None:
    store = SqliteStore(tmp_path / "progress.db")
    payments = Payments(store)

    forged = message("m", says="\ud800", queue=QUEUE)
    odd = json.dumps({"message_id": "\ud800", "queue": queue, "digest": digest_of(forged)})

    assert payments.ran_for(replace(forged, sqs_attributes={ORIGIN_ATTRIBUTE: Attribute("String", odd)}))
    assert not payments.ran_for(forged)
    store.close()


def test_an_error_with_half_a_character_of_the_body_can_be_remembered(tmp_path: Any) -> None:
    store = SqliteStore(tmp_path / "progress.db")
    payments = Payments(store, ends=(Reject("what is \ud800?"),))

    assert payments.app.process(message("m")).dead_letters
    (outcome,) = payments.app.process(message("m")).outcomes

    assert payments.ran == ["m"]
    assert str(outcome.error) == "Reject: what is \\ud800?"
    store.close()


def test_what_was_done_is_done_after_any_number_of_redrives(run: Run, server: Server, sqs: Any) -> None:
    queues, ran = Queues(sqs), []
    app = queues.app(progress=MemoryStore(), wait_time_seconds=1)

    @app.on_text(handler_name="reserve")
    def reserve(text: str) -> None:
        ran.append("reserve")

    @app.on_text(handler_name="charge")
    def charge(text: str, message: Message) -> None:
        ran.append("charge")
        if ran.count("charge") == 2:
            raise RetryLater(after=0)
        if ran.count("charge") < 5:
            raise Reject("expired card")

    app.publish("ping", attributes={"price": 5, "blob": b"\0"})
    with running(app):
        for times in range(1, 4):
            wait_until(lambda times=times: app.metrics.snapshot().get("dead_lettered", 0) == times)  # type: ignore[misc]
            # By the time it ends, the message may be back.
            assert run("redrive", queues.dead_letters).out.startswith("moved 1 message to q\n")
        wait_until(lambda: ran.count("charge") == 5)

    assert ran == ["reserve", "charge", "charge", "charge", "charge", "charge"]
