"""The codec: payloads to message bodies and back.

A body is one of four kinds of payload: a MEGA event, another object, text or bytes. SQS carries text only, so BSON
and bytes travel as Base64.
"""

from __future__ import annotations

import binascii
import json
import re
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from typing import Any, Final, NamedTuple

from megaflow import limits
from megaflow.errors import EncodeError, ProtocolError
from megaflow.event import PROTOCOL, Payload, claims_protocol, deserialize_payload, serialize_payload
from megaflow.messages import bson
from megaflow.messages.envelope import is_sns_envelope
from megaflow.messages.models import is_model, read_model
from megaflow.messages.nesting import TOO_DEEP, TOO_LONG, find_excess, is_too_deep
from megaflow.messages.plain_values import is_plain_json, plain_dict

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
_write_json: Final = json.JSONEncoder(allow_nan=False).encode


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
            if is_plain_json(document):
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
        f"a message is a Payload, a dict, a model, a str or bytes, not {type(payload).__qualname__}", path="payload"
    )


def _encode_closely(document: dict[str, Any], binary_encoding: bool) -> Encoded:
    plain = plain_dict(document, "payload", binary_encoding)
    if is_too_deep(plain):
        raise _nested_too_deep()
    body = b64encode(bson.encode_document(plain)).decode() if binary_encoding else json.dumps(plain)
    # Only now: a UUID and a datetime may have become the text that makes it look like an envelope.
    return Encoded(body, Kind.DATA if is_sns_envelope(plain) else "")


def _nested_too_deep() -> EncodeError:
    return EncodeError(f"is nested too deeply, over {limits.NESTING} levels, or holds itself", path="payload")
