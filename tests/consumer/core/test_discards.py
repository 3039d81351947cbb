"""Payloads that lay outside of messages, in the consumer's core: deleted after their messages, and never otherwise."""

from __future__ import annotations

from dataclasses import replace

import pytest

from megaflow import Message
from megaflow.consumer.core.protocol import DeadLetter, Delete, Problem, Settled
from megaflow.messages.pointers import Pointer
from megaflow.processing.verdict import Fate
from megaflow.settings import ConsumerSettings
from tests.consumer.core.driving import Driver, ids, message, messages

FAILED = Problem("InternalError")


def fetched(message: Message) -> Message:
    """The same message, once its payload was fetched."""
    return replace(message, pointer=Pointer("bucket", message.id), discards_payload=True)


def test_it_goes_with_the_delete_of_its_message_and_of_no_other() -> None:
    driver = Driver(ConsumerSettings(concurrency=1))
    driver.receive(*messages(2))

    driver.finish(fetched(message("0")))
    driver.tell(Settled(first := driver.wait_for(Delete)))
    driver.finish(message("1"))
    second = driver.wait_for(Delete)

    assert (ids(first.messages), first.discards) == (["0"], {"0": Pointer("bucket", "0")})
    assert (ids(second.messages), second.discards) == (["1"], {})


def test_it_goes_again_with_a_delete_that_is_tried_again() -> None:
    driver = Driver()
    driver.receive(message("0"))
    driver.finish(fetched(message("0")))

    driver.tell(Settled(driver.one(Delete), {"0": FAILED}))

    assert driver.wait_for(Delete).discards == {"0": Pointer("bucket", "0")}


def test_it_goes_with_a_copy_that_comes_after_its_message_could_not_be_deleted() -> None:
    driver = Driver()
    driver.receive(message("0"))
    driver.finish(fetched(message("0")))
    driver.tell(Settled(driver.one(Delete), {"0": Problem("ReceiptHandleIsInvalid", final=True)}))

    assert driver.receive(message("0")) == []

    assert driver.one(Delete).discards == {"0": Pointer("bucket", "0")}


def test_once_it_is_gone_a_late_copy_deletes_nothing_more() -> None:
    driver = Driver()
    driver.receive(message("0"))
    driver.finish(fetched(message("0")))
    driver.tell(Settled(driver.one(Delete)))

    driver.receive(message("0"))

    assert driver.one(Delete).discards == {}


@pytest.mark.parametrize("dead_letters", [True, False])
def test_what_failed_for_good_keeps_its_payload(dead_letters: bool) -> None:
    driver = Driver(dead_letters=dead_letters)
    driver.receive(message("0"))

    driver.finish(fetched(message("0")), Fate.DEAD_LETTER)
    if dead_letters:
        driver.tell(Settled(driver.one(DeadLetter)))

    assert driver.wait_for(Delete).discards == {}


def test_so_does_what_was_kept_for_the_last_time() -> None:
    driver = Driver(ConsumerSettings(concurrency=1, max_receives=2))
    driver.receive(message("0", count=2))

    driver.finish(fetched(message("0", count=2)), Fate.KEEP)
    driver.tell(Settled(driver.one(DeadLetter)))

    assert driver.wait_for(Delete).discards == {}


def test_nothing_is_remembered_of_messages_that_are_forgotten() -> None:
    driver = Driver(ConsumerSettings(concurrency=10))
    for number in range(10_005):
        each = message(str(number), expires_at=1e9)
        driver.receive(each)
        driver.finish(fetched(each))
        for asked in driver.all(Delete):
            driver.tell(Settled(asked, dict.fromkeys(ids(asked.messages), Problem("gone", final=True))))

    driver.receive(message("0", expires_at=1e9))
    driver.finish(message("0", expires_at=1e9))

    assert driver.wait_for(Delete).discards == {}
