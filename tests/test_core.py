"""The consumer's core: what it does next, whatever happens."""

import json
import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import pytest

from megaflow import Kind, Lease, Message, Outcome, Verdict
from megaflow.consumer.core import FLUSH_GRACE, LINGER, Core
from megaflow.consumer.origin import describe_origin
from megaflow.consumer.words import (
    AbandonPoll,
    Action,
    AskFailed,
    Crashed,
    DeadLetter,
    Delete,
    Event,
    Exit,
    Finished,
    Hide,
    Inspect,
    Inspected,
    Interrupted,
    Problem,
    Receive,
    Received,
    Report,
    Settled,
    Start,
    Stop,
    Tick,
)
from megaflow.errors import UsageError
from megaflow.match.conditions import EVERYTHING
from megaflow.message import ORIGIN_ATTRIBUTE, Attribute
from megaflow.router import Handler, make_handler
from megaflow.settings import ConsumerSettings
from megaflow.sqs import QueueFacts
from megaflow.status import Fate, ProcessStatus

Kept = TypeVar("Kept", bound=Action)


class Driver:
    """Tells a core what happens, and keeps what it answered; the clock is `now`."""

    def __init__(
        self,
        settings: ConsumerSettings | None = None,
        *,
        fifo: bool = False,
        dead_letters: bool = True,
        inspected: bool = True,
    ) -> None:
        self.core = Core(
            settings or ConsumerSettings(concurrency=3, backoff=lambda count: 10.0 * count),
            fifo=fifo,
            randomness=lambda: 1.0,
        )
        self.now = 100.0
        self.answered: list[Action] = []
        self.facts = QueueFacts(dead_letter_queue_url="https://dead" if dead_letters else "")
        if inspected:
            self.tell(Tick())
            self.polled = self.tell(Inspected(self.facts))

    def tell(self, event: Event) -> list[Action]:
        self.answered = self.core.handle(event, self.now)
        return self.answered

    def receive(self, *messages: Message) -> list[Message]:
        self.tell(Received(messages))
        return [action.message for action in self.all(Start)]

    def finish(self, message: Message, fate: Fate = Fate.DELETE, after: float | None = None) -> list[Action]:
        return self.tell(Finished(verdict_on(message, fate, after)))

    def all(self, kind: type[Kept]) -> list[Kept]:
        return [action for action in self.answered if isinstance(action, kind)]

    def one(self, kind: type[Kept]) -> Kept:
        (action,) = self.all(kind)
        return action

    def reports(self, level: int) -> list[str]:
        return [each.text % each.values for each in self.all(Report) if each.level == level]


def handle(payload: object) -> None: ...


HANDLER: Handler = make_handler(handle, Kind.TEXT, EVERYTHING)


def message(name: str, *, group: str = "", expires_at: float = 130.0, count: int = 1) -> Message:
    lease = Lease(f"handle-{name}", 100.0, expires_at, lambda: 0.0)
    return Message(name, "body", Kind.TEXT, "body", receive_count=count, group_id=group, lease=lease)


def messages(count: int) -> list[Message]:
    return [message(str(number)) for number in range(count)]


def verdict_on(message: Message, fate: Fate, after: float | None = None) -> Verdict:
    status = {
        Fate.DELETE: ProcessStatus.DONE,
        Fate.KEEP: ProcessStatus.RETRY_LATER,
        Fate.DEAD_LETTER: ProcessStatus.FATAL_ERROR,
    }[fate]
    return Verdict(message, (Outcome(HANDLER, status, None, after),), fate)


def ids(messages: Sequence[Message]) -> list[str]:
    return [message.id for message in messages]


# Polling


def test_it_polls_for_no_more_than_it_can_start() -> None:
    driver = Driver(ConsumerSettings(concurrency=3, max_number_of_messages=2))

    assert driver.one(Receive).count == 2


def test_it_polls_again_as_soon_as_a_poll_has_ended_and_there_is_a_free_slot() -> None:
    driver = Driver()

    started = driver.receive(*messages(2))

    assert ids(started) == ["0", "1"]
    assert driver.one(Receive).count == 1


def test_it_does_not_poll_while_every_slot_is_taken() -> None:
    driver = Driver()

    driver.receive(*messages(3))

    assert driver.all(Receive) == []
    assert driver.core.wake_at == math.inf


