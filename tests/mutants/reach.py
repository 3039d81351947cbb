"""Reach: which test runs which line, as coverage sees it; a plugin of pytest's that a process of its own loads."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FOLDERS = "MUTANTS_FOLDERS"
"""The variable that names the files and folders of the code, in JSON."""

SHARE = "MUTANTS_SHARE"
"""The variable that says which of the tests are run: every second, say, from the first on, as ``[0, 2]``."""

KNOWN = "MUTANTS_KNOWN"
"""The variable that names the file with the tests of which it is known: they are not run."""

TOLD = "MUTANTS_TOLD"
"""The variable that names the file for what is found."""


class Reach:
    """Notes for each test the lines it reaches and the seconds it takes."""

    def __init__(self) -> None:
        # Here, and not above: what only the mutants need, the tests go without.
        from coverage import Coverage

        self._told = Path(os.environ[TOLD])
        self._known = frozenset(json.loads(Path(os.environ[KNOWN]).read_text()))
        self._first, self._step = json.loads(os.environ[SHARE])
        include = [f"{name}/*" if Path(name).is_dir() else name for name in json.loads(os.environ[FOLDERS])]
        self._coverage = Coverage(data_file=f"{self._told}.coverage", config_file=False, include=include)
        self._coverage.erase()
        self._coverage.start()
        self._seconds: dict[str, float] = {}
        self._failed: set[str] = set()

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if item.nodeid not in self._known][self._first :: self._step]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._coverage.switch_context(item.nodeid)
        return (yield)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds[report.nodeid] = self._seconds.get(report.nodeid, 0.0) + report.duration
        if not report.passed:
            self._failed.add(report.nodeid)

    def pytest_unconfigure(self) -> None:
        self._coverage.stop()
        data = self._coverage.get_data()
        lines: dict[str, dict[int, list[str]]] = {
            str(Path(name).relative_to(Path.cwd())): data.contexts_by_lineno(name) for name in data.measured_files()
        }
        seconds = {name: spent for name, spent in self._seconds.items() if name not in self._failed}
        self._told.write_text(json.dumps({"seconds": seconds, "lines": lines}))


def pytest_configure(config: Any) -> None:
    config.pluginmanager.register(Reach())
