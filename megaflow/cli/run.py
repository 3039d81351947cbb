"""``megaflow run``: consume a queue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from logging import INFO, WARNING
from typing import Any

import click

import megaflow
from megaflow.app import App, parts_of
from megaflow.cli.logs import Format, set_up_logging
from megaflow.cli.options import aws_options, find_queue, read_aws
from megaflow.cli.output import describe_destination, make_console, name_weight, note, shorten_paths
from megaflow.cli.targets import load_app
from megaflow.consumer.threads.signals import pausing_on_signals
from megaflow.errors import ConfigurationError
from megaflow.logs import get_logger
from megaflow.runtime.running import serving_health
from megaflow.runtime.supervisor import Supervisor
from megaflow.telemetry.metrics import Measurements

log = get_logger(__name__)

LEVELS = ["debug", "info", "warning", "error"]


@click.command(short_help="Consume the queue of an app until SIGTERM or SIGINT.")
@click.argument("target")
@click.option(
    "--processes", type=click.IntRange(1, 1_000), default=1, show_default=True, help="How many processes consume."
)
@click.option("--concurrency", type=click.IntRange(1, 10_000), help="How many handlers run at once, in each process.")
@click.option("--queue-url", help="The queue, by name, URL or ARN, in place of the app's own.")
@click.option("--health-port", type=click.IntRange(0, 65_535), help="A port that answers /live, /ready and /metrics.")
@click.option("--health-host", help="The name or address that the port is bound to. [every IPv4 address]")
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How the log is written.",
)
@click.option(
    "--log-level", type=click.Choice(LEVELS), default="info", show_default=True, help="What is logged: this and worse."
)
@aws_options
def run(
    target: str,
    processes: int,
    concurrency: int | None,
    queue_url: str | None,
    health_port: int | None,
    health_host: str | None,
    log_format: Format,
    log_level: str,
    **aws: Any,
) -> None:
    """Consume the queue of TARGET until SIGTERM or SIGINT.

    The log says at the start which queue, which handlers, and what is odd about them; then it has a line for each
    message. SIGUSR1 pauses it: nothing is received, and what is in hand is handled. SIGUSR2 resumes it.
    """
    set_up_logging(log_format, log_level)
    app = load_app(target)
    given: dict[str, Any] = {**read_aws(**aws)}
    if queue_url:
        with app.connected(**given):
            given["queue_url"] = find_queue(queue_url, parts_of(app).destination)
    if concurrency:
        given["concurrency"] = concurrency
    with app.connected(**given):
        announce(app, log_format)
        if processes == 1:
            with pausing_on_signals(app.pause, app.resume):
                app.run(health_port=health_port, health_host=health_host)
            return
        child = Child(target, given, log_format, log_level)
        timeout = parts_of(app).settings.shutdown_timeout
        supervisor = Supervisor(child, processes, shutdown_timeout=timeout, measurements=app.metrics)
        with (
            serving_health(health_host, health_port, supervisor.health, app.metrics),
            pausing_on_signals(supervisor.pause, supervisor.resume),
        ):
            supervisor.run()


@dataclass(frozen=True)
class Child:
    """What a process of several runs: the target, loaded by it anew and connected as its parent was told."""

    target: str
    given: Mapping[str, Any]
    log_format: Format
    log_level: str

    def load(self) -> Connected:
        """Return the app; raise `ConfigurationError` where it cannot be loaded."""
        set_up_logging(self.log_format, self.log_level)
        try:
            return Connected(load_app(self.target), self.given)
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
        with self.app.connected(**self.given), pausing_on_signals(self.app.pause, self.app.resume):
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


def announce(app: App, log_format: Format) -> None:
    """Say what is going to run: the queue, where it publishes to, the handlers, and what is odd about them."""
    findings = [(name_weight(each), shorten_paths(str(each))) for each in app.check()]
    settings = parts_of(app).settings
    destination = describe_destination(app.topic_arn) if app.queue_url or app.topic_arn else "(nowhere)"
    dead_letters = settings.dead_letter_queue_url or "as the queue's redrive policy says"
    if log_format == "json":
        text = "megaflow %s consumes %s, and publishes to %s"
        log.info(text, megaflow.__version__, app.queue_url, destination)
        for weight, finding in findings:
            log.log(WARNING if weight == "warning" else INFO, "%s", finding)
        return
    console = make_console(stderr=True)
    console.print(f"megaflow {megaflow.__version__}", style="bold")
    note(f"  queue         {app.queue_url or '(none)'}")
    note(f"  dead letters  {dead_letters}")
    note(f"  publishes to  {destination}")
    note(f"  handlers      {len(app.handlers)}, up to {settings.concurrency} at once")
    for handler in app.handlers:
        note(f"    {handler.name}  {handler.kind.value}: {handler.pattern!r}  ({shorten_paths(handler.where)})")
    for weight, finding in findings:
        note(f"  {weight:<12}  {finding}", style="yellow")
