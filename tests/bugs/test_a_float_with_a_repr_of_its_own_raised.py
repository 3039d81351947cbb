"""Numbers were read from repr(), which a subclass of float may write as it likes: numpy's do, and enums'."""

from __future__ import annotations

from decimal import Decimal
from enum import Enum

from megaflow.match.comparison import read_number
from megaflow.match.functions import eq, gt
from tests.matching import matches


class Measured(float):
    def __repr__(self) -> str:
        return f"np.float64({float(self)})"


class Price(float, Enum):
    LOW = 19.99


def test_such_a_float_is_read() -> None:
    assert read_number(Measured(19.99)) == Decimal("19.99")


def test_such_a_float_can_be_on_either_side() -> None:
    assert matches(gt(5), Measured(6))
    assert matches(gt(Measured(5)), 6)
    assert matches(Measured(5), "5.0")
    assert matches(eq(Price.LOW), "19.99")
    assert matches(Price.LOW, Price.LOW)
