"""The consumer's core: what it does next, whatever happens."""

import json
import logging
import math
from asyncio import CancelledError
from dataclasses import replace

import pytest

from megaflow import Kind, Lease, Message, Outcome, Verdict
from megaflow.consumer.core.polling import HANGS
from megaflow.consumer.core.protocol import (
    AbandonPoll,
    AskFailed,
    Called,
    Crashed,
    DeadLetter,
    Delete,
    Exit,
    Extend,
    Finished,
    GiveUp,
    Hide,
    Input,
    Inspect,
    Inspected,
    Interrupted,
    Problem,
    Receive,
    Received,
    Settled,
    Start,
    Stop,
    Tick,
)
from megaflow.consumer.core.settling import LINGER
from megaflow.errors import UsageError
from megaflow.handlers.status import ProcessStatus
from megaflow.messages.attributes import Attribute
from megaflow.messages.origin import ORIGIN_ATTRIBUTE, digest_of
from megaflow.processing.dead_letters import describe_origin
from megaflow.processing.verdict import Fate
from megaflow.settings import ConsumerSettings
from megaflow.transport.queue import QueueFacts
from tests.consumer.core.driving import HANDLER, HOW_TO_HURRY, Driver, ids, message, messages, verdict_on
from tests.guarantees import guarantee

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
    assert driver.core.wake_at == 115.0, "when the leases are to be extended"


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

    assert driver.one(Receive).count == 2, "one for the free slot, and one in advance"
    driver.now += LINGER
    driver.tell(Tick())
    assert ids(driver.one(Delete).messages) == ["1"]


def test_failed_polls_back_off_and_recover() -> None:
    driver = Driver()
    driver.tell(Tick())
    pauses = []

    for _ in range(8):
        driver.fail(ConnectionError("down"), refused=False)
        pauses.append(driver.core.wake_at - driver.now)
        driver.now = driver.core.wake_at
        driver.tell(Tick())
        assert driver.one(Receive).count == 3
    driver.receive()

    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    assert driver.one(Receive).count == 3


def test_a_failed_poll_is_reported_with_its_reason() -> None:
    driver = Driver()
    driver.tell(Tick())

    driver.fail(ConnectionError("down"), refused=False)

    assert driver.reports(logging.WARNING) == ["the queue does not answer, trying again in 1.0 s: down"]
    assert driver.counted("failed_polls") == 1


def test_refused_access_at_the_start_ends_it() -> None:
    driver = Driver()
    driver.tell(Tick())
    refusal = PermissionError("no")

    driver.fail(refusal, refused=True)

    assert driver.one(Exit).error is refusal


def test_refused_access_later_is_waited_out() -> None:
    driver = Driver()
    driver.receive()

    driver.fail(PermissionError("no"), refused=True)

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

    driver.fail(ConnectionError("down"), refused=False)
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

    driver.tell(Settled(asked, {"1": Problem("InternalError: try again")}))

    assert driver.all(Delete) == []
    driver.now = driver.core.wake_at
    driver.tell(Tick())
    assert ids(driver.one(Delete).messages) == ["1"]


def test_a_delete_is_tried_until_the_lease_ends() -> None:
    driver = Driver(ConsumerSettings(visibility_timeout=3))
    (only,) = driver.receive(message("only", expires_at=103.5))
    driver.finish(only)
    tries = 0

    while not driver.reports(logging.WARNING):
        if driver.all(Delete):
            tries += 1
            driver.tell(Settled(driver.one(Delete), {"only": Problem("InternalError")}))
        else:
            driver.now = driver.core.wake_at
            driver.tell(Tick())

    assert tries == 5
    assert 103.0 < driver.now < 103.5
    assert driver.reports(logging.WARNING) == ["message only could not be deleted and comes again: InternalError"]


def test_a_delete_that_cannot_work_is_not_tried_again() -> None:
    driver = Driver()
    (only,) = driver.receive(message("only"))
    driver.finish(only)

    driver.tell(Settled(driver.one(Delete), {"only": Problem("ReceiptHandleIsInvalid", final=True)}))

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
    (only,) = driver.receive(message("only", expires_at=200.0))
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
    driver.tell(Settled(driver.one(Hide)))
    assert driver.all(Exit) == []


def test_a_message_whose_handlers_were_cancelled_from_outside_comes_again_and_ends_nothing() -> None:
    driver = Driver()
    (only,) = driver.receive(message("only"))

    driver.tell(Crashed(only, CancelledError()))

    assert driver.one(Hide).messages == (only,)
    assert driver.reports(logging.WARNING) == ["message only: its handlers were cancelled"]
    assert driver.reports(logging.ERROR) == []
    driver.tell(Settled(driver.one(Hide)))
    assert driver.all(Exit) == []