def test_there_is_one_poll_at_a_time() -> None:
    driver = Driver()
    driver.tell(Tick())

    driver.tell(Tick())

    assert driver.all(Receive) == []


def test_no_message_waits_for_the_slowest_of_its_batch() -> None:
    driver = Driver()
    slow, quick, _ = messages(3)
    driver.receive(slow, quick, message("other"))

    driver.finish(quick)

    assert driver.one(Receive).count == 1
    driver.now += LINGER
    driver.tell(Tick())
    assert ids(driver.one(Delete).messages) == ["1"]


def test_failed_polls_back_off_and_recover() -> None:
    driver = Driver()
    driver.tell(Tick())
    pauses = []

    for _ in range(8):
        driver.tell(AskFailed(ConnectionError("down"), refused=False))
        pauses.append(driver.core.wake_at - driver.now)
        driver.now = driver.core.wake_at
        driver.tell(Tick())
        assert driver.one(Receive).count == 3
    driver.tell(Received([]))

    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    assert driver.one(Receive).count == 3


def test_a_failed_poll_is_reported_with_its_reason() -> None:
    driver = Driver()
    driver.tell(Tick())

    driver.tell(AskFailed(ConnectionError("down"), refused=False))

    assert driver.reports(logging.WARNING) == ["the queue does not answer, trying again in 1.0 s: down"]


def test_refused_access_at_the_start_ends_it() -> None:
    driver = Driver()
    driver.tell(Tick())
    refusal = PermissionError("no")

    driver.tell(AskFailed(refusal, refused=True))

    assert driver.one(Exit).error is refusal


def test_refused_access_later_is_waited_out() -> None:
    driver = Driver()
    driver.receive()

    driver.tell(AskFailed(PermissionError("no"), refused=True))

    assert driver.all(Exit) == []
    assert driver.core.wake_at > driver.now


# Starting


def test_it_does_not_poll_before_it_knows_what_the_queue_is() -> None:
    driver = Driver(inspected=False)

    driver.tell(Tick())
    assert driver.all(Inspect) == [Inspect()]
    assert driver.all(Receive) == []
    driver.tell(Inspected(driver.facts))

    assert driver.one(Receive).count == 3


def test_a_queue_that_cannot_be_asked_what_it_is_is_asked_again() -> None:
    driver = Driver(inspected=False)
    driver.tell(Tick())

    driver.tell(AskFailed(ConnectionError("down"), refused=False))
    assert driver.all(Inspect) == []
    driver.now = driver.core.wake_at
    driver.tell(Tick())

    assert driver.all(Inspect) == [Inspect()]


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (QueueFacts(), "no dead-letter queue: messages that fail for good are deleted"),
        (QueueFacts(problem="refused"), "the redrive policy is not known: refused"),
        (QueueFacts("https://dead", 2), "maxReceiveCount is 2"),
    ],
)
def test_what_matters_about_the_queue_is_said_at_the_start(facts: QueueFacts, said: str) -> None:
    driver = Driver(inspected=False)
    driver.tell(Tick())

    driver.tell(Inspected(facts))

    assert any(report.startswith(said) for report in driver.reports(logging.WARNING))


# Settling


def test_a_message_is_deleted_at_once_where_nothing_else_runs() -> None:
    driver = Driver()
    first, second = driver.receive(*messages(2))
    driver.finish(first)
    assert driver.all(Delete) == []

    driver.finish(second)

    assert ids(driver.one(Delete).messages) == ["0", "1"]


def test_deletes_wait_for_company_only_so_long() -> None:
    driver = Driver()
    first, _ = driver.receive(*messages(2))

    driver.finish(first)

    assert driver.core.wake_at == pytest.approx(driver.now + LINGER)


def test_ten_deletes_wait_for_nobody() -> None:
    driver = Driver(ConsumerSettings(concurrency=20))
    started = driver.receive(*messages(12))

    for each in started[:10]:
        driver.finish(each)

    assert ids(driver.one(Delete).messages) == [str(number) for number in range(10)]


