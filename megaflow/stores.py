"""Where progress and idempotency keys are remembered: in this process, in an SQLite file, in a DynamoDB table.

Times are in seconds; the clocks are wall clocks, since what is remembered is read by other processes too.
"""

from __future__ import annotations

import heapq
import json
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from os import PathLike, fspath, getpid
from typing import Any, Final, Protocol, Unpack

from megaflow.errors import UsageError
from megaflow.settings import AwsOptions, AwsSettings
from megaflow.status import ProcessStatus

KEEP_FOR: Final = 14 * 86_400.0
"""As long as SQS keeps a message at the most."""

_BUSY_TIMEOUT: Final = 10.0
_SWEEP_EVERY: Final = 1_000
"""Writes after which an SQLite file is rid of what has expired."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a handler ended for good: `ProcessStatus.DONE`, or `ProcessStatus.FATAL_ERROR` and what it raised."""

    status: ProcessStatus
    error: str = ""


class Claim(Enum):
    """What came of claiming an idempotency key."""

    TAKEN = "taken"
    """It is the caller's now: to be completed or released."""

    BUSY = "busy"
    """Another one holds it."""

    DONE = "done"
    """It ran already, and not too long ago."""


class Store(Protocol):
    """Remembers how handlers ended, and who works on which idempotency key.

    Every method may be called from any thread. It raises whatever its database raises, and then what it was to write
    may be written or not.
    """

    def load(self, work: str) -> Mapping[str, Ended]:
        """Return how handlers, by name, ended on one piece of work."""
        ...

    def save(self, work: str, handler: str, ended: Ended) -> None:
        """Remember how a handler ended."""
        ...

    def claim(self, key: str, owner: str, seconds: float) -> Claim:
        """Claim *key* for so many *seconds*.

        What *owner* claimed before is theirs again, since that attempt has died; what another one claimed is free once
        its time is over. All this at once: of several that ask, one gets it.
        """
        ...

    def renew(self, key: str, owner: str, seconds: float) -> None:
        """Hold *key* for so many more seconds from now, if it is *owner*'s."""
        ...

    def complete(self, key: str, owner: str, seconds: float) -> None:
        """Remember for so many *seconds* that *key* ran, whoever holds it by now."""
        ...

    def release(self, key: str, owner: str) -> None:
        """Free *key*, if it is *owner*'s and has not run."""
        ...


class MemoryStore:
    """Remembers in this process, for one consumer and for tests; what has expired is dropped bit by bit."""

    def __init__(self, *, keep_for: float = KEEP_FOR, clock: Callable[[], float] = time.time) -> None:
        self._keep_for = keep_for
        self._clock = clock
        self._lock = threading.Lock()
        self._work: dict[str, tuple[float, dict[str, Ended]]] = {}
        self._keys: dict[str, tuple[float, str | None]] = {}
        self._expiries: list[tuple[float, str, bool]] = []

    def load(self, work: str) -> Mapping[str, Ended]:
        """See `Store.load`."""
        with self._lock:
            expires_at, ended = self._work.get(work, (0.0, {}))
            return dict(ended) if expires_at > self._clock() else {}

    def save(self, work: str, handler: str, ended: Ended) -> None:
        """See `Store.save`."""
        with self._lock:
            now = self._clock()
            self._sweep(now)
            _, known = self._work.get(work, (0.0, {}))
            self._work[work] = (now + self._keep_for, known | {handler: ended})
            heapq.heappush(self._expiries, (now + self._keep_for, work, True))

    def claim(self, key: str, owner: str, seconds: float) -> Claim:
        """See `Store.claim`."""
        with self._lock:
            now = self._clock()
            self._sweep(now)
            expires_at, holder = self._keys.get(key, (0.0, owner))
            if expires_at > now and holder != owner:
                return Claim.DONE if holder is None else Claim.BUSY
            self._hold(key, owner, now + seconds)
            return Claim.TAKEN

    def renew(self, key: str, owner: str, seconds: float) -> None:
        """See `Store.renew`."""
        with self._lock:
            if self._keys.get(key, (0.0, None))[1] == owner:
                self._hold(key, owner, self._clock() + seconds)

    def complete(self, key: str, owner: str, seconds: float) -> None:
        """See `Store.complete`."""
        with self._lock:
            self._hold(key, None, self._clock() + seconds)

    def release(self, key: str, owner: str) -> None:
        """See `Store.release`."""
        with self._lock:
            if self._keys.get(key, (0.0, None))[1] == owner:
                del self._keys[key]

    def _hold(self, key: str, owner: str | None, expires_at: float) -> None:
        self._keys[key] = (expires_at, owner)
        heapq.heappush(self._expiries, (expires_at, key, False))

    def _sweep(self, now: float) -> None:
        while self._expiries and self._expiries[0][0] <= now:
            _, name, is_work = heapq.heappop(self._expiries)
            remembered: dict[str, Any] = self._work if is_work else self._keys
            # What was written again since then expires later.
            if name in remembered and remembered[name][0] <= now:
                del remembered[name]


