"""Waiting: for what a test asserts, as long as that takes on a machine that has other things to do."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

PATIENCE: Final = 120.0
"""Seconds after which what is waited for does not come. It ends a test that hangs; none that passes takes as long."""

EARLY: Final = 10.0
"""Seconds: what ends within them has not waited for a long poll, which takes 20, or for what takes longer still."""


def wait_until(holds: Callable[[], object]) -> None:
    """Return once it *holds*; fail where it never does."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, "it never comes"
        threading.Event().wait(0.01)
