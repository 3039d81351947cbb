"""An account in a file: what a turn changed stands in SQLite before anybody is answered."""

from __future__ import annotations

import gc
import json
import logging
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from megaflow.errors import ConfigurationError
from megaflow.local import rows
from megaflow.local.account import Account, HostedQueue, Touched
from megaflow.local.queue import Queue
from megaflow.local.refused import Refused
from megaflow.local.settings import known_settings

log = logging.getLogger(__name__)

_APPLICATION_ID: Final = 0x6D656761
"""``mega``, by which ``file`` and we know such a file."""

_VERSION: Final = 1

_SCHEMA: Final = """
CREATE TABLE account (facts TEXT NOT NULL);
CREATE TABLE queue (number INTEGER PRIMARY KEY, facts TEXT NOT NULL, next_number INTEGER NOT NULL);
CREATE TABLE topic (arn TEXT PRIMARY KEY, facts TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE message (
    key INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    body TEXT NOT NULL,
    attributes TEXT,
    system_attributes TEXT,
    sent_at REAL NOT NULL,
    group_id TEXT,
    deduplication_id TEXT,
    sequence_number TEXT,
    source_arn TEXT,
    aged_from REAL NOT NULL,
    delayed_to REAL
);
-- Apart from the bodies, so that receiving does not write them again. A message never received has no row.
CREATE TABLE delivery (
    key INTEGER PRIMARY KEY,
    receive_count INTEGER NOT NULL,
    received_here INTEGER NOT NULL,
    received_at REAL NOT NULL,
    first_received_at REAL,
    visible_at REAL
);
CREATE TABLE recent (
    owner TEXT NOT NULL,
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    answer TEXT NOT NULL,
    ends_at REAL NOT NULL,
    PRIMARY KEY (owner, kind, key)
) WITHOUT ROWID;
CREATE INDEX recent_by_end ON recent (ends_at);
"""


