"""Targets of commands: the app at ``module:app`` or ``path/file.py:app``, imported."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import sysconfig
import traceback
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Final

import click

from megaflow.app import App
from megaflow.cli.errors import WrongTarget, WrongUsage

_BELOW: Final = "what it does belongs below if __name__ == '__main__'"
_CHECK: Final = "_check_for_running"
"""The method of an app that is called first, however it is run, alone or with others."""

_OTHERS: Final = (str(Path(__file__).parent.parent), *{path for path in sysconfig.get_paths().values() if path})
"""Where the code of megaflow, of Python and of what is installed is."""


def load_app(target: str) -> App:
    """Return the app at *target*; raise `WrongTarget` where there is none, and say why."""
    return _load(target, {})


def load_apps(targets: Sequence[str]) -> dict[str, App]:
    """Return the apps at *targets*, by target; raise `WrongUsage` where there is none, or one twice."""
    refuse_twice(targets)
    apps: dict[str, App] = {}
    files: dict[Path, ModuleType] = {}
    for target in targets:
        app = _load(target, files)
        for name, other in apps.items():
            if other is app:
                raise WrongTarget(f"{name} and {target} are the same app: name it once")
        apps[target] = app
    return apps


def refuse_twice(targets: Sequence[str]) -> None:
    """Raise `WrongUsage` where a target is named twice."""
    for target, count in Counter(targets).items():
        if count > 1:
            raise WrongUsage(f"{target} is named {count} times: name each app once")


def load_module(target: str) -> tuple[ModuleType, str, str]:
    """Return the module of *target*, how it names that, and what of it, ``""`` where it does not say so."""
    return _load_place(target, {})


def _load(target: str, files: dict[Path, ModuleType]) -> App:
    """Return the app at *target*; *files* are the modules of the files that are loaded by now."""
    module, place, name = _load_place(target, files)
    return _find_named(module, place, name) if name else _find_only(module, place)


def _load_place(target: str, files: dict[Path, ModuleType]) -> tuple[ModuleType, str, str]:
    place, _, name = target.partition(":")
    if not place or (place.startswith(".") and not _is_path(place)):
        raise WrongTarget(f"{target!r} names no module and no file: say module:app or path/file.py:app")
    module = _load_file_once(Path(place), files) if _is_path(place) else _load_module(place)
    return module, place, name


def _load_file_once(path: Path, files: dict[Path, ModuleType]) -> ModuleType:
    whole = path.resolve()
    for other in files:
        if other != whole and other.stem == whole.stem:
            raise WrongUsage(
                f"{_relative(str(other))} and {path} would both be the module {path.stem}: rename one of them, or name "
                "modules of packages, as package.module:app"
            )
    if whole not in files:
        files[whole] = _load_file(path)
    return files[whole]


def _is_path(place: str) -> bool:
    return place.endswith(".py") or os.sep in place


def folder_of(target: str) -> Path:
    """Return the folder whose files are those of *target*, as far as one can tell.

    Raises `WrongUsage` for a file that is not there.
    """
    place = target.partition(":")[0]
    path = Path(place)
    if path.suffix == ".py":
        if not path.is_file():
            raise WrongTarget(f"there is no file {path}")
        return path.parent
    package = Path(place.partition(".")[0])
    return package if package.is_dir() else Path()


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise WrongTarget(f"there is no file {path}")
    if path.stem in sys.stdlib_module_names:
        raise WrongUsage(f"{path} has the name of a module of Python's own, which would be taken for it: rename it")
    # What stands beside it can be imported, as in a script.
    _make_importable(path.parent)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise WrongUsage(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    with _Importing(str(path)):
        spec.loader.exec_module(module)
    return module


def _load_module(name: str) -> ModuleType:
    _make_importable(Path())
    with _Importing(name):
        return importlib.import_module(name)


def _make_importable(folder: Path) -> None:
    path = str(folder.resolve())
    if path not in sys.path:
        sys.path.insert(0, path)


def _find_named(module: ModuleType, place: str, name: str) -> App:
    found = getattr(module, name, None)
    # A listener of the sqs-mega README has its app within.
    app = found if isinstance(found, App) else getattr(found, "app", None)
    if not isinstance(app, App):
        what = f"there is no {name!r} in {place}" if found is None else f"{place}:{name} is no App"
        raise WrongTarget(f"{what}{_hint(module, place)}")
    return app


def _find_only(module: ModuleType, place: str) -> App:
    apps = {name: value for name, value in vars(module).items() if isinstance(value, App)}
    if len(set(map(id, apps.values()))) != 1:
        what = "there are several apps" if apps else "there is no app"
        raise WrongTarget(f"{what} in {place}{_hint(module, place)}")
    return next(iter(apps.values()))


def _hint(module: ModuleType, place: str) -> str:
    names = [name for name, value in vars(module).items() if isinstance(value, App)]
    return f"; there is {' and '.join(f'{place}:{name}' for name in names)}" if names else ""


class _Importing:
    """Says in one line what is wrong in a target that cannot be imported, and lets no app run meanwhile."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._check = getattr(App, _CHECK)

    def __enter__(self) -> None:
        def refuse(app: App) -> None:
            raise WrongUsage(f"{self._what} runs its app while it is imported: {_BELOW}")

        setattr(App, _CHECK, refuse)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        setattr(App, _CHECK, self._check)
        if isinstance(error, click.UsageError):
            return
        if isinstance(error, SystemExit):
            raise WrongUsage(f"{self._what} exits while it is imported: {_BELOW}") from error
        if isinstance(error, ModuleNotFoundError) and error.name and self._what.startswith(error.name):
            raise WrongTarget(f"there is no module {error.name!r}") from error
        if isinstance(error, Exception):
            raise WrongUsage(f"{self._what} cannot be imported: {_locate(error)}{_hint_of_package(error)}") from error


def _locate(error: Exception) -> str:
    """Return where *error* was raised, in the user's own files as far as that can be told, and what it is."""
    said = f"{type(error).__name__}: {error}"
    if isinstance(error, SyntaxError):
        return f"{_relative(error.filename or '')}:{error.lineno}: {type(error).__name__}: {error.msg}"
    frames = [each for each in traceback.extract_tb(error.__traceback__) if not _is_of_others(each.filename)]
    return f"{_relative(frames[-1].filename)}:{frames[-1].lineno}: {said}" if frames else said


def _hint_of_package(error: Exception) -> str:
    """Return how to name the module whose relative import is *error*; nothing for other errors."""
    if not isinstance(error, ImportError) or not str(error).startswith("attempted relative import"):
        return ""
    file = Path(traceback.extract_tb(error.__traceback__)[-1].filename).resolve()
    folder = _folder_of_package(file)
    names = [name for name in file.relative_to(folder).with_suffix("").parts if name != "__init__"]
    if not all(map(str.isidentifier, names)):
        return ""
    return f": say {'.'.join(names)}" + ("" if folder == Path.cwd() else f", in the folder {folder}")


def _folder_of_package(file: Path) -> Path:
    """Return the folder in which the package of *file* is: this one, where nothing says what the package is."""
    folder = file.parent.parent
    if not (file.parent / "__init__.py").is_file():
        return Path.cwd() if folder.is_relative_to(Path.cwd()) else folder
    while (folder / "__init__.py").is_file():
        folder = folder.parent
    return folder


def _is_of_others(filename: str) -> bool:
    return filename.startswith(("<", *_OTHERS))


def _relative(filename: str) -> str:
    path = Path(filename)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else filename
