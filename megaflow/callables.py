"""Callables: how one is called, what it takes, and whether it gives an awaitable, a generator, or a value."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Any, Final

if sys.version_info >= (3, 14):
    import annotationlib

    # Asked for the values, Python would raise for a name that only type checkers know.
    _signature = functools.partial(inspect.signature, annotation_format=annotationlib.Format.FORWARDREF)
else:
    _signature = inspect.signature

_MAIN: Final = ("__main__", "__mp_main__")
"""What Python calls the script that runs, and multiprocessing calls it in the processes that it starts."""


def name_of(named: object) -> str:
    """Return the ``module.qualname`` of a function or a class.

    It is the same however its module was started: that of ``python app.py`` and ``python -m app`` is called ``app``, as
    it is where ``app`` is imported.
    """
    qualname: str = named.__qualname__  # type: ignore[attr-defined]
    module = getattr(named, "__module__", None)  # methods of built-in types have none
    if module in _MAIN:
        module = _name_script(_globals_of(named, module)) or module
    return f"{module}.{qualname}" if module else qualname


def _name_script(names: Mapping[str, Any]) -> str:
    """Return what the script with these globals is called when it is imported, or nothing where it cannot be."""
    spec = names.get("__spec__")
    if spec is not None and spec.name not in _MAIN:
        return str(spec.name)
    return PurePath(names.get("__file__") or "").stem


def _globals_of(named: object, module: str) -> Mapping[str, Any]:
    names: Mapping[str, Any] = getattr(named, "__globals__", {})
    if names.get("__name__") == module:
        # A profiler may run the script, and be the main module itself.
        return names
    main = vars(sys.modules[module]) if module in sys.modules else {}
    return main if str(getattr(named, "__qualname__", "")).partition(".")[0] in main else {}


def read_signature(function: Callable[..., object], *, follow_wrapped: bool = True) -> inspect.Signature:
    """Return what *function* takes and returns; annotations that cannot be resolved are text, or forward references.

    Raises `ValueError` for a built-in function that does not tell, and `TypeError` for what cannot be called.
    """
    return _signature(function, follow_wrapped=follow_wrapped)


def is_async(function: object) -> bool:
    """Tell whether calling *function* gives something to wait for: a coroutine, or an async generator."""
    return _is_a(function, inspect.iscoroutinefunction, inspect.isasyncgenfunction)


def is_generator(function: object) -> bool:
    """Tell whether calling *function* runs nothing of it, and gives a generator."""
    return _is_a(function, inspect.isgeneratorfunction, inspect.isasyncgenfunction)


def _is_a(function: object, *checks: Callable[[object], bool]) -> bool:
    while isinstance(function, functools.partial):
        function = function.func
    called = getattr(function, "__call__", None)  # noqa: B004 - an object with an async __call__
    return any(check(each) for check in checks for each in (function, called))
