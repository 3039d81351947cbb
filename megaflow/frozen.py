"""Frozen dataclasses that are made for every message, at the price of plain objects."""

from __future__ import annotations

from typing import Any, Final, TypeVar

Made = TypeVar("Made")


def make_record(class_: type[Made], fields: dict[str, Any]) -> Made:
    """Return a frozen dataclass, without slots, that has exactly *fields*, each known to be right.

    Its ``__init__`` would set them one by one, for three times the price, and ``__post_init__`` check them.
    """
    record = _new(class_)
    _set(record, "__dict__", fields)
    return record


_new: Final = object.__new__
_set: Final = object.__setattr__