def test_a_message_is_not_deleted_once_its_lease_is_lost() -> None:
    driver = Driver()
    (slow,) = driver.receive(message("slow", expires_at=110.0))
    driver.now = 110.0

    driver.finish(slow)

    assert driver.all(Delete) == []
    assert driver.counted("lost_leases") == 1
    assert driver.reports(logging.WARNING) == [
        "message slow: its lease was lost while it was handled; it comes again",
        "message slow could not be deleted and comes again: its lease is lost",
    ]


def test_a_message_whose_lease_is_lost_is_not_hidden_from_whoever_has_it_by_now() -> None:
    driver = Driver()
    (slow, *_) = driver.receive(message("slow", expires_at=110.0))
    driver.now = 110.0
    driver.tell(Tick())
    assert driver.counted("lost_leases") == 1

    driver.finish(slow, Fate.KEEP)

    assert driver.all(Hide) == []
    assert (driver.counted("kept"), driver.counted("lost_leases")) == (1, 0)


def test_what_waits_behind_a_kept_message_whose_lease_is_lost_comes_after_it() -> None:
    driver = Driver(fifo=True)
    slow, *_ = driver.receive(message("a1", group="a", expires_at=110.0), message("a2", group="a"))
    driver.now = 110.0
    driver.tell(Tick())

    driver.finish(slow, Fate.KEEP)

    assert driver.all(Start) == []
    assert given_back(driver) == ["a2"]
    assert ids(driver.receive(message("a1", group="a", expires_at=150.0))) == ["a1"]


def test_refused_deletes_end_it_where_none_has_succeeded() -> None:
    driver = Driver()
    (only,) = driver.receive(message("only"))
    driver.finish(only)
    refusal = PermissionError("no sqs:DeleteMessage")

    driver.tell(Settled(driver.one(Delete), {"only": Problem("AccessDenied", final=True)}, refusal))

    assert driver.one(Exit).error is refusal


def test_refused_deletes_are_waited_out_where_one_has_succeeded() -> None:
    driver = Driver()
    (first,) = driver.receive(message("first"))
    driver.finish(first)
    driver.tell(Settled(driver.one(Delete)))
    (second,) = driver.receive(message("second"))
    driver.finish(second)

    problems = {"second": Problem("AccessDenied", final=True)}
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

    driver.tell(Settled(driver.one(DeadLetter), {"only": Problem("AccessDenied", final=True)}))

    assert driver.all(Delete) == []
    assert driver.one(Hide).messages == (only,)
    assert driver.counted("not_dead_lettered") == 1
    assert driver.reports(logging.ERROR) == ["message only: kept, as it could not be dead-lettered: AccessDenied"]


def test_a_dead_letter_that_is_refused_with_its_origin_is_tried_without_and_then_left_to_sqs() -> None:
    driver = Driver()
    (only,) = driver.receive(message("only"))
    driver.finish(only, Fate.DEAD_LETTER)
    asked = driver.one(DeadLetter)
    too_large = {"only": Problem("too large", of_message=True)}
    assert asked.with_origin

    driver.tell(Settled(asked, too_large))
    again = driver.one(DeadLetter)
    assert again == replace(asked, with_origin=False)
    assert (driver.all(Hide), driver.counted("not_dead_lettered")) == ([], 0)
    driver.tell(Settled(again, too_large))

    assert driver.all(DeadLetter) == []
    assert driver.one(Hide).seconds == (10.0,)
    assert driver.counted("not_dead_lettered") == 1
    (report,) = driver.reports(logging.ERROR)
    assert "too large" in report
    assert "until it is too old" in report


@pytest.mark.parametrize(("room", "with_origin"), [(0, True), (-1, False)], ids=["just fits", "one byte too many"])
def test_a_dead_letter_has_its_origin_where_there_is_room(room: int, with_origin: bool) -> None:
    origin = describe_origin(verdict_on(message("only"), Fate.DEAD_LETTER))
    size = len("body" + ORIGIN_ATTRIBUTE + "String" + origin)
    driver = Driver()
    driver.core._inspection.dead_letter_size_limit = size + room
    (only,) = driver.receive(message("only"))

    driver.finish(only, Fate.DEAD_LETTER)

    assert driver.one(DeadLetter).origin == origin
    assert driver.one(DeadLetter).with_origin is with_origin


def test_a_dead_letter_with_ten_attributes_goes_without_its_origin() -> None:
    driver, carried = Driver(), {name: Attribute("String", "value") for name in "abcdefghij"}
    (only,) = driver.receive(replace(message("only"), sqs_attributes=carried))

    driver.finish(only, Fate.DEAD_LETTER)

    assert not driver.one(DeadLetter).with_origin


def test_the_origin_that_a_message_came_with_takes_no_room_from_its_own() -> None:
    forged = {ORIGIN_ATTRIBUTE: Attribute("String", "x" * 1_000)}
    carried = {name: Attribute("String", "value") for name in "abcdefghi"} | forged
    driver = Driver()
    driver.core._inspection.dead_letter_size_limit = 900
    (only,) = driver.receive(replace(message("only"), sqs_attributes=carried))

    driver.finish(only, Fate.DEAD_LETTER)

    assert driver.one(DeadLetter).with_origin


