"""Checks of the stores: each in a thread of its own, as there are few of them, and a database may take its time."""

from __future__ import annotations

import threading
from collections.abc import Callable

from megaflow.consumer.core.protocol import StoresChecked
from megaflow.consumer.threads.caller import Caller, Tell


def begin_check(check: Callable[[], None], tell: Tell) -> None:
    """Begin to *check* the stores, and *tell* what comes of it."""

    def run() -> None:
        tell(check_stores(check), Caller.SETTLER)

    try:
        threading.Thread(target=run, name="megaflow-store-check", daemon=True).start()
    except RuntimeError as error:
        tell(StoresChecked(error), Caller.SETTLER)


def check_stores(check: Callable[[], None]) -> StoresChecked:
    """Check the stores."""
    try:
        check()
    except BaseException as error:  # noqa: BLE001 - a store raises whatever it likes
        return StoresChecked(error)
    return StoresChecked()
