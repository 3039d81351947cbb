"""A handler in the transaction of an inbox scheduled something by an outbox of the same SQLite file: never done."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import StaticPool, create_engine
from sqlalchemy.orm import Session

from megaflow import App, ProcessStatus, UsageError
from megaflow.sql import Inbox, Outbox
from tests.sql.relays import count_of, file_url

QUEUE = "https://sqs.eu-west-1.amazonaws.com/123456789012/orders"


@pytest.mark.parametrize("place", ["a file", "memory"])
def test_it_is_refused_at_once(tmp_path: Path, place: str) -> None:
    engine = (
        create_engine(file_url(tmp_path)) if place == "a file" else create_engine("sqlite://", poolclass=StaticPool)
    )
    app = App(QUEUE)
    inbox, outbox = Inbox(engine), Outbox(app, engine)
    inbox.create_tables()
    outbox.create_tables()
    app.provide(Session, inbox)

    @app.on_text("refused")
    def schedule(text: str, session: Session) -> None:
        app.schedule("later", after=timedelta(days=1))

    @app.on_text("welcome")
    def publish(text: str, session: Session) -> None:
        outbox.publish(session, "later", not_before=timedelta(days=1))

    began = time.monotonic()
    refused, welcome = (app.process(text).outcomes[0] for text in ("refused", "welcome"))

    assert time.monotonic() - began < 3, "it has waited for SQLite"
    assert refused.status is ProcessStatus.FATAL_ERROR
    assert isinstance(refused.error, UsageError)
    assert "not_before" in str(refused.error)
    assert welcome.status is ProcessStatus.DONE
    assert count_of(engine) == 1
    engine.dispose()


def test_another_database_is_another_matter(tmp_path: Path) -> None:
    mine, other = (create_engine(f"sqlite:///{tmp_path / name}.db") for name in ("mine", "other"))
    app = App(QUEUE)
    inbox, outbox = Inbox(mine), Outbox(app, other)
    inbox.create_tables()
    outbox.create_tables()
    app.provide(Session, inbox)

    @app.on_text()
    def schedule(text: str, session: Session) -> None:
        app.schedule("later", after=timedelta(days=1))

    assert app.process("one").outcomes[0].status is ProcessStatus.DONE
    assert count_of(other) == 1
    mine.dispose()
    other.dispose()