def test_without_a_dead_letter_queue_a_failed_message_is_deleted_and_reported() -> None:
    driver = Driver(dead_letters=False)
    (only,) = driver.receive(message("only"))

    driver.finish(only, Fate.DEAD_LETTER)

    assert driver.one(Delete).messages == (only,)
    # Its handler's own line is the error.
    assert driver.reports(logging.ERROR) == []
    (report,) = [each for each in driver.reports(logging.WARNING) if "only" in each]
    assert report.startswith("message only: no dead-letter queue, so it is deleted: dead-lettered (")


def test_messages_being_dead_lettered_take_slots() -> None:
    driver = Driver()
    for each in driver.receive(*messages(3)):
        driver.finish(each, Fate.DEAD_LETTER)

    driver.receive()

    assert driver.all(Receive) == []


def test_the_origin_names_message_queue_and_handlers() -> None:
    failed = Outcome(HANDLER, ProcessStatus.FATAL_ERROR, ValueError("expired"))
    verdict = Verdict(replace(message("m"), queue_url="https://q"), (failed,), Fate.DEAD_LETTER)

    origin = json.loads(describe_origin(verdict))

    assert origin == {
        "message_id": "m",
        "queue": "https://q",
        "digest": digest_of(verdict.message),
        "failed": {HANDLER.name: "ValueError: expired"},
        "finished": [],
    }


def test_a_redriven_message_that_fails_again_says_what_it_is_now() -> None:
    carried = {ORIGIN_ATTRIBUTE: Attribute("String", '{"message_id": "first", "queue": "https://old", "failed": {}}')}
    redriven = replace(message("second"), queue_url="https://q", sqs_attributes=carried)

    origin = json.loads(describe_origin(verdict_on(redriven, Fate.DEAD_LETTER)))

    assert (origin["message_id"], origin["queue"]) == ("second", "https://q")
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
    assert ids(driver.one(Start).messages) == ["a2"]


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

    assert ids(driver.one(Start).messages) == ["a2"]


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
    assert driver.reports(logging.WARNING) == ["message a2: its lease was lost before it was started; it comes again"]


def given_back(driver: Driver) -> list[str]:
    """Let time pass until messages are hidden, and return which of them can be seen at once."""
    hidden = driver.wait_for(Hide)
    return [each.id for each, seconds in zip(hidden.messages, hidden.seconds, strict=True) if seconds == 0.0]


def test_waiting_messages_of_a_group_whose_leases_end_together_are_lost_before_they_were_started() -> None:
    driver = Driver(fifo=True)
    group = [message(name, group="a", expires_at=110.0) for name in ("a2", "a3", "a4")]
    driver.receive(message("a1", group="a"), *group, message("a5", group="a"))
    driver.now = 110.0

    driver.tell(Tick())

    assert driver.counted("lost_leases") == 3
    assert driver.reports(logging.WARNING) == [
        f"message {name}: its lease was lost before it was started; it comes again" for name in ("a2", "a3", "a4")
    ]
    assert driver.counted("given_back") == 1
    assert given_back(driver) == ["a5"]


def test_a_group_does_not_go_on_here_while_its_handled_message_comes_again_elsewhere() -> None:
    driver = Driver(fifo=True)
    first, *_ = driver.receive(
        message("a1", group="a", expires_at=110.0), message("a2", group="a"), message("a3", group="a")
    )
    driver.now = 110.0
    driver.tell(Tick())

    driver.finish(first)

    assert driver.all(Start) == []
    assert driver.all(Delete) == []
    assert given_back(driver) == ["a2", "a3"]


def test_a_group_goes_on_where_its_message_came_again_to_its_own_consumer() -> None:
    driver = Driver(fifo=True)
    first, *_ = driver.receive(message("a1", group="a", expires_at=110.0), message("a2", group="a"))
    driver.now = 110.0
    driver.tell(Tick())
    driver.receive(message("a1", group="a", expires_at=140.0))

    driver.finish(first)

    assert ids(driver.one(Start).messages) == ["a2"]


def test_what_waits_behind_a_message_that_cannot_be_deleted_comes_after_it() -> None:
    driver = Driver(fifo=True)
    first, *_ = driver.receive(*(message(f"a{number}", group="a") for number in (1, 2, 3)))
    driver.finish(first)
    second = driver.one(Start).messages[0]
    driver.tell(Settled(driver.wait_for(Delete), {"a1": Problem("ReceiptHandleIsInvalid", final=True)}))

    assert given_back(driver) == ["a3"]
    driver.finish(second)
    assert driver.all(Start) == []
    assert ids(driver.wait_for(Delete).messages) == ["a2"]


