"""Asking an event for an attribute that it lacks raised TypeError where its keys were of several types."""

from __future__ import annotations

import copy
from typing import Any

from megaflow.event import Event

MIXED: dict[Any, Any] = {1: "one", "two": 2}


def test_what_is_missing_is_an_attribute_error() -> None:
    event = Event("x", attributes=MIXED)

    assert not hasattr(event, "three")
    assert copy.deepcopy(event) == event
