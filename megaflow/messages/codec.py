"""The codec: payloads to message bodies and back.

A body is one of four kinds of payload: a MEGA event, another object, text or bytes. SQS carries text only, so BSON
and bytes travel as Base64.
"""

from __future__ import annotations

import binascii
import json
import math
import re
from base64 import b64encode
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from decimal import Decimal
from enum import Enum, StrEnum
from typing import Any, Final, NamedTuple
from uuid import UUID

from megaflow import limits
from megaflow.errors import EncodeError, ProtocolError
from megaflow.event import PROTOCOL, Payload, claims_protocol, deserialize_payload, serialize_payload
from megaflow.messages import bson
from megaflow.messages.envelope import is_sns_envelope
from megaflow.messages.models import is_model, read_model
from megaflow.messages.nesting import TOO_DEEP, TOO_LONG, find_excess, is_too_deep

KIND_ATTRIBUTE: Final = "megaflow-kind"
"""The message attribute that says how to read a body which alone would be read as something else."""


class Kind(StrEnum):
    """What a payload is, and what a handler takes."""

    MEGA = "mega"
    """A MEGA event, as `Payload`."""

    DATA = "data"
    """Another object, from JSON or BSON, as `dict`."""

    TEXT = "text"
    """Text, as `str`."""

    BINARY = "binary"
    """Bytes, as `bytes`."""

    ANY = "any"
    """All of these: the kind of a handler of `App.on_message`, which gets the `Message`."""


_MEGA: Final = Kind.MEGA
_DATA: Final = Kind.DATA


class Encoded(NamedTuple):
    """A body, and the hint it needs: the value of the attribute ``megaflow-kind``, or ``""`` where it needs none."""

    body: str
    hint: str = ""


class Decoded(NamedTuple):
    """What a body holds. *problem* says why an object that claims to be a MEGA event is only data, or only text."""

    kind: Kind
    payload: Any
    problem: str = ""
    binary_encoding: bool = False
    """Whether it is an object in BSON."""


def encode(payload: object, *, binary_encoding: bool = False) -> Encoded:
    """Return the body for *payload*: a `Payload`, dict, str, bytes, or a model or dataclass.

    With *binary_encoding*, objects become BSON instead of JSON. Raises `EncodeError` naming what cannot be sent.
    """
    if isinstance(payload, Payload):
        return _encode_object(serialize_payload(payload), binary_encoding)
    if isinstance(payload, dict):
        return _encode_object(payload, binary_encoding)
    if isinstance(payload, bytes | bytearray):
        return Encoded(b64encode(payload).decode(), Kind.BINARY)
    if not isinstance(payload, str):
        return _encode_model(payload, binary_encoding)
    if binary_encoding:
        raise EncodeError("text has no binary encoding; send bytes, or leave binary_encoding out", path="payload")
    return Encoded(payload, "" if decode(payload) == Decoded(Kind.TEXT, payload) else Kind.TEXT)


def decode(body: str, hint: object = "") -> Decoded:
    """Return what *body* holds. Never raises; a *hint* that does not fit the body is ignored."""
    if hint and hint == Kind.TEXT:
        return Decoded(Kind.TEXT, body)
    if hint and hint == Kind.BINARY:
        blob = _read_base64(body)
        if blob is not None:
            return Decoded(Kind.BINARY, blob)
    try:
        document, binary_encoding = _read_json_object(body), False
        if document is None:
            document, binary_encoding = _read_bson(body), True
    except _ExcessError as error:
        return Decoded(Kind.TEXT, body, str(error))
    if document is None:
        return Decoded(Kind.TEXT, body)
    return _recognise(document, binary_encoding)


def _recognise(document: dict[str, Any], binary_encoding: bool) -> Decoded:
    if not claims_protocol(document):
        return Decoded(_DATA, document, "", binary_encoding)
    try:
        return Decoded(_MEGA, deserialize_payload(document), "", binary_encoding)
    except ProtocolError as error:
        return Decoded(_DATA, document, f"not a valid MEGA event: {error}", binary_encoding)


_SPACE: Final = " \t\r\n"
_read_json: Final = json.JSONDecoder().raw_decode


class _ExcessError(Exception):
    """An object holds more than it may, and stays text. Its words say so where it claims to be a MEGA event."""

    def __init__(self, excess: str, *, claims_protocol: object) -> None:
        super().__init__(f"a MEGA event that is read as text only: {excess}" if claims_protocol else "")


_CLAIM: Final = re.compile(rf'"protocol\\*"\s*:\s*\\*"{PROTOCOL}\\*"')
_BSON_CLAIM: Final = b"\x02protocol\0" + (len(PROTOCOL) + 1).to_bytes(4, "little") + PROTOCOL.encode() + b"\0"


