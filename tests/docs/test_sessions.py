"""What README and docs have done in a terminal, done as they say, with what they say is shown."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile
from typing import NamedTuple, TypeAlias
from unittest import mock

import pytest

from megaflow.cli.main import main
from tests.cli.processes import Process, running
from tests.docs.pages import PAGES
from tests.waiting import PATIENCE

Capture: TypeAlias = pytest.CaptureFixture[str]

SESSIONS = ("README.md", "docs/how-to/dead-letters.md", "docs/reference/command-line.md")
STEP = re.compile(r"<!-- (?P<kind>[^\n]*?) -->\n```(?:console|python)\n(?P<text>.*?)```", re.DOTALL)
ELLIPSIS = "…"
"""Stands for lines that a page leaves out."""

MASKS = {
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}": "<id>",
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(,\d{3})?": "<when>",
    r"\d\d:\d\d:\d\d": "<time>",
    r"[0-9.]+ ms": "<ms>",
    r"in [0-9.]+ s \([0-9,]+/s\)": "<rate>",
    r"\(/\S+/": "(",
    r"(again|passed|failed) in [0-9.]+ ?s": r"\1 in <s>",
    "={3,}": "===",
}


class Command(NamedTuple):
    """A command, and what it is to print."""

    line: str
    printed: list[str]


def mask(line: str) -> str:
    for pattern, name in MASKS.items():
        line = re.sub(pattern, name, line)
    return line.rstrip()


def read_commands(text: str) -> Iterator[Command]:
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        line, *printed = part.splitlines()
        yield Command(line, [mask(each) for each in printed if each != ELLIPSIS])


def find_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of one's own, and the commands of this environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    for name in [each for each in os.environ if each.startswith(("AWS_", "MEGAFLOW_"))]:
        monkeypatch.delenv(name)


def run(command: Command, monkeypatch: pytest.MonkeyPatch, capfd: Capture) -> None:
    """Run it, and expect what it is to print, among whatever else."""
    if found := re.fullmatch(r"export (\w+)=(.*)", command.line):
        monkeypatch.setenv(found[1], found[2])
        return
    # The app handles what was published just now in its own time, and who types takes longer than that.
    until = time.monotonic() + (PATIENCE if command.line.startswith(("megaflow stats", "megaflow peek")) else 0)
    while missing := find_missing(command, capfd):
        assert time.monotonic() < until, missing


def find_missing(command: Command, capfd: Capture) -> str:
    """Run it, and return what it printed if that lacks something."""
    code, out, err = run_here(command.line, capfd) if is_plain(command.line) else run_in_shell(command.line)
    assert code == 0, out + err
    printed = [mask(line) for line in out.splitlines()]
    missing = [line for line in command.printed if line not in printed]
    return f"{missing} not in {out}{err}" if missing else ""


def is_plain(line: str) -> bool:
    """Tell whether it is a command of ours alone, with nothing for the shell to do, and no app to import."""
    unquoted = re.sub("'[^']*'", "", line)
    return re.fullmatch(r"(echo  \| )?megaflow (stats|peek|move|redrive|publish) [^|;&<>$]*", unquoted) is not None


def run_here(line: str, capfd: Capture) -> tuple[int, str, str]:
    """Run the command in this process, which takes a tenth of the time."""
    echo, _, command = line.rpartition(" | ")
    capfd.readouterr()
    with TemporaryFile("w+") as stdin:
        stdin.write("".join(f"{each}\n" for each in shlex.split(echo)[1:]))
        stdin.seek(0)
        with mock.patch("sys.stdin", stdin):
            code = main(shlex.split(command)[1:])
    return code, *capfd.readouterr()


def run_in_shell(line: str) -> tuple[int, str, str]:
    done = subprocess.run(line, shell=True, capture_output=True, text=True, timeout=PATIENCE, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.usefixtures("shell")
@pytest.mark.parametrize("name", SESSIONS)
def test_a_session_is_as_it_is_written(name: str, monkeypatch: pytest.MonkeyPatch, capfd: Capture) -> None:
    steps = [(found["kind"], found["text"]) for found in STEP.finditer(PAGES[name])]
    port = str(find_port())
    kinds = [kind for kind, _ in steps]
    begin = kinds.index("keep running")

    for kind, text in steps[:begin]:
        do(kind, text.replace("4566", port), monkeypatch, capfd)
    [server] = read_commands(steps[begin][1].replace("4566", port))
    with running(*server.line.split()[1:], "--port", port) as process:
        expect(process, server.printed)
        process.wait_for("megaflow redrive ")
        for kind, text in steps[begin + 1 :]:
            if kind == "kept":
                expect(process, [mask(line) for line in text.splitlines() if line != ELLIPSIS])
                continue
            do(kind, text.replace("4566", port), monkeypatch, capfd)


def do(kind: str, text: str, monkeypatch: pytest.MonkeyPatch, capfd: Capture) -> None:
    """Do one step."""
    if found := re.fullmatch(r"(\S+) is this file", kind):
        Path(found[1]).write_text(text)
        return
    assert kind.startswith("run")
    _, _, first = kind.partition(": ")
    for command in [*([Command(first, [])] if first else []), *read_commands(text)]:
        run(command, monkeypatch, capfd)


def expect(process: Process, lines: list[str]) -> None:
    """Wait until the process has said all of *lines*; what two of its threads say may be in either order."""
    missing = list(lines)
    for line in map(mask, process.said):
        if line in missing:
            missing.remove(line)
    while missing:
        line = mask(process.wait_for(""))
        if line in missing:
            missing.remove(line)