def test_a_delete_that_failed_is_tried_again_and_only_it() -> None:
    driver = Driver()
    first, second = driver.receive(*messages(2))
    driver.finish(first)
    driver.finish(second)
    asked = driver.one(Delete)

    driver.tell(Settled(asked, {"handle-1": Problem("InternalError: try again")}))

    assert driver.all(Delete) == []
    driver.now = driver.core.wake_at
    driver.tell(Tick())
    assert ids(driver.one(Delete).messages) == ["1"]


def test_a_delete_is_tried_until_the_lease_ends() -> None:
    driver = Driver()
    (only,) = driver.receive(message("only", expires_at=103.5))
    driver.finish(only)
    tries = 0

    while driver.all(Delete):
        tries += 1
        driver.tell(Settled(driver.one(Delete), {"handle-only": Problem("InternalError")}))
        if not driver.reports(logging.WARNING):
            driver.now = driver.core.wake_at
            driver.tell(Tick())

    assert tries == 3
    assert driver.reports(logging.WARNING) == ["message only could not be deleted and comes again: InternalError"]


def test_a_delete_that_cannot_work_is_not_tried_again() -> None:
    driver = Driver()
    (only,) = driver.receive(message("only"))
    driver.finish(only)

    driver.tell(Settled(driver.one(Delete), {"handle-only": Problem("ReceiptHandleIsInvalid", final=True)}))

    assert driver.reports(logging.WARNING) == [
        "message only could not be deleted and comes again: ReceiptHandleIsInvalid"
    ]
    driver.tell(Stop())
    assert driver.one(Exit).error is None


def test_a_kept_message_is_hidden_for_the_backoff_of_its_receive_count() -> None:
    driver = Driver()
    (only,) = driver.receive(message("only", count=3))

    driver.finish(only, Fate.KEEP)

    assert driver.one(Hide).seconds == (30.0,)


def test_what_a_handler_asks_for_wins_over_the_backoff() -> None:
    driver = Driver()
    (only,) = driver.receive(message("only"))

    driver.finish(only, Fate.KEEP, after=77)

    assert driver.one(Hide).seconds == (77.0,)


@pytest.mark.parametrize(("after", "hidden"), [(-5.0, 0.0), (1e9, 43_200 - 60 - 1)])
def test_a_message_is_never_hidden_beyond_twelve_hours_after_it_was_received(after: float, hidden: float) -> None:
    driver = Driver()
    (only,) = driver.receive(message("only"))
    driver.now += 60

    driver.finish(only, Fate.KEEP, after=after)

    assert driver.one(Hide).seconds == (hidden,)


@pytest.mark.parametrize("backoff", [lambda count: 1 / 0, lambda count: math.nan, lambda count: "soon"])
def test_a_backoff_that_fails_does_not_stop_the_consumer(backoff: object) -> None:
    driver = Driver(ConsumerSettings(concurrency=1, backoff=backoff))  # type: ignore[arg-type]
    (only,) = driver.receive(message("only"))

    driver.finish(only, Fate.KEEP)

    assert driver.one(Hide).seconds == (1.0,)


def test_a_message_without_a_verdict_is_kept() -> None:
    driver = Driver()
    (only,) = driver.receive(message("only"))

    driver.tell(Crashed(only, MemoryError()))

    assert driver.one(Hide).messages == (only,)
    assert driver.reports(logging.ERROR) == ["message only: its handlers could not be run"]


def test_a_handler_that_outlived_the_visibility_is_reported() -> None:
    driver = Driver()
    (slow,) = driver.receive(message("slow", expires_at=110.0))
    driver.now = 110.0

    driver.finish(slow)

    assert driver.reports(logging.WARNING)[0].startswith("message slow: its handlers took longer than its visibility")


def test_refused_deletes_end_it_where_none_has_succeeded() -> None:
    driver = Driver()
    (only,) = driver.receive(message("only"))
    driver.finish(only)
    refusal = PermissionError("no sqs:DeleteMessage")

    driver.tell(Settled(driver.one(Delete), {"handle-only": Problem("AccessDenied", final=True)}, refusal))

    assert driver.one(Exit).error is refusal


