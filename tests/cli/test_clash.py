"""Another distribution named megaflow beside megaflow-sqs: it is noticed, and what is said to type helps."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import megaflow
from tests.cli.installed import (
    ROOT,
    install,
    install_editable,
    install_needed,
    make_ours,
    make_theirs,
    make_wheel,
    uninstall,
)
from tests.waiting import PATIENCE

VERSION = megaflow.__version__
FORCED = "pip install --force-reinstall --no-deps"
REINSTALL = f"{FORCED} megaflow-sqs=={VERSION}"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder for packages, with those that the command needs."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    install_needed(folder)
    return folder


def start(*path: Path, arguments: tuple[str, ...] = ("-m", "megaflow", "--version")) -> tuple[int, str, list[str]]:
    """Start the command with *path* and no other packages; return its exit code, its output and the lines it said."""
    known = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(map(str, path))}
    done = subprocess.run(
        [sys.executable, "-S", *arguments], env=known, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    return done.returncode, done.stdout, done.stderr.splitlines()


RUNS = (0, f"megaflow-sqs {VERSION}\n")


def test_alone_it_says_nothing_and_reads_no_metadata(site: Path, tmp_path: Path) -> None:
    install(site, make_ours(tmp_path))
    install(site, make_wheel(tmp_path, "megaflow-plugin", "1.0", {"megaflow_plugin.py": b""}))

    *ran, said = start(tmp_path / "nowhere", site)
    *_, imported = start(site, arguments=("-X", "importtime", "-m", "megaflow", "--version"))

    assert (*ran, said) == (*RUNS, [])
    names = {line.rpartition("|")[2].strip() for line in imported}
    assert "megaflow.cli.main" in names
    assert names.isdisjoint({"importlib.metadata", "megaflow.cli.clash"})


def test_one_that_overwrote_files_of_ours_stops_the_command(site: Path, tmp_path: Path) -> None:
    install(site, make_ours(tmp_path))
    install(site, make_theirs(tmp_path))

    code, printed, (found, harm, remedy) = start(site)

    assert (code, printed) == (2, "")
    assert f"the distribution megaflow ({site}/megaflow-0.1.2.dist-info) is another project's" in found
    assert harm == (
        f"megaflow: megaflow/__init__.py of megaflow-sqs in {site} is overwritten or missing, so nothing is run"
    )
    assert remedy == f"megaflow: type: pip uninstall --yes megaflow && {REINSTALL}"


def test_one_that_ours_overwrote_is_said_and_the_command_runs(site: Path, tmp_path: Path) -> None:
    install(site, make_theirs(tmp_path))
    install(site, make_ours(tmp_path))

    *ran, (found, remedy) = start(site)

    assert tuple(ran) == RUNS
    assert found.endswith("takes some with it when it is uninstalled")
    assert remedy == f"megaflow: type: pip uninstall --yes megaflow && {REINSTALL}"


def test_what_another_took_with_it_is_said(site: Path, tmp_path: Path) -> None:
    install(site, make_theirs(tmp_path))
    install(site, make_ours(tmp_path))
    uninstall(site, "megaflow-0.1.2")

    code, printed, (harm, remedy) = start(site)

    assert (code, printed) == (2, "")
    assert "megaflow/__init__.py of megaflow-sqs" in harm
    assert remedy == f"megaflow: type: {REINSTALL}"


def test_one_in_another_folder_is_said_once_and_harms_nothing(site: Path, tmp_path: Path) -> None:
    other, same = tmp_path / "other", tmp_path / "same"
    install(site, make_ours(tmp_path))
    install(other, make_theirs(tmp_path))
    same.symlink_to(other)

    *ran, said = start(site, other, same)

    assert tuple(ran) == RUNS
    assert [line for line in said if "another project's" in line] == [said[0]]
    assert str(other) in said[0]


def test_a_checkout_beside_packages_of_which_one_is_harmed_runs(site: Path, tmp_path: Path) -> None:
    install(site, make_ours(tmp_path))
    install(site, make_theirs(tmp_path))

    *ran, said = start(ROOT, site)

    assert tuple(ran) == RUNS
    assert len(said) == 2


def test_a_checkout_that_was_installed_before_the_name_changed(site: Path, tmp_path: Path) -> None:
    install_editable(site, "megaflow", "0.1.0", tmp_path / "my work")

    *ran, (found, remedy) = start(ROOT, site)

    assert tuple(ran) == RUNS
    assert "is this project under its earlier name" in found
    assert remedy == f"megaflow: type: pip uninstall --yes megaflow && pip install --editable '{tmp_path}/my work'"


def test_a_checkout_that_was_installed_under_both_names(site: Path) -> None:
    install_editable(site, "megaflow", "0.1.0", ROOT)
    install_editable(site, "megaflow-sqs", VERSION, ROOT)

    *ran, (_, remedy) = start(ROOT, site)

    assert tuple(ran) == RUNS
    assert remedy == f"megaflow: type: pip uninstall --yes megaflow && {FORCED} --editable {ROOT}"


@pytest.mark.parametrize("name", ["megaflow.egg-info", "megaflow-0.1.2-py3.11.egg-info", "Megaflow-0.1.dist-info"])
def test_old_kinds_of_metadata_are_known_and_may_be_empty(site: Path, name: str) -> None:
    (site / name).mkdir()

    *ran, (found, remedy) = start(ROOT, site)

    assert tuple(ran) == RUNS
    assert f"({site / name})" in found
    assert remedy == "megaflow: type: pip uninstall --yes megaflow && pip install megaflow-sqs"


def test_a_library_that_imports_megaflow_is_told_nothing(site: Path, tmp_path: Path) -> None:
    install(site, make_theirs(tmp_path))
    install(site, make_ours(tmp_path))
    program = "import sys, megaflow.app; print('importlib.metadata' in sys.modules, 'megaflow.cli' in sys.modules)"

    assert start(site, arguments=("-c", program)) == (0, "False False\n", [])


@pytest.mark.long
def test_what_it_says_to_type_helps(tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True, timeout=PATIENCE)
    site = next(venv.glob("lib/*/site-packages"))
    install_needed(site)
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    ours, theirs = make_ours(wheels), make_theirs(wheels)
    pip = f"{sys.executable} -m pip --quiet --disable-pip-version-check --python {venv}/bin/python"
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels), "PIP_CONFIG_FILE": os.devnull}

    def shell(line: str) -> subprocess.CompletedProcess[str]:
        known = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON"))}
        return subprocess.run(
            line, shell=True, env=known | offline, capture_output=True, text=True, timeout=PATIENCE, check=False
        )

    installed = shell(f"{pip} install --no-deps {ours} && {pip} install {theirs}")
    refused = shell(f"{venv}/bin/megaflow --version")
    typed = refused.stderr.partition("type: ")[2].strip()
    mended = shell(typed.replace("pip ", f"{pip} "))
    after = shell(f"{venv}/bin/megaflow --version")

    assert installed.returncode == 0, installed.stderr
    assert refused.returncode == 2, refused.stderr
    assert mended.returncode == 0, mended.stderr
    assert (after.returncode, after.stdout, after.stderr) == (*RUNS, "")