def test_what_waits_behind_a_delete_that_nobody_answers_comes_after_it() -> None:
    driver = Driver(fifo=True)
    first, *_ = driver.receive(
        message("a1", group="a", expires_at=110.0), message("a2", group="a"), message("a3", group="a")
    )
    driver.finish(first)
    second = driver.one(Start).messages[0]
    driver.wait_for(Delete)

    driver.now = 110.0
    driver.finish(second)

    assert driver.all(Start) == []
    assert given_back(driver) == ["a3"]


def test_a_delete_that_nobody_answers_holds_up_nothing_that_came_later() -> None:
    driver = Driver(ConsumerSettings(concurrency=1, prefetch=5), fifo=True)
    (first,) = driver.receive(message("a1", group="a", expires_at=110.0))
    driver.finish(first)
    driver.now = 110.0
    driver.tell(Tick())

    driver.receive(*(message(name, group="a", expires_at=140.0) for name in ("a1", "a2", "a3")))
    driver.now = 111.0
    driver.finish(message("a2", group="a", expires_at=140.0))

    assert ids(driver.one(Start).messages) == ["a3"]


def test_a_group_goes_on_while_deletes_are_tried_again() -> None:
    driver = Driver(fifo=True)
    first, *_ = driver.receive(*(message(f"a{number}", group="a") for number in (1, 2, 3)))
    driver.finish(first)
    second = driver.one(Start).messages[0]
    driver.tell(Settled(driver.wait_for(Delete), {"a1": Problem("InternalError")}))

    driver.finish(second)

    assert ids(driver.one(Start).messages) == ["a3"]


# Stopping


def test_an_idle_consumer_stops_at_once_although_its_poll_is_under_way() -> None:
    driver = Driver()
    driver.tell(Tick())

    driver.tell(Stop())

    assert driver.all(AbandonPoll) == [AbandonPoll(driver.poll)]
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

    driver.receive(message("late"))

    assert driver.all(Start) == []
    assert ids(driver.one(Hide).messages) == ["late"]


def test_an_abandoned_poll_that_fails_says_nothing() -> None:
    driver = Driver()
    driver.receive(message("running"))
    driver.tell(Stop())

    driver.fail(ConnectionError(), refused=False)

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
    assert driver.all(Hide) == []


def test_a_second_stop_does_not_wait_for_handlers() -> None:
    driver = Driver()
    driver.receive(message("slow"))
    driver.tell(Stop())

    driver.tell(Stop(now=True))

    asked = driver.one(Hide)
    assert (ids(asked.messages), asked.seconds) == (["slow"], (0.0,))
    driver.tell(Settled(asked))
    assert driver.one(Exit).error is None


def test_deletes_under_way_are_waited_for_a_little_longer() -> None:
    driver = Driver(ConsumerSettings(shutdown_timeout=0))
    (only,) = driver.receive(message("only"))
    driver.finish(only)
    driver.tell(Stop())
    assert driver.all(Exit) == []

    driver.now = driver.core.wake_at
    driver.tell(Tick())

    assert driver.now == 103.0
    assert driver.one(Exit).error is None


def test_a_delete_that_waits_to_be_tried_again_is_tried_at_the_stop() -> None:
    driver = Driver()
    (only,) = driver.receive(message("only"))
    driver.finish(only)
    driver.tell(Settled(driver.one(Delete), {"only": Problem("InternalError")}))
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

    driver.tell(Settled(asked, {"only": Problem("InternalError")}))
    while not driver.all(Exit):
        for asked in driver.all(Delete):
            driver.tell(Settled(asked, {"only": Problem("InternalError")}))
        if not driver.all(Exit):
            driver.now = driver.core.wake_at
            driver.tell(Tick())

    assert driver.now - started < 2


def test_deletes_that_fail_are_tried_again_as_long_as_a_handler_is_waited_for() -> None:
    driver = Driver(ConsumerSettings(shutdown_timeout=20))
    first, _ = driver.receive(*messages(2))
    driver.tell(Stop())
    driver.finish(first)

    for _ in range(10):
        driver.tell(Settled(driver.wait_for(Delete), {"0": Problem("InternalError")}))

    assert driver.reports(logging.WARNING) == []
    assert ids(driver.wait_for(Delete).messages) == ["0"]


@pytest.mark.parametrize(
    ("running", "stop", "said"),
    [
        (2, Stop(), [f"stopping: waiting up to 30.0 s for 2 messages; {HOW_TO_HURRY}"]),
        (1, Stop(), [f"stopping: waiting up to 30.0 s for 1 message; {HOW_TO_HURRY}"]),
        (2, Stop(now=True), []),
        (0, Stop(), []),
    ],
)
def test_a_stop_says_what_it_waits_for(running: int, stop: Stop, said: list[str]) -> None:
    driver = Driver(ConsumerSettings(shutdown_timeout=30.0))
    driver.receive(*messages(running))

    driver.tell(stop)

    assert driver.reports(logging.INFO) == said


