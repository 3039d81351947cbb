"""Identity: whether a function or a class is still the one that botocore came with, or somebody wraps it.

A proxy, like those of `wrapt` that tracers use, answers for what it wraps: ``__class__``, ``__func__``, ``__module__``.
So only what Python itself says is asked: `type`, and what is read from an object that is of just that type.
"""

from __future__ import annotations

import builtins
from collections.abc import Container, Iterator
from functools import partial
from types import BuiltinFunctionType, CodeType, FunctionType, MethodDescriptorType, MethodType, WrapperDescriptorType
from typing import Any, Final

_PACKAGES: Final = frozenset({"boto3", "botocore", "http", "queue", "urllib3"})
"""Those that a call of boto3's goes through."""

_OPENTELEMETRY: Final = "opentelemetry.instrumentation."
_FOR_TESTS: Final = "botocore.stub"
_OF_C: Final = (BuiltinFunctionType, MethodDescriptorType, WrapperDescriptorType)
"""The types of functions that are written in C; a proxy's own type says the same of its module as these do."""


def is_original(value: Any) -> bool:
    """Tell whether *value*, where it can be called at all, is code of the packages that a call goes through."""
    kind = type(value)
    if kind is FunctionType:
        return _is_module(value.__globals__.get("__name__")) and _is_compiled(value.__code__)
    if kind in (MethodType, classmethod, staticmethod):
        return is_original(value.__func__)
    if kind is partial:
        return is_original(value.func)
    if kind is property:
        return all(map(is_original, (value.fget, value.fset, value.fdel)))
    if issubclass(kind, type):
        return _is_module(value.__module__) or vars(builtins).get(value.__name__) is value
    return not callable(value) or issubclass(kind, _OF_C) or _is_module(kind.__module__)


def is_instrumentation(value: Any) -> bool:
    """Tell whether *value* is what OpenTelemetry's instrumentation has put around a function of those packages."""
    wrapper, wrapped = (getattr(value, name, None) for name in ("_self_wrapper", "__wrapped__"))
    function = getattr(_without_partial(wrapper), "__func__", wrapper)
    if type(function) is not FunctionType or not str(function.__globals__.get("__name__")).startswith(_OPENTELEMETRY):
        return False
    return is_original(wrapped) or is_instrumentation(wrapped)


def find_replaced(kind: type, names: Container[str] | None = None) -> Iterator[tuple[str, Any]]:
    """Give what somebody has put in place of methods of a class, or of one it inherits from; only of *names*."""
    for each in kind.__mro__[:-1]:
        for name, value in vars(each).items():
            if (names is None or name in names) and not is_original(value):
                yield name, value


def find_shadowed(instance: Any, names: Container[str] | None = None) -> Iterator[tuple[str, Any]]:
    """Give what an instance has of its own in place of its class's methods; only of *names*."""
    kind = type(instance)
    for name, value in vars(instance).items():
        if (names is None or name in names) and callable(getattr(kind, name, None)) and not is_original(value):
            yield name, value


def describe_callable(function: Any) -> str:
    """Return the name of *function*; of one that `wrapt` wraps around another the name of what is called first."""
    function = _without_partial(getattr(_without_partial(function), "_self_wrapper", function))
    return f"{getattr(function, '__module__', '?')}.{getattr(function, '__qualname__', repr(function))}"


def _without_partial(function: Any) -> Any:
    while type(function) is partial:
        function = function.func
    return function


def _is_module(name: object) -> bool:
    return type(name) is str and name.partition(".")[0] in _PACKAGES and name != _FOR_TESTS


def _is_compiled(code: CodeType) -> bool:
    """Tell whether *code* comes from a compiler, which knows no functions: what wraps code from within does."""
    return not any(map(callable, code.co_consts))
