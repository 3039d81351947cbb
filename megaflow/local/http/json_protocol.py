"""SQS on the wire: AWS JSON 1.0, read into boto3's words and written from them. No I/O.

Readers are compiled from botocore's own model, once per operation; what they say of a wrong request is what AWS says.
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-json-api-responses.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from json import JSONDecoder, JSONEncoder
from typing import Any, Final

from megaflow.local.refused import Refused, missing, sqs_code, sqs_name
from megaflow.local.shapes import MissingMember, from_base64, service_model, to_base64

Reader = Callable[[Any], Any]

_CHECKED_LATER: Final = frozenset({"MessageBody", "StringValue"})
"""Where half of a surrogate pair is refused by the operation, in words of its own and for its own entry."""


def read(operation: str, body: bytes) -> dict[str, Any]:
    """Return what *body* asks of *operation*, as boto3 takes it.

    Members that the model does not know, and nulls, are left out.

    Raises:
        Refused: there is no such operation, the body is not JSON, has a wrong type or lacks a parameter.
    """
    read_ask = _reader_of(operation)
    try:
        ask: dict[str, Any] = read_ask(_parse(body) if body else {})
    except MissingMember as lacking:
        raise missing(".".join(lacking.path)) from lacking
    return ask


def write(operation: str, answer: Mapping[str, Any]) -> bytes:
    """Return the body that answers *operation*: empty where the model has no answer, as AWS does."""
    return _write(answer) if _answers(operation) else b""


def write_error(refused: Refused) -> tuple[bytes, dict[str, str]]:
    """Return the body of an error and the header with its code from before SQS spoke JSON.

    https://smithy.io/2.0/aws/protocols/aws-query-protocol.html#aws-protocols-awsquerycompatible-trait
    """
    fault = "Receiver" if refused.status >= 500 else "Sender"
    code = sqs_code(refused.name)
    body = _write({"__type": _type_of(refused.name), "message": refused.message})
    return body, {"x-amzn-query-error": f"{code};{fault}"}


def unknown_operation(operation: str) -> Refused:
    """Make the error for an operation that SQS, or the embedded SQS, does not have."""
    known = operation in service_model("sqs").operation_names
    where = "The embedded SQS" if known else "SQS"
    return Refused("UnknownOperationException", f"{where} has no operation {operation}.")


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object has a name twice")
    return found


_DECODER: Final = JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_object)
_ENCODER: Final = JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":"), default=to_base64)
_ASCII_ENCODER: Final = JSONEncoder(check_circular=False, separators=(",", ":"), default=to_base64)


def _parse(body: bytes) -> object:
    try:
        return _DECODER.decode(body.decode())
    except (ValueError, RecursionError) as error:
        raise _malformed(f"The request body is not valid JSON: {error}") from error


def _write(answer: Mapping[str, Any]) -> bytes:
    try:
        return _ENCODER.encode(answer).encode()
    except UnicodeEncodeError:
        # UTF-8 has no half of a surrogate pair, but JSON can escape it.
        return _ASCII_ENCODER.encode(answer).encode()


@cache
def _type_of(name: str) -> str:
    if name in {error.name for error in service_model("sqs").error_shapes}:
        return f"com.amazonaws.sqs#{name}"
    return f"com.amazon.coral.service#{sqs_name(name)}"


@cache
def _answers(operation: str) -> bool:
    return service_model("sqs").operation_model(operation).output_shape is not None


def _reader_of(operation: str) -> Reader:
    # Names nobody knows are not kept: anyone could fill the memory with them.
    if operation not in service_model("sqs").operation_names:
        raise unknown_operation(operation)
    return _known_reader_of(operation)


@cache
def _known_reader_of(operation: str) -> Reader:
    return _compile(service_model("sqs").operation_model(operation).input_shape, operation)


def _compile(shape: Any, name: str) -> Reader:
    """Make the reader of *shape*, a member called *name*."""
    make = _MAKERS.get(shape.type_name)
    return make(shape, name) if make else _read_anything


def _structure(shape: Any, _: str) -> Reader:
    readers = {name: _compile(member, name) for name, member in shape.members.items()}
    required = tuple(shape.required_members)

    def read_structure(value: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise _wrong(value, "Expected null")
        ask = {name: readers[name](item) for name, item in value.items() if item is not None and name in readers}
        for name in required:
            if name not in ask:
                raise MissingMember(name)
        return ask

    return read_structure


def _list(shape: Any, _: str) -> Reader:
    kind, read_item = shape.member.name, _compile(shape.member, "")

    def read_list(value: Any) -> list[Any]:
        if type(value) is not list:
            raise _wrong(value, "Expected list or null")
        found: list[Any] = []
        try:
            for item in value:
                if item is not None:
                    found.append(read_item(item))
        except MissingMember as lacking:
            # SQS calls the entries of a batch by their type, and numbers them from 1.
            raise lacking.within(kind, str(len(found) + 1)) from lacking
        return found

    return read_list


def _map(shape: Any, name: str) -> Reader:
    read_value = _compile(shape.value, "")

    def read_map(value: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise _wrong(value, "Expected map or null")
        found: dict[str, Any] = {}
        for key, item in value.items():
            if item is not None:
                try:
                    found[_read_string(key)] = read_value(item)
                except MissingMember as lacking:
                    raise lacking.within(name, key) from lacking
        return found

    return read_map


def _string(_: Any, name: str) -> Reader:
    return _read_text if name in _CHECKED_LATER else _read_string


def _read_text(value: Any) -> str:
    if type(value) is not str:
        raise _wrong(value, "a String")
    return value


def _read_string(value: Any) -> str:
    if type(value) is not str:
        raise _wrong(value, "a String")
    if not value.isascii():
        _check_surrogates(value)
    return value


def _check_surrogates(text: str) -> None:
    """Refuse half of a surrogate pair, which an escape can bring in, and which nobody could write."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise _malformed("The request body has half of a surrogate pair") from error


