"""Parameters of a handler's function, and what their annotations ask for."""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any, Final, ForwardRef, Union, get_args, get_origin

from typing_extensions import is_typeddict

from megaflow.messages.message import Message

VARIADIC: Final = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)

_NAMES_MESSAGE: Final = re.compile(r"\s*(?:\w+\.)*Message\s*")
_UNION: Final = re.compile(r"\||\bOptional\[|\]")
_PLAIN_MODULES: Final = frozenset({"builtins", "collections", "collections.abc", "types", "typing"})
"""Where types stand that say what a payload is, and nothing that has to be made."""


def read_parameters(function: Callable[..., Any]) -> tuple[inspect.Parameter, ...]:
    """Return what *function* takes: where a decorator takes whatever comes, what the function in it takes.

    Raises `ValueError` for a built-in function that does not tell.
    """
    with suppress(ValueError):  # a decorator written in C does not tell
        own = _read_signature(function, follow_wrapped=False)
        if not any(each.kind in VARIADIC for each in own.parameters.values()):
            return tuple(own.parameters.values())
    return tuple(_read_signature(function, follow_wrapped=True).parameters.values())


def takes_position(parameter: inspect.Parameter) -> bool:
    """Tell whether an argument can stand without the parameter's name."""
    return parameter.kind is not parameter.KEYWORD_ONLY


def is_positional_only(parameter: inspect.Parameter) -> bool:
    """Tell whether no argument can be given by the parameter's name."""
    return parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL)


def is_optional(parameter: inspect.Parameter) -> bool:
    """Tell whether the function can be called without it."""
    return parameter.default is not parameter.empty or parameter.kind in VARIADIC


def means_message(annotation: object) -> bool:
    """Tell whether *annotation* asks for the `Message`, under whatever name it stands there."""
    return any(each is Message or _names_message(each) for each in members(annotation))


def means_model(annotation: object) -> bool:
    """Tell whether *annotation* describes data: a pydantic model, a dataclass or a TypedDict, or one of several."""
    return any(is_model(each) for each in members(annotation))


def is_model(type_: object) -> bool:
    """Tell whether *type_* is a pydantic model, a dataclass or a TypedDict of the user's."""
    if is_typeddict(type_):
        return True
    if not isinstance(type_, type) or type_.__module__.partition(".")[0] == __name__.partition(".")[0]:
        return False
    return dataclasses.is_dataclass(type_) or hasattr(type_, "__pydantic_core_schema__")


def means_dependency(annotation: object) -> bool:
    """Tell whether *annotation* names something that has to be made: a class that is no payload."""
    if not isinstance(annotation, type) or annotation is inspect.Parameter.empty or is_model(annotation):
        return False
    return annotation.__module__ not in _PLAIN_MODULES and not _is_payload(annotation)


def members(annotation: object) -> tuple[object, ...]:
    """Return the types of which a value may be one, by *annotation*."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return members(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return tuple(each for part in get_args(annotation) for each in members(part))
    return (annotation,)


def allows_none(annotation: object) -> bool:
    """Tell whether None is a value of *annotation*."""
    return any(each in (None, types.NoneType) for each in members(annotation))


def _names_message(annotation: object) -> bool:
    if isinstance(annotation, ForwardRef):
        annotation = annotation.__forward_arg__
    return isinstance(annotation, str) and any(_NAMES_MESSAGE.fullmatch(each) for each in _UNION.split(annotation))


def _is_payload(type_: type) -> bool:
    return type_.__module__.partition(".")[0] == __name__.partition(".")[0] or issubclass(type_, dict | str | bytes)


def _read_signature(function: Callable[..., Any], *, follow_wrapped: bool) -> inspect.Signature:
    try:
        return inspect.signature(function, eval_str=True, follow_wrapped=follow_wrapped)
    except Exception:  # noqa: BLE001 - an annotation that exists for type checkers only raises whatever it likes
        return inspect.signature(function, follow_wrapped=follow_wrapped)
