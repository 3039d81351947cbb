"""The page of the doctor: what it shows is what the command says."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest

from megaflow.cli.main import main
from megaflow.local.server import Server
from megaflow.provision.doctor.checks import CHECKS
from tests.docs.pages import PAGES, ROOT, read_blocks

PAGE = PAGES["docs/how-to/doctor.md"]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [each for each in os.environ if each.startswith(("AWS_", "MEGAFLOW_", "KUBERNETES_", "ECS_"))]:
        monkeypatch.delenv(name)


def test_the_session_of_the_page_is_what_the_command_says(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("shop.py").write_text(next(read_blocks(PAGE)).text)
    (session,) = re.findall(r"^```console\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    typed = [each.partition("\n") for each in session.split("$ ")[1:]]
    assert len(typed) == 4

    with Server() as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        for line, _, shown in typed:
            capfd.readouterr()
            code = main(shlex.split(line)[1:])
            said = capfd.readouterr().out
            assert code == (1 if "error: " in shown else 0)
            assert said == shown or not shown


def test_every_check_names_a_page_that_is_there() -> None:
    assert [check.name for check in CHECKS if not (ROOT / check.page).is_file()] == []


def test_what_a_check_says_is_whole_sentences() -> None:
    for check in CHECKS:
        assert check.cost.endswith("."), check.name
        assert check.remedy.endswith("."), check.name
        assert check.looks_at, check.name
