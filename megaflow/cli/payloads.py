"""Payloads that lie outside of their messages, as commands see them: read by the ``large_payloads=`` of an app."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple, TypeAlias

import click

from megaflow.app import parts_of
from megaflow.cli.errors import WrongUsage
from megaflow.cli.options import Command
from megaflow.cli.targets import load_app
from megaflow.errors import StoreError, text_of
from megaflow.messages.message import Message, read_body
from megaflow.processing.fetching import Fetching, lies_elsewhere


class Opened(NamedTuple):
    """A message with its payload, wherever that lay, and the *text* that its publisher sent."""

    message: Message
    text: str


Open: TypeAlias = Callable[[Message], Opened]
"""Opens a message; where its payload cannot be read now, its problem says so."""


def app_option(command: Command) -> Command:
    """Give a command the option that names an app, for `open_with`."""
    help_ = "The app whose large_payloads= reads payloads that lie outside of their messages: module:app or file.py:app"
    return click.option("--app", "target", help=help_)(command)


def open_with(target: str | None) -> Open:
    """Return what opens messages as the app at *target* does, or leaves pointers as they are where None is named."""
    if target is None:
        return open_plainly
    payloads = parts_of(load_app(target)).assembly.stores.payloads
    if payloads is None:
        raise WrongUsage(f"--app {target}: that app has no large_payloads=")
    fetching = Fetching(payloads)
    return lambda message: _open(message, fetching)


def open_plainly(message: Message) -> Opened:
    """Open a message that has its payload with it, or leave a pointer as it is."""
    return Opened(message, read_body(message))


def _open(message: Message, fetching: Fetching) -> Opened:
    if not lies_elsewhere(message):
        return open_plainly(message)
    try:
        fetched, text = fetching.fetch_text(message)
    except StoreError as error:
        fetched, text = replace(message, problem=text_of(error)), ""
    return Opened(fetched, text if fetched.pointer is not None else read_body(message))
