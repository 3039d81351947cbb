"""Annotations of parameters: each one resolved by itself, and what it asks for."""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Final, ForwardRef, NewType, Union, get_args, get_origin

from typing_extensions import TypeAliasType

from megaflow.handlers.scopes import Scope
from megaflow.messages.message import Message
from megaflow.messages.models import is_model

_MEMBERS: Final = re.compile(r"\||\bOptional\[|\]")
_NAME: Final = re.compile(r"[^\W\d]\w*")
_FORWARD: Final = re.compile(r"ForwardRef\('([^']*)'[^)]*\)")
_ALIASES: Final = tuple({TypeAliasType, getattr(typing, "TypeAliasType", TypeAliasType)})
_PLAIN_MODULES: Final = frozenset({"builtins", "collections", "collections.abc", "types", "typing"})
"""Where types stand that say what a payload is, and nothing that has to be made."""


UNRESOLVED_REMEDY: Final = "import what it names at run time, outside `if TYPE_CHECKING:`, or define it before"


@dataclasses.dataclass(frozen=True, slots=True)
class Unresolved:
    """An annotation with a name in it that is not there when the program runs: its text, and what was raised."""

    text: str
    reason: str

    @property
    def names(self) -> frozenset[str]:
        """All names in it."""
        return frozenset(_NAME.findall(self.text))

    def may_be(self, name: str) -> bool:
        """Tell whether it is *name*, from whatever module, or a union with that."""
        return any(each.strip().rpartition(".")[2] == name for each in _MEMBERS.split(self.text))


def resolve(annotation: object, scopes: Iterable[Scope]) -> object:
    """Return *annotation* as what it names, looked up in the first of *scopes* that has it all; or `Unresolved`."""
    reason = ""
    for scope in scopes:
        try:
            resolved = _evaluate(annotation, scope)
            members(resolved)  # a type alias is evaluated only when it is asked
        except Exception as error:  # noqa: BLE001 - what stands there raises whatever it likes
            reason = reason or f"{type(error).__name__}: {error}"
        else:
            return resolved
    return Unresolved(_write(annotation), reason)


def _evaluate(annotation: object, scope: Scope) -> object:
    if isinstance(annotation, str):
        # What Python itself would have done at the definition.
        annotation = eval(annotation, scope.outer, scope.inner)  # noqa: S307

    def holder() -> None: ...

    holder.__annotations__ = {"it": annotation}
    # It goes on with what is quoted inside.
    return typing.get_type_hints(holder, scope.outer, scope.inner, include_extras=True)["it"]


def _write(annotation: object) -> str:
    if isinstance(annotation, ForwardRef):
        return annotation.__forward_arg__
    written = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return _FORWARD.sub(r"\1", written).strip("'\"")


def members(annotation: object) -> tuple[object, ...]:
    """Return the types of which a value may be one, by *annotation*."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return members(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return tuple(each for part in get_args(annotation) for each in members(part))
    for alias in (annotation, origin):
        if isinstance(alias, _ALIASES):
            return members(alias.__value__)
        if isinstance(alias, NewType):
            return members(alias.__supertype__)
    return (annotation,)


def allows_none(annotation: object) -> bool:
    """Tell whether None is a value of *annotation*."""
    return any(each in (None, types.NoneType) for each in members(annotation))


def means_message(annotation: object) -> bool:
    """Tell whether *annotation* asks for the `Message`."""
    return any(each is Message for each in members(annotation))


def means_model(annotation: object) -> bool:
    """Tell whether *annotation* describes data: a model, one of several, or something that holds models."""
    todo: list[object] = [annotation]
    seen: dict[int, object] = {}
    while todo:
        each = todo.pop()
        if is_model(each):
            return True
        if id(each) not in seen:  # an alias may stand in itself
            seen[id(each)] = each
            todo += _parts(each)
    return False


def takes_object(annotation: object) -> bool:
    """Tell whether an object can be what *annotation* says: a model, or a dict of models, and no list of them."""
    return any(_is_object(each) for each in members(annotation))


def means_dependency(annotation: object) -> bool:
    """Tell whether *annotation* names something that has to be made: a class that is no payload."""
    if not isinstance(annotation, type) or annotation is inspect.Parameter.empty or is_model(annotation):
        return False
    return annotation.__module__ not in _PLAIN_MODULES and not _is_payload(annotation)


def _is_object(type_: object) -> bool:
    origin = get_origin(type_)
    return is_model(type_) or (isinstance(origin, type) and issubclass(origin, Mapping))


def _parts(annotation: object) -> Iterator[object]:
    of_union = members(annotation)
    for each in get_args(annotation) if of_union == (annotation,) else of_union:
        yield from each if isinstance(each, list) else [each]  # the arguments of a Callable


def _is_payload(type_: type) -> bool:
    return type_.__module__.partition(".")[0] == __name__.partition(".")[0] or issubclass(type_, dict | str | bytes)
