"""Validation: a payload as a pydantic model, a dataclass or TypedDict, checked by pydantic, the extra of that name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from megaflow.errors import InvalidPayloadError, RegistrationError

Validate: TypeAlias = Callable[[Any], Any]
"""Returns what it is given, validated; raises `InvalidPayloadError`."""


_LIMITS: Final = frozenset({"gt", "ge", "lt", "le", "multiple_of", "min_length", "max_length"})
"""What a problem's context has of the model, and not of the data."""


def make_validator(annotation: Any, section: str) -> Validate:
    """Return what validates data as *annotation* says; its errors name paths from *section* down, and no value.

    Raises `RegistrationError` where pydantic is not installed, or cannot do it.
    """
    adapter, validation_error = _read_annotation(annotation)

    def validate(data: Any) -> Any:
        try:
            return adapter.validate_python(data)
        except validation_error as error:
            # pydantic's own text shows the values, which nobody may find in a log.
            problems = [_describe(each, section) for each in error.errors(include_url=False)]
        raise InvalidPayloadError(tuple(problems))

    return validate


def _read_annotation(annotation: Any) -> tuple[Any, type[Any]]:
    try:
        from pydantic import TypeAdapter, ValidationError
        from pydantic.errors import PydanticUserError
    except ImportError as error:
        raise RegistrationError(
            f"a parameter annotated {_name(annotation)} needs the extra pydantic ({error}); "
            "pip install 'megaflow[pydantic]'"
        ) from error
    try:
        adapter = TypeAdapter(annotation)
        if not getattr(adapter, "pydantic_complete", True):
            # It names something that is not there: better said now than for every message.
            adapter.rebuild(raise_errors=True)
        return adapter, ValidationError
    except (PydanticUserError, NameError, TypeError) as error:
        raise RegistrationError(f"pydantic cannot validate {_name(annotation)}: {error}") from error


def _describe(problem: Mapping[str, Any], section: str) -> str:
    path = ".".join([section, *map(str, problem["loc"])]).strip(".")
    found = "" if problem["type"] == "missing" else f", found {type(problem['input']).__name__}"
    limits = [str(limit) for name, limit in problem.get("ctx", {}).items() if name in _LIMITS]
    return f"{path or 'payload'}: {' '.join([problem['type'], *limits])}{found}"


def _name(annotation: Any) -> str:
    return getattr(annotation, "__qualname__", str(annotation))
