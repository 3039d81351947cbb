"""Plain values: what a payload holds, in the types that JSON and BSON write alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Any, Final
from uuid import UUID

from megaflow import limits
from megaflow.errors import EncodeError
from megaflow.messages import bson
from megaflow.messages.models import is_model, read_model

_JSON_SCALARS: Final = frozenset({str, int, float, bool, type(None)})


def is_plain_json(value: Any) -> bool:
    """Tell whether *value* holds nothing but JSON's own types, which most do: then nothing has to be converted."""
    type_ = type(value)
    if type_ is dict:
        for key in value:
            if type(key) is not str:
                return False
        value = value.values()
    elif type_ is not list and type_ is not tuple:
        return False
    for each in value:  # noqa: SIM110 - a loop is quicker
        if type(each) not in _JSON_SCALARS and not is_plain_json(each):
            return False
    return True


def _plain(value: Any, path: str, binary_encoding: bool) -> Any:
    convert = _CONVERTERS.get(type(value))
    if convert is None:
        convert = next((each for base, each in _CONVERTERS.items() if isinstance(value, base)), _plain_model)
    return convert(value, path, binary_encoding)


def plain_dict(value: dict[Any, Any], path: str, binary_encoding: bool) -> dict[str, Any]:
    """Return *value* with all that it holds in the types that JSON and both BSON modules write alike.

    Raises `EncodeError` naming what, below *path*, cannot be sent.
    """
    named = ((_plain_key(key, path, binary_encoding), each) for key, each in value.items())
    plain = {name: _plain(each, f"{path}.{name}", binary_encoding) for name, each in named}
    _refuse_reserved(plain, path, binary_encoding)
    return plain


def _plain_key(key: object, path: str, binary_encoding: bool) -> str:
    if not isinstance(key, str):
        raise EncodeError(f"the key {key!r} is not text", path=path)
    if binary_encoding and "\0" in key:
        raise EncodeError(f"BSON allows no NUL in the key {key!r}", path=path)
    return _plain_text(key.value if isinstance(key, Enum) else key, path, binary_encoding)


def _plain_list(value: Any, path: str, binary_encoding: bool) -> list[Any]:
    plain = [_plain(each, f"{path}[{index}]", binary_encoding) for index, each in enumerate(value)]
    _refuse_reserved(plain, path, binary_encoding)
    return plain


def _refuse_reserved(plain: Collection[Any], path: str, binary_encoding: bool) -> None:
    if binary_encoding and bson.RESERVED_KEY in plain:
        raise EncodeError(f"the text {bson.RESERVED_KEY} means something else in BSON", path=path)


def _plain_set(value: set[Any], path: str, binary_encoding: bool) -> list[Any]:
    # In a fixed order: content-based deduplication must see the same body for the same set.
    return sorted(_plain_list(value, path, binary_encoding), key=lambda each: (type(each).__name__, repr(each)))


def _plain_text(value: str, path: str, binary_encoding: bool) -> str:
    if binary_encoding and not _is_unicode(value):
        raise EncodeError("BSON allows no lone surrogate in text", path=path)
    return str(value)


def _plain_int(value: int, path: str, binary_encoding: bool) -> int:
    if -(2**63) <= value < 2**63:
        return int(value)
    if binary_encoding:
        raise EncodeError("a whole number beyond 64 bits does not fit into BSON; send it as text", path=path)
    try:
        digits = len(str(abs(value)))
    except ValueError:
        digits = limits.DIGITS + 1
    if digits > limits.DIGITS:
        raise EncodeError("a whole number of so many digits could not be read again; send it as text", path)
    return int(value)


def _plain_float(value: float, path: str, _: bool) -> float:
    if not math.isfinite(value):
        raise EncodeError(f"{value} is not a number that JSON knows", path=path)
    return float(value)


def _plain_decimal(value: Decimal, path: str, _: bool) -> str:
    if not value.is_finite():
        raise EncodeError(f"{value} is not a number that JSON knows", path=path)
    return str(value)


def _plain_bytes(value: bytes, path: str, binary_encoding: bool) -> bytes:
    if not binary_encoding:
        raise EncodeError("bytes need binary_encoding=True", path=path)
    return bytes(value)


def _plain_model(value: object, path: str, binary_encoding: bool) -> dict[str, Any]:
    if is_model(type(value)):
        return plain_dict(read_model(value, path, binary_encoding=binary_encoding), path, binary_encoding)
    raise EncodeError(f"{type(value).__qualname__} cannot be sent; turn it into text, a number or an object", path=path)


# Subclasses take the first that fits: an Enum of text is an Enum, a bool is no int.
_CONVERTERS: Final[dict[type, Callable[[Any, str, bool], Any]]] = {
    Enum: lambda value, path, binary_encoding: _plain(value.value, path, binary_encoding),
    bool: lambda value, *_: value,
    type(None): lambda value, *_: value,
    str: _plain_text,
    int: _plain_int,
    float: _plain_float,
    dict: plain_dict,
    list: _plain_list,
    tuple: _plain_list,
    set: _plain_set,
    frozenset: _plain_set,
    date: lambda value, *_: value.isoformat(),
    Decimal: _plain_decimal,
    UUID: lambda value, *_: str(value),
    bytes: _plain_bytes,
    bytearray: _plain_bytes,
}


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