_TABLES: Final = """
CREATE TABLE IF NOT EXISTS progress (
    work TEXT NOT NULL, handler TEXT NOT NULL, status TEXT NOT NULL, error TEXT NOT NULL, expires_at REAL NOT NULL,
    PRIMARY KEY (work, handler)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS keys (
    key TEXT PRIMARY KEY, owner TEXT, expires_at REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS progress_by_expiry ON progress (expires_at);
CREATE INDEX IF NOT EXISTS keys_by_expiry ON keys (expires_at);
"""


class SqliteStore:
    """Remembers in an SQLite file, for the processes of one machine; opened when it is first needed."""

    def __init__(
        self, path: str | PathLike[str], *, keep_for: float = KEEP_FOR, clock: Callable[[], float] = time.time
    ) -> None:
        self._path = fspath(path)
        self._keep_for = keep_for
        self._clock = clock
        self._lock = threading.Lock()
        self._opened: tuple[int, sqlite3.Connection] | None = None
        self._writes = 0

    def load(self, work: str) -> Mapping[str, Ended]:
        """See `Store.load`."""
        found = self._execute(
            "SELECT handler, status, error FROM progress WHERE work = ? AND expires_at > ?", work, self._clock()
        )
        return {handler: _read_ended(work, status, error) for handler, status, error in found}

    def save(self, work: str, handler: str, ended: Ended) -> None:
        """See `Store.save`."""
        self._execute(
            "INSERT OR REPLACE INTO progress VALUES (?, ?, ?, ?, ?)",
            *(work, handler, ended.status.value, ended.error, self._clock() + self._keep_for),
        )

    def claim(self, key: str, owner: str, seconds: float) -> Claim:
        """See `Store.claim`."""
        now = self._clock()
        taken = self._execute(
            "INSERT INTO keys VALUES (?1, ?2, ?3) ON CONFLICT (key) DO UPDATE SET owner = ?2, expires_at = ?3 "
            "WHERE keys.expires_at <= ?4 OR keys.owner = ?2 RETURNING owner",
            *(key, owner, now + seconds, now),
        )
        if taken:
            return Claim.TAKEN
        found = self._execute("SELECT owner FROM keys WHERE key = ?", key)
        return Claim.DONE if found and found[0][0] is None else Claim.BUSY

    def renew(self, key: str, owner: str, seconds: float) -> None:
        """See `Store.renew`."""
        expires_at = self._clock() + seconds
        self._execute("UPDATE keys SET expires_at = ? WHERE key = ? AND owner = ?", expires_at, key, owner)

    def complete(self, key: str, owner: str, seconds: float) -> None:
        """See `Store.complete`."""
        self._execute("INSERT OR REPLACE INTO keys VALUES (?, NULL, ?)", key, self._clock() + seconds)

    def release(self, key: str, owner: str) -> None:
        """See `Store.release`."""
        self._execute("DELETE FROM keys WHERE key = ? AND owner = ?", key, owner)

    def _execute(self, statement: str, *values: object) -> list[Any]:
        with self._lock:
            connection = self._connect()
            if not statement.startswith("SELECT"):
                self._sweep(connection)
            return connection.execute(statement, values).fetchall()

    def _connect(self) -> sqlite3.Connection:
        # A connection must not be used in a child process that was forked.
        if self._opened is None or self._opened[0] != getpid():
            connection = sqlite3.connect(
                self._path, timeout=_BUSY_TIMEOUT, isolation_level=None, check_same_thread=False
            )
            connection.execute("PRAGMA journal_mode = WAL")
            # What was answered stays, also where the power fails: a handler would run twice.
            connection.execute("PRAGMA synchronous = FULL")
            connection.executescript(_TABLES)
            self._opened = (getpid(), connection)
        return self._opened[1]

    def _sweep(self, connection: sqlite3.Connection) -> None:
        self._writes += 1
        if self._writes % _SWEEP_EVERY == 1:
            connection.execute("DELETE FROM progress WHERE expires_at <= ?", (self._clock(),))
            connection.execute("DELETE FROM keys WHERE expires_at <= ?", (self._clock(),))


