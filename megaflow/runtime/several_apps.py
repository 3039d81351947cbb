"""Several apps in one process."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from contextvars import copy_context
from functools import partial
from itertools import chain
from queue import Empty, SimpleQueue
from typing import Protocol, TypeAlias

from megaflow.consumer.core.health import Health
from megaflow.consumer.threads.signals import stopped_by_another_thread, stopping_on_signals
from megaflow.errors import UsageError
from megaflow.runtime.protocols import AppRun
from megaflow.runtime.running import serving_health
from megaflow.telemetry.metrics import Measurements

_End: TypeAlias = "tuple[App, BaseException | None]"


class App(AppRun, Protocol):
    """An app, and what it has counted and measured."""

    metrics: Measurements


def run(*apps: App, health_port: int | None = None, health_host: str | None = None) -> None:
    """Run several apps in this process, each as `App.run` does, until SIGTERM or SIGINT, or until all are stopped.

    Where one fails, the others are stopped, and its error is raised.

    Args:
        apps: One or more apps, each once.
        health_port: As in `App.run`. All together are live, or ready, where each app is; the label ``queue`` tells
            their metrics apart.
        health_host: As in `App.run`.

    Raises:
        UsageError: No app is given, or one twice.
    """
    if not apps or len(set(map(id, apps))) < len(apps):
        raise UsageError("run() takes one or more apps, each once")
    with serving_health(health_host, health_port, partial(join_health, apps), *(app.metrics for app in apps)):
        _run_all(apps)


def _run_all(apps: Sequence[App]) -> None:
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


def join_health(apps: Iterable[App]) -> Health:
    """Return how all of them together are."""
    each = [app.health() for app in apps]
    return Health(
        live=all(one.live for one in each),
        ready=all(one.ready for one in each),
        problems=tuple(chain.from_iterable(one.problems for one in each)),
        stopping=any(one.stopping for one in each),
        heard_ago=tuple(chain.from_iterable(one.heard_ago for one in each)),
        finished_ago=min((one.finished_ago for one in each if one.finished_ago is not None), default=None),
        in_hand=sum(one.in_hand for one in each),
        running=sum(one.running for one in each),
        longest_running=max(one.longest_running for one in each),
        lost_leases=sum(one.lost_leases for one in each),
        failed_extensions=sum(one.failed_extensions for one in each),
        stuck_threads=sum(one.stuck_threads for one in each),
        over_limit=any(one.over_limit for one in each),
        paused=any(one.paused for one in each),
        open_breakers=tuple(chain.from_iterable(one.open_breakers for one in each)),
    )


def _run_one(app: App, ended: SimpleQueue[_End]) -> None:
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


def _stop_all(apps: Iterable[App], *, now: bool = False) -> None:
    for app in tuple(apps):
        app.stop(now=now)
