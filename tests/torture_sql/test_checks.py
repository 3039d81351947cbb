"""The judge of a run finds what must not be, and nothing else."""

from __future__ import annotations

from tests.torture_sql.checks import KINDS, Charge, Found, Order, check
from tests.torture_sql.notes import Did, Note


def order(number: int, customer: str = "ann", queue: str = "fifo") -> Order:
    return Order(f"{customer}-{number}", queue, customer, number)


def charged(*orders: Order) -> list[Charge]:
    """Return what has to be charged, in this order, kind by kind."""
    whole = [(kind, each) for kind in KINDS for each in orders]
    return [
        Charge(place, kind, each.id, each.queue, each.customer, each.number)
        for place, (kind, each) in enumerate(whole, start=1)
    ]


def note(did: Did, id_: str) -> Note:
    return Note(1.0, 7, did, "order", id_)


def test_what_was_committed_and_charged_in_order_is_right() -> None:
    orders = [order(1), order(2), order(1, "bob")]
    notes = [note(did, "ann-1") for did in (Did.WRITES, Did.COMMITTED, Did.RUNS, Did.RUNS)]

    assert not list(check(Found(orders, charged(*orders), notes)))


def test_what_a_writer_does_not_know_the_database_does() -> None:
    notes = [note(Did.WRITES, "ann-1"), note(Did.WRITES, "ann-2")]

    assert not list(check(Found([order(1)], charged(order(1)), notes)))


def test_what_was_committed_and_not_charged_is_found() -> None:
    (first, second) = check(Found([order(1)], [], [note(Did.COMMITTED, "ann-1")]))

    assert first == "fifo: order 1 of ann was committed and never charged: committed order 7 at 1.000"
    assert second.startswith("fifo: receipt 1 of ann was committed and never charged")


def test_what_was_charged_twice_is_found_once() -> None:
    charges = charged(order(1), order(2))
    again = Charge(9, "order", "ann-1", "fifo", "ann", 1)

    (said,) = check(Found([order(1), order(2)], [*charges, again], []))

    assert said.startswith("fifo: order 1 of ann was committed and charged 2 times")


def test_what_was_rolled_back_and_charged_is_found() -> None:
    notes = [note(Did.ROLLED_BACK, "ann-1"), note(Did.RUNS, "ann-1")]

    said = list(check(Found([], charged(order(1)), notes)))

    assert said[0].startswith("fifo: order ann-1 was charged and not committed: rolled-back order 7")
    assert said[-1].startswith("order ann-1 was sent and not committed")


def test_what_was_rolled_back_and_sent_is_found_though_nobody_charged_it() -> None:
    (said,) = check(Found([], [], [note(Did.ROLLED_BACK, "ann-1"), note(Did.RUNS, "ann-1")]))

    assert said.startswith("order ann-1 was sent and not committed")


def test_another_order_than_that_of_the_customer_is_found_on_fifo_alone() -> None:
    mixed = [order(1), order(3), order(2)]
    standard = [order(each.number, queue="standard") for each in mixed]

    said = list(check(Found(mixed, charged(*mixed), [])))

    assert [each.split(":")[1] for each in said] == [
        f" {kind} 2 of ann was charged after number 3" for kind in ("order", "receipt")
    ]
    assert not list(check(Found(standard, charged(*standard), [])))


def test_what_the_database_has_lost_or_kept_against_its_word_is_found() -> None:
    notes = [note(Did.COMMITTED, "ann-1"), note(Did.ROLLED_BACK, "ann-2")]

    lost, kept = check(Found([order(2)], charged(order(2)), notes))

    assert lost == "order ann-1 was committed at 1.000, and the database has lost it"
    assert kept == "order ann-2 was rolled back at 1.000, and the database has it"
