"""The default backoff: it doubles, up to a limit, and all of it is jitter."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megaflow.backoff import exponential_backoff


@pytest.mark.parametrize(
    ("receive_count", "longest"),
    [(1, 1), (2, 2), (3, 4), (5, 16), (10, 512), (11, 900), (60, 900), (1_000, 900), (100_000, 900)],
)
def test_a_backoff_doubles_from_a_second_to_a_quarter_of_an_hour(receive_count: int, longest: float) -> None:
    backoff = exponential_backoff(randomness=lambda: 1.0)

    assert backoff(receive_count) == longest


def test_all_of_a_backoff_is_jitter() -> None:
    drawn = iter([0.0, 0.25, 1.0])
    backoff = exponential_backoff(randomness=lambda: next(drawn))

    assert [backoff(5), backoff(5), backoff(5)] == [0.0, 4.0, 16.0]


def test_a_backoff_begins_and_ends_where_it_is_told() -> None:
    backoff = exponential_backoff(first=10, longest=60, randomness=lambda: 1.0)

    assert [backoff(count) for count in (1, 2, 3, 4, 5)] == [10, 20, 40, 60, 60]


@given(receive_count=st.integers(1, 10**9))
def test_a_backoff_is_never_negative_nor_longer_than_its_longest(receive_count: int) -> None:
    assert 0 <= exponential_backoff()(receive_count) <= 900
