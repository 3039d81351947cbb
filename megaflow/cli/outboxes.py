"""Outboxes as commands find them: at a target, with an engine of their own, or by the address of the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from megaflow.cli.errors import WrongTarget, WrongUsage
from megaflow.cli.targets import load_module

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

    from megaflow.sql import Outbox

database_option: Final = click.option(
    "--database", metavar="URL", help="The database, as SQLAlchemy names it, in place of the outbox's own engine."
)


def load_outbox(target: str) -> Outbox:
    """Return the outbox at *target*; raise `WrongTarget` where there is none, and say why."""
    try:
        from megaflow.sql import Outbox
    except ImportError as error:
        raise WrongUsage(str(error)) from error

    module, place, name = load_module(target)
    known = {key: value for key, value in vars(module).items() if isinstance(value, Outbox)}
    if name:
        if name not in known:
            what = f"{place}:{name} is no Outbox" if hasattr(module, name) else f"there is no {name!r} in {place}"
            raise WrongTarget(what + _hint(place, known))
        return known[name]
    if len(set(map(id, known.values()))) != 1:
        what = "there are several outboxes" if known else "there is no outbox"
        raise WrongTarget(f"{what} in {place}{_hint(place, known)}")
    return next(iter(known.values()))


def open_engine(outbox: Outbox, database: str | None) -> Engine | AsyncEngine:
    """Return the engine of the *database* that was named, or the outbox's own."""
    if database is None:
        if outbox.engine is None:
            raise WrongUsage(f"outbox {outbox.name} has no engine: give it one, or say --database URL")
        return outbox.engine
    from sqlalchemy import create_engine
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    try:
        return create_engine(database)
    except (ArgumentError, NoSuchModuleError, ImportError) as error:
        # It may have a password in it.
        raise WrongUsage(f"--database is no address that SQLAlchemy can use: {type(error).__name__}") from error


def _hint(place: str, known: dict[str, Outbox]) -> str:
    return f"; there is {' and '.join(f'{place}:{name}' for name in known)}" if known else ""