def test_refused_deletes_are_waited_out_where_one_has_succeeded() -> None:
    driver = Driver()
    (first,) = driver.receive(message("first"))
    driver.finish(first)
    driver.tell(Settled(driver.one(Delete)))
    (second,) = driver.receive(message("second"))
    driver.finish(second)

    problems = {"handle-second": Problem("AccessDenied", final=True)}
    driver.tell(Settled(driver.one(Delete), problems, PermissionError("no")))

    assert driver.all(Exit) == []


# Dead letters


def test_a_message_is_deleted_only_after_it_was_dead_lettered() -> None:
    driver = Driver()
    (only,) = driver.receive(message("only"))
    driver.finish(only, Fate.DEAD_LETTER)
    asked = driver.one(DeadLetter)
    assert driver.all(Delete) == []

    driver.tell(Settled(asked))

    assert driver.one(Delete).messages == (only,)


def test_a_message_that_could_not_be_dead_lettered_is_kept() -> None:
    driver = Driver()
    (only,) = driver.receive(message("only"))
    driver.finish(only, Fate.DEAD_LETTER)

    driver.tell(Settled(driver.one(DeadLetter), {"handle-only": Problem("AccessDenied", final=True)}))

    assert driver.all(Delete) == []
    assert driver.one(Hide).messages == (only,)
    assert driver.reports(logging.ERROR) == ["message only: kept, as it could not be dead-lettered: AccessDenied"]


def test_without_a_dead_letter_queue_a_failed_message_is_deleted_and_reported() -> None:
    driver = Driver(dead_letters=False)
    (only,) = driver.receive(message("only"))

    driver.finish(only, Fate.DEAD_LETTER)

    assert driver.one(Delete).messages == (only,)
    (report,) = driver.reports(logging.ERROR)
    assert report.startswith("message only: no dead-letter queue, so it is deleted: dead-lettered (")


def test_messages_being_dead_lettered_take_slots() -> None:
    driver = Driver()
    for each in driver.receive(*messages(3)):
        driver.finish(each, Fate.DEAD_LETTER)

    driver.tell(Received([]))

    assert driver.all(Receive) == []


def test_the_origin_names_message_queue_and_handlers() -> None:
    failed = Outcome(HANDLER, ProcessStatus.FATAL_ERROR, ValueError("expired"))
    verdict = Verdict(replace(message("m"), queue_url="https://q"), (failed,), Fate.DEAD_LETTER)

    origin = json.loads(describe_origin(verdict))

    assert origin == {
        "message_id": "m",
        "queue": "https://q",
        "failed": {HANDLER.name: "ValueError: expired"},
        "finished": [],
    }


def test_a_redriven_message_that_fails_again_keeps_its_first_id() -> None:
    carried = {ORIGIN_ATTRIBUTE: Attribute("String", '{"message_id": "first", "queue": "https://old", "failed": {}}')}
    redriven = replace(message("second"), queue_url="https://q", sqs_attributes=carried)

    origin = json.loads(describe_origin(verdict_on(redriven, Fate.DEAD_LETTER)))

    assert (origin["message_id"], origin["queue"]) == ("first", "https://old")
    assert origin["failed"] == {HANDLER.name: "FATAL_ERROR"}


def test_an_error_that_cannot_say_what_it_is_does_not_stop_the_consumer() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise ValueError

    failed = Outcome(HANDLER, ProcessStatus.FATAL_ERROR, Mute())

    origin = json.loads(describe_origin(Verdict(message("m"), (failed,), Fate.DEAD_LETTER)))

    assert origin["failed"] == {HANDLER.name: "Mute"}


@pytest.mark.parametrize("value", ["{", "[" * 100_000, "[]", '{"message_id": 5}'])
def test_an_origin_that_nobody_can_read_is_written_anew(value: str) -> None:
    redriven = replace(message("m"), sqs_attributes={ORIGIN_ATTRIBUTE: Attribute("String", value)})

    origin = json.loads(describe_origin(verdict_on(redriven, Fate.DEAD_LETTER)))

    assert origin["message_id"] == "m"


def test_the_origin_says_that_nobody_matched_and_why() -> None:
    unmatched = Verdict(replace(message("m"), problem="not a valid MEGA event"), (), Fate.DEAD_LETTER)

    origin = json.loads(describe_origin(unmatched))

    assert origin["problem"] == "not a valid MEGA event"


# FIFO


