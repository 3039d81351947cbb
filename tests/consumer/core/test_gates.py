"""Gates: when they are open, compared with the plainest thing that counts calls."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megaflow.consumer.core.gates import MostCalls, TokenBucket, make_gates
from megaflow.handlers.options import Options, read_options
from megaflow.handlers.rate import Rate

RATES = st.builds(Rate, st.integers(1, 6), st.sampled_from([1.0, 60.0, 3_600.0]))
PAUSES = st.lists(st.floats(0.0, 2.0), min_size=1, max_size=60)
"""Parts of a rate's time, between one look at the gate and the next."""


def count_within(begun: list[float], rate: Rate, now: float) -> int:
    return sum(now < began + rate.seconds for began in begun)


@given(RATES, PAUSES)
def test_a_bucket_gives_as_many_as_it_may_and_never_one_more(rate: Rate, pauses: list[float]) -> None:
    bucket, begun, now = TokenBucket(rate), list[float](), 1_000.0
    for pause in pauses:
        now += pause * rate.seconds
        is_open = bucket.opens_at(now) <= now

        assert is_open == (count_within(begun, rate, now) < rate.calls)
        if is_open:
            bucket.enter(now)
            bucket.leave()
            begun.append(now)


@given(RATES, PAUSES)
def test_a_bucket_opens_at_the_very_time_that_it_said(rate: Rate, pauses: list[float]) -> None:
    bucket, begun, now = TokenBucket(rate), list[float](), 1_000.0
    for pause in pauses:
        now = max(now + pause * rate.seconds / 10, bucket.opens_at(now))

        assert bucket.opens_at(now) <= now
        assert count_within(begun, rate, now) < rate.calls
        if bucket.opens_at(now) == now:
            assert count_within(begun, rate, math.nextafter(now, 0.0)) >= rate.calls
        bucket.enter(now)
        begun.append(now)


@given(RATES, PAUSES, st.floats(0.0, 5.0), st.integers(0, 30))
def test_a_bucket_knows_how_many_can_begin_until_then(rate: Rate, pauses: list[float], ahead: float, most: int) -> None:
    bucket, now = TokenBucket(rate), 1_000.0
    for pause in pauses:
        now = max(now + pause * rate.seconds / 10, bucket.opens_at(now))
        bucket.enter(now)
    end = now + ahead * rate.seconds

    room = bucket.room_until(end, now, most)

    taken = 0
    while taken < most and (now := max(now, bucket.opens_at(now))) <= end:
        bucket.enter(now)
        taken += 1
    assert room == taken


def test_the_first_hundred_of_a_minute_begin_at_once_and_the_next_a_minute_after_them() -> None:
    bucket = TokenBucket(Rate(100, 60.0))
    for _ in range(100):
        assert bucket.opens_at(5.0) <= 5.0
        bucket.enter(5.0)

    assert bucket.opens_at(5.0) == 65.0


@given(st.integers(1, 5), st.lists(st.booleans(), max_size=60))
def test_so_many_run_at_once_and_no_more(most: int, ends: list[bool]) -> None:
    gate, running = MostCalls(most), 0
    for is_end in ends:
        if is_end and running:
            gate.leave()
            running -= 1
        elif gate.opens_at(0.0) <= 0.0:
            gate.enter(0.0)
            running += 1
        assert gate.opens_at(0.0) == (-math.inf if running < most else math.inf)
        assert running <= most
    assert gate.room_until(10.0, 0.0, 7) == 7


@pytest.mark.parametrize(
    ("given_options", "kinds"),
    [
        ({}, []),
        ({"max_concurrency": 2}, [MostCalls]),
        ({"rate": "2/h"}, [TokenBucket]),
        ({"max_concurrency": 2, "rate": "2/h"}, [MostCalls, TokenBucket]),
    ],
)
def test_a_handler_has_the_gates_that_its_options_ask_for(given_options: dict[str, object], kinds: list[type]) -> None:
    options: Options = read_options(given_options)

    assert [type(gate) for gate in make_gates(options)] == kinds
    assert options.has_turns == bool(kinds)
