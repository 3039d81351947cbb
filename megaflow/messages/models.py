"""Models: which types describe data, and what is sent of such data.

By pydantic's own rules where it is installed, so that what is sent validates again:
https://docs.pydantic.dev/latest/concepts/serialization/
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, get_origin

from typing_extensions import is_typeddict

from megaflow.errors import EncodeError


def is_model(type_: object) -> bool:
    """Tell whether *type_* is a pydantic model, a dataclass or a TypedDict of the user's."""
    type_ = get_origin(type_) or type_
    if is_typeddict(type_):
        return True
    if not isinstance(type_, type) or type_.__module__.partition(".")[0] == __name__.partition(".")[0]:
        return False
    return dataclasses.is_dataclass(type_) or hasattr(type_, "__pydantic_core_schema__")


def read_model(model: Any, path: str = "payload", *, binary_encoding: bool = False) -> dict[str, Any]:
    """Return the object that is sent for *model*, with the aliases that it is written by; raise `EncodeError`.

    Its values are JSON's own, except where it becomes BSON, and where pydantic has no say.
    """
    name = type(model).__qualname__
    try:
        found = _dump(model, "python" if binary_encoding else "json")
    except Exception as error:
        raise EncodeError(f"{name} cannot be sent: {type(error).__name__}: {error}", path) from error
    if not isinstance(found, dict):
        raise EncodeError(f"{name} is written as {type(found).__name__}, and no object", path)
    return found


def _dump(model: Any, mode: str) -> Any:
    type_: Any = type(model)
    adapter = _adapter_of(type_)
    if adapter is None:
        return {each.name: getattr(model, each.name) for each in dataclasses.fields(model)}
    # What is computed only goes one way, and many models refuse to read it.
    return adapter.dump_python(model, mode=mode, by_alias=True, round_trip=True)


@functools.lru_cache(maxsize=1_000)
def _adapter_of(type_: Any) -> Any:
    """Return what writes *type_*; None for a dataclass where pydantic is not installed, or does not know its fields."""
    try:
        from pydantic import TypeAdapter
        from pydantic.errors import PydanticUserError
    except ImportError:
        return None
    try:
        adapter: Any = TypeAdapter(type_)
        if not getattr(adapter, "pydantic_complete", True):
            adapter.rebuild(raise_errors=True)
    except (PydanticUserError, NameError, TypeError):
        if dataclasses.is_dataclass(type_):
            return None
        raise
    return adapter
