"""The diagnosis of a consumer: what is said of it, and when it counts as live and as ready."""

from __future__ import annotations

import pytest

from megaflow.consumer.core.health import NOT_RUNNING, Health
from megaflow.consumer.core.protocol import AskFailed, Extend, Problem, Receive, Settled, Stop, Tick
from megaflow.settings import ConsumerSettings
from tests.consumer.core.driving import Driver, message, messages


@pytest.mark.parametrize(("silence", "live"), [(60.0, True), (60.1, False)])
def test_a_driver_that_says_nothing_for_a_minute_makes_it_dead_and_so_not_ready(silence: float, live: bool) -> None:
    driver = Driver(ConsumerSettings(concurrency=1, prefetch=0))
    driver.receive(message("long", expires_at=1_000.0))

    health = driver.core.health(driver.now + silence)

    assert (health.live, health.ready) == (live, live)
    assert health.problems == (() if live else ("the consumer's own thread has said nothing for 60 s",))


def test_a_consumer_that_stops_is_live_and_not_ready() -> None:
    driver = Driver()
    driver.receive(message("running"))

    driver.tell(Stop())

    health = driver.core.health(driver.now)
    assert (health.live, health.ready, health.stopping, health.problems) == (True, False, True, ())


def test_a_consumer_that_takes_long_to_stop_waits_for_no_poll() -> None:
    driver = Driver(ConsumerSettings(shutdown_timeout=600.0, concurrency=2))
    driver.receive(message("running"))
    driver.now += 1
    driver.tell(Stop())

    for _ in range(30):
        driver.now += 10
        driver.tell(Tick())
        for asked in driver.all(Extend):
            driver.tell(Settled(asked))

    health = driver.core.health(driver.now)
    assert (health.live, health.problems) == (True, ())


@pytest.mark.parametrize(("silence", "ready"), [(80.0, True), (80.1, False)])
def test_a_poll_that_is_not_answered_a_minute_beyond_its_wait_makes_it_not_ready(silence: float, ready: bool) -> None:
    driver = Driver(ConsumerSettings(wait_time_seconds=20))
    driver.receive()
    driver.now += silence
    driver.tell(Tick())

    health = driver.core.health(driver.now)

    assert (health.live, health.ready) == (True, ready)
    assert health.problems == (() if ready else ("SQS has not answered for long",))


def test_where_one_of_several_polls_is_answered_sqs_answers() -> None:
    driver = Driver(ConsumerSettings(concurrency=1_000))
    driver.now += 1
    driver.receive(*messages(10))
    assert len(driver.all(Receive)) == 2
    driver.now += 85
    driver.receive(*[message(f"later {each}", expires_at=1_000.0) for each in range(10)])

    driver.now += 5

    assert [ago for ago in driver.core.health(driver.now).heard_ago if ago == 90.0]
    assert driver.core.health(driver.now).ready


def test_polls_that_fail_are_not_said_to_be_silence() -> None:
    driver = Driver()

    driver.tell(AskFailed(ConnectionError("down"), refused=False, poll=driver.poll))

    assert driver.core.health(driver.now).problems == ("polls fail: the last 1",)


def test_a_poll_that_has_not_returned_in_its_time_is_said() -> None:
    driver = Driver()
    driver.now += 1 + 90 - 50
    driver.tell(Tick())

    health = driver.core.health(driver.now + 50)

    assert "a poll has not returned in its time" in health.problems


def test_where_one_handler_has_kept_its_lease_it_is_live() -> None:
    driver = Driver(ConsumerSettings(concurrency=2))
    driver.receive(message("lost", expires_at=110.0), message("kept"))
    driver.now = 110.0
    driver.tell(Tick())
    assert driver.counted("lost_leases") == 1

    health = driver.core.health(driver.now)

    assert (health.live, health.lost_leases, health.problems) == (True, 1, ())


def test_where_there_is_room_for_a_handler_it_is_live_although_all_that_run_have_lost_their_leases() -> None:
    driver = Driver(ConsumerSettings(concurrency=2))
    driver.receive(message("lost", expires_at=110.0))
    driver.receive()
    driver.now = 110.0
    driver.tell(Tick())

    assert driver.core.health(driver.now).live


def test_where_all_handlers_have_lost_their_leases_it_is_said() -> None:
    driver = Driver(ConsumerSettings(concurrency=1))
    driver.receive(message("lost", expires_at=110.0))
    driver.now = 110.0
    driver.tell(Tick())

    health = driver.core.health(driver.now)

    assert health.problems == ("every handler has run for so long that its message is lost to others",)
    assert (health.live, health.ready) == (False, False)


def test_it_says_how_long_the_longest_handler_runs_and_how_much_is_in_hand() -> None:
    driver = Driver(ConsumerSettings(concurrency=2), fifo=True)
    driver.receive(message("a1", group="a"), message("a2", group="a"))
    driver.now += 3
    driver.receive(message("b1", group="b"))
    driver.now += 4

    health = driver.core.health(driver.now)

    assert (health.in_hand, health.running, health.longest_running) == (3, 2, 7.0)


def test_an_idle_consumer_runs_nothing() -> None:
    driver = Driver()

    health = driver.core.health(driver.now)

    assert (health.in_hand, health.running, health.longest_running) == (0, 0, 0.0)


def test_extensions_that_fail_are_counted_in_a_row() -> None:
    driver = Driver(ConsumerSettings(visibility_timeout=600))
    driver.receive(message("only", expires_at=700.0))
    failed = {"only": Problem("InternalError")}
    for expected in (1, 2):
        asked = driver.wait_for(Extend)
        driver.tell(Settled(asked, failed))
        health = driver.core.health(driver.now)
        assert health.failed_extensions == expected
        assert f"extensions of visibility timeouts fail: the last {expected}" in health.problems

    driver.tell(Settled(driver.wait_for(Extend)))

    assert driver.core.health(driver.now).failed_extensions == 0


def test_the_limit_of_messages_in_flight_is_said() -> None:
    driver = Driver()

    driver.tell(AskFailed(RuntimeError("OverLimit"), refused=False, over_limit=True, poll=driver.poll))

    assert "the queue's limit of messages in flight is reached" in driver.core.health(driver.now).problems


def test_of_a_consumer_that_is_not_running_nothing_else_is_said() -> None:
    assert str(NOT_RUNNING) == "live, not ready: it is not running"
    assert NOT_RUNNING.as_dict() == {
        "live": True,
        "ready": False,
        "problems": ("it is not running",),
        "stopping": False,
        "heard_ago": (),
        "finished_ago": None,
        "in_hand": 0,
        "running": 0,
        "in_line": 0,
        "longest_running": 0.0,
        "lost_leases": 0,
        "failed_extensions": 0,
        "stuck_threads": 0,
        "over_limit": False,
        "paused": False,
        "open_breakers": (),
    }


@pytest.mark.parametrize(
    ("health", "said"),
    [
        (Health(live=True, ready=True), "ready"),
        (Health(live=True, ready=True, problems=("a", "b")), "ready: a; b"),
        (Health(live=True, ready=False), "live, not ready"),
        (Health(live=False, ready=False, problems=("a",)), "not live: a"),
    ],
)
def test_it_is_said_in_one_line(health: Health, said: str) -> None:
    assert str(health) == said
