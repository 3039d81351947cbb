"""``megaflow new``: the project passes its own tests at once; nothing is overwritten, nothing is left half-written."""

from __future__ import annotations

import os
import resource
import shlex
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

import megaflow
from megaflow.cli.new import FILES
from megaflow.local.server import Server
from tests import forked
from tests.cli.conftest import Run
from tests.cli.processes import running
from tests.forked import ROOT
from tests.waiting import PATIENCE

BIN = Path(sys.executable).parent
README_COMMANDS = [
    "megaflow handlers my_shop.app:app",
    "megaflow publish --queue my_shop-app events/order_placed.json",
    "megaflow stats my_shop-app",
    "megaflow run my_shop.app:app --queue-url my_shop-app",
    "megaflow dev my_shop.app:app",
]
LONGEST = "a" * 40


def _do(*arguments: str, folder: Path, file_size: int = resource.RLIM_INFINITY) -> subprocess.CompletedProcess[str]:
    """Run a module of Python's in *folder*, where no file can have more than *file_size* bytes."""
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size)),
    )


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new project, in a folder of its own."""
    folder = tmp_path_factory.mktemp("projects")
    ran = _do("megaflow", "new", "my-shop", folder=folder)
    assert ran.returncode == 0, ran.stderr
    return folder / "my-shop"


def test_it_says_what_it_has_written_and_what_to_type_next(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(BIN), prepend=os.pathsep)

    ran = run("new", "my-shop")

    assert ran.code == 0
    heading, *files, next_, install, test, dev = ran.out.splitlines()
    assert heading == "The project my-shop is written:"
    there = [str(path) for path in Path("my-shop").rglob("*") if path.is_file()]
    assert sorted(each.strip() for each in files) == sorted(there)
    assert [each.strip() for each in (next_, install, test, dev)] == [
        "Next:",
        "cd my-shop && python -m pip install --editable '.[dev]'",
        "python -m pytest",
        "megaflow dev my_shop.app:app",
    ]


def test_where_the_environment_is_not_active_the_commands_name_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")

    ran = run("new", "shop", "--path", "my projects")

    bin_ = shlex.quote(str(BIN))
    assert ran.out.splitlines()[-3:] == [
        f"  cd 'my projects' && {bin_}/python -m pip install --editable '.[dev]'",
        f"  {bin_}/python -m pytest",
        f"  {bin_}/megaflow dev shop.app:app",
    ]


def test_where_uv_has_made_the_environment_it_installs(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(BIN), prepend=os.pathsep)
    monkeypatch.setattr("megaflow.cli.new.find_spec", {"pip": None}.get)

    ran = run("new", "shop")

    assert "  cd shop && uv pip install --python python --editable '.[dev]'\n" in ran.out


def test_it_passes_its_own_tests_at_once(shop: Path) -> None:
    ran = _do("pytest", "-p", "no:cacheprovider", folder=shop)

    assert "7 passed" in ran.stdout, ran.stdout + ran.stderr
    assert ran.returncode == 0


def test_its_tests_notice_a_handler_that_is_wrong(run: Run) -> None:
    run("new", "shop")
    app = Path("shop/shop/app.py")
    app.write_text(app.read_text().replace("-attributes.quantity", "attributes.quantity"))

    ran = _do("pytest", "-p", "no:cacheprovider", folder=Path("shop"))

    assert ran.returncode == 1
    # The plugin says which handlers the messages reached.
    assert "shop.app.reserve: matched" in ran.stdout


@pytest.mark.skipif(not find_spec("mypy"), reason="mypy is not installed")
def test_its_types_are_strict(shop: Path) -> None:
    ran = _do("mypy", "--strict", "--cache-dir", os.devnull, folder=shop)

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "no issues found in 4 source files" in ran.stdout


@pytest.mark.skipif(not find_spec("ruff"), reason="ruff is not installed")
@pytest.mark.parametrize("name", ["a", "my-shop", LONGEST])
def test_it_is_in_style_whatever_its_name(run: Run, name: str) -> None:
    run("new", name, "--path", "here")

    for command in (["check"], ["check", "--select", "I"], ["format", "--check"]):
        ran = _do("ruff", *command, "--no-cache", folder=Path("here"))
        assert ran.returncode == 0, ran.stdout + ran.stderr


def test_it_needs_what_megaflow_has(shop: Path) -> None:
    project = tomllib.loads((shop / "pyproject.toml").read_text())["project"]
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]

    assert project["name"] == "my-shop"
    assert project["dependencies"] == [f"megaflow-sqs[cli,pydantic]>={megaflow.__version__}"]
    assert "megaflow-sqs[local]" in project["optional-dependencies"]["dev"]
    assert {"cli", "pydantic", "local"} <= set(extras)


def test_nothing_is_odd_about_its_handlers(shop: Path) -> None:
    ran = forked.run("-m", "megaflow", "handlers", "my_shop.app:app", cwd=shop, timeout=PATIENCE)

    assert ran.returncode == 0, ran.stderr
    assert [line.split()[0] for line in ran.stdout.splitlines()] == [
        "handler",
        "my_shop.app.reserve",
        "my_shop.app.put_away",
    ]


@pytest.mark.parametrize("command", README_COMMANDS)
def test_its_readme_has_the_commands_that_these_tests_run(shop: Path, command: str) -> None:
    assert command in (shop / "README.md").read_text().splitlines()


def test_dev_runs_it_and_a_second_consumer_beside_it(shop: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shop)
    _, publish, stats, consume, dev = (command.split()[1:] for command in README_COMMANDS)
    with running(*dev, "--port", "0") as process:
        monkeypatch.setenv("AWS_ENDPOINT_URL", process.wait_for("AWS_ENDPOINT_URL=").split("=")[1])
        process.wait_for("megaflow redrive my_shop-app-dead")

        assert run(*publish).code == 0
        process.wait_for(r"deleted  my_shop\.app\.reserve DONE")
        assert run(*stats).code == 0
        with running(*consume) as second:
            second.wait_for("consuming http")
            assert second.end() == 0
        assert process.end() == 0
    assert not [line for line in process.said if "warning" in line.lower()]


def test_run_processes_an_event(
    shop: Path, server: Server, run: Run, orders: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shop)
    assert run("publish", "--queue", "orders", "events/order_placed.json").code == 0

    with running("run", "my_shop.app:app", "--queue-url", "orders") as process:
        process.wait_for(r"deleted \(my_shop\.app\.reserve: DONE\)")

        assert process.end() == 0


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("1shop", "take ASCII letters, digits, - and _"),
        ("shop-", "a letter or a digit last"),
        ("_shop", "a letter first"),
        ("größe", "ASCII letters"),
        ("my shop", "ASCII letters"),
        ("projects/shop", "--path says which folder it is in"),
        ("..", "--path says which folder it is in"),
        ("", "ASCII letters"),
        (LONGEST + "a", "has 41 characters, and a project's name at most 40"),
        ("class", "class is a keyword of Python"),
        ("queue", "queue is a module of Python's standard library"),
        ("Queue", "Queue is a module of Python's standard library"),
        ("async-io", None),
        ("match", None),
        ("tests", "tests means something else to the tools of a project"),
        ("megaflow-sqs", "megaflow_sqs means something else to the tools of a project"),
        ("megaflow", "megaflow ("),
        ("boto3", "is installed here; take another one"),
        ("python-dateutil", "the distribution python-dateutil is installed here"),
    ],
)
def test_a_name_is_checked(run: Run, name: str, said: str | None) -> None:
    ran = run("new", "--path", "here", "--", name)

    if said is None:
        assert ran.code == 0
        return
    assert ran.code == 2
    assert ran.err.startswith(f"megaflow: {name!r} ")
    assert said in ran.err
    assert ran.err.count("\n") == 1
    assert not Path("here").exists()


def test_what_is_in_this_folder_is_not_installed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("shop.py").touch()
    monkeypatch.syspath_prepend(str(Path.cwd()))

    assert run("new", "shop").code == 0


def test_a_folder_that_is_not_empty_stays_as_it_is(run: Run) -> None:
    Path("shop").mkdir()
    Path("shop/README.md").write_text("mine")

    ran = run("new", "shop")

    assert ran.code == 2
    assert ran.err == "megaflow: the folder shop is not empty: README.md is in it. --path names another one\n"
    assert [path.name for path in Path("shop").iterdir()] == ["README.md"]
    assert Path("shop/README.md").read_text() == "mine"


def test_a_file_is_no_folder(run: Run) -> None:
    Path("shop").write_text("mine")

    ran = run("new", "shop")

    assert (ran.code, ran.err) == (2, "megaflow: shop is there, and is no folder. --path names another one\n")
    assert Path("shop").read_text() == "mine"


def test_a_repository_that_was_just_made_is_as_good_as_empty(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("there/.git").mkdir(parents=True)
    monkeypatch.chdir("there")

    ran = run("new", "shop", "--path", ".")

    assert ran.code == 0
    assert "cd " not in ran.out
    assert Path("shop/app.py").is_file()


@pytest.mark.parametrize("before", [[], ["deep"], ["deep/er/shop/.git"]])
def test_nothing_is_left_half_written(tmp_path: Path, before: list[str]) -> None:
    for each in before:
        (tmp_path / each).mkdir(parents=True)
    there = sorted(tmp_path.rglob("*"))

    ran = _do("megaflow", "new", "shop", "--path", "deep/er/shop", folder=tmp_path, file_size=300)

    assert (ran.returncode, ran.stderr) == (
        1,
        "megaflow: deep/er/shop: File too large. Nothing of the project was left there\n",
    )
    assert sorted(tmp_path.rglob("*")) == there


def test_every_template_is_a_file_of_the_project() -> None:
    folder = ROOT / "megaflow" / "cli" / "template"

    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()) == sorted(
        FILES.values()
    )
