"""Declarations of queues and topics: what they take, what they refuse, and how they name the same thing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from megaflow import App, ConfigurationError
from megaflow.provision import DeadLetterQueue, Queue, Topic

URL = "https://sqs.eu-west-1.amazonaws.com/123456789012/orders"
ARN = "arn:aws:sns:eu-west-1:123456789012:orders"


def test_fifo_and_the_suffix_say_the_same() -> None:
    assert Queue("orders", fifo=True) == Queue("orders.fifo")
    assert Topic("orders", fifo=True) == Topic("orders.fifo")
    assert (Queue("orders.fifo").name, Queue("orders", fifo=True).fifo) == ("orders.fifo", True)


def test_a_name_is_short_for_a_declaration() -> None:
    app = App(queue="orders", topic="events")

    assert app.queue == Queue("orders")
    assert app.topic == Topic("events")
    assert App(URL).queue is None


def test_topics_may_be_named() -> None:
    assert Queue("orders", subscribe=["carts"]).topics == (Topic("carts"),)
    assert Queue("orders", subscribe=["carts"]) == Queue("orders", subscribe=(Topic("carts"),))
    assert hash(Queue("orders", subscribe=["carts"])) == hash(Queue("orders", subscribe=("carts",)))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: App(URL, queue="orders"), "queue='orders' say the same thing twice"),
        (lambda: App(URL, queue=Queue("orders")), "queue_url='https://sqs.eu-west-1.amazonaws.com/123456789012/ord"),
        (lambda: App(topic_arn=ARN, topic=Topic("orders")), "topic='orders' say the same thing twice"),
        (lambda: App(queue=URL), "is an address, and no name: give it as queue_url="),
        (lambda: App(topic=ARN), "is an address, and no name: give it as topic_arn="),
        (lambda: App(queue=7), "queue=7 must be a name, or a Queue"),  # type: ignore[arg-type]
        (lambda: App(topic=Queue("orders")), "must be a name, or a Topic"),  # type: ignore[arg-type]
        (lambda: Queue(""), "must be letters, digits, - and _, at most 80 characters"),
        (lambda: Queue("a b"), "'a b' must be letters"),
        (lambda: Queue("a" * 76, fifo=True), "has 81 characters, and AWS takes 80"),
        (lambda: Queue("orders", visibility_timeout=43_201), "visibility_timeout=43201 must be a whole number from 0"),
        (lambda: Queue("orders", retention=59), "retention=59 must be a whole number from 60 to 1,209,600"),
        (lambda: Queue("orders", encryption=""), "encryption='' must be"),
        (lambda: Topic("orders", encryption=True), "encryption=True must be"),  # type: ignore[arg-type]
        (lambda: Queue("orders", dead_letter_queue="dead"), "must be a DeadLetterQueue"),  # type: ignore[arg-type]
        (lambda: DeadLetterQueue(max_receive_count=0), "max_receive_count=0 must be a whole number from 1 to 1,000"),
        (lambda: DeadLetterQueue(name=URL), "give it as dead_letter_queue_url="),
        (lambda: Queue("orders", dead_letter_queue=DeadLetterQueue(name="orders")), "its own dead-letter queue"),
        (lambda: Queue("orders", dead_letter_queue=DeadLetterQueue(name="dead.fifo")), "both have to be of one kind"),
        (
            lambda: Queue("orders", retention=86_400, dead_letter_queue=DeadLetterQueue(retention=3_600)),
            "keeps messages for 3,600 seconds, and the queue for 86,400",
        ),
        (lambda: Queue("orders", fifo=True, subscribe=["carts"]), "say subscribe=[Topic('carts', fifo=True)]"),
        (lambda: Queue("orders", subscribe=["carts", Topic("carts")]), "has the topic carts twice"),
        (lambda: Queue("orders", subscribe=[7]), "7 is none"),  # type: ignore[list-item]
        (lambda: Queue("orders", subscribe=7), "subscribe=7 must hold topics"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_is_refused_where_it_is_written(make: Callable[[], Any], said: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        make()

    assert said in str(refused.value)
