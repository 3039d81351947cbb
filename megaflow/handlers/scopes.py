"""Scopes: where the names in a function's annotations are looked up, as Python does where it is defined."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from types import CodeType, FunctionType, MethodType
from typing import Any, NamedTuple


class Scope(NamedTuple):
    """The names of a module, and those of the classes and functions around a function in it."""

    outer: dict[str, Any]
    inner: Mapping[str, Any]


def scopes_of(function: Callable[..., Any]) -> list[Scope]:
    """Return where the annotations of *function* may come from: what it wraps at last comes first.

    A decorator that uses `functools.wraps` bears the annotations of what it wraps.
    """
    found = [_scope_of(each, owner) for each, owner in _definitions(function)]
    return found[::-1] or [Scope({}, {})]


def _definitions(function: Any) -> Iterator[tuple[FunctionType, type | None]]:
    """Give the functions that *function* comes down to, from outside in, each with the class whose method it is."""
    owner: type | None = None
    seen: set[int] = set()
    while function is not None and id(function) not in seen:
        seen.add(id(function))
        if isinstance(function, functools.partial):
            function = function.func
        elif isinstance(function, MethodType):
            owner = function.__self__ if isinstance(function.__self__, type) else type(function.__self__)
            function = function.__func__
        elif isinstance(function, FunctionType):
            yield function, owner
            function = getattr(function, "__wrapped__", None)
        elif inspect.isclass(function):
            yield from ((each, function) for each in _makers(function))
            return
        else:
            owner = type(function)
            function = getattr(function, "__wrapped__", None) or getattr(owner, "__call__", None)  # noqa: B004
            if not isinstance(function, FunctionType | MethodType | functools.partial):
                return


def _makers(class_: type) -> Iterator[FunctionType]:
    for name in ("__new__", "__init__"):
        maker = getattr(class_, name)
        if isinstance(maker, FunctionType):
            yield maker


def _scope_of(function: FunctionType, owner: type | None) -> Scope:
    parameters = {each.__name__: each for each in getattr(function, "__type_params__", ())}
    inner = {**_names_around(function.__code__), **_names_closed_over(function), **_names_of_class(function, owner)}
    return Scope(function.__globals__, inner | parameters)


def _names_around(code: CodeType) -> dict[str, Any]:
    """Return what the functions and classes around *code* know, as far as they are still running: a local model."""
    parts = code.co_qualname.split(".")
    around = {".".join(parts[:count]) for count in range(1, len(parts))}
    names: dict[str, Any] = {}
    frame = inspect.currentframe() if around else None
    while frame is not None:
        if frame.f_code.co_filename == code.co_filename and frame.f_code.co_qualname in around:
            names = {**frame.f_locals, **names}
        frame = frame.f_back
    return names


def _names_closed_over(function: FunctionType) -> dict[str, Any]:
    names: dict[str, Any] = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            names[name] = cell.cell_contents
        except ValueError:  # it is not set yet
            continue
    return names


def _names_of_class(function: FunctionType, owner: type | None) -> Mapping[str, Any]:
    for base in owner.__mro__ if owner is not None else ():
        defined = vars(base).get(function.__name__)
        if getattr(defined, "__func__", defined) is function:  # a class method wraps its function
            return vars(base)
    return {}
