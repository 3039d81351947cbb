"""The command ``megaflow`` with its subcommands, each imported when it is asked for."""

from __future__ import annotations

import importlib
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

import click
from typing_extensions import override

import megaflow
from megaflow.cli.errors import EXIT_CODES, report
from megaflow.cli.output import allow_every_letter
from megaflow.distribution import DISTRIBUTION

COMMANDS: Final[Mapping[str, str]] = {
    "new": "megaflow.cli.new:new",
    "run": "megaflow.cli.run:run",
    "relay": "megaflow.cli.relay:relay",
    "outbox": "megaflow.cli.outbox:outbox",
    "dev": "megaflow.cli.dev:dev",
    "handlers": "megaflow.cli.handlers:handlers",
    "explain": "megaflow.cli.handlers:explain",
    "provision": "megaflow.cli.provision:provision",
    "doctor": "megaflow.cli.doctor:doctor",
    "publish": "megaflow.cli.publish:publish",
    "peek": "megaflow.cli.queues:peek",
    "tail": "megaflow.cli.queues:tail",
    "stats": "megaflow.cli.queues:stats",
    "purge": "megaflow.cli.queues:purge",
    "move": "megaflow.cli.move:move",
    "redrive": "megaflow.cli.move:redrive",
    "export": "megaflow.cli.export:export",
    "local": "megaflow.cli.local:local",
}

_EPILOG: Final = f"""
TARGET names an app: module:app, or path/file.py:app. Leave out what follows the colon where there is only one app.
QUEUE is a name, a URL or an ARN.

Exit codes: {" ".join(f"{code}, {meaning}." for code, meaning in EXIT_CODES.items())}

Completion: put eval "$(_MEGAFLOW_COMPLETE=bash_source megaflow)" into ~/.bashrc. For the other shells it is zsh_source
and fish_source.
"""


class _Commands(click.Group):
    """Commands by name."""

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command


@click.group(cls=_Commands, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show the traceback of an error. Stands before the command.")
@click.version_option(megaflow.__version__, prog_name=DISTRIBUTION, message="%(prog)s %(version)s")
def cli(debug: bool) -> None:
    """Consume and publish messages over Amazon SQS and SNS."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, and return its exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    allow_every_letter()
    # Before the command: what stands after it is its own.
    with _terminable(), report(debug=given[:1] == ["--debug"]) as ended:
        answer = cli.main(args=given, prog_name="megaflow", standalone_mode=False)
        ended.code = answer if isinstance(answer, int) else 0
    return ended.code


@contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM end a command as Ctrl-C does, where it does not say otherwise."""
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt
