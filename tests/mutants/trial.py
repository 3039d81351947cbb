"""A trial: the tests that reach a mutant's line, run on a copy of the project in which it stands."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from tests import examples
from tests.mutants import reach
from tests.mutants.mutations import Mutant
from tests.mutants.reached import Reached

ROOT: Final = Path(__file__).parents[2]
_COPIED: Final = ("megaflow", "tests", "samples", "docs", "benchmarks", "pyproject.toml", "README.md", "CHANGELOG.md")
_TESTS: Final = (
    "tests/consumer",
    "tests/processing",
    "tests/verdicts",
    "tests/stores",
    "tests/handlers",
    "tests/runtime",
    "tests/simulation",
    "tests/bugs",
    "tests/test_guarantees.py",
    "tests/test_main_job.py",
    "tests/test_app.py",
)
_ENVIRONMENT: Final = {examples.VARIABLE: "all", "HYPOTHESIS_STORAGE_DIRECTORY": "none"}
_FIRST: Final = 80
"""Tests of the first try: those that most mutants die of."""

_PATIENCE: Final = 30.0
"""Seconds beyond four times what the tests take, until a mutant counts as killed because it hangs."""


class Copy:
    """A copy of the project, in which one mutant after another stands."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for name in _COPIED:
            source, target = ROOT / name, folder / name
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)

    def learn_reach(self, folders: Sequence[str], share: tuple[int, int], known: Collection[str]) -> Reached:
        """Run the tests that are not *known*, or a *share* of them, and return what they reach."""
        told, left_out = self._folder / "reach.json", self._folder / "known.json"
        left_out.write_text(json.dumps(list(known)))
        variables = {reach.FOLDERS: json.dumps(folders), reach.SHARE: json.dumps(share), reach.TOLD: str(told)}
        variables[reach.KNOWN] = str(left_out)
        code, said = self._run(["-p", "tests.mutants.reach", "-q", *_TESTS], 3600.0, variables)
        # 0 is that all passed, 1 that some failed, which are left out, and 5 that none is new.
        if code not in (0, 1, 5):
            raise SystemExit(f"the tests cannot be run in a copy:\n{said}")
        return Reached.parse(told.read_text())

    def try_out(self, mutant: Mutant, reached: Reached) -> str:
        """Return the test that notices *mutant*; empty where none does."""
        tests = reached.tests_of(mutant)
        path = self._folder / mutant.path
        source = path.read_bytes()
        path.write_bytes(mutant.apply(source))
        # Written within a second of the other, and perhaps as long, it would not be seen to differ.
        shutil.rmtree(path.parent / "__pycache__", ignore_errors=True)
        try:
            return self._find_killer(tests[:_FIRST], reached) or self._find_killer(tests[_FIRST:], reached)
        finally:
            path.write_bytes(source)
            shutil.rmtree(path.parent / "__pycache__", ignore_errors=True)

    def _find_killer(self, tests: Sequence[str], reached: Reached) -> str:
        if not tests:
            return ""
        names = self._folder / "tests.txt"
        names.write_text("\n".join(tests))
        timeout = _PATIENCE + 4 * sum(reached.seconds[name] for name in tests)
        code, said = self._run(["-x", "-q", "--no-header", f"@{names}"], timeout, {})
        # A process that a mutant ends may exit with 0, too.
        if code == 0 and " passed" in said:
            return ""
        return read_killer(said) or ("hangs" if code is None else f"pytest's exit code {code}")

    def _run(self, arguments: Sequence[str], timeout: float, variables: dict[str, str]) -> tuple[int | None, str]:
        """Run pytest in the copy; return its exit code, None where it was killed, and its output."""
        process = subprocess.Popen(
            [sys.executable, "-m", "pytest", "-p", "no:randomly", *arguments],
            cwd=self._folder,
            env=os.environ | _ENVIRONMENT | {"PYTHONPATH": str(self._folder)} | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            return_code: int | None
            said, _ = process.communicate(timeout=timeout)
            return_code = process.returncode
        except subprocess.TimeoutExpired:
            said, return_code = "", None
        finally:
            _kill_group(process.pid)
            process.wait()
        return return_code, said


def _kill_group(leader: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def read_killer(said: str) -> str:
    """Return the test that pytest *said* to have failed, among what was logged; empty where it said none."""
    failed = re.search(r"^(?:FAILED|ERROR) (tests/\S+)", said, re.MULTILINE)
    return failed[1] if failed else ""
