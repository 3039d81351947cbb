"""Output of commands: tables and colour for people, JSON for programs. People see printable text alone."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterable, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

import click
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from megaflow.printable import printable

if TYPE_CHECKING:
    from megaflow.dispatch.check import Finding

_NO_LIMIT: Final = 100_000
"""Columns of a line that no person reads: nothing is cut there."""

_OFTEN_MEANT: Final = ("duplicate", "covered")
"""Values of `Oddity`; most commands need not import what finds these."""


class WholeLines:
    """A stream to which several threads write without mixing their lines."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._own = threading.local()

    def write(self, text: str) -> int:
        """Write what ends with a line break, and keep the rest until then."""
        whole, line_break, self._own.rest = (getattr(self._own, "rest", "") + text).rpartition("\n")
        if line_break:
            self._stream.write(whole + line_break)
        return len(text)

    def flush(self) -> None:
        """Write the rest, too."""
        self._stream.write(getattr(self._own, "rest", ""))
        self._own.rest = ""
        self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        """Be the stream otherwise."""
        return getattr(self._stream, name)


def allow_every_letter() -> None:
    """Let stdout write an escape for what its encoding has no letter for, as stderr does; it would end a command."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def make_console(*, stderr: bool = False) -> Console:
    """Return where people read, without colour and without an edge where it is no terminal."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _NO_LIMIT
    return Console(stderr=stderr, width=width, highlight=False, soft_wrap=True)


def show(line: str = "", style: str = "") -> None:
    """Show a line."""
    make_console().print(_text(line, style))


def note(line: str, style: str = "") -> None:
    """Show a line that is not what was asked for, on stderr."""
    make_console(stderr=True).print(_text(line, style))


def shorten_paths(text: str) -> str:
    """Return *text* with the paths of what is below the current folder as one would write them there."""
    return text.replace(f"{Path.cwd()}{os.sep}", "")


def name_weight(finding: Finding) -> str:
    """Say whether a finding is a warning, or a note: several handlers for one message are often what is wanted."""
    return "note" if finding.oddity in _OFTEN_MEANT else "warning"


def count_handlers(count: int) -> str:
    """Say how many handlers that are."""
    return f"{count:,} {'handler' if count == 1 else 'handlers'}"


def count_messages(count: int) -> str:
    """Say how many messages that are."""
    return f"{count:,} {'message' if count == 1 else 'messages'}"


def show_json(value: object) -> None:
    """Show *value* as one line of JSON."""
    click.echo(json.dumps(value, default=str))


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Show rows below the names of their columns."""
    table = Table(*columns, box=box.SIMPLE_HEAD if sys.stdout.isatty() else None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(_text(str(each)) for each in row))
    make_console().print(table, soft_wrap=False)


def show_facts(facts: Iterable[tuple[str, object]]) -> None:
    """Show what is known, each with its name before it."""
    table = Table.grid(padding=(0, 2))
    for name, value in facts:
        table.add_row(_text(name, "bold"), _text("none" if value is None else str(value)))
    make_console().print(table, soft_wrap=False)


def _text(text: str, style: str = "") -> Text:
    return Text(printable(text), style=style)


def make_progress() -> Progress:
    """Return a progress bar on stderr, nothing where that is no terminal; its tasks have a ``count`` and a ``rate``."""
    console, is_watched = make_console(stderr=True), sys.stderr.isatty()
    console.quiet = not is_watched  # rich writes an empty line at its end all the same before 15
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[count]}"),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        console=console,
        disable=not is_watched,
        transient=True,
    )
