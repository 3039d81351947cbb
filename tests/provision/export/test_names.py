"""Names in templates: readable, and never one for two."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megaflow.provision.export.names import label, logical_id

NAMES = st.from_regex(r"[A-Za-z0-9_-]{1,12}(\.fifo)?", fullmatch=True)
ALIKE = st.sampled_from(
    ["a-b", "a_b", "ab", "A-b", "aB", "a-1", "a1", "a.fifo", "a-fifo", "a-b.fifo", "-a-b", "a--b", "1"]
)


@pytest.mark.parametrize(
    ("name", "id_", "readable"),
    [
        ("orders", "OrdersQueue", "orders"),
        ("orders-dead", "OrdersDeadQueue", "orders_dead"),
        ("orders.fifo", "OrdersFifoQueue", "orders_fifo"),
    ],
)
def test_a_usual_name_stays_readable(name: str, id_: str, readable: str) -> None:
    assert (logical_id(name, "Queue"), label(name)) == (id_, readable)


@given(NAMES | ALIKE, NAMES | ALIKE)
def test_two_names_have_two_ids(one: str, other: str) -> None:
    assert (logical_id(one, "Queue") == logical_id(other, "Queue")) == (one == other)
    assert (label(one) == label(other)) == (one == other)


@given(NAMES | ALIKE)
def test_an_id_is_what_templates_take(name: str) -> None:
    assert re.fullmatch("[A-Za-z0-9]{1,255}", logical_id(name, "Queue"))
    assert re.fullmatch("[A-Za-z_][A-Za-z0-9_-]*", label(name))


def test_a_long_name_is_cut() -> None:
    assert len(logical_id("a" * 256, "Topic")) < 255
    assert logical_id("a" * 256, "") != logical_id("a" * 255, "")
