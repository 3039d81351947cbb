"""What a worker is told, and what all of them make of it; times in seconds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Engine, create_engine
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from megaflow import App
from megaflow.backoff import exponential_backoff
from megaflow.sql import Outbox
from tests.torture.settings import SHUTDOWN_TIMEOUT, WAIT_TIME, make_client
from tests.torture_sql.plants import Plant

CLAIM: Final = 3.0


class Role(StrEnum):
    """What a worker does: each of them is one process."""

    WRITER = "writer"
    RELAY = "relay"
    CONSUMER = "consumer"


class Flaky(Exception):
    """What is worth another try."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Brief:
    """What a worker is told. The file *ready* is made once it can be signalled; *hold* holds up writers."""

    role: Role
    queue: str
    """ "standard" or "fifo"."""

    queue_url: str
    endpoint: str
    database: str
    notes: str
    ready: str
    hold: str
    luck: str
    is_async: bool
    relays: bool
    """Whether a consumer relays as well."""

    concurrency: int
    visibility_timeout: int
    wire: bool
    plant: Plant


def make_engine(brief: Brief) -> Engine | AsyncEngine:
    """Return an engine with the driver for it."""
    if brief.is_async:
        return create_async_engine(brief.database.replace("+psycopg:", "+asyncpg:"))
    return create_engine(brief.database)


def make_app(brief: Brief) -> App:
    """Return the app of a worker's queue."""
    return App(
        brief.queue_url,
        client=make_client(brief.endpoint),
        concurrency=brief.concurrency,
        visibility_timeout=brief.visibility_timeout,
        wait_time_seconds=WAIT_TIME,
        shutdown_timeout=SHUTDOWN_TIMEOUT,
        retry_on=Flaky,
        backoff=exponential_backoff(first=0.3, longest=2.0),
        unmatched="keep",
        wire=brief.wire,
    )


def make_outbox(brief: Brief, app: App, engine: Engine | AsyncEngine) -> Outbox:
    """Return the outbox of a worker's queue."""
    return Outbox(app, engine, brief.queue, claim_seconds=CLAIM)


def group_of(queue: str, customer: str) -> Any:
    """Return the options by which the order of a customer's messages stays."""
    return {"group_id": customer} if queue == "fifo" else {}
