"""Validation: a payload as a pydantic model, a dataclass or TypedDict, checked by pydantic, the extra of that name.

Strict models ask where a value comes from: from JSON, where a date can only be text, or from Python.
https://docs.pydantic.dev/latest/concepts/strict_mode/
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping
from typing import Any, Final, TypeAlias

from megaflow.distribution import describe_missing_extra
from megaflow.errors import EncodeError, InvalidPayloadError, RegistrationError
from megaflow.messages.codec import encode
from megaflow.messages.message import Message

Validate: TypeAlias = Callable[[Any, Message], Any]
"""Returns data of a message, validated; raises `InvalidPayloadError`."""


_LIMITS: Final = frozenset({"gt", "ge", "lt", "le", "multiple_of", "min_length", "max_length"})
"""What a problem's context has of the model, and not of the data."""

_ALIKE: Final = frozenset({"str", "int", "float", "bool", "none"})
"""Types of which JSON and Python have the same values, so that it does not matter where a strict one comes from."""

_LONGEST_LIST: Final = 1_048_576
"""No body has room for a longer one: a number beyond it is no place in a list."""


def make_validator(annotation: Any, section: str) -> Validate:
    """Return what validates data as *annotation* says; its errors name paths from *section* down, and no value.

    Raises `RegistrationError` where pydantic is not installed, or cannot do it.
    """
    adapter, validation_error = _read_annotation(annotation)
    asks_for_json = _tells_json_from_python(adapter.core_schema)
    known = frozenset(_texts_in(adapter.core_schema))

    def validate(data: Any, message: Message) -> Any:
        try:
            if asks_for_json and not message.binary_encoding:
                return _validate_as_json(adapter, data, validation_error)
            return adapter.validate_python(data)
        except validation_error as error:
            # pydantic's own text shows the values, which nobody may find in a log.
            problems = [_describe(each, section, known) for each in error.errors(include_url=False)]
        raise InvalidPayloadError(tuple(problems))

    return validate


def _validate_as_json(adapter: Any, data: Any, validation_error: type[Any]) -> Any:
    """Validate *data* as the JSON that it came as, or would become; what JSON cannot say, as it is."""
    try:
        return adapter.validate_json(encode(data).body)
    except EncodeError:
        pass
    except validation_error as error:
        if error.errors(include_url=False)[0]["type"] != "json_invalid":  # pydantic reads no lone surrogates
            raise
    return adapter.validate_python(data)


def _tells_json_from_python(schema: Any) -> bool:
    """Tell whether *schema* of pydantic's has something strict in it, or bytes that are not plain in JSON."""
    todo, seen = [schema], dict[int, object]()
    while todo:
        each = todo.pop()
        if id(each) in seen:
            continue
        seen[id(each)] = each
        if isinstance(each, Mapping):
            if (each.get("strict") is True and each.get("type") not in _ALIKE) or _reads_bytes_otherwise(each):
                return True
            todo += each.values()
        elif isinstance(each, list | tuple):
            todo += each
    return False


def _reads_bytes_otherwise(config: Mapping[str, Any]) -> bool:
    return bool(config.get("val_json_bytes", "utf8") != "utf8")


def _read_annotation(annotation: Any) -> tuple[Any, type[Any]]:
    try:
        from pydantic import TypeAdapter, ValidationError
        from pydantic.errors import PydanticUserError
    except ImportError as error:
        what = f"a parameter annotated {_name(annotation)}"
        raise RegistrationError(describe_missing_extra(what, "pydantic", error)) from error
    try:
        adapter = TypeAdapter(annotation)
        if not getattr(adapter, "pydantic_complete", True):
            # It names something that is not there: better said now than for every message.
            adapter.rebuild(raise_errors=True)
        return adapter, ValidationError
    except (PydanticUserError, NameError, TypeError) as error:
        raise RegistrationError(f"pydantic cannot validate {_name(annotation)}: {error}") from error


def _describe(problem: Mapping[str, Any], section: str, known: Container[str]) -> str:
    path = ".".join([section, *(_describe_part(each, known) for each in problem["loc"])]).strip(".")
    found = "" if problem["type"] == "missing" else f", found {type(problem['input']).__name__}"
    limits = [str(limit) for name, limit in problem.get("ctx", {}).items() if name in _LIMITS]
    return f"{path or 'payload'}: {' '.join([problem['type'], *limits])}{found}"


def _describe_part(part: str | int, known: Container[str]) -> str:
    """Return *part* of a path: the model's names and places in lists; a key that only the data has is a value, too."""
    is_known = part in known if isinstance(part, str) else 0 <= part < _LONGEST_LIST
    return str(part) if is_known else "[…]"


def _texts_in(schema: object) -> Iterator[str]:
    if isinstance(schema, str):
        yield schema
    elif isinstance(schema, Mapping):
        yield from (text for pair in schema.items() for each in pair for text in _texts_in(each))
    elif isinstance(schema, list | tuple):
        yield from (text for each in schema for text in _texts_in(each))


def _name(annotation: Any) -> str:
    return getattr(annotation, "__qualname__", str(annotation))
