"""A data file that cannot be used, cannot be written, or might grow for ever."""

from __future__ import annotations

import os
import random
import re
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from megaflow.errors import ConfigurationError
from megaflow.local import Account, SqsClient
from megaflow.local.calls import SERVICES
from megaflow.local.file.store import Store
from megaflow.local.server import Server
from tests.conformance.conftest import clients
from tests.local.kept import KeptShop, picture
from tests.local.wire import Wire
from tests.waiting import PATIENCE


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[KeptShop]:
    made = KeptShop(directory=tmp_path)
    yield made
    made.close()


def refuses(path: Path, what: str) -> str:
    """Return what is said when *path* is opened, which has *what* in it."""
    with pytest.raises(ConfigurationError, match=what) as raised:
        Store(path)
    assert str(path) in str(raised.value)
    return str(raised.value)


def made(path: Path, *statements: str) -> Path:
    database = sqlite3.connect(path)
    for statement in statements:
        database.execute(statement)
    database.commit()
    database.close()
    return path


def test_a_file_that_is_not_sqlite_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("Remember the milk.\n" * 100)

    refuses(path, "no SQLite file; name another file")

    assert path.read_text() == "Remember the milk.\n" * 100


def test_the_file_of_another_application_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = made(tmp_path / "photos.db", "CREATE TABLE photo (id INTEGER)", "PRAGMA user_version = 1")
    before = path.read_bytes()

    refuses(path, "another application's SQLite file; name another file")

    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_of_another_version_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "data.db"
    Store(path).close()
    made(path, "PRAGMA user_version = 2", "PRAGMA journal_mode = DELETE")
    before = path.read_bytes()

    refuses(path, "version 2 .* knows version 1; use the megaflow that wrote it, or name another file")

    assert path.read_bytes() == before


def test_an_empty_file_is_as_good_as_none(tmp_path: Path) -> None:
    path = tmp_path / "data.db"
    path.touch()

    Store(path).close()
    Store(path).close()


def test_a_directory_is_refused(tmp_path: Path) -> None:
    refuses(tmp_path, "it is a directory; name a file in it")


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    refuses(tmp_path / "data" / "file.db", f"there is no directory {re.escape(str(tmp_path / 'data'))}; make it")


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="nobody may write in /proc, where there is one")
def test_a_place_where_nobody_may_write_is_refused() -> None:
    refuses(Path("/proc/data.db"), "see that this process may write there, or name another file")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_file_that_may_not_be_written_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.db"
    Store(path).close()
    path.chmod(0o400)

    refuses(path, "see that this process may write there, or name another file")


def test_a_file_that_another_process_has_open_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.db"
    program = (
        "import sys; from pathlib import Path; from megaflow.local.file.store import Store;"
        "store = Store(Path(sys.argv[1])); print('open', flush=True); sys.stdin.read(); store.close()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "open\n"

    refuses(path, "another process has it open; stop that one, or name another file")

    other.communicate(timeout=PATIENCE)
    Store(path).close()


_FORKING = """
import os, sys
from pathlib import Path
from megaflow.local import Account, SqsClient
from megaflow.local.file.store import Store
def files_open():
    links = [os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")]
    return [link for link in links if link.startswith(sys.argv[1])]
account, store = Account(), Store(Path(sys.argv[1]))
store.load(account)
sqs = SqsClient(account)
url = sqs.create_queue(QueueName="orders")["QueueUrl"]
child = os.fork()
if not child:
    inherited = files_open()
    try:
        sqs.send_message(QueueUrl=url, MessageBody="from the child")
    except Exception as error:
        os._exit(0 if not inherited and "could not be written" in str(error) else 1)
    os._exit(2)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
sqs.send_message(QueueUrl=url, MessageBody="from the parent")
store.close()
if not os.fork():
    os._exit(len(files_open()))
print(os.waitstatus_to_exitcode(os.wait()[1]), len(files_open()))
"""


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="only Linux shows which files a process has open")
def test_the_file_of_a_process_that_forks_stays_its_own(tmp_path: Path) -> None:
    path = tmp_path / "data.db"

    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _FORKING, str(path)], capture_output=True, text=True, check=False
    )

    assert ended.stdout == "0 0\n", ended.stderr
    with closing(Store(path)) as store:
        account = Account()
        store.load(account)
        assert sum(account.queues["orders"].queue.counts().values()) == 1


