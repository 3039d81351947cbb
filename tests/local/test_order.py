from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import count, islice
from random import Random
from typing import Any, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megaflow.local.order import Arrival, Groups, Order


@pytest.fixture(params=[Arrival, Groups])
def order(request: pytest.FixtureRequest) -> Order:
    made: Order = request.param()
    return made


def take(order: Order, wanted: int) -> list[int]:
    return list(islice(order.take(), wanted))


def test_both_orders_give_by_arrival_within_a_group(order: Order) -> None:
    for number in (1, 2, 3):
        order.add(number, "g")

    assert list(order.take()) == [1, 2, 3]


def test_both_orders_forget_what_was_removed(order: Order) -> None:
    for number in (1, 2, 3):
        order.add(number, "g")

    order.remove(1, "g")
    order.remove(3, "g")

    assert list(order.take()) == [2]


def test_both_orders_can_be_cleared(order: Order) -> None:
    order.add(1, "g")
    order.add(2, "g")
    take(order, 1)

    order.clear()

    assert list(order.take()) == []


def test_both_orders_take_part_of_what_waits_and_keep_the_rest(order: Order) -> None:
    for number in (1, 2, 3):
        order.add(number, "")

    first = take(order, 1)
    order.release(1, "")

    assert first == [1]
    assert take(order, 5) == [2, 3]


def test_a_standard_queue_without_groups_goes_by_arrival() -> None:
    arrival = Arrival()
    for number in (1, 2, 3):
        arrival.add(number, "")

    assert list(arrival.take()) == [1, 2, 3]


def test_a_standard_queue_puts_back_at_the_end() -> None:
    arrival = Arrival()
    for number in (1, 2):
        arrival.add(number, "")
    first = next(arrival.take())

    arrival.put_back(first, "")

    assert list(arrival.take()) == [2, 1]


def test_a_standard_queue_puts_back_at_the_end_of_the_group() -> None:
    arrival = Arrival()
    for number in (1, 2, 3):
        arrival.add(number, "g")
    first = next(arrival.take())

    arrival.put_back(first, "g")

    assert list(arrival.take()) == [2, 3, 1]


def test_a_quiet_group_goes_before_one_with_messages_in_flight() -> None:
    arrival = Arrival()
    for number in range(100):
        arrival.add(number, "noisy")
    take(arrival, 30)

    arrival.add(100, "quiet")
    arrival.add(101, "quiet")

    assert take(arrival, 3) == [100, 101, 30]


def test_groups_take_turns() -> None:
    arrival = Arrival()
    for number, group in enumerate("aaabbc"):
        arrival.add(number, group)

    assert list(arrival.take()) == [0, 3, 5, 1, 4, 2]


def test_groups_take_turns_when_one_message_is_processed_at_a_time() -> None:
    arrival = Arrival()
    for number, group in enumerate("aaabbb"):
        arrival.add(number, group)

    taken = []
    for group in "ababab":
        taken += take(arrival, 1)
        arrival.release(taken[-1], group)

    assert taken == [0, 3, 1, 4, 2, 5]


def test_each_message_without_a_group_is_a_tenant_of_its_own() -> None:
    arrival = Arrival()
    for number, group in ((1, "g"), (2, "g"), (3, ""), (4, "")):
        arrival.add(number, group)

    assert list(arrival.take()) == [1, 3, 4, 2]


def test_a_group_gets_its_turn_however_many_messages_without_a_group_arrive() -> None:
    arrival = Arrival()
    arrival.add(0, "")
    arrival.add(1, "g")
    arrival.add(2, "g")

    taken = []
    for number in range(3, 9):
        arrival.add(number, "")
        [one] = take(arrival, 1)
        arrival.release(one, "g" if one in {1, 2} else "")
        taken.append(one)

    assert taken == [0, 1, 3, 4, 2, 5]


def test_a_message_without_a_group_gets_its_turn_however_many_a_group_has() -> None:
    arrival = Arrival()
    for number in range(100):
        arrival.add(number, "g")
    arrival.add(100, "")

    assert take(arrival, 2) == [0, 100]


def test_a_group_counts_down_when_a_message_of_it_is_gone() -> None:
    arrival = Arrival()
    for number, group in enumerate("aaabb"):
        arrival.add(number, group)
    take(arrival, 4)

    arrival.release(0, "a")
    arrival.release(1, "a")

    assert list(arrival.take()) == [2]