def test_what_went_wrong_first_is_why_it_ends() -> None:
    driver = Driver()
    first, second = driver.receive(*messages(2))
    interruption = SystemExit(3)
    driver.tell(Interrupted(interruption))
    driver.tell(Crashed(first, KeyboardInterrupt()))
    driver.tell(Settled(driver.one(Hide)))

    driver.finish(second)
    driver.tell(Settled(driver.one(Delete)))

    assert driver.one(Exit).error is interruption


def test_what_is_on_its_way_to_the_dead_letter_queue_is_waited_for() -> None:
    driver = Driver()
    (only,) = driver.receive(message("only"))
    driver.finish(only, Fate.DEAD_LETTER)
    asked = driver.one(DeadLetter)

    driver.tell(Stop())
    assert driver.all(Exit) == []
    driver.tell(Settled(asked))
    driver.tell(Settled(driver.one(Delete)))

    assert driver.one(Exit).error is None


def test_more_stops_do_not_move_the_end_away() -> None:
    driver = Driver(ConsumerSettings(shutdown_timeout=0))
    (only,) = driver.receive(message("only"))
    driver.finish(only)
    driver.tell(Stop())

    driver.now += 2
    driver.tell(Stop(now=True))

    assert driver.core.wake_at == 103.0


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

    driver.tell(Finished((Verdict(first, (outcome,), Fate.KEEP),)))
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


# Leases


def test_leases_are_extended_together_halfway_through_what_waits_included() -> None:
    driver = Driver(ConsumerSettings(concurrency=1, prefetch=2), fifo=False)
    first, second = message("0"), message("1")
    driver.tell(Received((first, second), driver.poll))

    assert driver.core.wake_at == 115.0
    driver.now = 115.0
    driver.tell(Tick())

    asked = driver.one(Extend)
    assert (ids(asked.messages), asked.seconds) == (["0", "1"], (30.0, 30.0))


def test_an_extended_lease_lasts_from_when_it_was_asked_for() -> None:
    driver = Driver()
    (only,) = driver.receive(message("only"))
    asked = driver.wait_for(Extend)
    driver.now += 4

    driver.tell(Settled(asked))

    assert only.lease is not None
    assert only.lease.expires_at == 145.0
    driver.wait_for(Extend)
    assert driver.now == 130.0


def test_an_extension_that_failed_is_tried_again_while_there_is_time() -> None:
    driver = Driver()
    driver.receive(message("only"))
    asked = driver.wait_for(Extend)

    driver.tell(Settled(asked, {"only": Problem("InternalError")}))

    again = driver.wait_for(Extend)
    assert 115.0 < driver.now < 130.0
    assert ids(again.messages) == ["only"]


def test_a_stale_receipt_handle_is_a_lost_lease_and_is_not_used_again() -> None:
    driver = Driver()
    (only,) = driver.receive(message("only"))
    asked = driver.wait_for(Extend)

    driver.tell(Settled(asked, {"only": Problem("ReceiptHandleIsInvalid", final=True)}))

    assert only.lease is not None
    assert only.lease.is_refused
    assert driver.counted("lost_leases") == 1
    driver.finish(only)
    assert driver.all(Delete) == []


def test_a_role_that_may_not_extend_does_not_lose_leases_for_it() -> None:
    driver = Driver()
    (only,) = driver.receive(message("only"))
    asked = driver.wait_for(Extend)

    driver.tell(Settled(asked, {"only": Problem("AccessDenied", final=True)}, PermissionError("no")))
    assert not driver.core.health(driver.now).stopping
    driver.finish(only)

    assert ids(driver.one(Delete).messages) == ["only"]


def test_leases_are_extended_up_to_the_longest_processing_time() -> None:
    driver = Driver(ConsumerSettings(max_processing_time=40.0))
    (only,) = driver.receive(message("only"))
    asked = driver.wait_for(Extend)
    assert asked.seconds == (25.0,)
    driver.tell(Settled(asked))

    lost_at = driver.run_until_counted("lost_leases")

    assert lost_at == 140.0
    assert only.lease is not None
    assert only.lease.expires_at == 140.0


def test_a_message_that_finishes_is_not_deleted_while_its_extension_is_under_way() -> None:
    driver = Driver()
    (only,) = driver.receive(message("only"))
    extension = driver.wait_for(Extend)

    driver.finish(only)
    assert driver.all(Delete) == []
    driver.tell(Settled(extension))

    assert ids(driver.one(Delete).messages) == ["only"]


def test_an_extension_that_is_never_answered_holds_up_the_delete_for_seconds_only() -> None:
    driver = Driver()
    (only,) = driver.receive(message("only"))
    driver.wait_for(Extend)
    started = driver.now

    driver.finish(only)

    assert ids(driver.wait_for(Delete).messages) == ["only"]
    assert driver.now - started == 5.0


# Messages that come twice