def test_messages_of_a_group_run_one_after_another_and_groups_side_by_side() -> None:
    driver = Driver(fifo=True)

    started = driver.receive(message("a1", group="a"), message("a2", group="a"), message("b1", group="b"))

    assert ids(started) == ["a1", "b1"]
    driver.finish(started[0])
    assert ids([driver.one(Start).message]) == ["a2"]


def test_after_a_kept_message_the_rest_of_its_group_is_given_back_unhandled() -> None:
    driver = Driver(fifo=True)
    first, *_ = driver.receive(message("a1", group="a"), message("a2", group="a"), message("a3", group="a"))

    driver.finish(first, Fate.KEEP)

    assert driver.all(Start) == []
    hidden = driver.one(Hide)
    assert dict(zip(ids(hidden.messages), hidden.seconds, strict=True)) == {"a1": 10.0, "a2": 0.0, "a3": 0.0}


def test_a_group_waits_until_its_failed_message_is_in_the_dead_letter_queue() -> None:
    driver = Driver(fifo=True)
    first, *_ = driver.receive(message("a1", group="a"), message("a2", group="a"))
    driver.finish(first, Fate.DEAD_LETTER)
    asked = driver.one(DeadLetter)
    assert driver.all(Start) == []

    driver.tell(Settled(asked))

    assert ids([driver.one(Start).message]) == ["a2"]


def test_groups_on_a_standard_queue_do_not_wait_for_each_other() -> None:
    driver = Driver(fifo=False)

    started = driver.receive(message("a1", group="a"), message("a2", group="a"))

    assert ids(started) == ["a1", "a2"]


def test_a_message_whose_visibility_ended_while_it_waited_is_not_started() -> None:
    driver = Driver(fifo=True)
    first, *_ = driver.receive(message("a1", group="a"), message("a2", group="a", expires_at=110.0))
    driver.now = 110.0

    driver.finish(first)

    assert driver.all(Start) == []
    assert driver.reports(logging.WARNING) == ["message a2: its visibility ended before it was started"]


# Stopping


def test_an_idle_consumer_stops_at_once_although_its_poll_is_under_way() -> None:
    driver = Driver()
    driver.tell(Tick())

    driver.tell(Stop())

    assert driver.all(AbandonPoll) == [AbandonPoll()]
    assert driver.one(Exit).error is None


def test_stopping_lets_handlers_finish_and_flushes_their_deletes() -> None:
    driver = Driver()
    (only,) = driver.receive(message("only"))
    driver.tell(Stop())
    assert driver.all(Exit) == []

    driver.finish(only)
    asked = driver.one(Delete)
    assert driver.all(Exit) == []
    driver.tell(Settled(asked))

    assert driver.one(Exit).error is None


def test_stopping_gives_back_what_was_not_started() -> None:
    driver = Driver(fifo=True)
    driver.receive(message("a1", group="a"), message("a2", group="a"))

    driver.tell(Stop())

    hidden = driver.one(Hide)
    assert (ids(hidden.messages), hidden.seconds) == (["a2"], (0.0,))


def test_what_an_abandoned_poll_brings_is_given_back() -> None:
    driver = Driver()
    driver.receive(message("running"))
    driver.tell(Stop())

    driver.tell(Received([message("late")]))

    assert driver.all(Start) == []
    assert ids(driver.one(Hide).messages) == ["late"]


def test_an_abandoned_poll_that_fails_says_nothing() -> None:
    driver = Driver()
    driver.receive(message("running"))
    driver.tell(Stop())

    driver.tell(AskFailed(ConnectionError(), refused=False))

    assert driver.answered == []


def test_handlers_have_the_shutdown_timeout_to_finish() -> None:
    driver = Driver(ConsumerSettings(shutdown_timeout=7))
    driver.receive(message("slow"))
    driver.tell(Stop())
    assert driver.core.wake_at == driver.now + 7

    driver.now += 7
    driver.tell(Tick())

    assert driver.one(Exit).error is None
    assert driver.reports(logging.WARNING) == ["message slow: its handler is still running; it comes again"]


def test_a_second_stop_does_not_wait_for_handlers() -> None:
    driver = Driver()
    driver.receive(message("slow"))
    driver.tell(Stop())

    driver.tell(Stop(now=True))

    assert driver.one(Exit).error is None