def test_a_group_is_held_that_was_given_out_before() -> None:
    arrival = Arrival()
    for number, group in ((1, "a"), (2, "b")):
        arrival.add(number, group)

    arrival.hold(0, "a")

    assert list(arrival.take()) == [2, 1]


def test_while_taking_a_standard_queue_may_change() -> None:
    arrival = Arrival()
    for number in (1, 2):
        arrival.add(number, "a")
    taken = arrival.take()

    first = next(taken)
    arrival.release(first, "a")
    arrival.add(3, "b")
    arrival.remove(2, "a")

    assert first == 1
    assert list(taken) == [3]


def test_nothing_is_left_of_the_tenants_that_are_gone() -> None:
    arrival = Arrival()
    for number in range(200):
        arrival.add(number, f"group-{number % 50}")

    for number in take(arrival, 150):
        arrival.release(number, f"group-{number % 50}")
    for number in range(150, 200):
        arrival.remove(number, f"group-{number % 50}")

    assert arrival._groups == {}
    assert arrival._busy._lines == {}
    assert list(arrival.take()) == []


def test_going_up_and_down_leaves_no_waste() -> None:
    arrival = Arrival()
    arrival.add(1, "noisy")
    arrival.add(2, "")

    for _ in range(1000):
        for number in (3, 4, 5):
            arrival.hold(number, "noisy")
        for number in (3, 4, 5):
            arrival.release(number, "noisy")

    assert len(arrival._busy._heap) < 100
    assert list(arrival.take()) == [2, 1]


def shuffled(numbers: range, group_of: str, seed: int) -> list[int]:
    arrival = Arrival()
    for number in numbers:
        arrival.add(number, group_of)
    arrival.shuffle(Random(seed))
    return list(arrival.take())


@pytest.mark.parametrize("group", ["", "g"])
def test_a_shuffled_standard_queue_gives_the_next_ones_in_any_order(group: str) -> None:
    firsts = {shuffled(range(3), group, seed)[0] for seed in range(50)}

    assert firsts == {0, 1, 2}


@pytest.mark.parametrize("group", ["", "g"])
def test_shuffling_loses_nothing_and_leaves_what_comes_later(group: str) -> None:
    taken = shuffled(range(1000), group, 1)

    assert taken != list(range(1000))
    assert sorted(taken) == list(range(1000))
    assert taken[100:] == list(range(100, 1000))


def test_busy_groups_are_shuffled_too() -> None:
    firsts = set()
    for seed in range(50):
        arrival = Arrival()
        for number in range(4):
            arrival.add(number, "ab"[number % 2])
            arrival.hold(number + 4, "ab"[number % 2])
        arrival.shuffle(Random(seed))
        firsts |= set(take(arrival, 1))

    assert firsts == {0, 1, 2, 3}


def test_an_empty_queue_can_be_shuffled(order: Order) -> None:
    order.shuffle(Random(1))

    assert list(order.take()) == []


def test_a_fifo_queue_is_never_shuffled() -> None:
    groups = Groups()
    for number in range(10):
        groups.add(number, "ab"[number % 2])

    groups.shuffle(Random(1))

    assert list(groups.take()) == [0, 2, 4, 6, 8, 1, 3, 5, 7, 9]


Tenant: TypeAlias = int | str