def test_the_same_message_twice_in_one_batch_is_handled_once() -> None:
    driver = Driver()
    first, again = message("m"), replace(message("m"), lease=Lease("newer", 100.0, 130.0, lambda: 0.0))

    started = driver.receive(first, again)
    assert (driver.counted("received"), driver.counted("duplicates")) == (2, 1)
    assert driver.reports(logging.INFO) == ["message m came again while it is in hand, and goes on as one"]
    driver.finish(started[0])

    assert ids(started) == ["m"]
    (deleted,) = driver.one(Delete).messages
    assert deleted.lease is not None
    assert deleted.lease.receipt_handle == "newer"


def test_a_message_that_comes_again_while_it_is_handled_goes_on_with_the_new_lease() -> None:
    driver = Driver()
    (slow,) = driver.receive(message("slow", expires_at=110.0))
    driver.now = 111.0
    driver.tell(Tick())
    assert driver.counted("lost_leases") == 1

    started = driver.receive(replace(message("slow", expires_at=141.0), lease=Lease("new", 111.0, 141.0, lambda: 0.0)))
    driver.finish(slow)

    assert started == []
    (deleted,) = driver.one(Delete).messages
    assert deleted.lease is not None
    assert deleted.lease.receipt_handle == "new"


def test_a_handled_message_that_was_not_deleted_is_deleted_unhandled_when_it_comes_again() -> None:
    driver = Driver()
    (only,) = driver.receive(message("only"))
    driver.finish(only)
    driver.tell(Settled(driver.one(Delete), {"only": Problem("InternalError", final=True)}))

    driver.now = 140.0
    started = driver.receive(message("only", expires_at=170.0))

    assert started == []
    assert ids(driver.one(Delete).messages) == ["only"]
    assert driver.counted("duplicates") == 1


def test_a_kept_message_that_comes_again_before_it_was_hidden_is_handled() -> None:
    driver = Driver()
    (only,) = driver.receive(message("only"))
    driver.finish(only, Fate.KEEP)
    driver.tell(Settled(driver.one(Hide), {"only": Problem("InternalError")}))

    started = driver.receive(message("only", expires_at=150.0))

    assert ids(started) == ["only"]
    driver.now += 20
    driver.tell(Tick())
    assert driver.all(Hide) == []


def test_what_comes_again_is_counted_and_what_comes_with_it_is_handled() -> None:
    driver = Driver()
    driver.receive(message("first"))

    started = driver.receive(message("first"), message("second"))

    assert ids(started) == ["second"]
    assert (driver.counted("received"), driver.counted("duplicates")) == (2, 1)


def test_what_comes_is_counted_and_what_becomes_of_it() -> None:
    driver = Driver()
    first, second, third = driver.receive(*messages(3))
    assert driver.counted("received") == 3

    driver.tell(Finished((verdict_on(first, Fate.DELETE), Verdict(second, (), Fate.DELETE))))
    assert (driver.counted("handled"), driver.counted("unmatched")) == (1, 1)
    driver.now += 4
    driver.tell(Finished((Verdict(third, (), Fate.DELETE),)))

    assert (driver.counted("handled"), driver.counted("unmatched")) == (0, 1)
    assert driver.core.health(driver.now).finished_ago == 0.0


# Receiving in advance


def test_slow_handlers_get_no_messages_in_advance() -> None:
    driver = Driver(ConsumerSettings(concurrency=2, prefetch=10))

    driver.receive(*messages(2))

    assert driver.all(Receive) == []


def test_quick_handlers_get_as_many_in_advance_as_they_finish_in_a_second() -> None:
    driver = Driver(ConsumerSettings(concurrency=10, prefetch=100))
    driver.now += 0.01
    started = driver.receive(*messages(10))
    driver.tell(Finished([verdict_on(each, Fate.DELETE) for each in started]))
    polls = driver.all(Receive)

    assert sum(each.count for each in polls) == 20


def test_handlers_that_were_quick_long_ago_get_none_in_advance() -> None:
    driver = Driver(ConsumerSettings(concurrency=4, prefetch=100))
    started = driver.receive(*messages(4))
    driver.tell(Finished([verdict_on(each, Fate.DELETE) for each in started]))
    assert driver.one(Receive).count == 8

    driver.now += 5
    driver.receive()

    assert driver.one(Receive).count == 4


def test_another_poll_helps_where_one_comes_back_full() -> None:
    driver = Driver(ConsumerSettings(concurrency=50))

    driver.now += 0.01
    driver.receive(*messages(10))
    assert len(driver.all(Receive)) == 2
    driver.receive()
    driver.receive()

    assert len(driver.all(Receive)) <= 1


def test_a_poll_that_is_answered_at_once_needs_no_help() -> None:
    driver = Driver(ConsumerSettings(concurrency=50))

    driver.now += 0.001
    driver.receive(*messages(10))

    assert len(driver.all(Receive)) == 1


