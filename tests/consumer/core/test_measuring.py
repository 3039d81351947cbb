"""What the core has measured, and when it does not."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from megaflow.consumer.core.core import Core
from megaflow.consumer.core.health import NOT_RUNNING, Health
from megaflow.consumer.core.polling import HANGS
from megaflow.consumer.core.protocol import (
    AskFailed,
    Delete,
    Finished,
    Input,
    Inspected,
    Measure,
    Receive,
    Received,
    Settled,
    Start,
    Tick,
)
from megaflow.handlers.status import ProcessStatus
from megaflow.messages.message import Lease, Message, open_message
from megaflow.processing.verdict import Fate, Outcome, Verdict
from megaflow.settings import ConsumerSettings
from megaflow.telemetry.metrics import Told
from megaflow.transport.queue import QueueFacts
from tests.consumer.core.driving import HANDLER

SENT = datetime(2026, 1, 1, tzinfo=UTC)


class Driver:
    """Tells a core what happens, and keeps what is to be measured."""

    def __init__(self, *, is_observed: bool = True) -> None:
        self.now = 100.0
        self.counts: dict[Told, int] = {}
        self.values: dict[Told, list[float]] = {}
        self.poll = 0
        self.core = Core(
            ConsumerSettings(concurrency=3),
            fifo=False,
            randomness=lambda: 0.0,
            is_observed=lambda: is_observed,
            wall_clock=lambda: SENT.timestamp() + 7,
        )
        self.tell(Tick(), Inspected(QueueFacts()))

    def tell(self, *inputs: Input) -> list[object]:
        actions = [action for each in inputs for action in self.core.handle(each, self.now)]
        for action in actions:
            if isinstance(action, Receive):
                self.poll = action.poll
            if isinstance(action, Measure):
                for told, amount in action.counts.items():
                    self.counts[told] = self.counts.get(told, 0) + amount
                for told, values in action.values.items():
                    self.values.setdefault(told, []).extend(values)
        return [each for each in actions if not isinstance(each, Measure)]


def message(id: str) -> Message:
    return open_message("ping", id=id, sent_at=SENT, queue_url="https://q", lease=Lease(id, 100, 130, lambda: 100.0))


def handle_two(driver: Driver) -> None:
    one, other = message("1"), message("2")
    driver.tell(Received((one, other), driver.poll, took=0.5))
    done = Outcome(HANDLER, ProcessStatus.DONE, seconds=0.25)
    skipped = Outcome(HANDLER, ProcessStatus.DONE, skipped="finished earlier")
    deletes = driver.tell(Finished((Verdict(one, (done,), Fate.DELETE), Verdict(other, (skipped,), Fate.DELETE))))
    for asked in deletes:
        if isinstance(asked, Delete):
            driver.tell(Settled(asked, took=0.75))


def test_calls_ages_and_handlers_are_measured_together() -> None:
    driver = Driver()

    handle_two(driver)

    assert driver.values == {
        ("operation_duration", "receive", ""): [0.5],
        ("batch_size", "receive"): [2],
        ("message_age",): [7, 7],
        ("handler_duration", HANDLER.name, "DONE"): [0.25],
        ("process_duration", "deleted"): [0.25],
        ("operation_duration", "delete", ""): [0.75],
        ("batch_size", "delete"): [2],
    }
    assert driver.counts["ended", "deleted"] == driver.counts["deleted",] == 2


def test_where_nobody_wants_to_know_only_counts_are_told() -> None:
    driver = Driver(is_observed=False)

    handle_two(driver)
    driver.tell(AskFailed(OSError("away"), refused=False, poll=driver.poll, took=0.5))

    assert driver.values == {}
    assert driver.counts["received",] == 2


def test_polls_are_counted_by_what_they_came_to() -> None:
    driver = Driver()

    driver.tell(Received((message("1"),), driver.poll))
    driver.tell(Received((), driver.poll), Tick())
    driver.tell(AskFailed(TimeoutError(), refused=False, poll=driver.poll, took=3.0), Tick())
    driver.now += HANGS + 60
    driver.tell(Tick())

    polls = {told[1]: count for told, count in driver.counts.items() if told[0] == "polls"}
    assert polls == {"messages": 1, "empty": 1, "failed": 1, "hung": 1}
    assert driver.values["operation_duration", "receive", "TimeoutError"] == [3.0]


def test_a_call_that_failed_as_a_whole_says_what_with() -> None:
    driver = Driver()
    driver.tell(Received((message("1"),), driver.poll))
    actions = driver.tell(Finished((Verdict(message("1"), (), Fate.DELETE),)))
    (asked,) = [each for each in actions if isinstance(each, Delete)]

    driver.tell(Settled(asked, took=1.0, error_type="TimeoutError"))

    assert driver.values["operation_duration", "delete", "TimeoutError"] == [1.0]


@pytest.mark.parametrize(
    ("health", "heard"),
    [
        (Health(live=True, ready=True, heard_ago=(5.0, 1.0, None)), 999.0),
        (Health(live=True, ready=True, heard_ago=()), 1000.0),
        (Health(live=True, ready=False, heard_ago=(None,)), None),
    ],
    ids=["by the latest answer", "nothing is asked", "never"],
)
def test_the_last_word_of_sqs(health: Health, heard: float | None) -> None:
    assert health.gauges(1000.0).get("last_heard") == heard


def test_what_is_in_hand() -> None:
    gauges = Health(live=True, ready=True, in_hand=6, running=2, in_line=3).gauges(1000.0)

    assert (gauges["in_hand"], gauges["running"], gauges["in_line"]) == (6, 2, 3)
    assert NOT_RUNNING.gauges(1000.0)["in_hand"] == 0


def test_messages_of_which_nobody_knows_when_they_were_sent_have_no_age() -> None:
    driver = Driver()
    unsent = open_message("ping", id="1", queue_url="https://q", lease=Lease("1", 100, 130, lambda: 100.0))

    actions = driver.tell(Received((unsent,), driver.poll))

    assert any(isinstance(each, Start) for each in actions)
    assert ("message_age",) not in driver.values
