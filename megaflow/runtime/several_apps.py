"""Several apps in one process."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from contextvars import copy_context
from functools import partial
from queue import Empty, SimpleQueue
from typing import TypeAlias

from megaflow.consumer.threads.signals import stopped_by_another_thread, stopping_on_signals
from megaflow.errors import UsageError
from megaflow.runtime.protocols import Runs

_End: TypeAlias = tuple[Runs, BaseException | None]


def run(*apps: Runs) -> None:
    """Run several apps in this process, each as `App.run` does, until SIGTERM or SIGINT, or until all are stopped.

    Where one fails, the others are stopped, and its error is raised. Raises `UsageError` for no app, and for one that
    is given twice.
    """
    if not apps or len(set(map(id, apps))) < len(apps):
        raise UsageError("run() takes one or more apps, each once")
    running, ended = list(apps), SimpleQueue[_End]()
    first: BaseException | None = None
    with stopping_on_signals(lambda again: _stop_all(running, now=again)):
        # Not earlier: a signal that comes at once would end the process.
        for app in apps:
            run = partial(copy_context().run, _run_one, app, ended)
            threading.Thread(target=run, name="megaflow-app", daemon=True).start()
        while running:
            app, error = _wait_for_end(ended)
            running.remove(app)
            if error is not None and first is None:
                first = error
                _stop_all(running)
    if first is not None:
        raise first


def _run_one(app: Runs, ended: SimpleQueue[_End]) -> None:
    try:
        with stopped_by_another_thread():
            app.run()
    except BaseException as error:  # noqa: BLE001 - whoever waits raises it
        ended.put((app, error))
    else:
        ended.put((app, None))


def _wait_for_end(ended: SimpleQueue[_End]) -> _End:
    while True:
        try:
            # A signal that comes just before the wait begins does not end it.
            return ended.get(timeout=0.5)
        except Empty:
            continue


def _stop_all(apps: Iterable[Runs], *, now: bool = False) -> None:
    for app in tuple(apps):
        app.stop(now=now)
