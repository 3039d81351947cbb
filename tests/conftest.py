"""What tests share: an AWS of our own, reached by real boto3 over real HTTP."""

import gc
import importlib.util
import logging
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from megaflow.telemetry.current import current
from tests.botocore_files import read_once
from tests.examples import examples
from tests.logs import PlainRecords, logging_as_before

# A slow machine is no failure; and CI, which lands changes, tries the same examples each time.
settings.register_profile(
    "megaflow",
    max_examples=examples(100),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize="CI" in os.environ,
)
settings.load_profile("megaflow")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # So it is where the tests were started in the background, and their processes would not hear Ctrl-C either.
    signal.signal(signal.SIGINT, signal.default_int_handler)


read_once()
# Until all tests are collected: there is nothing to free before.
gc.disable()


def pytest_collection_finish() -> None:
    """Let collections of garbage pass over the tests themselves, thousands that all last to the end."""
    gc.collect()
    if sys.version_info < (3, 14):
        # From there on, hypothesis takes what only those refer to for garbage.
        gc.freeze()
    gc.enable()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what is left out where an extra has no wheel for this Python."""
    if importlib.util.find_spec("re2") is None:
        version = ".".join(map(str, sys.version_info[:2]))
        terminalreporter.write_line(
            f"left out: what needs the extra re2 (google-re2 is not installed, Python {version})"
        )


_records = PlainRecords()
logging.getLogger("megaflow").addHandler(_records)


@pytest.fixture(autouse=True)
def plain_records() -> Iterator[None]:
    """Every record of every test has plain values alone: no body can be reached from it."""
    _records.problems.clear()
    yield
    assert not _records.problems


_lasting_modules: set[str] = set()


@pytest.fixture(autouse=True)
def _leave_no_modules(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Forget the modules that a test has made: those of the next one may be called the same."""
    path, made = list(sys.path), str(tmp_path_factory.getbasetemp())
    yield
    for name in set(sys.modules) - _lasting_modules:
        if (getattr(sys.modules[name], "__file__", "") or "").startswith(made):
            del sys.modules[name]
        else:
            _lasting_modules.add(name)
    sys.path[:] = path


@pytest.fixture(autouse=True)
def _leave_no_log_handlers() -> Iterator[None]:
    with logging_as_before():
        yield


@pytest.fixture(autouse=True)
def _leave_no_message() -> Iterator[None]:
    """Let no message be in hand in the next test: a test that drives a processor by itself gives it no context."""
    before = current.get()
    yield
    current.set(before)


ACCOUNT = "424566909325"
"""The account of the queue and the topic in the sqs-mega README."""


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    """The address of moto's server, for account `ACCOUNT`, in a process of its own."""
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.moto_server"],
        env=os.environ | {"MOTO_ACCOUNT_ID": ACCOUNT},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert server.stderr is not None
    found = None
    while found is None:
        line = server.stderr.readline()
        assert line, "moto's server did not start"
        found = re.search(r"http://127\.0\.0\.1:\d+", line)
    # Read on, or the server would wait once the pipe is full of its log.
    reader = threading.Thread(target=server.stderr.read, daemon=True)
    reader.start()
    yield found.group()
    server.kill()
    server.wait()
    reader.join()
    server.stderr.close()
