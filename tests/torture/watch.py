"""Notes when this process does not get on: on a busy machine, leases are lost without anybody's fault."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from tests.torture.ledger import Ledger, What

LATE: Final = 0.4
"""Seconds that are worth a note."""

_BEAT: Final = 0.1


def watch(ledger: Ledger, ends: threading.Event, look: Callable[[], None] = lambda: None) -> threading.Thread:
    """Start to watch, until *ends* is set; *look* is called about ten times a second."""

    def beat() -> None:
        before = time.monotonic()
        while not ends.wait(_BEAT):
            look()
            now = time.monotonic()
            if now - before - _BEAT > LATE:
                ledger.note(What.LATE, seconds=now - before)
            before = now

    thread = threading.Thread(target=beat, name="torture-watch", daemon=True)
    thread.start()
    return thread
