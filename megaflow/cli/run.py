"""``megaflow run``: consume a queue."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from logging import INFO, WARNING
from typing import Any

import click

import megaflow
from megaflow.app import App, parts_of
from megaflow.cli.errors import WrongUsage
from megaflow.cli.logs import Format, set_up_logging
from megaflow.cli.options import aws_options, find_queue, log_options, read_aws
from megaflow.cli.output import describe_destination, make_console, name_weight, note, shorten_paths
from megaflow.cli.targets import load_apps
from megaflow.consumer.threads.signals import leave_pauses_to_parent, pausing_on_signals
from megaflow.errors import ConfigurationError
from megaflow.logs import get_logger
from megaflow.runtime.protocols import Runs
from megaflow.runtime.several_apps import run_apps, supervise_apps
from megaflow.telemetry.metrics import Measurements

log = get_logger(__name__)


@click.command(short_help="Consume the queues of apps until SIGTERM or SIGINT.")
@click.argument("targets", metavar="TARGET...", nargs=-1, required=True)
@click.option(
    "--processes", type=click.IntRange(1, 1_000), default=1, show_default=True, help="How many processes consume."
)
@click.option("--concurrency", type=click.IntRange(1, 10_000), help="How many handlers run at once, in each process.")
@click.option("--queue-url", help="The queue, by name, URL or ARN, in place of the app's own; for one app alone.")
@click.option("--health-port", type=click.IntRange(0, 65_535), help="A port that answers /live, /ready and /metrics.")
@click.option("--health-host", help="The name or address that the port is bound to. [every IPv4 address]")
@log_options
@aws_options
def run(
    targets: Sequence[str],
    processes: int,
    concurrency: int | None,
    queue_url: str | None,
    health_port: int | None,
    health_host: str | None,
    log_format: Format,
    log_level: str,
    **aws: Any,
) -> None:
    """Consume the queue of each TARGET until SIGTERM or SIGINT.

    The log says at the start which queues, which handlers, and what is odd about them; then it has a line for each
    message. Several apps share the processes and the port; where one fails, all are stopped. SIGUSR1 pauses them:
    nothing is received, and what is in hand is handled. SIGUSR2 resumes them.
    """
    set_up_logging(log_format, log_level)
    apps = load_apps(targets)
    given: dict[str, Any] = {**read_aws(**aws)}
    if queue_url:
        given["queue_url"] = _find_queue_of_one(queue_url, apps, given)
    if concurrency:
        given["concurrency"] = concurrency
    children = Children(targets, given, log_format, log_level)
    with ExitStack() as connected:
        for target, app in apps.items():
            connected.enter_context(app.connected(**given))
            announce(app, log_format, target if len(apps) > 1 else "")
        connected.enter_context(pausing_on_signals(partial(_pause, apps.values()), partial(_resume, apps.values())))
        if processes == 1:
            run_apps(apps, health_port=health_port, health_host=health_host)
        else:
            supervise_apps(apps, children, processes, health_port=health_port, health_host=health_host)


def _find_queue_of_one(queue: str, apps: Mapping[str, App], aws: dict[str, Any]) -> str:
    if len(apps) > 1:
        raise WrongUsage(f"--queue-url {queue} is one queue, for {len(apps)} apps: give each a queue_url= of its own")
    (app,) = apps.values()
    with app.connected(**aws):
        return find_queue(queue, parts_of(app).destination)


@dataclass(frozen=True)
class Children:
    """What each process of several runs: the targets, loaded by it anew and connected as its parent was told."""

    names: Sequence[str]
    given: Mapping[str, Any]
    log_format: Format
    log_level: str

    def load(self) -> dict[str, Runs]:
        """Return the apps; raise `ConfigurationError` where one cannot be loaded."""
        set_up_logging(self.log_format, self.log_level)
        # systemd and others signal whole groups.
        leave_pauses_to_parent()
        try:
            return {name: Connected(app, self.given) for name, app in load_apps(self.names).items()}
        except click.UsageError as error:
            raise ConfigurationError(error.format_message()) from error


@dataclass(frozen=True)
class Connected:
    """An app that is connected elsewhere while it runs."""

    app: App
    given: Mapping[str, Any]

    @property
    def metrics(self) -> Measurements:
        """What it has counted and measured."""
        return self.app.metrics

    def run(self) -> None:
        """Consume until it is stopped."""
        with self.app.connected(**self.given):
            self.app.run()

    def stop(self, *, now: bool = False) -> None:
        """End `run`, or the next one."""
        self.app.stop(now=now)

    def pause(self) -> None:
        """Receive nothing until `resume`."""
        self.app.pause()

    def resume(self) -> None:
        """Receive messages again."""
        self.app.resume()


def _pause(apps: Iterable[App]) -> None:
    for app in apps:
        app.pause()


def _resume(apps: Iterable[App]) -> None:
    for app in apps:
        app.resume()


def announce(app: App, log_format: Format, target: str = "") -> None:
    """Say what is going to run: the queue, where it publishes to, the handlers, and what is odd about them.

    Of several apps, *target* says which one it is.
    """
    findings = [(name_weight(each), shorten_paths(str(each))) for each in app.check()]
    settings, given = parts_of(app).settings, parts_of(app).destination
    queue, topic = given.queue_address, given.topic_address
    destination = describe_destination(topic) if queue or topic else "(nowhere)"
    dead_letters = settings.dead_letter_queue_url or "as the queue's redrive policy says"
    if log_format == "json":
        text = "megaflow %s consumes %s, and publishes to %s%s"
        log.info(text, megaflow.__version__, queue, destination, f", with {target}" if target else "")
        for weight, finding in findings:
            log.log(WARNING if weight == "warning" else INFO, "%s", finding)
        return
    console = make_console(stderr=True)
    console.print(f"megaflow {megaflow.__version__}{f': {target}' if target else ''}", style="bold")
    note(f"  queue         {queue or '(none)'}")
    note(f"  dead letters  {dead_letters}")
    note(f"  publishes to  {destination}")
    note(f"  handlers      {len(app.handlers)}, up to {settings.concurrency} at once")
    for handler in app.handlers:
        note(f"    {handler.name}  {handler.kind.value}: {handler.pattern!r}  ({shorten_paths(handler.where)})")
    for weight, finding in findings:
        note(f"  {weight:<12}  {finding}", style="yellow")