def test_deletes_under_way_are_waited_for_a_little_longer() -> None:
    driver = Driver(ConsumerSettings(shutdown_timeout=0))
    (only,) = driver.receive(message("only"))
    driver.finish(only)
    driver.tell(Stop())
    assert driver.all(Exit) == []

    driver.now = driver.core.wake_at
    driver.tell(Tick())

    assert driver.now == pytest.approx(100 + FLUSH_GRACE)
    assert driver.one(Exit).error is None


def test_a_delete_that_waits_to_be_tried_again_is_tried_at_the_stop() -> None:
    driver = Driver()
    (only,) = driver.receive(message("only"))
    driver.finish(only)
    driver.tell(Settled(driver.one(Delete), {"handle-only": Problem("InternalError")}))
    assert driver.all(Delete) == []

    driver.tell(Stop())

    assert ids(driver.one(Delete).messages) == ["only"]


def test_deletes_that_go_on_failing_do_not_hold_up_an_idle_stop() -> None:
    driver = Driver()
    (only,) = driver.receive(message("only"))
    driver.finish(only)
    asked = driver.one(Delete)
    driver.tell(Stop())
    started = driver.now

    driver.tell(Settled(asked, {"handle-only": Problem("InternalError")}))
    while not driver.all(Exit):
        for asked in driver.all(Delete):
            driver.tell(Settled(asked, {"handle-only": Problem("InternalError")}))
        if not driver.all(Exit):
            driver.now = driver.core.wake_at
            driver.tell(Tick())

    assert driver.now - started < 2


def test_more_stops_do_not_move_the_end_away() -> None:
    driver = Driver(ConsumerSettings(shutdown_timeout=0))
    (only,) = driver.receive(message("only"))
    driver.finish(only)
    driver.tell(Stop())

    driver.now += FLUSH_GRACE - 1
    driver.tell(Stop(now=True))

    assert driver.core.wake_at == 100.0 + FLUSH_GRACE


def test_the_end_comes_whatever_floats_do() -> None:
    driver = Driver(ConsumerSettings(shutdown_timeout=0.7))
    driver.now = 12345.678
    (only,) = driver.receive(message("only", expires_at=1e9))
    driver.finish(only)
    driver.tell(Stop())

    for _ in range(3):
        if not driver.all(Exit):
            driver.now = driver.core.wake_at
            driver.tell(Tick())

    assert driver.one(Exit).error is None


def test_what_handlers_left_running_can_end_it() -> None:
    driver = Driver()
    (running,) = driver.receive(message("running"))
    interruption = SystemExit(3)

    driver.tell(Interrupted(interruption))
    driver.finish(running)
    driver.tell(Settled(driver.one(Delete)))

    assert driver.one(Exit).error is interruption


def test_a_matcher_that_exits_ends_it_and_keeps_the_message() -> None:
    driver = Driver()
    (only,) = driver.receive(message("only"))
    interruption = KeyboardInterrupt()

    driver.tell(Crashed(only, interruption))
    driver.tell(Settled(driver.one(Hide)))

    assert driver.one(Exit).error is interruption


def test_it_exits_once() -> None:
    driver = Driver()
    driver.tell(Stop())
    assert driver.all(Exit)

    driver.tell(Stop(now=True))

    assert driver.all(Exit) == []


def test_a_handler_that_exits_ends_the_consumer_and_keeps_its_message() -> None:
    driver = Driver()
    first, second = driver.receive(*messages(2))
    interruption = SystemExit(3)
    outcome = Outcome(HANDLER, ProcessStatus.RETRIABLE_ERROR, interruption)

    driver.tell(Finished(Verdict(first, (outcome,), Fate.KEEP)))
    hidden = driver.one(Hide)
    assert ids(hidden.messages) == ["0"]
    driver.tell(Settled(hidden))
    driver.finish(second)
    driver.tell(Settled(driver.one(Delete)))

    assert driver.one(Exit).error is interruption


def test_only_received_messages_can_be_consumed() -> None:
    driver = Driver()

    with pytest.raises(UsageError, match="was not received from a queue"):
        driver.receive(Message("m", "body", Kind.TEXT, "body"))