def test_a_file_that_is_open_in_this_process_is_refused(shop: KeptShop) -> None:
    refuses(shop.store.path, "another process has it open")


@pytest.mark.parametrize("other", [Account(account_id="123456789012"), Account(region="eu-west-1")])
def test_the_file_of_another_account_is_refused(tmp_path: Path, other: Account) -> None:
    path = tmp_path / "data.db"
    store = Store(path)
    store.load(Account())
    store.close()

    store = Store(path)
    with pytest.raises(ConfigurationError, match=r"holds account 0{12} in us-east-1, .* give that account and region"):
        store.load(other)
    store.close()


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM queue",
        "UPDATE queue SET facts = 'no json'",
        "UPDATE queue SET facts = '{}'",
        "UPDATE account SET facts = '[]'",
        "DROP TABLE delivery",
    ],
)
def test_a_damaged_file_is_refused(shop: KeptShop, tmp_path: Path, damage: str) -> None:
    shop.send(shop.queue(), "a")
    shop.kill()
    shop.store.close()
    path = made(shop.store.path, damage)

    store = Store(path)
    with pytest.raises(ConfigurationError, match=r"cannot use .* it is damaged"):
        store.load(Account())
    store.close()


def test_a_file_with_a_hole_in_it_is_refused(shop: KeptShop) -> None:
    shop.send(shop.queue(), *("x" * 4000 for _ in range(20)))
    shop.store.close()
    path = shop.store.path
    content = path.read_bytes()
    path.write_bytes(content[:8192] + bytes(len(content) - 8192))

    store = Store(path)
    with pytest.raises(ConfigurationError, match=r"cannot use .* it is damaged"):
        store.load(Account())
    store.close()


def limit_pages(shop: KeptShop) -> Callable[[], object]:
    """Let the disk be full; return what makes room."""
    execute = shop.store._database.execute
    (pages,) = execute("PRAGMA page_count").fetchone()
    execute(f"PRAGMA max_page_count = {pages}")
    return lambda: execute("PRAGMA max_page_count = 1000000")


def break_commits(shop: KeptShop) -> Callable[[], object]:
    """Let transactions fail when they are committed, and not before; return what mends them."""
    execute = shop.store._database.execute
    for statement in (
        "PRAGMA foreign_keys = ON",
        "CREATE TABLE debt (owed INTEGER REFERENCES queue (number) DEFERRABLE INITIALLY DEFERRED)",
        "CREATE TRIGGER owe AFTER INSERT ON message BEGIN INSERT INTO debt VALUES (999); END",
    ):
        execute(statement)
    return lambda: execute("DROP TRIGGER owe")


def forbid_writing(shop: KeptShop) -> Callable[[], object]:
    execute = shop.store._database.execute
    execute("PRAGMA query_only = ON")
    return lambda: execute("PRAGMA query_only = OFF")


FAILURES = [limit_pages, break_commits, forbid_writing]


def test_what_can_be_saved_of_a_damaged_file_is_said(shop: KeptShop) -> None:
    shop.send(shop.queue(), "one", "two", "three")
    shop.store.close()
    database = sqlite3.connect(shop.store.path)
    database.execute("UPDATE queue SET facts = '{'")
    database.commit()
    database.close()

    with pytest.raises(ConfigurationError) as raised, closing(Store(shop.store.path)) as store:
        store.load(Account())

    assert "1 queue, 0 topics, 3 messages can still be read" in str(raised.value)
    assert f"sqlite3 {shop.store.path} .recover" in str(raised.value)


def test_facts_nested_too_deep_to_be_read_are_damage(shop: KeptShop) -> None:
    shop.send(shop.queue(), "a body")
    shop.store.close()
    database = sqlite3.connect(shop.store.path)
    database.execute("UPDATE queue SET facts = ?", ("[" * 100_000,))
    database.commit()
    database.close()

    with pytest.raises(ConfigurationError, match="it is damaged"), closing(Store(shop.store.path)) as store:
        store.load(Account())


