"""Consumers with an inbox: each order is charged, and a receipt for it published, in the transaction of the inbox."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Insert, insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from megaflow import App, RetryLater
from megaflow.sql import Inbox, Outbox
from tests.torture_sql.brief import Brief, Flaky, group_of, make_app, make_engine, make_outbox
from tests.torture_sql.notes import Did, Notes
from tests.torture_sql.tables import charges

_LATER: Final = 0.06
_FAILS: Final = 0.05
_SLOW: Final = 0.01
"""Of the runs, those that outlive the visibility timeout."""

_QUICK: Final = 0.04


@dataclass(frozen=True, slots=True)
class Hands:
    """The handler, of either kind. It fails now and then, once all is written: nothing of it may stay."""

    brief: Brief
    notes: Notes
    outbox: Outbox
    luck: random.Random

    def charge(self, data: dict[str, Any], session: Session) -> None:
        self.notes.add(Did.RUNS, data["kind"], data["id"])
        session.execute(self._write(data))
        if data["kind"] == "order":
            self.outbox.publish(session, data | {"kind": "receipt"}, **self._group(data))
        time.sleep(self._seconds())
        self._fail_or_not()

    async def acharge(self, data: dict[str, Any], session: AsyncSession) -> None:
        self.notes.add(Did.RUNS, data["kind"], data["id"])
        await session.execute(self._write(data))
        if data["kind"] == "order":
            await self.outbox.apublish(session, data | {"kind": "receipt"}, **self._group(data))
        await asyncio.sleep(self._seconds())
        self._fail_or_not()

    def _write(self, data: Mapping[str, Any]) -> Insert:
        return insert(charges).values({**data, "queue": self.brief.queue})

    def _group(self, data: Mapping[str, Any]) -> Any:
        return group_of(self.brief.queue, data["customer"])

    def _seconds(self) -> float:
        is_slow = self.luck.random() < _SLOW
        return 1.3 * self.brief.visibility_timeout if is_slow else self.luck.uniform(0, _QUICK)

    def _fail_or_not(self) -> None:
        lot = self.luck.random()
        if lot < _LATER:
            raise RetryLater(after=self.luck.choice((0.0, 0.5)))
        if lot < _LATER + _FAILS:
            raise Flaky


def make_consumer(brief: Brief, notes: Notes) -> tuple[App, Outbox]:
    """Return the app of a consumer, and the outbox by which its handlers publish."""
    engine = make_engine(brief)
    app = make_app(brief)
    outbox = make_outbox(brief, app, engine)
    app.provide(AsyncSession if brief.is_async else Session, Inbox(engine))
    hands = Hands(brief, notes, outbox, random.Random(brief.luck))
    charge = app.on_data({"kind": ["order", "receipt"]}, handler_name="charge")
    charge(hands.acharge if brief.is_async else hands.charge)
    return app, outbox
