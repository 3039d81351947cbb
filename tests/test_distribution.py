"""The distribution goes by one name everywhere, and what is said to install is there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from megaflow.distribution import DISTRIBUTION, describe_missing_extra

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
FOLDERS = ("docs", "samples", "megaflow")
TEXTS = [*ROOT.glob("*.md"), *(each for name in FOLDERS for each in (ROOT / name).rglob("*.[mp][dy]"))]


def test_it_is_what_pyproject_says() -> None:
    assert PROJECT["name"] == DISTRIBUTION


def test_extras_of_extras_are_its_own() -> None:
    names = [re.match(r"[\w-]+", each) for needed in EXTRAS.values() for each in needed]

    assert "megaflow" not in [name[0] for name in names if name]


def test_what_is_said_to_install_is_there() -> None:
    text = "\n".join(path.read_text() for path in TEXTS)
    said = re.findall(r"'([\w.-]+)\[([a-z0-9,]+)\]'", text)

    assert ("megaflow-sqs", "cli,local") in said
    assert {name for name, _ in said} <= {DISTRIBUTION, "."}
    assert {each for _, extras in said for each in extras.split(",")} <= set(EXTRAS)


def test_a_missing_extra_is_said_in_one_sentence_with_an_extra_that_is_there() -> None:
    code = [path.read_text() for path in (ROOT / "megaflow").rglob("*.py")]
    named = {extra for text in code for extra in re.findall(r'describe_missing_extra\([^\n]+, "(\w+)", error\)', text)}

    assert named == {"cli", "local", "prometheus", "provision", "pydantic", "sql"}
    assert named <= set(EXTRAS)
    assert describe_missing_extra("this", "cli", ImportError("no click")) == (
        "this needs the extra cli (no click): pip install 'megaflow-sqs[cli]'"
    )
