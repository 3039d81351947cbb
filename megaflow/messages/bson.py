"""BSON: documents by whichever ``bson`` module is installed, safe from bytes that would mislead it.

The PyPI package ``bson`` and PyMongo own an import of the same name, with different functions; from Python 3.14 on
there is PyMongo's alone. The former's decoder takes garbage for documents and can be sent round in circles by a
negative length, so what is decoded is walked first.
The format: https://bsonspec.org/spec.html
"""

from __future__ import annotations

import datetime
import functools
import struct
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from megaflow import limits
from megaflow.errors import ConfigurationError

_DOUBLE, _STRING, _DOCUMENT, _ARRAY, _BINARY, _OBJECT_ID = 0x01, 0x02, 0x03, 0x04, 0x05, 0x07
_BOOLEAN, _DATETIME, _NULL, _INT32, _INT64, _DECIMAL128 = 0x08, 0x09, 0x0A, 0x10, 0x12, 0x13

_FIXED_SIZES: Final = {
    _DOUBLE: 8,
    _OBJECT_ID: 12,
    _BOOLEAN: 1,
    _DATETIME: 8,
    _NULL: 0,
    _INT32: 4,
    _INT64: 8,
    _DECIMAL128: 16,
}
_UUID_SUBTYPES: Final = (3, 4)
_SMALLEST: Final = 5
_LENGTH: Final = struct.Struct("<i")

RESERVED_KEY: Final = "$$__CLASS_NAME__$$"
"""The PyPI package makes an object of a class out of a document with this key, or a list with this text."""


class NotBsonError(Exception):
    """These bytes are no document of the kinds that both modules read alike."""


class NestedTooDeepError(NotBsonError):
    """A document is nested deeper than we read."""


@dataclass(frozen=True, slots=True)
class _Library:
    encode: Callable[[dict[str, Any]], bytes]
    decode: Callable[[bytes], Mapping[str, Any]]
    types: frozenset[int]


def encode_document(document: dict[str, Any]) -> bytes:
    """Return *document*, which holds text, numbers, bools, None, bytes, lists and dicts only, as BSON.

    Raises `ConfigurationError` where no module for it is installed.
    """
    return _library().encode(document)


def decode_document(data: bytes) -> dict[str, Any]:
    """Return the document in *data*; raise `NotBsonError` for anything else, without ever hanging.

    Raises `ConfigurationError` where no module for it is installed.
    """
    library = _library()
    try:
        _walk(data, library.types)
        document = library.decode(data)
        return {key: _plain(value) for key, value in document.items()}
    except NotBsonError:
        raise
    except Exception as error:
        raise NotBsonError(f"{type(error).__name__}: {error}") from error


@functools.cache
def _library() -> _Library:
    try:
        import bson
    except Exception as error:
        raise _no_library(f"it cannot be imported ({type(error).__name__}: {error})") from error

    common = frozenset(_FIXED_SIZES) | {_STRING, _DOCUMENT, _ARRAY, _BINARY}
    if hasattr(bson, "dumps"):
        return _Library(bson.dumps, bson.loads, common - {_DECIMAL128})
    if not hasattr(bson, "encode"):
        place = getattr(bson, "__file__", None) or "a folder without __init__.py"
        raise _no_library(f"what is imported ({place}) is neither that of the package bson nor PyMongo's")
    from bson.codec_options import CodecOptions
    from bson.raw_bson import RawBSONDocument

    # A plain dict with the keys $ref and $id would come out as a DBRef, and nowhere near as it went in.
    options = CodecOptions(document_class=RawBSONDocument)
    return _Library(bson.encode, functools.partial(bson.decode, codec_options=options), common)


def _no_library(reason: str) -> ConfigurationError:
    package = "pymongo" if sys.version_info >= (3, 14) else "bson"
    return ConfigurationError(
        f"BSON needs the module bson, and {reason}: pip install --force-reinstall {package} (from Python 3.14 on it is "
        "PyMongo's, as the package bson cannot be installed there)"
    )


def _walk(data: bytes, types: frozenset[int]) -> None:
    """Raise unless every length in *data* fits and every element is of one of *types*."""
    if len(data) < _SMALLEST or _LENGTH.unpack_from(data)[0] != len(data):
        raise NotBsonError("the length of the document is not that of the bytes")
    ends = [len(data)]
    position = _open(data, 0, len(data))[0]
    while ends:
        last = ends[-1] - 1
        if position == last:
            position = ends.pop()
            continue
        kind = data[position]
        if kind not in types:
            raise NotBsonError(f"an element of type {kind:#04x}")
        position = _skip_name(data, position + 1, last)
        if kind in (_DOCUMENT, _ARRAY):
            position, end = _open(data, position, last)
            ends.append(end)
            if len(ends) > limits.NESTING:
                raise NestedTooDeepError("an element is nested too deep")
        else:
            position += _size(data, kind, position, last)
        if position > last:
            raise NotBsonError("an element reaches beyond its document")


def _open(data: bytes, position: int, limit: int) -> tuple[int, int]:
    """Return where the first element of the document at *position* stands, and where the document ends."""
    end = position + _read_length(data, position, limit)
    if not position + _SMALLEST <= end <= limit or data[end - 1] != 0:
        raise NotBsonError("a document without its end")
    return position + _LENGTH.size, end


def _skip_name(data: bytes, position: int, last: int) -> int:
    end = data.index(0, position, last)
    if data[position:end].decode() == RESERVED_KEY:
        raise NotBsonError(f"a document with the key {RESERVED_KEY}")
    return end + 1


def _size(data: bytes, kind: int, position: int, last: int) -> int:
    if kind == _BOOLEAN and data[position] > 1:
        raise NotBsonError("a bool that is neither true nor false")
    if kind in _FIXED_SIZES:
        return _FIXED_SIZES[kind]
    length = _read_length(data, position, last)
    if kind == _BINARY:
        return _LENGTH.size + 1 + length
    if length < 1 or position + _LENGTH.size + length > last or data[position + _LENGTH.size + length - 1] != 0:
        raise NotBsonError("a text without its end")
    return _LENGTH.size + length


def _read_length(data: bytes, position: int, limit: int) -> int:
    if position + _LENGTH.size > limit:
        raise NotBsonError("a length beyond its document")
    length: int = _LENGTH.unpack_from(data, position)[0]
    if length < 0:
        raise NotBsonError("a negative length")
    return length


def _plain(value: object) -> object:
    """Return what both modules would give for *value*: PyMongo has types of its own."""
    if type(value) in (str, int, float, bool, type(None)):
        return value
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, datetime.datetime):
        return _to_milliseconds(value).replace(tzinfo=datetime.UTC)
    if isinstance(value, bytes) and getattr(value, "subtype", None) in _UUID_SUBTYPES:
        return UUID(bytes=bytes(value))
    for base in (int, bytes):
        if isinstance(value, base):
            return base(value)
    if hasattr(value, "to_decimal"):
        return value.to_decimal()
    if hasattr(value, "generation_time"):
        return str(value).encode()
    return value


def _to_milliseconds(moment: datetime.datetime) -> datetime.datetime:
    # The PyPI package goes through a float of seconds, which is microseconds off from 2242 on.
    return moment + datetime.timedelta(microseconds=round(moment.microsecond, -3) - moment.microsecond)
