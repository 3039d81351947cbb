"""``megaflow new``: a small project that passes its tests at once, in a folder of its own."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import click

import megaflow
from megaflow.cli.errors import WrongUsage
from megaflow.cli.hosting import name_after
from megaflow.cli.output import show
from megaflow.cli.project_names import package_of

_PACKAGE: Final = "{{package}}"
FILES: Final[Mapping[str, str]] = {
    ".gitignore": "gitignore.txt",
    "README.md": "README.md.txt",
    "pyproject.toml": "pyproject.toml.txt",
    f"{_PACKAGE}/__init__.py": "package/__init__.py.txt",
    f"{_PACKAGE}/app.py": "package/app.py.txt",
    f"{_PACKAGE}/stock.py": "package/stock.py.txt",
    "tests/test_app.py": "tests/test_app.py.txt",
    "events/order_placed.json": "events/order_placed.json.txt",
}
"""The files of a project, and where their text is in the folder ``template``."""

_BLANK: Final = re.compile(r"\{\{(\w+)\}\}")
_MAY_BE_THERE: Final = frozenset({".git"})
"""What a folder may hold before: a repository that was just made."""


@click.command()
@click.argument("name")
@click.option(
    "--path", "folder", type=click.Path(path_type=Path), metavar="DIR", help="The folder of the project. [./NAME]"
)
def new(name: str, folder: Path | None) -> int:
    """Write a small project: an app, its tests and a README.

    The app has typed handlers, and the README the commands to try. NAME is that of the project, and with _ for - of
    its package. The folder must be empty, or not there yet: nothing is overwritten.
    """
    package = package_of(name)
    folder = folder or Path(name)
    _check_empty(folder)
    values = {
        "name": name,
        "package": package,
        "queue": name_after(f"{package}.app"),
        "version": megaflow.__version__,
    }
    texts = {_fill(path, values): _fill(_read(text), values) for path, text in FILES.items()}
    try:
        written = _write_all(folder, texts)
    except OSError as error:
        where = error.filename or folder
        raise click.ClickException(f"{where}: {error.strerror}. Nothing of the project was left there") from error
    show(f"The project {name} is written:", style="bold")
    for path in written:
        show(f"  {path}")
    _say_what_is_next(folder, package)
    return 0


def _read(template: str) -> str:
    return files("megaflow.cli").joinpath("template", *template.split("/")).read_text(encoding="utf-8")


def _fill(text: str, values: Mapping[str, str]) -> str:
    return _BLANK.sub(lambda found: values[found[1]], text)


def _check_empty(folder: Path) -> None:
    if folder.is_dir():
        there = sorted({each.name for each in folder.iterdir()} - _MAY_BE_THERE)
        if there:
            raise WrongUsage(f"the folder {folder} is not empty: {there[0]} is in it. --path names another one")
    elif folder.exists() or folder.is_symlink():
        raise WrongUsage(f"{folder} is there, and is no folder. --path names another one")


def _write_all(folder: Path, texts: Mapping[str, str]) -> list[Path]:
    """Write all files, or, where that fails, leave things as they were; return their paths."""
    with ExitStack() as undo:
        for path, text in texts.items():
            _make_folder((folder / path).parent, undo)
            _write(folder / path, text, undo)
        undo.pop_all()
    return [folder / path for path in texts]


def _make_folder(folder: Path, undo: ExitStack) -> None:
    if folder.is_dir():
        return
    _make_folder(folder.parent, undo)
    folder.mkdir()
    undo.callback(_remove_folder, folder)


def _remove_folder(folder: Path) -> None:
    # Whoever has put something into it meanwhile keeps it.
    with suppress(OSError):
        folder.rmdir()


def _write(path: Path, text: str, undo: ExitStack) -> None:
    # "x": what somebody else has put there meanwhile is not overwritten.
    with path.open("x", encoding="utf-8") as file:
        undo.callback(path.unlink, missing_ok=True)
        file.write(text)


def _say_what_is_next(folder: Path, package: str) -> None:
    """Show three commands that work as they stand, also where the virtual environment is not active."""
    here = Path(sys.executable).parent
    is_active = Path(shutil.which("python") or "").parent == here
    commands = "" if is_active else f"{shlex.quote(str(here))}/"
    python = f"{commands}python"
    # The environments that uv makes have no pip.
    install = f"{python} -m pip install" if find_spec("pip") else f"uv pip install --python {python}"
    go = "" if folder.resolve() == Path.cwd() else f"cd {shlex.quote(str(folder))} && "
    show("Next:", style="bold")
    show(f"  {go}{install} --editable '.[dev]'")
    show(f"  {python} -m pytest")
    show(f"  {commands}megaflow dev {package}.app:app")