def test_whatever_damages_a_file_it_is_said_or_read(shop: KeptShop, tmp_path: Path) -> None:
    shop.send(shop.queue(), *(f"body {number}" + "x" * 200 for number in range(40)))
    shop.store.close()
    sound, chance, opened = shop.store.path.read_bytes(), random.Random(11), 0

    for number in range(300):
        damaged = bytearray(sound)
        for _ in range(chance.choice((1, 5, 50))):
            place = chance.randrange(len(damaged))
            damaged[place : place + chance.choice((1, 4, 30))] = chance.randbytes(chance.choice((1, 4, 30)))
        path = tmp_path / f"damaged-{number}.db"
        path.write_bytes(damaged)
        # Any other error is one too many.
        with suppress(ConfigurationError), closing(Store(path)) as store:
            store.load(Account(clock=shop.clock))
            opened += 1

    assert 10 < opened < 200


def test_a_data_file_is_for_its_owner_s_eyes(tmp_path: Path) -> None:
    with closing(Store(tmp_path / "queue.db")) as store:
        account = Account()
        store.load(account)
        SqsClient(account).create_queue(QueueName="orders")

        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}

    assert modes == dict.fromkeys(modes, 0o600)
    assert "queue.db-wal" in modes


@pytest.mark.parametrize("fail", FAILURES)
def test_what_cannot_be_written_is_not_answered(shop: KeptShop, fail: Callable[[KeptShop], object]) -> None:
    url = shop.queue()
    shop.send(url, "before")
    before = picture(shop.account)
    fail(shop)

    with pytest.raises(ClientError, match=r"InternalFailure.*The data file could not be written") as raised:
        shop.send(url, "x" * 100_000)
    shop.kill()

    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
    assert picture(shop.account) == before


@pytest.mark.parametrize("fail", FAILURES)
def test_the_next_call_writes_what_is_missing(shop: KeptShop, fail: Callable[[KeptShop], Callable[[], object]]) -> None:
    url, fifo_url = shop.queue(), shop.fifo_queue()
    arn = shop.sns.create_topic(Name="news.fifo", Attributes={"FifoTopic": "true"})["TopicArn"]
    publication = {"TopicArn": arn, "MessageGroupId": "g", "MessageDeduplicationId": "1"}
    shop.send(url, "received", "deleted")
    gone, _ = shop.receive(url)
    mend = fail(shop)

    for change in (
        lambda: shop.send(fifo_url, "x" * 100_000, MessageGroupId="g"),
        lambda: shop.delete(url, gone),
        lambda: shop.sns.publish(**publication, Message="x"),
        lambda: shop.sqs.tag_queue(QueueUrl=url, Tags={"a": "b"}),
        lambda: shop.sqs.list_queues(),
    ):
        with pytest.raises(ClientError, match="InternalFailure"):
            change()
    mend()
    shop.sqs.list_queues()
    expected = picture(shop.account)
    shop.kill()

    assert picture(shop.account) == expected
    assert shop.counts(fifo_url) == (1, 0, 0)
    assert shop.counts(url) == (0, 1, 0)


def test_a_queue_that_came_and_went_while_nothing_could_be_written_is_gone(shop: KeptShop) -> None:
    mend = forbid_writing(shop)
    with pytest.raises(ClientError, match="InternalFailure"):
        shop.queue()
    with pytest.raises(ClientError, match="InternalFailure"):
        shop.sqs.delete_queue(QueueUrl=shop.account.queue_url("orders"))
    mend()

    shop.advance(60)
    url = shop.queue()
    shop.send(url, "a")
    shop.kill()

    assert shop.bodies(url) == ["a"]
    assert shop.rows_left() == {"queue": 1, "message": 1, "delivery": 1}


def test_a_long_poll_is_not_answered_what_could_not_be_written(shop: KeptShop) -> None:
    url = shop.queue()
    outcomes: list[object] = []

    def wait() -> None:
        try:
            outcomes.append(shop.receive(url, WaitTimeSeconds=20))
        except ClientError as error:
            outcomes.append(error.response["Error"]["Code"])

    poller = threading.Thread(target=wait)
    poller.start()
    with shop.account.changed:
        assert shop.account.changed.wait_for(lambda: len(shop.account.polls), timeout=PATIENCE)
    forbid_writing(shop)

    with pytest.raises(ClientError, match="InternalFailure"):
        shop.send(url, "a")
    poller.join(timeout=PATIENCE)

    assert outcomes == ["InternalFailure"]