def _read_json_object(body: str) -> dict[str, Any] | None:
    if body[:1] != "{":
        body = body.lstrip(_SPACE)
        if body[:1] != "{":
            return None
    excess = find_excess(body)
    try:
        # What json.loads does, without a fifth of its price.
        document, end = ({}, 0) if excess else _read_json(body)
    except json.JSONDecodeError:
        return None
    except (ValueError, RecursionError) as error:
        # Python was told to read fewer digits, or whoever calls us has left little of the stack.
        excess = TOO_LONG if isinstance(error, ValueError) else TOO_DEEP
    if excess:
        raise _ExcessError(excess, claims_protocol=_CLAIM.search(body))
    if end != len(body) and body[end:].strip(_SPACE):
        return None
    return document


def _read_bson(body: str) -> dict[str, Any] | None:
    blob = _read_base64(body)
    if blob is None:
        return None
    try:
        return bson.decode_document(blob)
    except bson.NestedTooDeepError:
        raise _ExcessError(TOO_DEEP, claims_protocol=_BSON_CLAIM in blob) from None
    except bson.NotBsonError:
        return None


def _read_base64(body: str) -> bytes | None:
    try:
        blob = binascii.a2b_base64(body, strict_mode=True)
    except ValueError:
        return None
    # Before 3.13, Python's strict mode lets "=" follow a whole group.
    return blob if len(body) == 4 * ((len(blob) + 2) // 3) else None


def _encode_object(document: dict[str, Any], binary_encoding: bool) -> Encoded:
    if not binary_encoding:
        try:
            if _is_plain_json(document):
                body = _write_json(document)
                if not find_excess(body):
                    return Encoded(body, _DATA if is_sns_envelope(document) else "")
        except (ValueError, RecursionError):
            pass  # whoever looks closely says what is wrong
    try:
        return _encode_closely(document, binary_encoding)
    except RecursionError:
        pass  # perhaps whoever calls us has left little of the stack: a thread has one of its own
    try:
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(_encode_closely, document, binary_encoding).result()
    except RecursionError:
        raise _nested_too_deep() from None


def _encode_model(payload: object, binary_encoding: bool) -> Encoded:
    if is_model(type(payload)):
        return _encode_object(read_model(payload, binary_encoding=binary_encoding), binary_encoding)
    raise EncodeError(
        f"a message is a Payload, a dict, a model, a str or bytes, not {_type_name(payload)}", path="payload"
    )


def _encode_closely(document: dict[str, Any], binary_encoding: bool) -> Encoded:
    plain = _plain_dict(document, "payload", binary_encoding)
    if is_too_deep(plain):
        raise _nested_too_deep()
    body = b64encode(bson.encode_document(plain)).decode() if binary_encoding else json.dumps(plain)
    # Only now: a UUID and a datetime may have become the text that makes it look like an envelope.
    return Encoded(body, Kind.DATA if is_sns_envelope(plain) else "")


def _nested_too_deep() -> EncodeError:
    return EncodeError(f"is nested too deeply, over {limits.NESTING} levels, or holds itself", path="payload")


_write_json: Final = json.JSONEncoder(allow_nan=False).encode
_JSON_SCALARS: Final = frozenset({str, int, float, bool, type(None)})


def _is_plain_json(value: Any) -> bool:
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
        if type(each) not in _JSON_SCALARS and not _is_plain_json(each):
            return False
    return True


def _plain(value: Any, path: str, binary_encoding: bool) -> Any:
    """Return *value* in the types that JSON and both BSON modules write alike."""
    convert = _CONVERTERS.get(type(value))
    if convert is None:
        convert = next((each for base, each in _CONVERTERS.items() if isinstance(value, base)), _plain_model)
    return convert(value, path, binary_encoding)


def _plain_dict(value: dict[Any, Any], path: str, binary_encoding: bool) -> dict[str, Any]:
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
        return _plain_dict(read_model(value, path, binary_encoding=binary_encoding), path, binary_encoding)
    raise EncodeError(f"{_type_name(value)} cannot be sent; turn it into text, a number or an object", path=path)


# Subclasses take the first that fits: an Enum of text is an Enum, a bool is no int.
_CONVERTERS: Final[dict[type, Callable[[Any, str, bool], Any]]] = {
    Enum: lambda value, path, binary_encoding: _plain(value.value, path, binary_encoding),
    bool: lambda value, *_: value,
    type(None): lambda value, *_: value,
    str: _plain_text,
    int: _plain_int,
    float: _plain_float,
    dict: _plain_dict,
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


def _type_name(value: object) -> str:
    return type(value).__qualname__
