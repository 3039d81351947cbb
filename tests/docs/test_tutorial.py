"""The tutorial, done in one folder from its first page to its last, as who reads it does it."""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from tests.cli.processes import Process, running_command
from tests.docs.pages import PAGES
from tests.docs.terminals import Terminal, terminal
from tests.docs.test_pages import is_operation
from tests.docs.test_sessions import expect, find_port, mask, read_commands, shell
from tests.waiting import PATIENCE

__all__ = ["shell"]  # a fixture

STEPS: Final = sorted(name for name in PAGES if re.fullmatch(r"docs/tutorial/\d-.*\.md", name))
MARK: Final = re.compile(r"^<!-- (?P<kind>.*?) -->\n(?:```\w+[^\n]*\n(?P<text>.*?)^```$)?", re.MULTILINE | re.DOTALL)
IS_FILE: Final = " is this file"
PORTS: Final = ("4566", "8080")
SERVERS: Final = ("megaflow dev", "megaflow local")
ASKED_AGAIN: Final = ("megaflow stats", "megaflow peek", "python healthy.py")
"""What tells of others, which do their work in their own time; who types takes longer than that."""


class Mark(NamedTuple):
    """What is to be done with a block: its kind, a name after a colon, and the block."""

    kind: str
    name: str
    text: str


def read_marks(page: str) -> Iterator[Mark]:
    for found in MARK.finditer(page):
        kind, _, name = found["kind"].partition(": ")
        yield Mark(kind, name, found["text"] or "")


FILES: Final = {
    mark.kind.removesuffix(IS_FILE): mark.text
    for page in STEPS
    for mark in read_marks(PAGES[page])
    if IS_FILE in mark.kind
}
"""What the folder holds at the end of the tutorial."""


class Desk:
    """A terminal to type into, and others in which something runs until Ctrl-C; *ports* has those that are taken."""

    def __init__(self, typing: Terminal, exits: ExitStack, ports: Mapping[str, str]) -> None:
        self._typing = typing
        self._exits = exits
        self._ports = ports
        self._kept: dict[str, Process] = {}

    def do(self, mark: Mark) -> None:
        text = mark.text
        for written, taken in self._ports.items():
            text = text.replace(written, taken)
        match mark.kind:
            case "run" | "run, and it fails":
                self._run(text, fails=mark.kind != "run")
            case "keep running":
                self._keep(mark.name, text)
            case "kept":
                expect(self._kept[mark.name], read_lines(text))
            case "stop":
                assert self._kept.pop(mark.name).end(signal.SIGINT) == 0
            case _:
                name = mark.kind.removesuffix(IS_FILE)
                assert name != mark.kind, mark
                Path(name).write_text(text)

    def _run(self, text: str, *, fails: bool) -> None:
        *others, last = read_commands(text)
        for command in others:
            self._type(command.line, read_lines("\n".join(command.printed)), fails=False)
        self._type(last.line, read_lines("\n".join(last.printed)), fails=fails)

    def _type(self, line: str, wanted: list[str], *, fails: bool) -> None:
        until = time.monotonic() + (PATIENCE if line.startswith(ASKED_AGAIN) else 0)
        while problem := self._find_problem(line, wanted, fails=fails):
            assert time.monotonic() < until, problem

    def _find_problem(self, line: str, wanted: list[str], *, fails: bool) -> str:
        code, said = self._typing.type(line)
        printed = [mask(each) for each in said]
        missing = [each for each in wanted if each not in printed]
        if not missing and bool(code) == fails:
            return ""
        return f"{line} ended with {code} and without {missing}:\n" + "\n".join(printed)

    def _keep(self, name: str, text: str) -> None:
        *before, last = read_commands(text)
        line = f"exec {last.line}"
        if last.line.startswith(SERVERS):
            line += f" --port {self._ports['4566']}"
        script = "\n".join([*(each.line for each in before), line])
        self._kept[name] = self._exits.enter_context(running_command("bash", "-c", script))
        expect(self._kept[name], read_lines("\n".join(last.printed)))


def read_lines(text: str) -> list[str]:
    """Return the lines that are to be seen, as far as they are the same each time."""
    return [mask(line) for line in text.splitlines() if line.strip() not in {"", "…"}]


@contextmanager
def desk(ports: Mapping[str, str]) -> Iterator[Desk]:
    with ExitStack() as exits:
        yield Desk(exits.enter_context(terminal()), exits, ports)


@pytest.mark.long
@pytest.mark.usefixtures("shell")
def test_the_tutorial_is_as_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(STEPS) == 7
    # Who follows it has megaflow's plugin for pytest, and none of those that the tests here have.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_PLUGINS", "megaflow.testing.plugin")
    ports = {port: str(find_port()) for port in PORTS}

    for name in STEPS:
        with desk(ports) as at:
            for mark in read_marks(PAGES[name]):
                at.do(mark)


def test_the_image_runs_what_the_page_has_tried_and_holds_what_that_imports() -> None:
    image, page = FILES["Dockerfile"], PAGES[STEPS[-1]]
    commands = [" ".join(json.loads(each)) for each in re.findall(r"CMD (\[.*\])", image)]
    [copied] = [line.split()[1:-1] for line in image.splitlines() if line.startswith("COPY")]
    imported = {
        f"{name}.py" for each in copied for name in re.findall(r"^from (\w+) import", FILES[each], re.MULTILINE)
    }

    assert [command for command in commands if f"\n$ {command}" not in page] == []
    assert imported & FILES.keys() <= set(copied)


def test_the_policy_allows_what_there_is_and_what_a_consumer_needs() -> None:
    allowed = read_actions(FILES["policy.json"])
    policies = re.findall(r"^```json\n(.*?)^```$", PAGES["docs/explanation/threat-model.md"], re.MULTILINE | re.DOTALL)
    [consumer] = [policy for policy in policies if "sqs:ReceiveMessage" in policy]

    assert [action for action, _ in sorted(allowed) if not is_operation(*action.split(":"))] == []
    assert read_actions(consumer.replace(":orders", ":shop")) <= allowed


def read_actions(policy: str) -> set[tuple[str, str]]:
    """Return what a policy allows, each action with its resource."""
    statements = json.loads(policy)["Statement"]
    listed = [each | {"Action": [each["Action"]]} if isinstance(each["Action"], str) else each for each in statements]
    return {(action, each["Resource"]) for each in listed for action in each["Action"]}
