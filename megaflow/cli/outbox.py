"""``megaflow outbox``: what waits to be sent, and what AWS refuses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

import click

from megaflow.cli.errors import WrongUsage
from megaflow.cli.options import json_option
from megaflow.cli.outboxes import database_option, load_outbox, open_engine
from megaflow.cli.output import count_messages, note, show_facts, show_json, show_table

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from megaflow.sql.upkeep import Standing


@click.command(short_help="Show what waits in an outbox, and what AWS refuses; send that again, or discard it.")
@click.argument("target")
@database_option
@click.option("--retry", is_flag=True, help="Let what is parked be sent again.")
@click.option("--discard", is_flag=True, help="Delete what is parked.")
@click.option(
    "--id", "ids", multiple=True, metavar="ID", help="Only the message with this megaflow-id; again for more."
)
@json_option
def outbox(target: str, database: str | None, retry: bool, discard: bool, ids: Sequence[str], as_json: bool) -> None:
    """Show what waits in the outbox TARGET, how old it is, and what is parked, as AWS refuses it.

    TARGET is module:outbox, or path/file.py:outbox. --retry lets relays send what is parked again, and --discard
    deletes it: all of it, or what --id names.
    """
    if retry and discard:
        raise WrongUsage("--retry and --discard exclude each other")
    if ids and not (retry or discard):
        raise WrongUsage("--id is for --retry and --discard")
    found = load_outbox(target)
    engine = open_engine(found, database)
    from megaflow.sql.upkeep import discard_parked, in_transaction, look, retry_parked

    if retry or discard:
        change: Callable[[Connection, str, Sequence[str]], int] = retry_parked if retry else discard_parked
        count = in_transaction(engine, lambda connection: change(connection, found.name, ids))
        note(f"{count_messages(count)} {'to be sent again' if retry else 'discarded'}")
    standing = in_transaction(engine, partial(look, name=found.name))
    if as_json:
        show_json({"outbox": found.name, **asdict(standing)})
    else:
        _show(found.name, standing)


def _show(name: str, standing: Standing) -> None:
    facts: list[tuple[str, object]] = [
        ("outbox", name),
        ("waiting", standing.waiting),
        ("oldest", f"{standing.oldest:,.1f} s" if standing.waiting else "none"),
        ("for later", standing.scheduled),
        ("parked", standing.parked),
    ]
    show_facts(facts + ([("last error", standing.error)] if standing.error else []))
    if standing.shown:
        rows = [(each.megaflow_id, f"{each.size:,}", f"{each.age:,.0f} s", each.error) for each in standing.shown]
        show_table(("parked", "bytes", "age", "error"), rows)
