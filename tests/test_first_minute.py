"""``make demo`` says what it does, and the three commands that it ends with work as they are shown."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.processes import running_command
from tests.forked import ROOT
from tests.waiting import PATIENCE

SILENT_PYTHON = """#!/bin/sh
# Stands for Python, venv and pip, and says how it was called.
echo "python $*"
if [ "$2" = venv ]; then mkdir -p "$3/bin" && cp "$0" "$3/bin/python"; fi
"""


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout, in which the test is, with room beside it."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    for name in ("Makefile", "pyproject.toml", "samples"):
        (folder / name).symlink_to(ROOT / name)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    # The make that runs these tests has its own words for the one that they run.
    for name in [each for each in os.environ if each.startswith(("AWS_", "MEGAFLOW_", "MAKE"))]:
        monkeypatch.delenv(name)
    return folder


def type_in(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)


def test_each_step_is_said_before_it_is_done(checkout: Path) -> None:
    python = checkout / "python"
    python.write_text(SILENT_PYTHON)
    python.chmod(0o755)

    made = type_in("make", f"PYTHON={python}", "demo")

    assert made.returncode == 0, made.stderr
    lines = made.stdout.splitlines()
    steps = [
        "Step 1 of 2: making the virtual environment .venv",
        "python -m venv .venv",
        "Step 2 of 2: installing megaflow",
        "python -m pip install --disable-pip-version-check --editable .[cli,local,pydantic]",
        "Starting the demo",
        "python samples/demo.py",
        "Three commands to try next",
    ]
    places = [next(at for at, line in enumerate(lines) if line.startswith(step)) for step in steps]
    assert places == sorted(places)
    assert [line for line in lines if line.startswith("  ")] == [
        "  .venv/bin/python samples/01_quickstart.py",
        "  .venv/bin/megaflow dev samples/13_command_line.py",
        "  .venv/bin/megaflow new shop --path ../shop",
    ]


@pytest.mark.long
def test_the_three_commands_to_try_next_work_as_they_are_shown(checkout: Path) -> None:
    venv = sys.prefix
    # This environment stands for the one that make would set up.
    made = type_in("make", f"VENV={venv}", "-o", f"{venv}/.for-demo", "demo")
    assert made.returncode == 0, made.stderr
    assert "every message is accounted for\n" in made.stdout
    quickstart, dev, new = (shlex.split(line) for line in made.stdout.splitlines()[-3:])

    assert "reserving 5 of 61fcc874\n" in type_in(*quickstart).stdout

    assert dev[0] == f"{venv}/bin/megaflow"
    assert os.access(dev[0], os.X_OK)
    # Another test may have the usual port.
    with running_command(*dev, "--port", "0") as process:
        process.wait_for("megaflow redrive 13_command_line-dead")
        assert process.end() == 0

    written = type_in(*new)
    assert written.returncode == 0, written.stderr
    assert (checkout.parent / "shop" / "shop" / "app.py").is_file()