def test_a_group_that_is_busy_does_not_keep_others_from_being_received() -> None:
    driver = Driver(ConsumerSettings(concurrency=2, max_number_of_messages=10), fifo=True)

    driver.receive(*(message(f"a{number}", group="a") for number in range(10)))

    assert driver.one(Receive).count == 1


def test_a_poll_that_hangs_is_replaced() -> None:
    driver = Driver()
    first = driver.poll

    driver.now = driver.core.wake_at
    driver.tell(Tick())

    assert driver.now == 100.0 + 1 + HANGS
    assert driver.all(AbandonPoll) == [AbandonPoll(first)]
    assert driver.one(Receive).poll != first


# Time limits


def test_a_handler_that_does_not_return_in_its_time_is_given_up_and_its_message_comes_again() -> None:
    driver = Driver(ConsumerSettings(concurrency=1, backoff=lambda count: 10.0))
    (stuck,) = driver.receive(message("stuck"))
    driver.tell(Called(stuck, HANDLER, 5.0))

    given_up = driver.wait_for(GiveUp)

    assert driver.now == 105.0
    assert given_up.message == stuck
    assert driver.one(Hide).seconds == (10.0,)
    assert driver.one(Receive).count == 1
    assert stuck.lease is not None
    assert stuck.lease.lost


def test_what_a_handler_says_after_it_was_given_up_changes_nothing() -> None:
    driver = Driver()
    (stuck,) = driver.receive(message("stuck"))
    driver.tell(Called(stuck, HANDLER, 5.0))
    driver.wait_for(GiveUp)

    driver.finish(stuck)

    assert driver.all(Delete) == []


def test_a_handler_that_returns_in_time_is_not_given_up() -> None:
    driver = Driver()
    (only,) = driver.receive(message("only"))
    driver.tell(Called(only, HANDLER, 5.0))

    driver.tell(Called(only, HANDLER, None))
    driver.now += 6
    driver.tell(Tick())

    assert driver.all(GiveUp) == []


@pytest.mark.parametrize(
    "ended", [Finished((verdict_on(message("only"), Fate.DELETE),)), Crashed(message("only"), OSError())]
)
def test_a_message_that_has_ended_is_not_given_up_although_nobody_told_that_its_handler_returned(ended: Input) -> None:
    driver = Driver()
    (only,) = driver.receive(message("only"))
    driver.tell(Called(only, HANDLER, 5.0))

    driver.tell(ended)
    driver.now += 6
    driver.tell(Tick())

    assert driver.all(GiveUp) == []


def test_what_is_said_of_a_message_that_was_given_up_holds_up_nothing() -> None:
    driver = Driver()
    stuck, other = driver.receive(*messages(2))
    driver.tell(Called(stuck, HANDLER, 5.0))
    driver.wait_for(GiveUp)

    driver.tell(Called(stuck, HANDLER, 5.0))
    driver.tell(Crashed(stuck, OSError()))
    assert driver.core.health(driver.now).finished_ago is None
    driver.tell(Finished((verdict_on(stuck, Fate.KEEP), verdict_on(other, Fate.DELETE))))

    assert ids(driver.one(Delete).messages) == ["1"]
    assert driver.counted("handled") == 1


def test_verdicts_on_messages_that_were_given_up_are_no_sign_of_life() -> None:
    driver = Driver()
    (stuck,) = driver.receive(message("stuck"))
    driver.tell(Called(stuck, HANDLER, 5.0))
    driver.wait_for(GiveUp)

    driver.finish(stuck)

    assert driver.core.health(driver.now).finished_ago is None
    assert driver.counted("handled") == 0


# The most receives


def test_a_message_kept_at_its_last_delivery_is_dead_lettered() -> None:
    driver = Driver(ConsumerSettings(max_receives=3))
    (early,) = driver.receive(message("early", count=2))
    driver.finish(early, Fate.KEEP)
    assert driver.all(DeadLetter) == []

    (last,) = driver.receive(message("last", count=3))
    driver.finish(last, Fate.KEEP)

    origin = json.loads(driver.one(DeadLetter).origin)
    assert origin["problem"] == "kept at delivery 3, and max_receives is 3"
    assert origin["failed"] == {HANDLER.name: "RETRY_LATER"}


def test_a_message_received_too_often_is_dead_lettered_unhandled() -> None:
    driver = Driver(ConsumerSettings(max_receives=3))

    driver.receive(message("crasher", count=4))

    assert driver.all(Start) == []
    assert json.loads(driver.one(DeadLetter).origin)["problem"] == "received 4 times, and max_receives is 3"


# Health


def test_a_consumer_that_was_told_nothing_yet_is_live() -> None:
    driver = Driver(inspected=False)

    health = driver.core.health(1_000_000.0)

    assert (health.live, health.ready, health.problems) == (True, False, ("SQS has not answered yet",))