class Naive:
    """The fair order by lists and loops."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Tenant, int]] = []
        self.held: Counter[Tenant] = Counter()
        self.turns: list[Tenant] = []

    def add(self, number: int, group: str) -> None:
        tenant = group or number
        if tenant not in self.turns:
            self.turns.append(tenant)
        self.waiting.append((tenant, number))

    def take_one(self) -> int | None:
        tenant = min(self.turns, key=lambda one: self.held[one], default=None)
        if tenant is None:
            return None
        number = next(number for one, number in self.waiting if one == tenant)
        self.waiting.remove((tenant, number))
        self.count(tenant, +1)
        return number

    def receive(self) -> None:
        """A receive does not matter: one is as good as another."""

    def put_back(self, number: int, group: str) -> None:
        self.add(number, group)
        self.count(group or number, -1)

    def hold(self, number: int, group: str) -> None:
        self.count(group or number, +1)

    def release(self, number: int, group: str) -> None:
        self.count(group or number, -1)

    def remove(self, number: int, group: str) -> None:
        self.waiting.remove((group or number, number))
        if not self.waits(group or number):
            self.turns.remove(group or number)

    def count(self, tenant: Tenant, more: int) -> None:
        self.held[tenant] += more
        if tenant in self.turns:
            self.turns.remove(tenant)
        if self.waits(tenant):
            self.turns.append(tenant)

    def waits(self, tenant: Tenant) -> bool:
        return any(one == tenant for one, _ in self.waiting)


class NaiveFifo:
    """The order of a FIFO queue by lists and loops."""

    def __init__(self) -> None:
        self.waiting: dict[int, str] = {}
        self.held: dict[int, str] = {}
        self.turns: list[str] = []
        self.receive()

    def receive(self) -> None:
        """A receive begins: what it takes does not keep it from the next ones of that group."""
        self.group = ""
        self.end = math.inf

    def add(self, number: int, group: str) -> None:
        self.waiting[number] = group
        self.settle()

    def take_one(self) -> int | None:
        if not any(number < self.end for number in self.waiting_of(self.group)):
            if not self.turns:
                return None
            self.group = self.turns[0]
            self.end = min(self.held_of(self.group), default=math.inf)
        number = min(self.waiting_of(self.group))
        self.held[number] = self.waiting.pop(number)
        self.settle()
        return number

    def put_back(self, number: int, group: str) -> None:
        del self.held[number]
        self.add(number, group)

    def hold(self, number: int, group: str) -> None:
        self.held[number] = group
        self.settle()

    def release(self, number: int, group: str) -> None:
        del self.held[number]
        self.settle()

    def remove(self, number: int, group: str) -> None:
        del self.waiting[number]
        self.settle()

    def settle(self) -> None:
        """Let each group have a turn of which one waits that comes before all that are held."""
        free = [name for name in dict.fromkeys(self.waiting.values()) if self.is_free(name)]
        self.turns = [name for name in self.turns if name in free]
        self.turns += [name for name in free if name not in self.turns]

    def is_free(self, group: str) -> bool:
        return min(self.waiting_of(group)) < min(self.held_of(group), default=math.inf)

    def waiting_of(self, group: str) -> list[int]:
        return [number for number, one in self.waiting.items() if one == group]

    def held_of(self, group: str) -> list[int]:
        return [number for number, one in self.held.items() if one == group]


class Both:
    """An order and its slow twin, told the same and asked the same."""

    def __init__(self, fast: Order, slow: Naive | NaiveFifo) -> None:
        self.fast = fast
        self.slow = slow
        self.numbers = count(1)
        self.waiting: dict[int, str] = {}
        self.held: dict[int, str] = {}
        self.taking: Iterator[int] = iter(())

    def add(self, group: str) -> None:
        number = next(self.numbers)
        self.waiting[number] = group
        self.fast.add(number, group)
        self.slow.add(number, group)

    def receive(self) -> None:
        self.taking = self.fast.take()
        self.slow.receive()

    def take_one(self) -> None:
        """Go on with a receive that may have begun before what happened last."""
        number = next(self.taking, None)
        if number is None:
            self.receive()
            number = next(self.taking, None)
        assert number == self.slow.take_one()
        if number is not None:
            self.held[number] = self.waiting.pop(number)

    def put_back(self, which: int) -> None:
        number, group = chosen(self.held, which)
        self.waiting[number] = group
        self.fast.put_back(number, group)
        self.slow.put_back(number, group)

    def hold(self, group: str) -> None:
        number = next(self.numbers)
        self.held[number] = group
        self.fast.hold(number, group)
        self.slow.hold(number, group)

    def release(self, which: int) -> None:
        number, group = chosen(self.held, which)
        self.fast.release(number, group)
        self.slow.release(number, group)

    def remove(self, which: int) -> None:
        number, group = chosen(self.waiting, which)
        self.fast.remove(number, group)
        self.slow.remove(number, group)

    def do(self, steps: Iterable[tuple[Any, ...]]) -> None:
        for name, *arguments in steps:
            needed = {"put_back": self.held, "release": self.held, "remove": self.waiting}
            if name not in needed or needed[name]:
                getattr(self, name)(*arguments)

    def empty(self) -> None:
        """Take what is left, and let go of it."""
        while self.waiting:
            self.receive()
            self.take_one()
            while self.held:
                self.release(0)
        while self.held:
            self.release(0)


def chosen(numbers: dict[int, str], which: int) -> tuple[int, str]:
    number = list(numbers)[which % len(numbers)]
    return number, numbers.pop(number)


WHICH = st.integers(0, 20)


def steps(groups: list[str]) -> st.SearchStrategy[list[tuple[Any, ...]]]:
    """Return what may happen to an order, step after step."""
    several = st.sampled_from(groups)
    one: st.SearchStrategy[tuple[Any, ...]] = st.one_of(
        st.tuples(st.just("add"), several),
        st.tuples(st.sampled_from(["receive", "take_one", "take_one", "take_one"])),
        st.tuples(st.just("hold"), several),
        st.tuples(st.sampled_from(["put_back", "put_back", "release"]), WHICH),
        st.tuples(st.just("remove"), WHICH),
    )
    return st.lists(one, max_size=80)


@given(steps(["", "", "a", "b", "c"]))
def test_the_fair_order_is_that_of_its_slow_twin(steps: list[tuple[Any, ...]]) -> None:
    arrival = Arrival()
    both = Both(arrival, Naive())

    both.do(steps)
    both.empty()

    assert arrival._groups == {}
    assert list(arrival.take()) == []


@given(steps(["a", "a", "b"]))
def test_the_order_of_a_fifo_queue_is_that_of_its_slow_twin(steps: list[tuple[Any, ...]]) -> None:
    groups = Groups()
    both = Both(groups, NaiveFifo())

    both.do(steps)
    both.empty()

    assert (groups._groups, groups._held, groups._removed) == ({}, set(), set())
    assert list(groups.take()) == []


def three_in_hand() -> Groups:
    """Return a group of four, of which 1, 2 and 3 are held."""
    groups = Groups()
    for number in (1, 2, 3, 4):
        groups.add(number, "g")
    take(groups, 3)
    return groups


@pytest.mark.parametrize(("held", "come"), [(1, []), (2, [1]), (3, [1, 2])])
def test_what_comes_before_the_one_in_flight_comes_again(held: int, come: list[int]) -> None:
    groups = three_in_hand()

    for number in {1, 2, 3} - {held}:
        groups.put_back(number, "g")

    assert list(groups.take()) == come


def test_what_is_behind_one_in_flight_waits_until_all_before_it_are_gone() -> None:
    groups = three_in_hand()

    seen = []
    for number in (1, 3, 2):
        groups.release(number, "g")
        seen.append(take(groups, 1))

    assert seen == [[], [], [4]]


def test_a_group_is_put_back_in_its_place() -> None:
    groups = Groups()
    for number in (1, 2):
        groups.add(number, "g")
    first = next(groups.take())

    groups.put_back(first, "g")

    assert list(groups.take()) == [1, 2]


@pytest.mark.parametrize(("held", "come"), [(1, []), (2, [1]), (4, [1, 3])])
def test_what_was_in_flight_before_is_held_in_its_place(held: int, come: list[int]) -> None:
    groups = Groups()
    for number in {1, 3} - {held}:
        groups.add(number, "g")

    groups.hold(held, "g")

    assert list(groups.take()) == come


def test_the_group_that_waits_longest_is_first() -> None:
    groups = Groups()
    for number, group in ((1, "a"), (2, "b"), (3, "a")):
        groups.add(number, group)
    first = next(groups.take())

    groups.put_back(first, "a")

    assert list(groups.take()) == [2, 1, 3]


def test_a_number_released_while_taking_does_not_free_the_rest() -> None:
    groups = Groups()
    for number in (1, 2, 3):
        groups.add(number, "g")
    taken = groups.take()

    first = next(taken)
    groups.release(first, "g")
    second = next(taken)

    assert second == 2
    assert list(groups.take()) == []


def test_nothing_is_left_of_a_group_that_is_gone() -> None:
    groups = Groups()
    for number in range(100):
        groups.add(number, f"group-{number}")

    for number in groups.take():
        groups.release(number, f"group-{number}")

    assert groups._groups == {}
    assert groups._free == {}
    assert groups._held == set()


def test_giving_back_before_one_that_stays_in_flight_leaves_no_waste() -> None:
    groups = Groups()
    for number in range(10):
        groups.add(number, "g")
    taken = take(groups, 10)

    for _ in range(1000):
        for number in taken[:-1]:
            groups.put_back(number, "g")
        assert take(groups, 10) == taken[:-1]

    assert len(groups._groups["g"].held) < 100


def test_a_number_removed_from_the_middle_is_passed_over() -> None:
    groups = Groups()
    for number in (1, 2, 3):
        groups.add(number, "g")

    groups.remove(2, "g")

    assert list(groups.take()) == [1, 3]
