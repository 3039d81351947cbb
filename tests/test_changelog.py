"""The changelog is read by those who upgrade: releases, newest first, with a sentence for each change."""

from __future__ import annotations

import re
from datetime import date
from itertools import pairwise
from pathlib import Path

import megaflow

TEXT = (Path(__file__).parent.parent / "CHANGELOG.md").read_text()
HEAD, *SECTIONS = re.split(r"^## ", TEXT, flags=re.MULTILINE)
TITLES = [section.splitlines()[0] for section in SECTIONS]
RELEASES = [re.fullmatch(r"(\d+)\.(\d+)\.(\d+) \((\d{4}-\d\d-\d\d)\)", title) for title in TITLES[1:]]
KINDS = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]
LONGEST = 200


def test_what_is_not_released_comes_first_and_then_releases_with_their_day() -> None:
    assert TITLES[0] == "Unreleased"
    assert [title for title, release in zip(TITLES[1:], RELEASES, strict=True) if release is None] == []


def test_the_newest_release_comes_first_and_is_the_version() -> None:
    versions = [(tuple(map(int, each.groups()[:3])), date.fromisoformat(each[4])) for each in RELEASES if each]

    assert ".".join(map(str, versions[0][0])) == megaflow.__version__
    assert [pair for pair in pairwise(versions) if not (pair[0][0] > pair[1][0] and pair[0][1] >= pair[1][1])] == []


def test_each_change_is_one_line_of_one_sentence() -> None:
    lines = [line for section in SECTIONS for line in section.splitlines()[1:] if line and line[:4] != "### "]

    assert len(lines) > 50
    assert [line for line in lines if not line.startswith("- ") or not line.endswith(".")] == []
    assert [line for line in lines if re.search(r"[a-z`)]\. [A-Z]", line)] == []
    assert [line for line in lines if len(line) > LONGEST] == []
    assert len(set(lines)) == len(lines)


def test_changes_are_grouped_in_one_order() -> None:
    for section in SECTIONS:
        kinds = re.findall(r"^### (.*)$", section, re.MULTILINE)

        assert kinds == [kind for kind in KINDS if kind in kinds], section.splitlines()[0]
        assert len(re.split(r"^### .*\n+- ", section, flags=re.MULTILINE)) == len(kinds) + 1, "a group is empty"
