"""The child: one of several processes that run the same apps, started and told what to do by the supervisor.

It exits with 0 where it was asked to stop, with 78 where it cannot work as it is configured, and with 1 for any other
error. It logs as the user's script sets it up while it is imported: what stands below ``if __name__ == "__main__"`` is
not there in a child.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from enum import Enum, auto
from multiprocessing.connection import Connection
from typing import Final, NamedTuple, cast

from megaflow.errors import ConfigurationError, RegistrationError
from megaflow.logs import get_logger
from megaflow.runtime.protocols import Measured, Runs
from megaflow.runtime.reports import Reporter
from megaflow.runtime.targets import Loads
from megaflow.runtime.together import run_together, stop_all

log = get_logger(__name__)

CONFIGURATION_EXIT: Final = 78
"""What a child exits with that cannot work before somebody changes something (EX_CONFIG of sysexits.h)."""


class Word(Enum):
    """What a child is told to do."""

    STOP = auto()
    STOP_NOW = auto()
    PAUSE = auto()
    RESUME = auto()


class Order(NamedTuple):
    """A word to a child, for all its apps or one *app* alone."""

    word: Word
    app: str | None = None


def refuse_nested_start() -> None:
    """End a child whose main module starts processes while it is only imported."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        log.error(
            "run(processes=) was called while a child imports the script: write it below if __name__ == '__main__'"
        )
        raise SystemExit(CONFIGURATION_EXIT)


def live(targets: Loads, orders: Connection, reports: Mapping[str, Connection], paused: Collection[str]) -> None:
    """Be a child that runs what stands at *targets*, and reports what is measured to *reports*, by name.

    Those that are *paused*, by name, are so from the start.
    """
    # Ctrl-C goes to every process of the terminal's group; the parent passes it on.
    os.setpgrp()
    try:
        apps = targets.load()
        for name in paused:
            apps[name].pause()
        told: set[str] = set()
        threading.Thread(target=_obey, args=(orders, apps, told), name="megaflow-parent", daemon=True).start()
        with ExitStack() as reporting:
            for name, pipe in reports.items():
                reporting.enter_context(Reporter(cast(Measured, apps[name]).metrics, pipe))
            # One that ends untold ends this process, and so begins anew in the next one.
            run_together(apps, told.__contains__)
    except (ConfigurationError, RegistrationError):
        log.exception("this process cannot work (what stands below if __name__ == '__main__' is not there in it)")
        raise SystemExit(CONFIGURATION_EXIT) from None


def _obey(orders: Connection, apps: Mapping[str, Runs], told: set[str]) -> None:
    try:
        while True:
            word, app = orders.recv()
            names = apps if app is None else (app,)
            if word in (Word.STOP, Word.STOP_NOW):
                told.update(names)
            for name in names:
                _follow(word, apps[name])
    except (EOFError, OSError):
        # The parent is dead.
        stop_all(apps.values())


def _follow(word: Word, app: Runs) -> None:
    match word:
        case Word.PAUSE:
            app.pause()
        case Word.RESUME:
            app.resume()
        case Word.STOP | Word.STOP_NOW:
            app.stop(now=word is Word.STOP_NOW)
