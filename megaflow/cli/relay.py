"""``megaflow relay``: send what is committed to an outbox."""

from __future__ import annotations

import click

from megaflow.cli.logs import Format, set_up_logging
from megaflow.cli.options import log_options
from megaflow.cli.outboxes import database_option, load_outbox, open_engine


@click.command(short_help="Send what is committed to an outbox until SIGTERM or SIGINT.")
@click.argument("target")
@database_option
@log_options
def relay(target: str, database: str | None, log_format: Format, log_level: str) -> None:
    """Send what is committed to the outbox TARGET until SIGTERM or SIGINT.

    TARGET is module:outbox, or path/file.py:outbox. As many relays of one outbox as you like share the work. One that
    is stopped waits for what is under way; a second signal does not.
    """
    set_up_logging(log_format, log_level)
    outbox = load_outbox(target)
    outbox.relay(open_engine(outbox, database))
