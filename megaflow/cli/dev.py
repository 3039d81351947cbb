"""``megaflow dev``: apps on queues of this machine, made for them, started anew whenever their code changes."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from datetime import datetime
from functools import partial
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO, cast

import click

from megaflow.app import App, parts_of
from megaflow.cli.errors import FAILED, WRONG_USAGE, WrongTarget, WrongUsage, report
from megaflow.cli.hosting import Hosted, host
from megaflow.cli.options import read_aws
from megaflow.cli.output import (
    WholeLines,
    allow_every_letter,
    count_handlers,
    describe_destination,
    name_weight,
    note,
    shorten_paths,
    show,
)
from megaflow.cli.targets import folder_of, load_apps, refuse_twice
from megaflow.consumer.threads.signals import stopping_on_signals
from megaflow.distribution import describe_missing_extra
from megaflow.errors import ConfigurationError, MegaflowError, text_of
from megaflow.logs import make_text_handler
from megaflow.processing.dead_letters import why_not_kept
from megaflow.processing.verdict import Fate, Verdict
from megaflow.runtime.several_apps import run_apps
from megaflow.transport.addresses import is_fifo, name_of

if TYPE_CHECKING:
    from megaflow.local.account import Account
    from megaflow.local.server import Server

_PORT: Final = 4566
_SOON: Final = 0.5
"""Seconds that an app has to end before it is said what is waited for."""

_LOOK_EVERY: Final = 500
"""Milliseconds between two looks at the app's process."""

_STYLES: Final = {"deleted": "green", "kept": "yellow", "dead-lettered": "red"}
_SHOWN: Final = 200
"""Characters of a body."""


@click.command(short_help="Run apps on queues of this machine; restart them on changes.")
@click.argument("targets", metavar="TARGET...", nargs=-1, required=True)
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=_PORT,
    show_default=True,
    help="The port on 127.0.0.1; 0 takes a free one.",
)
@click.option("--data", type=click.Path(path_type=Path, dir_okay=False), help="Keep all messages in this SQLite file.")
@click.option("--reload/--no-reload", default=True, show_default=True, help="Start anew when the code changes.")
def dev(targets: Sequence[str], port: int, data: Path | None, reload: bool) -> int:
    """Run each TARGET on an embedded SQS and SNS, with a queue, a dead-letter queue and a topic made for it.

    Those that it declares are made as they are declared, with their subscriptions and filters.

    Each message is shown as it is handled. What is queued stays while the apps start anew. All calls of SQS and SNS go
    to the embedded ones, those that handlers make by themselves too; calls of AWS's other services go to AWS.

    Code that cannot be imported is waited for until it changes. A TARGET that is not there at the start is an error.

    Of several apps, the queue of each gets what is published to any topic. One that names neither a queue nor a topic
    publishes to the topic "shared".
    """
    from megaflow.local.__main__ import kept, key_file_of
    from megaflow.local.account import Account

    if reload:
        _check_watching()
    account = Account()
    # A file that fails to import is shown by the apps' process; a missing one is wrong usage, here.
    folders = {folder_of(target) for target in targets}
    refuse_twice(targets)
    with kept(account, data), _listen(account, port, key_file_of(data)) as server:
        show(f"SQS and SNS on {server.url}; from another terminal:", style="bold")
        show(f"  export AWS_ENDPOINT_URL={server.url}")
        show("All calls of SQS and SNS go there; those of AWS's other services go to AWS.")
        sys.stdout.flush()
        return _Watched(targets, server.url, folders).run(reload=reload)


def _check_watching() -> None:
    """Raise before anything is started where what sees changes is missing."""
    try:
        import watchfiles  # noqa: F401
    except ImportError as error:
        said = describe_missing_extra("starting anew when the code changes", "cli", error)
        raise WrongUsage(f"{said}; --no-reload does without") from error


def _listen(account: Account, port: int, key_file: Path | None) -> Server:
    from megaflow.local.server import Server

    try:
        return Server(account, port=port, key_file=key_file)
    except ConfigurationError as error:
        raise WrongUsage(str(error)) from error


