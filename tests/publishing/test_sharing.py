"""Sharing: which of the calls that wait go in one batch."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megaflow import limits
from megaflow.publishing.sharing import choose

ROOM = 100


@dataclass(frozen=True)
class Waiting:
    size: int = 1
    group: str = ""
    apart: str = ""


@pytest.mark.parametrize(
    ("waiting", "busy", "chosen"),
    [
        ([], "", []),
        ([Waiting()], "", [0]),
        ([Waiting()] * 12, "", list(range(10))),
        ([Waiting(60), Waiting(40), Waiting(1)], "", [0, 1]),
        ([Waiting(60), Waiting(41), Waiting(1)], "", [0]),
        ([Waiting(100)], "", [0]),
        ([Waiting(1, "a"), Waiting(1, "b"), Waiting(1, "a")], "", [0, 1, 2]),
        ([Waiting(1, "a"), Waiting(1, "b"), Waiting(1, "a")], "a", [1]),
        ([Waiting(1, "a"), Waiting(1, "a")], "a", []),
        ([Waiting(60, "a"), Waiting(60, "b"), Waiting(1, "b"), Waiting(1, "a")], "", [0, 3]),
        ([Waiting(1, "", "x"), Waiting(1, "", "x"), Waiting(1)], "", [0, 1]),
        ([Waiting(1, "a", "x"), Waiting(1, "b"), Waiting(1, "b", "x"), Waiting(1, "a", "x")], "", [0, 3]),
    ],
    ids=repr,
)
def test_those_that_fit_go_together(waiting: list[Waiting], busy: str, chosen: list[int]) -> None:
    assert choose(waiting, set(busy), max_size=ROOM) == chosen


def lists(groups: str) -> st.SearchStrategy[list[Waiting]]:
    return st.lists(
        st.builds(Waiting, st.integers(0, ROOM), st.sampled_from(list(groups) or [""]), st.sampled_from(["", "", "x"]))
    )


@given(lists("") | lists("abcd"), st.sets(st.sampled_from("abcd")))
def test_a_batch_is_within_the_limits_and_takes_nothing_of_a_busy_group(waiting: list[Waiting], busy: set[str]) -> None:
    chosen = [waiting[place] for place in choose(waiting, busy, max_size=ROOM)]

    assert len(chosen) <= limits.BATCH_ENTRIES
    assert sum(each.size for each in chosen) <= ROOM
    assert len({each.apart for each in chosen}) <= 1
    assert not busy.intersection(each.group for each in chosen)


@given(lists("") | lists("abcd"), st.sets(st.sampled_from("abcd")))
def test_something_goes_where_something_may(waiting: list[Waiting], busy: set[str]) -> None:
    assert bool(choose(waiting, busy, max_size=ROOM)) == any(each.group not in busy for each in waiting)


@given(lists("abcd"), st.sets(st.sampled_from("abcd")))
def test_nothing_overtakes_an_earlier_one_of_its_group(waiting: list[Waiting], busy: set[str]) -> None:
    chosen = choose(waiting, busy, max_size=ROOM)

    assert chosen == sorted(set(chosen))
    places: dict[str, list[int]] = defaultdict(list)
    for place, each in enumerate(waiting):
        places[each.group].append(place)
    for of_group in places.values():
        gone = [place for place in of_group if place in chosen]
        assert gone == of_group[: len(gone)]


@given(lists(""))
def test_without_groups_they_go_in_their_order(waiting: list[Waiting]) -> None:
    chosen = choose(waiting, (), max_size=ROOM)

    assert chosen == list(range(len(chosen)))


@given(lists("") | lists("ab"))
def test_all_of_them_go_in_the_end(waiting: list[Waiting]) -> None:
    left, batches = list(waiting), 0
    while left:
        for place in reversed(choose(left, (), max_size=ROOM)):
            del left[place]
        batches += 1

    assert batches <= len(waiting)
