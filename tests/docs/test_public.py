"""No name is documented that is not public, and none is public that is not documented."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from typing import Any

import click
import pytest

import megaflow
from megaflow.cli.main import COMMANDS, cli
from megaflow.local.__main__ import _parser
from megaflow.telemetry import conventions
from megaflow.telemetry.instruments import INSTRUMENTS
from megaflow.telemetry.otel_metrics import ATTRIBUTES
from tests.docs.pages import PAGES
from tests.docs.public import FIXTURES, MODULES, members_of, modules_with_all, public_classes, public_names

REFERENCE = {name: page for name, page in PAGES.items() if name.startswith("docs/reference/api/")}
DIRECTIVE = re.compile(r"^::: (\S+)$", re.MULTILINE)
DOCUMENTED = [name for page in REFERENCE.values() for name in DIRECTIVE.findall(page)]
PUBLIC = public_names()
CLASSES = public_classes()
SHORT = {name.rpartition(".")[2]: kind for name, kind in reversed(CLASSES.items())}
OTEL_NAMES = {each.otel_name for each in INSTRUMENTS.values()} | {*ATTRIBUTES.values()}
OBJECTS = {"app": megaflow.App, "message": megaflow.Message, "verdict": megaflow.Verdict}


def find(name: str) -> Any:
    """Return what has this dotted name; raise `ImportError` or `AttributeError` where nothing has."""
    if name in MODULES:
        return importlib.import_module(name)
    module, _, attribute = name.rpartition(".")
    return getattr(find(module) if module in PUBLIC else importlib.import_module(module), attribute)


def code_in(page: str) -> Iterator[str]:
    """Give what a page has in backticks within its prose."""
    prose = re.sub(r"^```.*?^```$", "", page, flags=re.MULTILINE | re.DOTALL)
    return (found[1] for found in re.finditer(r"`([^`\n]+)`", prose))


def is_public(name: str) -> bool:
    """Tell whether a dotted name is a public module, a public name in one, or a member of a public class."""
    owner, _, member = name.rpartition(".")
    if name in MODULES or name in PUBLIC or any(module.startswith(f"{name}.") for module in MODULES):
        return True
    return isinstance(PUBLIC.get(owner), type) and has_member(PUBLIC[owner], member)


def has_member(kind: type, name: str) -> bool:
    return name in members_of(kind) or (not name.startswith("_") and hasattr(kind, name))


def test_a_module_that_says_what_is_public_is_public() -> None:
    assert [name for name in modules_with_all() if name not in MODULES] == []


def test_every_public_name_is_documented_once() -> None:
    documented = [find(name) for name in DOCUMENTED if name not in MODULES]
    modules = [name for name in DOCUMENTED if name in MODULES]
    by_module = {name for name in PUBLIC if name.rpartition(".")[0] in modules}

    others = {name: thing for name, thing in PUBLIC.items() if name not in by_module}
    assert [name for name, thing in others.items() if not any(thing is each for each in documented)] == []
    assert [name for name in DOCUMENTED if DOCUMENTED.count(name) > 1] == []


def test_nothing_is_documented_that_is_not_public() -> None:
    assert [name for name in DOCUMENTED if name not in PUBLIC and name not in MODULES and FIXTURES not in name] == []


def test_every_fixture_is_documented() -> None:
    fixtures = {name for name in vars(importlib.import_module(FIXTURES)) if name.startswith("megaflow_")}

    assert {name.rpartition(".")[2] for name in DOCUMENTED if FIXTURES in name} == fixtures


@pytest.mark.parametrize("name", CLASSES)
def test_every_member_of_a_public_class_has_a_docstring(name: str) -> None:
    assert [member for member, text in members_of(CLASSES[name]).items() if not text] == []


def test_every_public_function_and_class_has_a_docstring() -> None:
    assert [name for name, thing in PUBLIC.items() if callable(thing) and not inspect.getdoc(thing)] == []


def with_arguments() -> Iterator[tuple[str, list[str], set[str]]]:
    """Give the public functions and methods whose docstrings have arguments, with these, and their parameters."""
    for name, thing in PUBLIC.items():
        several = {name: thing}
        if isinstance(thing, type):
            several |= {f"{name}.{each}": getattr(thing, each) for each in members_of(thing) if hasattr(thing, each)}
        for each, what in several.items():
            section = (inspect.getdoc(what) or "").partition("\nArgs:\n")[2].partition("\n\n")[0]
            if callable(what) and section:
                yield each, re.findall(r"^    (\w+):", section, re.MULTILINE), {*inspect.signature(what).parameters}


def test_every_argument_of_a_docstring_is_a_parameter() -> None:
    every = list(with_arguments())

    assert len(every) > 20
    assert [f"{name}: {each}" for name, named, given in every for each in named if each not in given] == []


def test_every_parameter_of_an_app_is_in_its_help() -> None:
    left = {name: given - set(named) for name, named, given in with_arguments()}

    assert left["megaflow.App"] == {"aws"}
    assert left["megaflow.App.run"] == {"self"}
    assert left["megaflow.testing.TestClient"] == set()


def test_every_docstring_is_plain_markdown() -> None:
    # What SQLAlchemy says of its own class is not ours.
    ours = {name: thing for name, thing in PUBLIC.items() if name != "megaflow.sql.metadata"}
    texts = {name: inspect.getdoc(thing) or "" for name, thing in ours.items()}
    texts |= {f"{name}.{member}": text for name in CLASSES for member, text in members_of(CLASSES[name]).items()}

    assert [name for name, text in texts.items() if re.search(r":\w+:`|`_|::$", text, re.MULTILINE)] == []


@pytest.mark.parametrize("name", PAGES)
def test_every_dotted_name_is_public(name: str) -> None:
    named = {each for code in code_in(PAGES[name]) for each in re.findall(r"\bmegaflow(?:\.\w+)+", code)}
    named |= set(re.findall(r"\]\[(megaflow[\w.]*)\]", PAGES[name]))

    named -= {"megaflow.__main__", "megaflow.__version__", "megaflow.json"} | OTEL_NAMES | conventions.ATTRIBUTES.keys()
    assert [each for each in sorted(named) if not is_public(each)] == []


@pytest.mark.parametrize("name", PAGES)
def test_every_member_that_is_named_is_there(name: str) -> None:
    named = [
        found
        for code in code_in(PAGES[name])
        for found in re.findall(r"(?<![\w./-])(\w+)\.(?!(?:py|json)\b)([a-z_]\w*)", code)
    ]
    owned = [(OBJECTS.get(owner) or SHORT.get(owner), owner, member) for owner, member in named]

    assert [f"{owner}.{member}" for kind, owner, member in owned if kind and not has_member(kind, member)] == []


@pytest.mark.parametrize("name", PAGES)
def test_every_module_in_an_import_is_public(name: str) -> None:
    imports = re.findall(r"^\s*from (megaflow[\w.]*) import ([^(\n]+|\([^)]+\))$", PAGES[name], re.MULTILINE)
    named = {f"{module}.{each}" for module, names in imports for each in re.findall(r"\w+", names)}

    assert [each for each in sorted(named) if not is_public(each)] == []


def options_of(name: str) -> set[str]:
    """Return the options of a command."""
    if name == "local":
        parser = _parser("megaflow local")
        return {option for action in parser._actions for option in action.option_strings}
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    return {option for each in command.params for option in (*each.opts, *each.secondary_opts)} | {"--help", "-h"}


OPTIONS = {name: options_of(name) for name in COMMANDS}


@pytest.mark.parametrize("name", PAGES)
def test_every_option_of_a_command_is_there(name: str) -> None:
    calls = re.findall(r"\bmegaflow (?:--debug )?([a-z]+)\b([^\n`|;]*)", PAGES[name])
    given = [(command, option) for command, rest in calls for option in re.findall(r"(?<!\S)--[a-z][a-z-]*", rest)]

    assert [call for call in given if call[0] in OPTIONS and call[1] not in OPTIONS[call[0]]] == []


@pytest.mark.parametrize("name", ["docs/reference/command-line.md", "docs/explanation/dead-letters.md"])
def test_every_option_on_a_page_about_commands_is_there(name: str) -> None:
    every = {"--debug", "--version", "--help"}.union(*OPTIONS.values())

    named = {each for code in code_in(PAGES[name]) for each in re.findall(r"(?<!\S)--[a-z][a-z-]*", code)}

    assert named - every == set()