class _Watched:
    """Apps in a process of their own, and the folders that their code is in."""

    def __init__(self, targets: Sequence[str], endpoint_url: str, folders: Iterable[Path]) -> None:
        self._targets = targets
        self._endpoint_url = endpoint_url
        self._folders = folders
        self._child: BaseProcess | None = None
        self._over = threading.Event()
        self._has_announced = multiprocessing.get_context("spawn").Event()
        self._is_not_there = multiprocessing.get_context("spawn").Event()
        """Whether a target is none: what was typed is wrong, and no change of code is waited for."""

        self._starts = 0

    def run(self, *, reload: bool) -> int:
        """Run the apps until a signal comes; without *reload*, until they end."""
        with stopping_on_signals(self._end):
            self._child = self._start()
            try:
                return self._watch() if reload else self._wait(self._child)
            finally:
                self._stop()

    def _watch(self) -> int:
        from watchfiles import PythonFilter, watch

        changes = watch(
            *self._folders,
            watch_filter=PythonFilter(),
            stop_event=self._over,
            rust_timeout=_LOOK_EVERY,
            yield_on_timeout=True,
            raise_interrupt=False,
        )
        for changed in changes:
            if changed:
                names = sorted({Path(path).name for _, path in changed})
                note(f"{', '.join(names)} changed: starting anew", style="bold")
                self._stop()
                self._child = self._start()
            elif self._child is not None and not self._child.is_alive():
                how = _describe_end(self._child.exitcode)
                self._stop()
                if self._starts == 1 and self._is_not_there.is_set():
                    return WRONG_USAGE
                who = "the app has" if len(self._targets) == 1 else "the apps have"
                note(f"{who} ended{how}; they start anew when the code changes", style="yellow")
        return 0

    def _wait(self, child: BaseProcess) -> int:
        while not self._over.is_set() and child.is_alive():
            child.join(_LOOK_EVERY / 1000)
        self._stop()
        return 0 if self._over.is_set() else child.exitcode or FAILED

    def _start(self) -> BaseProcess:
        self._starts += 1
        child = multiprocessing.get_context("spawn").Process(
            target=_live, args=(self._targets, self._endpoint_url, self._has_announced, self._is_not_there)
        )
        child.start()
        return child

    def _stop(self) -> None:
        """Let the app finish what it has in hand, and end."""
        if self._child is None:
            return
        if self._child.is_alive():
            self._child.terminate()
        self._child.join(_SOON)
        if self._child.is_alive() and self._over.is_set():
            note("waiting for what is in hand; a second Ctrl-C does not wait", style="yellow")
        # It ends within its shutdown_timeout, by itself.
        self._child.join()
        self._child = None

    def _end(self, again: bool) -> None:
        if again and self._child is not None and self._child.pid is not None:
            # A second signal is for the app: it waits for nothing any more.
            os.kill(self._child.pid, signal.SIGTERM)
        self._over.set()


def _describe_end(code: int | None) -> str:
    if not code:
        return ""
    return f" with exit code {code}" if code > 0 else f", killed by {signal.Signals(-code).name}"


def _live(targets: Sequence[str], endpoint_url: str, has_announced: Event, is_not_there: Event) -> None:
    """Be the process of the apps."""
    # Ctrl-C goes to every process of the terminal's group; the parent passes it on.
    os.setpgrp()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    allow_every_letter()
    # What handlers print comes from many threads.
    sys.stdout = cast(TextIO, WholeLines(sys.stdout))
    with report(debug=False) as ended, ExitStack() as connected:
        try:
            apps = load_apps(targets)
        except WrongTarget:
            is_not_there.set()
            raise
        hosted = host(apps, endpoint_url)
        os.environ |= {"AWS_ENDPOINT_URL_SQS": endpoint_url, "AWS_ENDPOINT_URL_SNS": endpoint_url}
        _show_messages(apps)
        for target, app in apps.items():
            connected.enter_context(_connected(app, hosted[target]))
            _announce(app, hosted[target])
        if not has_announced.is_set():
            _say_how_to_publish(hosted.values())
        has_announced.set()
        sys.stdout.flush()
        run_apps(apps)
    sys.exit(ended.code)


