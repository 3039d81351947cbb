"""Together: several apps in threads of one process, which hears the signals for them, until all have ended."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from contextvars import copy_context
from functools import partial
from queue import Empty, SimpleQueue
from typing import TypeAlias

from megaflow.consumer.threads.signals import stopped_by_another_thread, stopping_on_signals
from megaflow.errors import text_of
from megaflow.logs import get_logger
from megaflow.runtime.protocols import Runs

log = get_logger(__name__)

_End: TypeAlias = "tuple[str, BaseException | None]"


def run_together(apps: Mapping[str, Runs], may_end: Callable[[str], bool] = lambda name: True) -> None:
    """Run *apps*, by name, until SIGTERM or SIGINT, or until each is stopped.

    Where one fails, the others are stopped, and its error is raised. They are stopped, too, where one ends of which
    *may_end* says that it may not.
    """
    if len(apps) == 1:
        next(iter(apps.values())).run()
        return
    running, ended = dict(apps), SimpleQueue[_End]()
    first: BaseException | None = None
    with stopping_on_signals(lambda again: stop_all(running.values(), now=again)):
        # Not earlier: a signal that comes at once would end the process.
        for name, app in apps.items():
            run = partial(copy_context().run, _run_one, name, app, ended)
            threading.Thread(target=run, name=f"megaflow-app-{name}", daemon=True).start()
        while running:
            name, error = _wait_for_end(ended)
            del running[name]
            if error is not None and first is None:
                first = error
                log.error("%s has failed, so that all are stopped: %s", name, text_of(error))
            if error is not None or not may_end(name):
                stop_all(running.values())
    if first is not None:
        raise first


def stop_all(apps: Iterable[Runs], *, now: bool = False) -> None:
    """Stop each of *apps*."""
    for app in tuple(apps):
        app.stop(now=now)


def _run_one(name: str, app: Runs, ended: SimpleQueue[_End]) -> None:
    try:
        with stopped_by_another_thread():
            app.run()
    except BaseException as error:  # noqa: BLE001 - whoever waits raises it
        ended.put((name, error))
    else:
        ended.put((name, None))


def _wait_for_end(ended: SimpleQueue[_End]) -> _End:
    while True:
        try:
            # A signal that comes just before the wait begins does not end it.
            return ended.get(timeout=0.5)
        except Empty:
            continue