class Store:
    """The file of an account.

    An answered call survives the end of this process, however it ends: it is in the operating system's hands. Should the
    machine itself stop, the file stays whole and may lack the last calls. One process has the file at a time.

    Raises:
        ConfigurationError: the file cannot be opened, is in use, or is none of ours.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # Whoever has the account's lock may write, in any thread.
        try:
            self._database = sqlite3.connect(path, timeout=0.2, isolation_level=None, check_same_thread=False)
            self._open()
        except sqlite3.Error as error:
            raise _cannot_open(path, error) from error

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def load(self, account: Account) -> None:
        """Fill *account*, which is new, with what the file holds, and write down its changes from now on.

        Raises:
            ConfigurationError: the file is that of another account or region.
        """
        self._load_account(account)
        queues = {hosted.number: hosted.queue for hosted in self._load_queues(account)}
        with _without_collector():
            for row in self._database.execute("SELECT * FROM message LEFT JOIN delivery USING (key) ORDER BY key"):
                queues[rows.split_key(row[0])[0]].restore(rows.read_record(row))
        account.journal = self

    def write(self, account: Account, touched: Touched) -> None:
        """Write down what was *touched*.

        Raises:
            Refused: the file could not be written, so the call that changed something must not be answered.
        """
        try:
            with self._transaction():
                self._write(account, touched)
        except sqlite3.Error as error:
            log.exception("%s could not be written; what it lacks is written with the next call", self.path)
            raise Refused("InternalFailure", f"The data file could not be written: {error}", status=500) from error

    def _open(self) -> None:
        execute = self._database.execute
        execute("PRAGMA locking_mode = EXCLUSIVE")
        execute("PRAGMA journal_mode = WAL")
        execute("PRAGMA synchronous = NORMAL")
        execute("PRAGMA temp_store = MEMORY")
        with self._transaction():
            (application_id,) = execute("PRAGMA application_id").fetchone()
            (version,) = execute("PRAGMA user_version").fetchone()
            (tables,) = execute("SELECT count(*) FROM sqlite_schema").fetchone()
            if tables and (application_id, version) != (_APPLICATION_ID, _VERSION):
                raise sqlite3.DatabaseError("it is not a file of this version of megaflow.local")
            if not tables:
                self._create()

    def _create(self) -> None:
        for statement in _SCHEMA.split(";"):
            self._database.execute(statement)
        self._database.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        self._database.execute(f"PRAGMA user_version = {_VERSION}")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    def _load_account(self, account: Account) -> None:
        found = self._database.execute("SELECT facts FROM account").fetchone()
        if found is None:
            with self._transaction():
                self._database.execute("INSERT INTO account VALUES (?)", (_account_facts(account),))
            return
        facts = json.loads(found[0])
        if (facts["account_id"], facts["region"]) != (account.account_id, account.region):
            raise ConfigurationError(
                f"{self.path} holds account {facts['account_id']} in {facts['region']}, "
                f"not {account.account_id} in {account.region}"
            )
        account.deleted_at.update(facts["deleted_at"])

    def _load_queues(self, account: Account) -> Iterator[HostedQueue]:
        for number, text, next_number in self._database.execute("SELECT * FROM queue ORDER BY number"):
            facts = json.loads(text)
            hosted = account.host(facts["name"], known_settings(facts["attributes"]), number=number)
            hosted.tags = facts["tags"]
            hosted.created_at, hosted.modified_at = facts["created_at"], facts["modified_at"]
            hosted.purged_at = facts["purged_at"]
            hosted.queue.id, hosted.queue.next_number = facts["id"], next_number
            for row in self._recent(number, "sent"):
                hosted.queue.sent.restore(rows.read_sent(row))
            for row in self._recent(number, "attempt"):
                hosted.queue.attempts.restore(rows.read_attempts(row))
            yield hosted

    def _recent(self, owner: object, kind: str) -> Iterable[rows.Row]:
        return self._database.execute(
            "SELECT key, answer, ends_at FROM recent WHERE owner = ? AND kind = ? ORDER BY ends_at", (str(owner), kind)
        )

    def _write(self, account: Account, touched: Touched) -> None:
        for number, name in touched.queues:
            hosted = account.queues.get(name)
            if hosted is not None and hosted.number == number:
                self._write_queue(hosted)
            else:
                self._delete_queue(number)
        for name in touched.messages & account.queues.keys():
            self._write_messages(account.queues[name])
        if touched.account:
            self._database.execute("UPDATE account SET facts = ?", (_account_facts(account),))
        self._database.execute("DELETE FROM recent WHERE ends_at <= ?", (account.clock(),))

    def _write_queue(self, hosted: HostedQueue) -> None:
        self._database.execute(
            "REPLACE INTO queue VALUES (?, ?, ?)", (hosted.number, _queue_facts(hosted), hosted.queue.next_number)
        )

    def _delete_queue(self, number: int) -> None:
        self._database.execute("DELETE FROM queue WHERE number = ?", (number,))
        self._database.execute("DELETE FROM recent WHERE owner = ?", (str(number),))
        self._delete_messages(number)

    def _delete_messages(self, number: int) -> None:
        self._database.execute("DELETE FROM message WHERE key BETWEEN ? AND ?", rows.keys_of(number))
        self._database.execute("DELETE FROM delivery WHERE key BETWEEN ? AND ?", rows.keys_of(number))

    def _write_messages(self, hosted: HostedQueue) -> None:
        queue, unsaved = hosted.queue, hosted.queue.unsaved
        if unsaved.purged:
            self._delete_messages(hosted.number)
        new: list[rows.Row] = []
        delivered: list[rows.Row] = []
        gone: list[tuple[int]] = []
        for number in sorted(unsaved.added | unsaved.changed):
            key, record = rows.key_of(hosted.number, number), queue.record(number)
            if record is None:
                gone.append((key,))
                continue
            if number in unsaved.added:
                new.append(rows.message_row(key, record))
            if number in unsaved.changed:
                delivered.append(rows.delivery_row(key, record))
        self._write_rows(new, delivered, gone)
        if unsaved.added:
            self._database.execute(
                "UPDATE queue SET next_number = ? WHERE number = ?", (queue.next_number, hosted.number)
            )
        self._remember(hosted.number, "sent", map(rows.write_sent, queue.sent.unsaved()))
        self._remember(hosted.number, "attempt", map(rows.write_attempts, queue.attempts.unsaved()))

    def _write_rows(self, new: list[rows.Row], delivered: list[rows.Row], gone: list[tuple[int]]) -> None:
        many = self._database.executemany
        if new:
            many("INSERT INTO message VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", new)
        if delivered:
            many("REPLACE INTO delivery VALUES (?, ?, ?, ?, ?, ?)", delivered)
        if gone:
            many("DELETE FROM message WHERE key = ?", gone)
            many("DELETE FROM delivery WHERE key = ?", gone)

    def _remember(self, owner: object, kind: str, remembered: Iterable[rows.Row]) -> None:
        self._database.executemany(
            "REPLACE INTO recent VALUES (?, ?, ?, ?, ?)", [(str(owner), kind, *row) for row in remembered]
        )


@contextmanager
def _without_collector() -> Iterator[None]:
    # It would look at all messages again and again, and a million of them take half as long without it.
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _account_facts(account: Account) -> str:
    return json.dumps({"account_id": account.account_id, "region": account.region, "deleted_at": account.deleted_at})


def _queue_facts(hosted: HostedQueue) -> str:
    return json.dumps(
        {
            "name": hosted.name,
            "id": hosted.queue.id,
            "attributes": dict(hosted.queue.settings.shown),
            "tags": hosted.tags,
            "created_at": hosted.created_at,
            "modified_at": hosted.modified_at,
            "purged_at": hosted.purged_at,
        }
    )


def _cannot_open(path: Path, error: sqlite3.Error) -> ConfigurationError:
    why = "another process has it open" if "locked" in str(error) else str(error)
    return ConfigurationError(f"cannot use {path} as data file: {why}")