def _connected(app: App, hosted: Hosted) -> AbstractContextManager[App]:
    return app.connected(
        hosted.queue_url,
        hosted.topic_arn if hosted.publishes_to_topic else None,
        dead_letter_queue_url=hosted.dead_letter_queue_url,
        **read_aws(hosted.endpoint_url, None, None) | {"profile_name": None, "region_name": None},
    )


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _announce(app: App, hosted: Hosted) -> None:
    queue = name_of(hosted.queue_url)
    show(f"{count_handlers(len(app.handlers))} on the queue {queue}, {hosted.endpoint_url}", style="bold")
    show(f"  publishes to {describe_destination(hosted.topic_arn if hosted.publishes_to_topic else None)}")
    for handler in app.handlers:
        show(f"  {handler.name}  {handler.kind.value}: {handler.pattern!r}")
    for finding in app.check():
        show(f"  {name_weight(finding)}: {shorten_paths(str(finding))}", style="yellow")


def _say_how_to_publish(several: Collection[Hosted]) -> None:
    show("  To publish:")
    queues = [f"--queue {_with_group(name_of(hosted.queue_url))}" for hosted in several]
    for where in [*queues, *dict.fromkeys(f"--topic {_with_group(hosted.topic_arn)}" for hosted in several)]:
        show(f"    megaflow publish {where} FILE")
    if dead_letters := [hosted.dead_letter_queue_url for hosted in several if hosted.dead_letter_queue_url]:
        show("  To handle dead letters again:")
        for url in dead_letters:
            show(f"    megaflow redrive {name_of(url)}")


def _with_group(place: str) -> str:
    return f"{place} --group-id GROUP" if is_fifo(place) else place


def _show_messages(apps: Mapping[str, App]) -> None:
    """Show what becomes of each message, and what goes wrong."""
    handler = make_text_handler(sys.stdout, "%(levelname)s %(message)s")
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    for target, app in apps.items():
        others = [other for other in apps.values() if other is not app]
        app.on_verdict(partial(_show_verdict, app, target=target if others else "", others=others))


def _show_verdict(app: App, verdict: Verdict, *, target: str = "", others: Iterable[App] = ()) -> None:
    """Show what became of a message; but not that it is no matter of this app where its topic has it for another."""
    message = verdict.message
    if verdict.unmatched and verdict.deletes and message.sns and any(other.handlers_for(message) for other in others):
        return
    said = ", ".join(f"{each.handler.name} {each.status.name}" for each in verdict.outcomes)
    took = f"{verdict.seconds * 1000:.1f} ms" if verdict.outcomes else ""
    given_up = why_not_kept(verdict, parts_of(app).settings.max_receives)
    fate = Fate.DEAD_LETTER.value if given_up else verdict.fate.value
    later = f"again in {verdict.after:g} s" if verdict.keeps and verdict.after is not None else ""
    failed = "" if verdict.failure is None else text_of(verdict.failure)
    what = said or failed or f"no handler{' of ' if target else ''}{target} matched"
    parts = [f"{datetime.now():%H:%M:%S}", message.id, fate, what, took, given_up or later]
    show("  ".join(filter(None, parts)), style=_STYLES.get(fate, ""))
    if verdict.unmatched or not verdict.deletes:
        body = " ".join(message.body.split())
        show(f"  {body}" if len(body) <= _SHOWN else f"  {body[:_SHOWN]}…")
    if verdict.unmatched:
        try:
            for line in shorten_paths(str(app.explain(message))).splitlines()[1:]:
                show(f"  {line}")
        except MegaflowError as error:
            show(f"  {error}")
    sys.stdout.flush()
