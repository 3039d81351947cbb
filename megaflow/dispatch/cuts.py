"""Cuts: places on the line of numbers, as whole numbers and floats are compared with them.

A number is read as an exact one before it is compared. What is a whole number or a float already need not be: each cut
has a whole number, and a float, from which on they are beyond it.
"""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Final, NamedTuple

from megaflow.match.comparison import Number, read_number


class Cut(NamedTuple):
    """The place right before *bound*, or right *after* it; a number ``n`` is beyond it where ``(n, False) >= cut``."""

    bound: Number
    after: bool


def whole_from(cut: Cut) -> float | None:
    """Return from which number on whole numbers are beyond *cut*; None where it is too long to be worth it."""
    bound = cut.bound
    if isinstance(bound, Decimal):
        if bound.is_infinite():
            return float(bound)
        if bound.adjusted() > _LONGEST:
            return None
        return math.floor(bound) + 1 if cut.after else math.ceil(bound)
    return bound + cut.after


def float_from(cut: Cut) -> float | None:
    """Return from which float on floats are beyond *cut*, each taken as its shortest text; None where no float is.

    One float is nearest to the bound. The texts of those on either side of it lie on that side of the bound, too.
    """
    nearest = as_float(cut.bound)
    if (read_number(nearest), False) >= cut:
        return nearest
    return None if nearest == math.inf else math.nextafter(nearest, math.inf)


def as_float(number: Number) -> float:
    """Return the float that is nearest to *number*."""
    try:
        return float(number)
    except OverflowError:  # a whole number beyond all floats
        return math.inf if number > 0 else -math.inf


_LONGEST: Final = 1_000
