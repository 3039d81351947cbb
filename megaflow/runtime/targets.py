"""Targets: where an app stands, as a global of a module. Children look for it there, and it is named after that."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Final, Protocol, TypeVar

from megaflow.errors import ConfigurationError
from megaflow.runtime.protocols import Runs

_MAIN: Final = ("__main__", "__mp_main__")
"""The script that runs. multiprocessing has it under another name too, which only its children have of their own."""

_App = TypeVar("_App")


class Loads(Protocol):
    """Where a child finds what it runs, by name; it is pickled on the way."""

    @property
    def names(self) -> Collection[str]:
        """The names."""
        ...

    def load(self) -> Mapping[str, Runs]:
        """Return it, in this process; raise `ConfigurationError` where it is not there."""
        ...


@dataclass(frozen=True, slots=True)
class Target:
    """Where a child finds one: a global of a module."""

    module: str
    name: str

    def load(self) -> Runs:
        """Return what stands there, in this process; raise `ConfigurationError` where nothing does."""
        found: Runs | None = getattr(importlib.import_module(self.module), self.name, None)
        if found is None:
            raise ConfigurationError(
                f"{self.name} is not there when {self.module} is imported: make it above if __name__ == '__main__'"
            )
        return found


@dataclass(frozen=True, slots=True)
class Targets:
    """Where a child finds several, by name."""

    by_name: Mapping[str, Target]

    @property
    def names(self) -> Collection[str]:
        """The names."""
        return self.by_name.keys()

    def load(self) -> dict[str, Runs]:
        """Return what stands there, in this process; raise `ConfigurationError` where nothing does."""
        return {name: target.load() for name, target in self.by_name.items()}


def find_targets(apps: Mapping[str, object]) -> Targets:
    """Return where *apps* stand; raise `ConfigurationError` where a child could not find one of them."""
    return Targets({name: find_target(app) for name, app in apps.items()})


def find_target(app: object) -> Target:
    """Return where *app* stands; raise `ConfigurationError` where a child could not find it."""
    places = _places_of(app)
    if "__main__" in places and _is_imported_by_children(sys.modules["__main__"]):
        return Target("__mp_main__", places["__main__"])
    for module, name in places.items():
        if module not in _MAIN:
            return Target(module, name)
    if places:
        raise ConfigurationError(
            "processes= needs the app in a module that its children can import, which a prompt, python -c and "
            "__main__.py are not: move it to a module of its own"
        )
    raise ConfigurationError("processes= needs the app as a global of a module: that is where its children look for it")


def name_apps(apps: Sequence[_App]) -> dict[str, _App]:
    """Return *apps* by name: ``shop.billing:app``, and ``app 2`` for the second one where it is no module's global."""
    return {_name(app) or f"app {number}": app for number, app in enumerate(apps, 1)}


def _name(app: object) -> str:
    places = _places_of(app)
    # A script mostly has apps of other modules because it imports them.
    for module, name in places.items():
        if module not in _MAIN:
            return f"{module}:{name}"
    return f"{_name_script()}:{places['__main__']}" if "__main__" in places else ""


def _name_script() -> str:
    main = sys.modules["__main__"]
    if main.__spec__ is not None:
        return main.__spec__.name
    return Path(getattr(main, "__file__", None) or "__main__").name


def _places_of(app: object) -> dict[str, str]:
    """Return the modules that have *app* as a global, each with the first of its names there."""
    places: dict[str, str] = {}
    for module_name, module in tuple(sys.modules.items()):
        # Anything may stand there, even None.
        for name, value in tuple(vars(module).items()) if isinstance(module, ModuleType) else ():
            if value is app:
                places.setdefault(module_name, name)
    return places


def _is_imported_by_children(main: ModuleType) -> bool:
    # What multiprocessing leaves out: multiprocessing.spawn, _fixup_main_from_name and _fixup_main_from_path.
    if main.__spec__ is not None:
        return main.__spec__.name.rpartition(".")[2] != "__main__"
    return Path(getattr(main, "__file__", None) or "").is_file()
