"""Several apps in one worker: in one process, or in each of several, with one port that answers for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from itertools import chain, combinations
from typing import Protocol

from megaflow.checks import check_whole
from megaflow.consumer.core.health import NOT_RUNNING, Health
from megaflow.errors import ConfigurationError, RegistrationError, UsageError
from megaflow.logs import get_logger
from megaflow.publishing.destination import Destination
from megaflow.runtime.child import refuse_nested_start
from megaflow.runtime.protocols import AppRun, Measured
from megaflow.runtime.running import WOULD_DELETE, Running, refuse_event_loop, serving_health
from megaflow.runtime.supervisor import Supervisor
from megaflow.runtime.targets import Loads, find_targets, name_apps
from megaflow.runtime.together import run_together
from megaflow.settings import ConsumerSettings
from megaflow.transport.addresses import name_of

log = get_logger(__name__)


class App(AppRun, Measured, Protocol):
    """An `megaflow.App`, as far as it is run together with others."""

    _destination: Destination
    _settings: ConsumerSettings
    _running: Running

    def _check_for_running(self) -> None: ...


def run(*apps: App, processes: int = 1, health_port: int | None = None, health_host: str | None = None) -> None:
    """Run several apps in this process, each as `App.run` does, until SIGTERM or SIGINT, or until all are stopped.

    Where one fails, the others are stopped, and its error is raised. `App.stop` ends one app, and the others go on.

    Args:
        apps: One or more apps, each once, and each with a queue of its own.
        processes: How many processes consume, as in `App.run`. Each runs all the apps.
        health_port: As in `App.run`. All together are live, or ready, where each app is, and `Health.apps` says how
            each is, by the name of its global: ``shop.billing:app``. The label ``queue`` tells their metrics apart.
        health_host: As in `App.run`.

    Raises:
        UsageError: No app is given, or one twice, or one that is running already.
        ConfigurationError: Two apps consume one queue, or one of them cannot work, as in `App.run`.
        ProcessError: The processes end one after another.
    """
    check_apps("run", apps)
    check_whole("processes", processes, 1, 1_000)
    refuse_event_loop("run")
    named = name_apps(apps)
    if processes == 1:
        run_apps(named, health_port=health_port, health_host=health_host)
        return
    refuse_nested_start()
    supervise_apps(named, find_targets(named), processes, health_port=health_port, health_host=health_host)


def run_apps(apps: Mapping[str, App], *, health_port: int | None = None, health_host: str | None = None) -> None:
    """Run *apps*, by name, in this process, as `run` does."""
    check_for_running(apps)
    measurements = (app.metrics for app in apps.values())
    with serving_health(health_host, health_port, partial(join_health, apps), *measurements):
        run_together(apps)


def supervise_apps(
    apps: Mapping[str, App],
    targets: Loads,
    processes: int,
    *,
    health_port: int | None,
    health_host: str | None,
) -> None:
    """Run *apps*, by name, in so many *processes*, as `run` does; these find them at *targets*, by the same names."""
    check_for_running(apps)
    measurements = {name: app.metrics for name, app in apps.items()}
    timeout = max(app._settings.shutdown_timeout for app in apps.values())  # noqa: SLF001 - apps are run by it
    supervisor = Supervisor(targets, processes, shutdown_timeout=timeout, measurements=measurements)
    with ExitStack() as stack:
        for name, app in apps.items():
            stack.enter_context(app._running.by(_InChildren(name, supervisor)))  # noqa: SLF001 - apps are run by it
        health = partial(_health_of_children, apps, supervisor)
        stack.enter_context(serving_health(health_host, health_port, health, *measurements.values()))
        supervisor.run()


def join_health(apps: Mapping[str, AppRun]) -> Health:
    """Return how all of them together are, and how each is, by name; of one app, how that one is."""
    each = {name: app.health() for name, app in apps.items()}
    several = each.values()
    if len(each) == 1:
        return next(iter(several))
    return Health(
        live=all(one.live for one in several),
        ready=all(one.ready for one in several),
        problems=_name_problems(each),
        stopping=any(one.stopping for one in several),
        heard_ago=tuple(chain.from_iterable(one.heard_ago for one in several)),
        finished_ago=min((one.finished_ago for one in several if one.finished_ago is not None), default=None),
        in_hand=sum(one.in_hand for one in several),
        running=sum(one.running for one in several),
        in_line=sum(one.in_line for one in several),
        longest_running=max(one.longest_running for one in several),
        lost_leases=sum(one.lost_leases for one in several),
        failed_extensions=sum(one.failed_extensions for one in several),
        stuck_threads=sum(one.stuck_threads for one in several),
        over_limit=any(one.over_limit for one in several),
        paused=any(one.paused for one in several),
        open_breakers=tuple(f"{name}: {owner}" for name, one in each.items() for owner in one.open_breakers),
        apps=each,
    )


class _InChildren:
    """One of the apps that the children of a supervisor run."""

    def __init__(self, name: str, supervisor: Supervisor) -> None:
        self._name = name
        self._supervisor = supervisor
        self._is_stopped = False

    def run(self) -> None:
        """Do nothing: the supervisor runs."""

    def stop(self, *, now: bool = False) -> None:
        """Stop it in all children; the others go on."""
        self._is_stopped = True
        self._supervisor.stop(now=now, app=self._name)

    def pause(self) -> None:
        """Let it receive nothing in all children until `resume`; the others go on."""
        self._supervisor.pause(app=self._name)

    def resume(self) -> None:
        """Let it receive messages again."""
        self._supervisor.resume(app=self._name)

    def health(self) -> Health:
        """Return how the children are, as far as their parent knows, where it is not stopped alone."""
        return NOT_RUNNING if self._is_stopped else self._supervisor.health(app=self._name)


def _health_of_children(apps: Mapping[str, AppRun], supervisor: Supervisor) -> Health:
    whole, each = supervisor.health(), {name: app.health() for name, app in apps.items()}
    if len(each) == 1:
        return whole
    stopped = _name_problems({name: one for name, one in each.items() if one is NOT_RUNNING})
    return replace(whole, ready=whole.ready and not stopped, problems=whole.problems + stopped, apps=each)


def _name_problems(each: Mapping[str, Health]) -> tuple[str, ...]:
    return tuple(f"{name}: {problem}" for name, one in each.items() for problem in one.problems)


def check_apps(function: str, apps: Sequence[object]) -> None:
    """Raise `UsageError` unless *function* was given one or more apps, each once."""
    for each in apps:
        if not callable(getattr(each, "_check_for_running", None)):
            raise UsageError(f"{function}() takes apps, one after another: {function}(orders, mails), not {each!r}")
    if not apps or len(set(map(id, apps))) < len(apps):
        raise UsageError(f"{function}() takes one or more apps, each once")


def check_for_running(apps: Mapping[str, App]) -> None:
    """Raise what keeps *apps*, by name, from running, together or at all."""
    for name, app in apps.items():
        try:
            app._check_for_running()  # noqa: SLF001 - apps are run by it
        except (ConfigurationError, RegistrationError) as error:
            if len(apps) == 1:
                raise
            raise type(error)(f"{name}: {error}") from error
    _refuse_shared_queues(apps)


def _refuse_shared_queues(apps: Mapping[str, App]) -> None:
    """Raise where one app would get what only another one handles, and would delete it."""
    for (name, app), (other_name, other) in combinations(apps.items(), 2):
        ours, theirs = app._destination, other._destination  # noqa: SLF001 - apps are run by it
        if ours.shares_queue_with(theirs):
            raise ConfigurationError(
                f"{name} and {other_name} consume one queue, {ours.queue.queue_url}, and {WOULD_DELETE}"
            )
        if name_of(ours.queue.queue_url) == name_of(theirs.queue.queue_url):
            text = "%s and %s consume two queues that are both called %s: the metrics count them as one"
            log.warning(text, name, other_name, name_of(ours.queue.queue_url))
