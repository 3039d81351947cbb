"""At the last delivery of ``max_receives``, the log said "tried again", then "dead-letter queue", and then "kept"."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from megaflow import App, Handler, Message, ProcessStatus, Verdict
from tests.bugs.test_a_message_that_was_kept_too_often_went_without_an_error import DRIVERS, Drive, make
from tests.consuming import Queues

AGAIN = ["shop.charge failed and will be tried again", "kept (shop.charge: RETRIABLE_ERROR)"]
LAST = ["shop.charge failed for the last time, as max_receives is 2", "dead-lettered (shop.charge: RETRIABLE_ERROR)"]


def lines_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what the log says of the message, but for the one error that ends it."""
    about = [each for each in caplog.records if hasattr(each, "message_id") and each.levelno < logging.ERROR]
    return [each.getMessage().partition(": ")[2] for each in about]


@DRIVERS
@pytest.mark.parametrize("has_around", [False, True])
def test_the_last_delivery_says_that_it_is_the_last(
    drive: Drive, has_around: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    queues = Queues()
    app = make(queues, dead_letters=True, max_receives=2)

    @app.on_text(handler_name="shop.charge")
    def charge(text: str) -> None:
        raise ConnectionError("no bank")

    if has_around:

        @app.around
        def around(handler: Handler, message: Message) -> Iterator[None]:
            yield

    app.publish("ping")
    drive(app, queues)

    assert lines_of(caplog) == [*AGAIN, *LAST]
    fates = [vars(each)["fate"] for each in caplog.records if hasattr(each, "fate")]
    assert fates == ["kept", "dead-lettered"]
    assert len(queues.receive_dead_letters()) == 1


def test_without_max_receives_megaflow_knows_no_last_try(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    app = App(retry_on=(ConnectionError,))

    @app.on_text(handler_name="shop.charge")
    def charge(text: str) -> None:
        raise ConnectionError("no bank")

    app.process("ping")

    assert lines_of(caplog) == AGAIN


def test_what_nobody_wants_is_not_kept_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    app = App(retry_on=(), unmatched="keep", max_receives=1)

    app.process("ping")

    assert lines_of(caplog) == ["dead-lettered (no handler matched)"]


def test_what_ends_the_consumer_leaves_its_message_in_the_queue(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    app = App(retry_on=(), max_receives=1)

    @app.on_text(handler_name="shop.charge")
    def charge(text: str) -> None:
        raise SystemExit

    with pytest.raises(SystemExit):
        app.process("ping")

    assert lines_of(caplog) == AGAIN


def test_a_verdict_stays_what_handlers_said() -> None:
    told: list[Verdict] = []
    app = App(retry_on=(), max_receives=1)
    app.on_verdict(told.append)
    app.on_text()(lambda text: ProcessStatus.RETRY_LATER)

    app.process("ping")

    assert [each.keeps for each in told] == [True]
