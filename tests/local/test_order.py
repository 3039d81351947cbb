from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import count, islice
from random import Random

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
    order.release("")

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
        arrival.release(group)

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
        arrival.release("g" if one in {1, 2} else "")
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

    arrival.release("a")
    arrival.release("a")

    assert list(arrival.take()) == [2]


def test_a_group_is_held_that_was_given_out_before() -> None:
    arrival = Arrival()
    for number, group in ((1, "a"), (2, "b")):
        arrival.add(number, group)

    arrival.hold("a")

    assert list(arrival.take()) == [2, 1]


def test_a_fifo_group_is_held_that_was_given_out_before() -> None:
    groups = Groups()
    groups.hold("g")
    groups.add(2, "g")

    while_held = list(groups.take())
    groups.put_back(1, "g")

    assert while_held == []
    assert list(groups.take()) == [1, 2]


def test_a_fifo_group_that_was_free_is_held() -> None:
    groups = Groups()
    groups.add(1, "g")

    groups.hold("g")

    assert list(groups.take()) == []


def test_while_taking_a_standard_queue_may_change() -> None:
    arrival = Arrival()
    for number in (1, 2):
        arrival.add(number, "a")
    taken = arrival.take()

    first = next(taken)
    arrival.release("a")
    arrival.add(3, "b")
    arrival.remove(2, "a")

    assert first == 1
    assert list(taken) == [3]


def test_nothing_is_left_of_the_tenants_that_are_gone() -> None:
    arrival = Arrival()
    for number in range(200):
        arrival.add(number, f"group-{number % 50}")

    for number in take(arrival, 150):
        arrival.release(f"group-{number % 50}")
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
        for _ in range(3):
            arrival.hold("noisy")
        for _ in range(3):
            arrival.release("noisy")

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
            arrival.hold("ab"[number % 2])
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


class Naive:
    """The fair order by lists and loops."""

    def __init__(self) -> None:
        self.waiting: list[tuple[int | str, int]] = []
        self.held: Counter[int | str] = Counter()
        self.turns: list[int | str] = []

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

    def put_back(self, number: int, group: str) -> None:
        self.add(number, group)
        self.count(group or number, -1)

    def hold(self, group: str) -> None:
        if group:
            self.count(group, +1)

    def release(self, number: int, group: str) -> None:
        self.count(group or number, -1)

    def remove(self, number: int, group: str) -> None:
        self.waiting.remove((group or number, number))
        if not self.waits(group or number):
            self.turns.remove(group or number)

    def count(self, tenant: int | str, more: int) -> None:
        self.held[tenant] += more
        if tenant in self.turns:
            self.turns.remove(tenant)
        if self.waits(tenant):
            self.turns.append(tenant)

    def waits(self, tenant: int | str) -> bool:
        return any(one == tenant for one, _ in self.waiting)


class Both:
    """The fair order and its slow twin, told the same and asked the same."""

    def __init__(self) -> None:
        self.fast = Arrival()
        self.slow = Naive()
        self.numbers = count(1)
        self.waiting: dict[int, str] = {}
        self.held: dict[int, str] = {}
        self.held_before: list[str] = []
        self.taking: Iterator[int] = iter(())

    def add(self, group: str) -> None:
        number = next(self.numbers)
        self.waiting[number] = group
        self.fast.add(number, group)
        self.slow.add(number, group)

    def receive(self) -> None:
        self.taking = self.fast.take()

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
        self.held_before.append(group)
        self.fast.hold(group)
        self.slow.hold(group)

    def release(self, which: int) -> None:
        number, group = chosen(self.held, which)
        self.fast.release(group)
        self.slow.release(number, group)

    def remove(self, which: int) -> None:
        number, group = chosen(self.waiting, which)
        self.fast.remove(number, group)
        self.slow.remove(number, group)

    def allows(self, step: str) -> bool:
        needed = {"put_back": self.held, "release": self.held, "remove": self.waiting}
        return step not in needed or bool(needed[step])

    def empty(self) -> None:
        """Take what is left, and let go of it."""
        self.receive()
        while self.waiting:
            self.take_one()
        for group in [*self.held.values(), *self.held_before]:
            self.fast.release(group)


def chosen(numbers: dict[int, str], which: int) -> tuple[int, str]:
    number = list(numbers)[which % len(numbers)]
    return number, numbers.pop(number)


GROUPS = st.sampled_from(["", "", "a", "b", "c"])
WHICH = st.integers(0, 20)
STEPS = st.one_of(
    st.tuples(st.just("add"), GROUPS),
    st.tuples(st.sampled_from(["receive", "take_one", "take_one", "take_one"])),
    st.tuples(st.just("hold"), GROUPS),
    st.tuples(st.sampled_from(["put_back", "release"]), WHICH),
    st.tuples(st.just("remove"), WHICH),
)


@given(st.lists(STEPS, max_size=80))
def test_the_fair_order_is_that_of_its_slow_twin(steps: list[tuple[str, str | int]]) -> None:
    both = Both()

    for name, *arguments in steps:
        if both.allows(name):
            getattr(both, name)(*arguments)
    both.empty()

    assert both.fast._groups == {}
    assert list(both.fast.take()) == []


def test_a_group_is_held_until_all_of_it_is_released() -> None:
    groups = Groups()
    for number in (1, 2, 3):
        groups.add(number, "g")
    taken = groups.take()
    next(taken), next(taken)

    groups.release("g")
    while_held = list(groups.take())
    groups.release("g")

    assert while_held == []
    assert list(groups.take()) == [3]


def test_a_group_is_put_back_in_its_place() -> None:
    groups = Groups()
    for number in (1, 2):
        groups.add(number, "g")
    first = next(groups.take())

    groups.put_back(first, "g")

    assert list(groups.take()) == [1, 2]


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

    next(taken)
    groups.release("g")
    second = next(taken)

    assert second == 2
    assert list(groups.take()) == []


def test_nothing_is_left_of_a_group_that_is_gone() -> None:
    groups = Groups()
    for number in range(100):
        groups.add(number, f"group-{number}")

    for number in groups.take():
        groups.release(f"group-{number}")

    assert groups._groups == {}
    assert groups._free == {}


def test_a_number_removed_from_the_middle_is_passed_over() -> None:
    groups = Groups()
    for number in (1, 2, 3):
        groups.add(number, "g")

    groups.remove(2, "g")

    assert list(groups.take()) == [1, 3]
