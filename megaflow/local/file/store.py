"""The store of an account: every change is in its SQLite file before the call is answered."""

from __future__ import annotations

import gc
import json
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from megaflow.errors import ConfigurationError
from megaflow.forks import close_before_fork
from megaflow.local.account import Account
from megaflow.local.endpoints.posts import Post
from megaflow.local.file import rows
from megaflow.local.file.datafile import damaged, open_data_file, transaction
from megaflow.local.hosted_queue import HostedQueue
from megaflow.local.journal import Touched
from megaflow.local.messages import Messages
from megaflow.local.recent import Kept, Recent, Remembered
from megaflow.local.refused import Refused
from megaflow.local.settings import known_settings
from megaflow.local.topic import LocalTopic
from megaflow.logs import get_logger

__all__ = ["Store"]

log = get_logger(__name__)

_SWEEP_INTERVAL: Final = 1.0
"""Seconds between two looks for what is not recent any more, so that not every call pays for one."""


class Store:
    """Keeps an account in an SQLite file: ``Store(Path("queues.db")).load(account)``.

    A call that was answered survives the end of this process, however it ends. Where the machine itself stops, the file
    stays whole, and may lack the last calls. One process has the file at a time, and never a child that it has forked.

    Args:
        path: The file; it is created where it is not there.

    Raises:
        ConfigurationError: The file cannot be opened, is in use, or is not one of these.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        """The file."""

        # Whoever has the account's lock may write, in any thread.
        self._lock = threading.RLock()
        self._database = open_data_file(path)
        self._is_open = True
        self._swept_at = 0.0
        self._forked_from: int | None = None
        close_before_fork(self)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()
            self._is_open = False

    def _before_fork(self) -> None:
        """See `megaflow.forks`."""
        self._lock.acquire()
        self._database.close()
        self._forked_from = os.getpid()

    def _after_fork(self) -> None:
        """See `megaflow.forks`."""
        try:
            if self._is_open and self._forked_from == os.getpid():
                self._database = open_data_file(self.path)
        except ConfigurationError:
            log.exception("%s was closed for a fork, and could not be opened again", str(self.path))
        finally:
            self._lock.release()

    def load(self, account: Account) -> None:
        """Fill *account*, which is new, with what the file holds, and write down its changes from then on.

        Raises:
            ConfigurationError: The file is that of another account or region, or damaged.
        """
        try:
            self._load(account)
        except ConfigurationError:
            raise
        except Exception as error:
            # Whatever stands in the file, and was not written by us, may make any of our readers fail in any way.
            raise damaged(self.path, error, self._database) from error
        account.journal, self._lock = self, account.lock

    def write(self, account: Account, touched: Touched) -> None:
        """Write down what was *touched*; the account calls it.

        Raises:
            Refused: The file could not be written, so the call that changed something must not be answered.
        """
        if not _is_any(touched):
            return
        try:
            with transaction(self._database):
                self._write(account, touched)
                self._sweep(account.clock())
        except (sqlite3.Error, UnicodeEncodeError) as error:
            log.exception("%s could not be written; what it lacks is written with the next call", str(self.path))
            raise Refused("InternalFailure", f"The data file could not be written: {error}", status=500) from error

    def _load(self, account: Account) -> None:
        facts = self._load_account(account)
        queues = {hosted.number: hosted.queue for hosted in self._load_queues(account)}
        with _without_collector():
            for row in self._database.execute("SELECT * FROM message LEFT JOIN delivery USING (key) ORDER BY key"):
                queues[rows.split_key(row[0])[0]].messages.restore(rows.read_record(row))
        self._load_topics(account)
        for (text,) in self._database.execute("SELECT facts FROM post ORDER BY number"):
            account.posts.add(rows.read_post(text))
        account.moves.restore(facts["moves"])

    def _load_account(self, account: Account) -> rows.Facts:
        found = self._database.execute("SELECT facts FROM account").fetchone()
        if found is None:
            facts = rows.account_facts(account)
            with transaction(self._database):
                self._database.execute("INSERT INTO account VALUES (?)", (json.dumps(facts),))
            return facts
        facts = dict(json.loads(found[0]))
        if (facts["account_id"], facts["region"]) != (account.account_id, account.region):
            raise ConfigurationError(
                f"{self.path} holds account {facts['account_id']} in {facts['region']}, not {account.account_id} in "
                f"{account.region}; give that account and region, or name another file"
            )
        account.deleted_at.update(facts["deleted_at"])
        return facts

    def _load_queues(self, account: Account) -> Iterator[HostedQueue]:
        for number, text, next_number in self._database.execute("SELECT * FROM queue ORDER BY number"):
            facts = json.loads(text)
            hosted = account.host(facts["name"], known_settings(facts["attributes"]), number=number)
            rows.restore_queue(hosted, facts)
            hosted.queue.messages.next_number = next_number
            self._recall(hosted.queue.sent, number, "sent", rows.read_sent)
            self._recall(hosted.queue.attempts, number, "attempt", rows.read_attempt)
            yield hosted

    def _load_topics(self, account: Account) -> None:
        for arn, text in self._database.execute("SELECT * FROM topic"):
            facts = json.loads(text)
            topic = account.host_topic(arn, facts["attributes"])
            rows.restore_topic(topic, facts)
            self._recall(topic.published, arn, "published", rows.read_publication)

    def _recall(
        self, recent: Recent[Kept], owner: object, kind: str, read: Callable[[str, float], Remembered[Kept]]
    ) -> None:
        found = self._database.execute(
            "SELECT facts, ends_at FROM recent WHERE owner = ? AND kind = ? ORDER BY number", (str(owner), kind)
        )
        last = {one.key: one for one in (read(*row) for row in found)}
        for one in sorted(last.values(), key=lambda one: one.ends_at):
            recent.restore(one)

    def _write(self, account: Account, touched: Touched) -> None:
        for number, name in touched.queues:
            hosted = account.queues.get(name)
            if hosted is not None and hosted.number == number:
                self._write_queue(hosted)
            else:
                self._delete_queue(number)
        for name in touched.messages:
            if name in account.queues:
                self._write_messages(account.queues[name])
        for arn in touched.topics_gone:
            self._delete_topic(arn)
        for arn in touched.topics:
            if arn in account.topics:
                self._write_topic(account.topics[arn])
        for number in touched.posts:
            self._write_post(number, account.posts.find(number))
        if touched.account:
            self._database.execute("UPDATE account SET facts = ?", (json.dumps(rows.account_facts(account)),))

    def _write_queue(self, hosted: HostedQueue) -> None:
        facts = json.dumps(rows.queue_facts(hosted))
        self._database.execute(
            "REPLACE INTO queue VALUES (?, ?, ?)", (hosted.number, facts, hosted.queue.messages.next_number)
        )

    def _delete_queue(self, number: int) -> None:
        self._database.execute("DELETE FROM queue WHERE number = ?", (number,))
        self._database.execute("DELETE FROM recent WHERE owner = ?", (str(number),))
        self._delete_messages(number)

    def _delete_messages(self, number: int) -> None:
        self._database.execute("DELETE FROM message WHERE key BETWEEN ? AND ?", rows.keys_of(number))
        self._database.execute("DELETE FROM delivery WHERE key BETWEEN ? AND ?", rows.keys_of(number))

    def _write_messages(self, hosted: HostedQueue) -> None:
        queue, messages = hosted.queue, hosted.queue.messages
        if messages.unsaved.purged:
            self._delete_messages(hosted.number)
            self._database.execute("DELETE FROM recent WHERE owner = ?", (str(hosted.number),))
        self._write_rows(hosted.number, messages)
        if messages.unsaved.added:
            self._database.execute(
                "UPDATE queue SET next_number = ? WHERE number = ?", (messages.next_number, hosted.number)
            )
        self._remember(hosted.number, "sent", queue.sent, rows.sent_facts)
        self._remember(hosted.number, "attempt", queue.attempts, rows.attempt_facts)

    def _write_rows(self, queue_number: int, messages: Messages) -> None:
        added, changed = messages.unsaved.added, messages.unsaved.changed
        new: list[rows.Row] = []
        delivered: list[rows.Row] = []
        gone: list[rows.Row] = []
        # In order: then SQLite finds each row next to the last one.
        for number in sorted(added | changed):
            key, record = rows.key_of(queue_number, number), messages.record(number)
            if record is None:
                gone.append((key,))
                continue
            if number in added:
                new.append(rows.message_row(key, record))
            if number in changed:
                delivered.append(rows.delivery_row(key, record))
        many = self._database.executemany
        if new:
            many("REPLACE INTO message VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", new)
        if delivered:
            many("REPLACE INTO delivery VALUES (?, ?, ?, ?, ?, ?)", delivered)
        if gone:
            many("DELETE FROM message WHERE key = ?", gone)
            many("DELETE FROM delivery WHERE key = ?", gone)

    def _write_topic(self, topic: LocalTopic) -> None:
        self._database.execute("REPLACE INTO topic VALUES (?, ?)", (topic.arn, json.dumps(rows.topic_facts(topic))))
        self._remember(topic.arn, "published", topic.published, rows.publication_facts)

    def _delete_topic(self, arn: str) -> None:
        self._database.execute("DELETE FROM topic WHERE arn = ?", (arn,))
        self._database.execute("DELETE FROM recent WHERE owner = ?", (arn,))

    def _write_post(self, number: int, post: Post | None) -> None:
        if post is None:
            self._database.execute("DELETE FROM post WHERE number = ?", (number,))
        else:
            self._database.execute("REPLACE INTO post VALUES (?, ?)", (number, rows.post_facts(post)))

    def _remember(
        self, owner: object, kind: str, recent: Recent[Kept], facts: Callable[[Remembered[Kept]], str]
    ) -> None:
        new = [(str(owner), kind, facts(one), one.ends_at) for one in recent.unsaved()]
        if new:
            self._database.executemany("INSERT INTO recent (owner, kind, facts, ends_at) VALUES (?, ?, ?, ?)", new)

    def _sweep(self, now: float) -> None:
        """Delete what is not recent any more, where it is time to look for that."""
        if abs(now - self._swept_at) >= _SWEEP_INTERVAL:
            self._database.execute("DELETE FROM recent WHERE ends_at <= ?", (now,))
            self._swept_at = now


def _is_any(touched: Touched) -> bool:
    topics = touched.topics or touched.topics_gone
    return bool(touched.messages or touched.queues or topics or touched.posts or touched.account)


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