def _integer(bits: int, kind: str) -> Reader:
    low, high = -(1 << bits - 1), (1 << bits - 1) - 1

    def read_integer(value: Any) -> int:
        # A fraction is cut off, as AWS does; infinity is what Python makes of 1e999.
        if type(value) is float and low <= value <= high:
            value = int(value)
        if type(value) is not int or not low <= value <= high:
            raise _wrong(value, kind)
        return value

    return read_integer


def _read_blob(value: Any) -> bytes:
    if type(value) is not str:
        raise _wrong(value, "a Blob")
    try:
        return from_base64(value)
    except ValueError as error:
        raise _wrong(value, "a Blob") from error


def _read_anything(value: Any) -> Any:
    """Take what no operation here needs, and a later botocore may bring."""
    return value


_read_int: Final = _integer(32, "an Integer")
_read_long: Final = _integer(64, "a Long")
_MAKERS: Final[Mapping[str, Callable[[Any, str], Reader]]] = {
    "structure": _structure,
    "list": _list,
    "map": _map,
    "string": _string,
    "integer": lambda *_: _read_int,
    "long": lambda *_: _read_long,
    "blob": lambda *_: _read_blob,
}


def _malformed(words: str) -> Refused:
    return Refused("SerializationException", words)


def _wrong(value: object, wanted: str) -> Refused:
    """Make the error for a *value* of another type than *wanted*."""
    if isinstance(value, list):
        return _malformed("Start of list found where not expected")
    if isinstance(value, dict):
        return _malformed("Start of structure or map found where not expected.")
    if wanted.startswith("Expected"):
        return _malformed(wanted)
    return _malformed(f"{_token(value)} can not be converted to {wanted}")


def _token(value: object) -> str:
    if isinstance(value, bool):
        return f"{value}_VALUE".upper()
    return "STRING_VALUE" if isinstance(value, str) else "NUMBER_VALUE"