def test_a_long_poll_over_http_is_not_answered_what_could_not_be_written(shop: KeptShop) -> None:
    url = shop.queue()

    with Server(shop.account) as server, Wire(server.url) as poll:
        poll.poll(url)
        with shop.account.changed:
            assert shop.account.changed.wait_for(lambda: len(shop.account.polls), timeout=PATIENCE)
        forbid_writing(shop)
        with pytest.raises(ClientError, match="InternalFailure"):
            shop.send(url, "a")
        answer = poll.answer()

    assert (answer.status, answer.json["__type"].rpartition("#")[2]) == (500, "InternalFailure")


def test_over_http_it_is_an_error_of_the_server(shop: KeptShop) -> None:
    url = shop.queue()
    mend = forbid_writing(shop)

    with Server(shop.account) as server, clients(server.url) as (sqs, sns):
        changes: list[Callable[[], object]] = [
            lambda: sqs.send_message(QueueUrl=url, MessageBody="a"),
            lambda: sns.create_topic(Name="news"),
        ]
        for change in changes:
            with pytest.raises(ClientError) as raised:
                change()
            assert raised.value.response["Error"]["Code"] == "InternalFailure"
            assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
        mend()
        sqs.list_queues()
    shop.kill()

    assert shop.bodies(url) == ["a"]
    assert len(shop.account.topics) == 1


def test_what_was_written_is_not_written_again(shop: KeptShop) -> None:
    url = shop.fifo_queue()
    arn = shop.sns.create_topic(Name="news.fifo", Attributes={"FifoTopic": "true"})["TopicArn"]

    for number in "123":
        shop.send(url, number, MessageGroupId="g")
        shop.sns.publish(TopicArn=arn, Message="x", MessageGroupId="g", MessageDeduplicationId=number)

    assert shop.rows_left() == {"queue": 1, "topic": 1, "message": 3, "recent": 6}


def test_five_minutes_after_all_was_deleted_nothing_is_left(shop: KeptShop) -> None:
    url, fifo_url = shop.queue(), shop.fifo_queue()
    arn = shop.sns.create_topic(Name="news.fifo", Attributes={"FifoTopic": "true"})["TopicArn"]
    shop.send(url, "a", "b", "c", DelaySeconds=1)
    shop.send(fifo_url, "a", "b", "c", MessageGroupId="g")
    shop.sns.publish(TopicArn=arn, Message="x", MessageGroupId="g", MessageDeduplicationId="1")
    shop.advance(1)
    shop.receive(url, 2)
    for message in shop.receive(fifo_url, ReceiveRequestAttemptId="attempt"):
        shop.delete(fifo_url, message)
    shop.sqs.purge_queue(QueueUrl=url)
    before = shop.rows_left()

    shop.advance(300)
    shop.sqs.tag_queue(QueueUrl=url, Tags={"a": "b"})
    after = shop.rows_left()
    for each in (url, fifo_url):
        shop.sqs.delete_queue(QueueUrl=each)
    shop.sns.delete_topic(TopicArn=arn)

    assert before == {"queue": 2, "topic": 1, "recent": 5}
    assert after == {"queue": 2, "topic": 1}
    assert shop.rows_left() == {}


def test_what_is_too_old_is_deleted_from_the_file(shop: KeptShop) -> None:
    url = shop.queue(MessageRetentionPeriod="60")
    shop.send(url, "received", "waiting")
    shop.receive(url, 1)
    shop.advance(60)
    shop.counts(url)

    assert shop.rows_left() == {"queue": 1}


def log_size(shop: KeptShop) -> int:
    return Path(f"{shop.store.path}-wal").stat().st_size


def test_the_log_does_not_grow_without_bound(shop: KeptShop) -> None:
    url = shop.queue()
    sizes = []

    for _ in range(300):
        shop.send(url, *("x" * 10_000 for _ in range(3)))
        for message in shop.receive(url):
            shop.delete(url, message)
        sizes.append(log_size(shop))

    assert max(sizes) < 6_000_000


def test_the_log_shrinks_after_a_large_transaction(shop: KeptShop) -> None:
    url = shop.queue()
    with shop.account.turn():
        for _ in range(24):
            SERVICES["sqs"]["SendMessage"](shop.account, {"QueueUrl": url, "MessageBody": "x" * 1_000_000})
    large = log_size(shop)

    shop.send(url, "a", "b")

    assert large > 20_000_000
    assert log_size(shop) <= 16 * 1024 * 1024
