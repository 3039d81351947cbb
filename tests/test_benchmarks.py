"""Benchmarks run, and print each figure beside its bar; whether they pass is for a quiet machine."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.long
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="processes are held on one core by Linux alone")
@pytest.mark.parametrize(
    ("name", "figures"),
    [
        ("processes", ["two processes"]),
        ("store", ["a store of eight, no time", "a store of eight, 20 ms"]),
    ],
)
def test_several_processes_are_measured(name: str, figures: list[str]) -> None:
    command = [sys.executable, "-m", "benchmarks.scale", "--quick", "--only", name]

    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=300).stdout

    shown = [line for line in said.splitlines() if " bar " in line]
    if name == "processes" and len(os.sched_getaffinity(0)) < 2:
        assert "left out, as there is one core" in said
        return
    assert len(shown) == len(figures)
    assert all(line.startswith(figure) for line, figure in zip(shown, figures, strict=True)), said


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="what a process holds is read from /proc")
def test_the_start_is_measured() -> None:
    command = [sys.executable, "-m", "benchmarks.start", "--quick"]

    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=300).stdout

    shown = [line.partition("  ")[0] for line in said.splitlines() if " bar " in line]
    assert shown == ["memory", "CPU to 1st message", "time to 1st message", "table, per handler", "with the handler"]