def test_a_consumer_is_ready_once_the_queue_has_answered() -> None:
    driver = Driver()
    assert not driver.core.health(driver.now).ready

    driver.receive()

    health = driver.core.health(driver.now + 5)
    assert health.ready
    assert health.live
    assert health.heard_ago == (5.0,)
    assert health.problems == ()


def test_the_first_poll_does_not_wait_long_so_that_an_idle_queue_is_known_to_answer() -> None:
    driver = Driver()
    assert driver.one(Receive).wait == 1

    driver.receive()

    assert driver.one(Receive).wait == 20


def test_the_first_poll_after_an_outage_does_not_wait_long_either() -> None:
    driver = Driver()
    driver.receive()
    driver.fail(ConnectionError("down"))
    assert driver.wait_for(Receive).wait == 1

    driver.receive()

    assert driver.core.health(driver.now).ready
    assert driver.one(Receive).wait == 20


def test_polls_of_one_who_does_not_want_to_wait_never_do() -> None:
    driver = Driver(ConsumerSettings(wait_time_seconds=0))

    assert driver.one(Receive).wait == 0


def test_where_every_handler_is_at_work_nobody_asks_and_that_is_no_silence() -> None:
    driver = Driver(ConsumerSettings(concurrency=1, prefetch=0))
    driver.receive(message("long", expires_at=1_000.0))
    driver.now += 381
    driver.tell(Tick())

    health = driver.core.health(driver.now)

    assert (health.heard_ago, health.ready, health.problems) == ((), True, ())


def test_a_poller_that_was_not_needed_for_long_has_heard_nothing_since_it_is_asked_again() -> None:
    driver = Driver(ConsumerSettings(concurrency=1, prefetch=0))
    (only,) = driver.receive(message("long"))
    driver.now += 381

    driver.finish(only)
    driver.now += 3

    assert driver.all(Receive)
    health = driver.core.health(driver.now)
    assert (health.heard_ago, health.ready) == ((3.0,), True)


def test_a_second_poller_that_is_needed_no_more_is_no_silence() -> None:
    driver = Driver(ConsumerSettings(concurrency=30))
    first = driver.poll
    driver.now += 1
    driver.receive(*[message(f"m-{number}") for number in range(10)])
    assert len(driver.core.health(driver.now).heard_ago) == 2

    for _ in range(20):
        driver.now += 20
        driver.tell(Received((), driver.poll))

    assert driver.poll > first
    driver.tell(Received((), first + 1))
    assert [ago < 21 for ago in driver.core.health(driver.now).heard_ago if ago is not None] == [True]


def test_an_outage_is_silence_from_the_last_answer_on() -> None:
    driver = Driver()
    driver.receive()
    began = driver.now

    for _ in range(5):
        driver.fail(ConnectionError("down"))
        driver.wait_for(Receive)

    assert driver.core.health(driver.now).heard_ago == (driver.now - began,)


def test_a_queue_out_of_reach_makes_it_not_ready_but_leaves_it_live() -> None:
    driver = Driver()
    driver.receive()

    driver.fail(ConnectionError("down"))

    health = driver.core.health(driver.now)
    assert (health.ready, health.live) == (False, True)
    assert health.problems == ("polls fail: the last 1",)


def test_a_driver_that_says_nothing_more_makes_it_dead() -> None:
    driver = Driver()
    driver.receive()

    health = driver.core.health(driver.now + 61)

    assert not health.live


def test_a_poll_that_hangs_makes_it_dead_until_it_is_replaced() -> None:
    driver = Driver()
    driver.now = driver.core.wake_at - 30
    driver.tell(Tick())

    assert not driver.core.health(driver.now + 30).live
    driver.now += 30
    driver.tell(Tick())
    assert driver.core.health(driver.now).live


def test_handlers_that_all_outlived_their_leases_make_it_dead() -> None:
    driver = Driver(ConsumerSettings(concurrency=1, max_processing_time=40))
    driver.receive(message("stuck"))
    driver.run_until_counted("lost_leases")

    assert not driver.core.health(driver.now).live


def test_the_limit_of_messages_in_flight_is_known_on_a_standard_queue() -> None:
    driver = Driver()

    driver.tell(AskFailed(RuntimeError("OverLimit"), refused=False, over_limit=True, poll=driver.poll))

    assert driver.core.health(driver.now).over_limit


@guarantee(
    "FIFO",
    "too many messages are in flight",
    "SQS answers as if the queue were empty: after a minute it is asked what it holds; `health().over_limit` is true",
    "once",
)
def test_the_limit_of_messages_in_flight_is_known_on_a_fifo_queue_that_gives_nothing() -> None:
    driver = Driver(fifo=True)
    driver.now += 61
    driver.receive()
    assert driver.all(Inspect) == [Inspect(depth_alone=True)]

    driver.tell(Inspected(QueueFacts(visible=5_000, in_flight=120_000)))

    assert driver.core.health(driver.now).over_limit
    assert "120000 are in flight" in driver.reports(logging.WARNING)[0]
    assert driver.all(Receive)
