"""What the torture does to a store is an outage, for other processes as well, and heals."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from megaflow import Claim, ConfigurationError, SqliteStore
from tests.torture.chaos import STORE_ACTS, Act
from tests.torture.ledger import Ledger, What, read_entries
from tests.torture.processes import ROOT
from tests.torture.settings import without_aws
from tests.torture.stores import StoreFaults

USER = """
import sys
from megaflow.stores import sqlite
sqlite._BUSY_TIMEOUT = 0.05
store = sqlite.SqliteStore(sys.argv[1])
def tell(do):
    try:
        do()
    except Exception as error:
        return type(error).__name__
    return "fine"
print("ready", flush=True)
for _ in sys.stdin:
    print(tell(lambda: store.claim("key", "me", 60.0)), tell(store.check), flush=True)
"""


class User:
    """A process that uses the store, and has done so before."""

    def __init__(self, path: Path) -> None:
        command = [sys.executable, "-c", USER, str(path)]
        self._popen = subprocess.Popen(
            command, cwd=ROOT, env=without_aws(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._read() == "ready"
        assert self.use() == "fine fine"
        self.pid = self._popen.pid

    def use(self) -> str:
        """Use the store, let it be checked, and return what came of both."""
        assert self._popen.stdin is not None
        self._popen.stdin.write("\n")
        self._popen.stdin.flush()
        return self._read()

    def close(self) -> None:
        self._popen.communicate()

    def _read(self) -> str:
        assert self._popen.stdout is not None
        return self._popen.stdout.readline().strip()


@pytest.fixture
def faults(tmp_path: Path) -> Iterator[StoreFaults]:
    ledger = Ledger(tmp_path / "ledger")
    faults = StoreFaults(tmp_path / "store", "standard", ledger)
    faults.make()
    yield faults
    faults.heal()
    ledger.close()


@pytest.fixture
def user(faults: StoreFaults) -> Iterator[User]:
    user = User(faults.path)
    yield user
    user.close()


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (Act.LOCK_STORE, "OperationalError OperationalError"),
        (Act.MOVE_STORE, "OperationalError ConfigurationError"),
        (Act.FAIL_DISK, "OperationalError ConfigurationError"),
    ],
)
def test_what_befalls_a_store_is_an_outage_until_it_heals(faults: StoreFaults, user: User, act: Act, said: str) -> None:
    assert faults.harm(act, 60.0, [user.pid])
    faults.tick()

    assert user.use() == said
    assert faults.is_harmed

    faults.heal()
    assert user.use() == "fine fine"
    assert faults.healed_at > 0


@pytest.mark.long
def test_nobody_can_read_a_store_that_is_shut(faults: StoreFaults, user: User) -> None:
    """SQLite waits ten seconds for each, whatever it is told."""
    assert faults.harm(Act.SHUT_STORE, 60.0, [])

    assert user.use() == "OperationalError OperationalError"

    faults.heal()
    assert user.use() == "fine fine"


def test_a_store_that_was_moved_away_comes_back_with_all_it_knew(faults: StoreFaults) -> None:
    with SqliteStore(faults.path) as store:
        store.complete("key", "me", 60.0)

    assert faults.harm(Act.MOVE_STORE, 0.0, [])
    with pytest.raises(ConfigurationError, match="there is no folder"):
        SqliteStore(faults.path).check()
    faults.tick()

    with SqliteStore(faults.path) as store:
        assert store.claim("key", "another", 60.0) is Claim.DONE


def test_one_thing_befalls_a_store_at_a_time(faults: StoreFaults) -> None:
    assert faults.harm(Act.LOCK_STORE, 60.0, [])

    assert [faults.harm(act, 60.0, []) for act in STORE_ACTS] == [False] * len(STORE_ACTS)


def test_a_process_that_has_ended_needs_no_disk(faults: StoreFaults, user: User) -> None:
    user.close()

    assert faults.harm(Act.FAIL_DISK, 0.0, [user.pid])
    faults.tick()

    assert not faults.is_harmed


def test_the_ledger_says_who_could_not_write_and_until_when(faults: StoreFaults, tmp_path: Path) -> None:
    faults.harm(Act.LOCK_STORE, 60.0, [1, 2])
    faults.heal()

    noted = [(entry.what, entry.pid, entry.queue) for entry in read_entries(tmp_path / "ledger")]
    assert noted == [(what, pid, "standard") for what in (What.OUT, What.HEALED) for pid in (1, 2)]
