"""A child of a supervisor: it runs what it is to run, and does what its parent tells it."""

from __future__ import annotations

import multiprocessing
import os
import threading
from contextlib import nullcontext
from enum import Enum, auto
from multiprocessing.connection import Connection
from typing import Final, Protocol

from megaflow.errors import ConfigurationError, RegistrationError
from megaflow.logs import get_logger
from megaflow.runtime.protocols import Runs
from megaflow.runtime.reports import Reporter

log = get_logger(__name__)

CONFIGURATION_EXIT: Final = 78
"""What a child exits with that cannot work before somebody changes something (EX_CONFIG of sysexits.h)."""


class Order(Enum):
    """What a child is told to do."""

    STOP = auto()
    STOP_NOW = auto()
    PAUSE = auto()
    RESUME = auto()


class Loads(Protocol):
    """Where a child finds what it runs; it is pickled on the way."""

    def load(self) -> Runs:
        """Return it, in this process; raise `ConfigurationError` where it is not there."""
        ...


def refuse_nested_start() -> None:
    """End a child whose main module starts processes while it is only imported."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        log.error(
            "run(processes=) was called while a child imports the script: write it below if __name__ == '__main__'"
        )
        raise SystemExit(CONFIGURATION_EXIT)


def live(target: Loads, orders: Connection, reports: Connection | None, paused: bool) -> None:
    """Be a child."""
    # Ctrl-C goes to every process of the terminal's group; the parent passes it on.
    os.setpgrp()
    try:
        app = target.load()
        if paused:
            app.pause()
        threading.Thread(target=_obey, args=(orders, app), name="megaflow-parent", daemon=True).start()
        measurements = getattr(app, "metrics", None)
        with nullcontext() if reports is None or measurements is None else Reporter(measurements, reports):
            app.run()
    except (ConfigurationError, RegistrationError):
        log.exception("this process cannot work (what stands below if __name__ == '__main__' is not there in it)")
        raise SystemExit(CONFIGURATION_EXIT) from None


def _obey(orders: Connection, app: Runs) -> None:
    try:
        while True:
            _follow(orders.recv(), app)
    except (EOFError, OSError):
        # The parent is dead.
        app.stop()


def _follow(order: Order, app: Runs) -> None:
    match order:
        case Order.PAUSE:
            app.pause()
        case Order.RESUME:
            app.resume()
        case Order.STOP | Order.STOP_NOW:
            app.stop(now=order is Order.STOP_NOW)
