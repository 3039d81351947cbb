"""An account in a file that can be killed and opened again at any time, and what there is to know of an account."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass, field, fields, replace
from itertools import count
from pathlib import Path
from typing import Any

from megaflow.local import Account, SnsClient, SqsClient
from megaflow.local.file.store import Store
from megaflow.local.hosted_queue import HostedQueue
from megaflow.local.messages import Messages
from megaflow.local.order import Arrival, Groups
from megaflow.local.queue import LocalQueue
from megaflow.local.recent import Recent
from megaflow.local.stored_message import Stored
from megaflow.local.timers import Timers
from megaflow.local.topic import LocalTopic
from tests.local.conftest import Shop

Facts = dict[str, Any]


@dataclass
class KeptShop(Shop):
    """A shop whose account is in a file of *directory*."""

    directory: Path = field(kw_only=True)

    def __post_init__(self) -> None:
        self.numbers = count()
        self.random = random.Random(7)
        self.open(self.new_path())

    def new_path(self) -> Path:
        return self.directory / f"shop-{next(self.numbers)}.db"

    def open(self, path: Path) -> None:
        state = self.random.getstate()
        self.account = Account(clock=self.clock, random=self.random)
        self.store = Store(path)
        self.store.load(self.account)
        # Loading draws ids and gives them up; a shop that was not killed draws none.
        self.random.setstate(state)
        self.sqs = SqsClient(self.account)
        self.sns = SnsClient(self.account)

    def close(self) -> None:
        self.store.close()
        for left in self.directory.glob(f"{self.store.path.name}*"):
            left.unlink()

    def kill(self) -> None:
        """Go on from what the operating system has: what was written, and nothing that closing would add."""
        path = self.new_path()
        for left in self.directory.glob(f"{self.store.path.name}*"):
            shutil.copyfile(left, f"{path}{left.name.removeprefix(self.store.path.name)}")
        self.close()
        self.open(path)

    def count_rows(self, table: str) -> int:
        (rows,) = self.store._database.execute(f"SELECT count(*) FROM {table}").fetchone()
        return int(rows)

    def rows_left(self) -> Facts:
        """Count the rows of each table that has any; one is always that of the account."""
        tables = ("queue", "topic", "message", "delivery", "recent", "post")
        return {table: self.count_rows(table) for table in tables if self.count_rows(table)}


def picture(account: Account) -> Facts:
    """Show all there is to know of *account*: whatever attribute it has, but for the machinery named here."""
    machinery = {
        *(
            "_announced",
            "_next_number",
            "_random",
            "_stirred",
            "changed",
            "clock",
            "faults",
            "journal",
            "lock",
            "moves",
        ),
        *("declared", "owner_of", "polls", "served", "touched", "warnings", "watchers"),
    }
    return {
        **_without(vars(account), machinery, account.clock()),
        "queues": {name: _hosted(hosted) for name, hosted in account.queues.items()},
        "topics": {arn: _topic(topic, account.clock()) for arn, topic in account.topics.items()},
        "posts": list(account.posts),
        "moves": (deepcopy(account.moves._tasks), set(account.moves._running)),
    }


def _hosted(hosted: HostedQueue) -> Facts:
    shown = {field.name: getattr(hosted, field.name) for field in fields(hosted)}
    return {**shown, "tags": dict(hosted.tags), "queue": _queue(hosted.queue)}


def _queue(queue: LocalQueue) -> Facts:
    messages = queue.messages
    now = messages.pass_time()
    return {
        **_without(vars(queue), ("_new_id", "messages"), now),
        **_without(vars(messages), ("_clock", "_touched", "_waiting", "unsaved"), now),
        "waiting": sorted(deepcopy(messages._waiting).take()),
        "groups": _groups(messages),
    }


def _groups(messages: Messages) -> Facts:
    order = messages._waiting
    if isinstance(order, Groups):
        return {
            name: (sorted(order._held & set(group.held)), sorted(set(group.waiting) - order._removed))
            for name, group in order._groups.items()
        }
    assert isinstance(order, Arrival)
    return {name: (group.held, sorted(group.waiting)) for name, group in order._groups.items()}


def _topic(topic: LocalTopic, now: float) -> Facts:
    return _without(vars(topic), ("_clock", "_new_id"), now)


def _without(facts: Facts, machinery: Iterable[str], now: float) -> Facts:
    return {name: _plain(value, now) for name, value in facts.items() if name not in machinery}


def _plain(value: object, now: float) -> object:
    if isinstance(value, Timers):
        return dict(value._times)
    if isinstance(value, Recent):
        return {key: one for key, one in value._known.items() if one.ends_at > now}
    if isinstance(value, dict):
        return {key: replace(one) if isinstance(one, Stored) else one for key, one in value.items()}
    return value
