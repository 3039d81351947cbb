"""Environments say why a client cannot be had, and whether that is a failure."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.foreign.__main__ import main
from tests.foreign.environments import REQUIRED, Environment


@pytest.fixture(autouse=True)
def _not_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(REQUIRED, raising=False)


def unknown(folder: Path) -> Environment:
    return Environment("unknown", ["./no-such-package"], ["python", "--version"], within=folder)


def test_what_is_made_once_is_there_the_next_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = Environment("empty", [], ["python", "--version"], within=tmp_path)

    codes = [main([empty]), main([empty])]

    assert codes == [0, 0]
    assert capsys.readouterr().out == "Installing foreign clients for the tests: empty\n"
    subprocess.run([empty.program("python"), "--version"], check=True)


def test_what_is_asked_for_otherwise_is_made_anew(tmp_path: Path) -> None:
    assert Environment("one", [], ["python", "--version"], within=tmp_path).make()

    assert not Environment("one", ["celery"], ["python", "--version"], within=tmp_path).is_made()


def test_the_reason_is_said_and_the_tests_are_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main([unknown(tmp_path)])

    assert code == 0
    said = capsys.readouterr().out
    assert "./no-such-package cannot be had here, and its tests are skipped: ERROR: " in said
    with pytest.raises(pytest.skip.Exception, match=r"\./no-such-package cannot be had here: ERROR: "):
        unknown(tmp_path).program("python")


def test_what_is_required_is_not_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(REQUIRED, "1")

    assert main([unknown(tmp_path)]) == 1
    with pytest.raises(pytest.fail.Exception, match="cannot be had here"):
        unknown(tmp_path).program("python")


def test_what_does_not_start_cannot_be_had(tmp_path: Path) -> None:
    broken = Environment("broken", [], ["python", "-c", "raise SystemExit('an error: too old')"], within=tmp_path)

    assert not broken.make()

    assert broken.reason() == "an error: too old"


def test_what_nobody_has_installed_yet_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(pytest.skip.Exception, match="`make foreign` has not installed it"):
        Environment("new", [], ["python"], within=tmp_path).program("python")
