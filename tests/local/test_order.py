from __future__ import annotations

import pytest

from megaflow.local.order import Arrival, Groups, Order


@pytest.fixture(params=[Arrival, Groups])
def order(request: pytest.FixtureRequest) -> Order:
    made: Order = request.param()
    return made


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

    order.clear()

    assert list(order.take()) == []


def test_arrival_puts_back_at_the_end() -> None:
    arrival = Arrival()
    for number in (1, 2):
        arrival.add(number, "")
    first = next(arrival.take())

    arrival.put_back(first, "")

    assert list(arrival.take()) == [2, 1]


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