class DynamoDbStore:
    """Remembers in a DynamoDB table, for processes wherever they run; `create_table` makes it.

    Its partition key is ``id``, a text; ``expires_at`` is its time to live. The role needs GetItem, UpdateItem,
    PutItem and DeleteItem.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/TTL.html
    """

    def __init__(
        self,
        table_name: str,
        *,
        client: Any = None,
        keep_for: float = KEEP_FOR,
        clock: Callable[[], float] = time.time,
        **aws: Unpack[AwsOptions],
    ) -> None:
        self._table_name = table_name
        self._given_client = client
        self._keep_for = keep_for
        self._clock = clock
        self._aws = AwsSettings(**aws)

    def create_table(self) -> None:
        """Create the table, paid for by the request, and wait until it is there."""
        self._client.create_table(
            TableName=self._table_name,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        self._client.get_waiter("table_exists").wait(TableName=self._table_name)
        self._client.update_time_to_live(
            TableName=self._table_name,
            TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires_at"},
        )

    def load(self, work: str) -> Mapping[str, Ended]:
        """See `Store.load`."""
        answer = self._client.get_item(
            TableName=self._table_name, Key={"id": {"S": f"work {work}"}}, ConsistentRead=True
        )
        item = answer.get("Item", {})
        # DynamoDB takes its time to delete what has expired.
        if float(item.get("expires_at", {"N": "0"})["N"]) <= self._clock():
            return {}
        ended = {name[len("ended ") :]: json.loads(said["S"]) for name, said in item.items() if name[:6] == "ended "}
        return {handler: _read_ended(work, *said) for handler, said in ended.items()}

    def save(self, work: str, handler: str, ended: Ended) -> None:
        """See `Store.save`."""
        self._update(
            f"work {work}",
            "SET #handler = :ended, expires_at = :expires",
            {"#handler": f"ended {handler}"},
            {
                ":ended": {"S": json.dumps([ended.status.value, ended.error])},
                ":expires": self._number(self._clock() + self._keep_for),
            },
        )

    def claim(self, key: str, owner: str, seconds: float) -> Claim:
        """See `Store.claim`."""
        now = self._clock()
        taken = self._update(
            f"key {key}",
            "SET #owner = :owner, expires_at = :expires",
            {"#owner": "owner"},
            {":owner": {"S": owner}, ":expires": self._number(now + seconds), ":now": self._number(now)},
            condition="attribute_not_exists(id) OR expires_at <= :now OR #owner = :owner",
        )
        if taken:
            return Claim.TAKEN
        answer = self._client.get_item(TableName=self._table_name, Key={"id": {"S": f"key {key}"}}, ConsistentRead=True)
        return Claim.DONE if "Item" in answer and "owner" not in answer["Item"] else Claim.BUSY

    def renew(self, key: str, owner: str, seconds: float) -> None:
        """See `Store.renew`."""
        self._update(
            f"key {key}",
            "SET expires_at = :expires",
            {"#owner": "owner"},
            {":owner": {"S": owner}, ":expires": self._number(self._clock() + seconds)},
            condition="#owner = :owner",
        )

    def complete(self, key: str, owner: str, seconds: float) -> None:
        """See `Store.complete`."""
        item = {"id": {"S": f"key {key}"}, "expires_at": self._number(self._clock() + seconds)}
        self._client.put_item(TableName=self._table_name, Item=item)

    def release(self, key: str, owner: str) -> None:
        """See `Store.release`."""
        try:
            self._client.delete_item(
                TableName=self._table_name,
                Key={"id": {"S": f"key {key}"}},
                ConditionExpression="#owner = :owner",
                ExpressionAttributeNames={"#owner": "owner"},
                ExpressionAttributeValues={":owner": {"S": owner}},
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return

    def _update(
        self, id_: str, update: str, names: dict[str, str], values: dict[str, Any], *, condition: str = ""
    ) -> bool:
        """Update an item, and tell whether the *condition* held."""
        conditional = {"ConditionExpression": condition} if condition else {}
        try:
            self._client.update_item(
                TableName=self._table_name,
                Key={"id": {"S": id_}},
                UpdateExpression=update,
                ExpressionAttributeNames=names,
                ExpressionAttributeValues=values,
                **conditional,
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return False
        return True

    @cached_property
    def _client(self) -> Any:
        return self._given_client or self._aws.create_client("dynamodb", "")

    @staticmethod
    def _number(value: float) -> dict[str, str]:
        return {"N": f"{value:.3f}"}


def _read_ended(work: str, status: object, error: object) -> Ended:
    try:
        return Ended(ProcessStatus(status), str(error))
    except ValueError as unknown:
        raise UsageError(
            f"the store says of {work!r} that a handler ended with {status!r}, which no version of megaflow known here "
            "writes; delete that entry, or use another store"
        ) from unknown
