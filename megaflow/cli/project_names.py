"""Names of new projects: checked before anything is written."""

from __future__ import annotations

import importlib.metadata
import keyword
import re
import sys
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Final

from megaflow.cli.errors import WrongUsage

_LONGEST: Final = 40
"""Characters: its queue is named after it, and SQS takes 80."""

_NAME: Final = re.compile(r"[A-Za-z]([A-Za-z0-9_-]*[A-Za-z0-9])?")
"""What is a name on a package index and, with _ for -, in Python."""

_OF_TOOLS: Final = frozenset({"build", "conftest", "dist", "megaflow_sqs", "mypy", "pytest", "ruff", "tests", "venv"})
"""What the project itself needs, or what its tools do not take for a package."""


def package_of(name: str) -> str:
    """Return the name of the package of a project; raise `WrongUsage` where it cannot have this *name*."""
    package = name.replace("-", "_")
    if not _NAME.fullmatch(name):
        raise WrongUsage(
            f"{name!r} cannot be a project's name: take ASCII letters, digits, - and _,"
            " a letter first, and a letter or a digit last; --path says which folder it is in"
        )
    if len(name) > _LONGEST:
        raise WrongUsage(f"{name!r} has {len(name)} characters, and a project's name at most {_LONGEST}")
    if problem := _find_clash(name, package):
        raise WrongUsage(f"{name!r} cannot be a project's name: {problem}; take another one")
    return package


def _find_clash(name: str, package: str) -> str:
    """Return what already goes by that name; nothing where it is free."""
    # Some file systems do not tell Queue from queue.
    lower = package.lower()
    if keyword.iskeyword(package):
        return f"{package} is a keyword of Python"
    if lower in {each.lower() for each in sys.stdlib_module_names}:
        return f"{package} is a module of Python's standard library"
    if lower in _OF_TOOLS:
        return f"{package} means something else to the tools of a project"
    if found := _find_installed(name, package):
        return f"{found} is installed here"
    return ""


def _find_installed(name: str, package: str) -> str:
    """Return the module or distribution of that name, with where it is; nothing where there is none."""
    # What is in this folder can be imported while one is in it, and is not installed.
    elsewhere = [each for each in sys.path if Path(each).resolve() != Path.cwd()]
    spec = PathFinder.find_spec(package, elsewhere)
    if spec is not None:
        return f"{package} ({spec.origin or ', '.join(spec.submodule_search_locations or ())})"
    try:
        return f"the distribution {importlib.metadata.distribution(name).metadata['Name']}"
    except importlib.metadata.PackageNotFoundError:
        return ""
