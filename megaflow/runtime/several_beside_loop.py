"""Several apps in one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import ExitStack, nullcontext
from functools import partial
from typing import Protocol

from megaflow.consumer.threads.signals import stopping_on_signals_if
from megaflow.runtime import several_apps
from megaflow.runtime.running import serving_health
from megaflow.runtime.several_apps import check_apps, check_for_running, join_health
from megaflow.runtime.targets import name_apps


class App(several_apps.App, Protocol):
    """An app that can run beside an event loop."""

    async def arun(self) -> None:
        """Run until it is stopped."""
        ...


async def arun(
    *apps: App, signals: bool = False, health_port: int | None = None, health_host: str | None = None
) -> None:
    """Run several apps in the event loop that is running, each as `App.arun` does, until all are stopped.

    Where one fails, the others are stopped, and its error is raised. Where this is cancelled, each app is.

    Args:
        apps: One or more apps, each once, and each with a queue of its own.
        signals: Stop all of them on SIGTERM and SIGINT, as in `App.arun`.
        health_port: As in `run`.
        health_host: As in `run`.

    Raises:
        ConfigurationError: As `App.run`, or two of them consume one queue.
        UsageError: No app is given, or one twice, or *signals* are asked for outside the main thread.
        CancelledError: The task was cancelled.
    """
    check_apps("arun", apps)
    named = name_apps(apps)
    check_for_running(named)
    hearing = stopping_on_signals_if(True, lambda again: _stop_all(apps, now=again)) if signals else nullcontext()
    serving = serving_health(health_host, health_port, partial(join_health, named), *(app.metrics for app in apps))
    with hearing, ExitStack() as stack:
        stack.enter_context(serving)
        try:
            await _run_all(apps)
        finally:
            # In a thread: it waits for whoever is being answered.
            await asyncio.to_thread(stack.close)


async def _run_all(apps: Iterable[App]) -> None:
    running = {asyncio.create_task(_run_one(app)): app for app in apps}
    first: BaseException | None = None
    cancellation: asyncio.CancelledError | None = None
    while running:
        try:
            ended, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError as error:
            cancellation = error
            for task in running:
                task.cancel()
            continue
        for task in ended:
            del running[task]
            if (failure := task.result()) is not None and first is None and cancellation is None:
                first = failure
                _stop_all(running.values())
    if cancellation is not None:
        raise cancellation
    if first is not None:
        raise first


async def _run_one(app: App) -> BaseException | None:
    """Run an app, and return what it raises: an exit would end the loop before the others have ended."""
    try:
        await app.arun()
    except BaseException as error:  # noqa: BLE001 - whoever waits raises it
        return error
    return None


def _stop_all(apps: Iterable[App], *, now: bool = False) -> None:
    for app in tuple(apps):
        app.stop(now=now)
