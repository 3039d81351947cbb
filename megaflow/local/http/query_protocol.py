"""AWS Query on the wire: a form read into boto3's words and XML written from them, for SNS and for SQS. No I/O.

Readers and writers are compiled from botocore's own model, once per operation. SQS writes lists and maps flat: one
after another under the name of an element, which its model does not tell any more.
https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-making-api-requests-xml.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

from megaflow.local.http.form import Node, branch_of, malformed, numbered, numbered_flat, parse
from megaflow.local.refused import Refused, missing, sqs_code
from megaflow.local.shapes import MissingMember, from_base64, service_model, to_base64

Reader = Callable[[Node], Any]
Writer = Callable[[Any], str]
Show = Callable[[str], str]
"""Writes the name of a member in the path to what is wrong."""

_INTEGER: Final = re.compile("[+-]?[0-9]{1,18}")
_BOOLEANS: Final = {"true": True, "1": True, "false": False, "0": False}
_SPECIAL: Final = re.compile("[^\t\n -%'-;=?-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What cannot stand in XML as it is; a carriage return can, but would be read as a line feed."""
_ESCAPES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#xD;"}

_FLAT: Final = {
    "AWSAccountIdList": "AWSAccountId",
    "ActionNameList": "ActionName",
    "AttributeNameList": "AttributeName",
    "BinaryList": "BinaryListValue",
    "MessageAttributeNameList": "MessageAttributeName",
    "MessageBodyAttributeMap": "MessageAttribute",
    "MessageBodySystemAttributeMap": "MessageSystemAttribute",
    "MessageSystemAttributeList": "MessageSystemAttributeName",
    "MessageSystemAttributeMap": "Attribute",
    "QueueAttributeMap": "Attribute",
    "QueueUrlList": "QueueUrl",
    "StringList": "StringListValue",
    "TagKeyList": "TagKey",
    "TagMap": "Tag",
}
"""What SQS calls the elements of its lists and maps, by their shapes; those of other lists by their own shape."""


class QueryProtocol:
    """AWS Query as one service speaks it; *namespace* is that of its answers."""

    def __init__(self, service: str, namespace: str) -> None:
        self.service: Final = service
        """``sns`` or ``sqs``."""

        self._namespace = namespace
        self._is_flat = service == "sqs"

    def read(self, form: bytes, path: str = "/") -> tuple[str, dict[str, Any]]:
        """Return the name of the operation that *form* asks for, and what it asks, as boto3 takes it.

        Members that the model does not know are left out. A queue that the form does not name is the one at *path*.

        Raises:
            Refused: there is no such operation, the form is not one, has a wrong type or lacks a parameter.
        """
        fields = parse(form)
        operation = fields.get("Action")
        if type(operation) is not str or not operation:
            raise Refused("InvalidAction", "The request must contain the parameter Action.")
        if self._is_flat and path.strip("/"):
            fields.setdefault("QueueUrl", f"/{path.strip('/')}")
        read_ask = self._reader_of(operation)
        try:
            return operation, read_ask(fields)
        except MissingMember as lacking:
            path_to_it = ".".join(lacking.path)
            raise (missing(path_to_it) if self._is_flat else _null_at(path_to_it)) from lacking

    def write(self, operation: str, answer: Mapping[str, Any], request_id: str) -> bytes:
        """Return the document that answers *operation*."""
        metadata = f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata>"
        return self._document(f"{operation}Response", _writer_of(self.service, operation)(answer) + metadata)

    def write_error(self, refused: Refused, request_id: str) -> bytes:
        """Return the document of an error."""
        fault = "Receiver" if refused.status >= 500 else "Sender"
        code, words, detail = refused.name, refused.message, ""
        if self._is_flat:
            more = " for this wsdl version." if code == "QueueDoesNotExist" else ""
            code, words, detail = sqs_code(code), words.removesuffix(".") + more if more else words, "<Detail/>"
        error = f"<Type>{fault}</Type><Code>{code}</Code><Message>{_escape(words)}</Message>{detail}"
        return self._document("ErrorResponse", f"<Error>{error}</Error><RequestId>{request_id}</RequestId>")

    def unknown_operation(self, operation: str) -> Refused:
        """Make the error for an operation that the service, or the embedded one, does not have."""
        name = self.service.upper()
        where = f"The embedded {name}" if operation in service_model(self.service).operation_names else name
        return Refused("InvalidAction", f"{where} has no operation {operation}.")

    def _reader_of(self, operation: str) -> Reader:
        # Names nobody knows are not kept: anyone could fill the memory with them.
        if operation not in service_model(self.service).operation_names:
            raise self.unknown_operation(operation)
        return _known_reader_of(self.service, operation)

    def _document(self, name: str, content: str) -> bytes:
        return f'<{name} xmlns="{self._namespace}">{content}</{name}>'.encode()


SNS: Final = QueryProtocol("sns", "http://sns.amazonaws.com/doc/2010-03-31/")
SQS: Final = QueryProtocol("sqs", "http://queue.amazonaws.com/doc/2012-11-05/")


@cache
def _known_reader_of(service: str, operation: str) -> Reader:
    show = str if service == "sqs" else _lower_first
    return _reader(service_model(service).operation_model(operation).input_shape, show)


def _element_name(shape: Any) -> str | None:
    """Return the name under which the elements of a list or map stand one after another; None where they do not."""
    if not shape.serialization.get("flattened"):
        return None
    name: str = _FLAT.get(shape.name) or shape.member.name
    return name


def _reader(shape: Any, show: Show) -> Reader:
    make = _READERS.get(shape.type_name)
    return make(shape, show) if make else _read_text


def _structure_reader(shape: Any, show: Show) -> Reader:
    members = {_element_name(member) or name: (name, _reader(member, show)) for name, member in shape.members.items()}
    required = tuple(shape.required_members)

    def read_structure(node: Node) -> dict[str, Any]:
        ask: dict[str, Any] = {}
        for written, item in branch_of(node).items():
            if written in members:
                name, read = members[written]
                try:
                    ask[name] = read(item)
                except MissingMember as lacking:
                    raise lacking.within(show(name)) from lacking
        for name in required:
            if name not in ask:
                # A form cannot say that a batch is empty.
                if name != "Entries":
                    raise MissingMember(show(name))
                ask[name] = []
        return ask

    return read_structure


def _list_reader(shape: Any, show: Show) -> Reader:
    element = _element_name(shape)
    read_item = _reader(shape.member, show)

    def read_list(node: Node) -> list[Any]:
        found: list[Any] = []
        for item in numbered_flat(node) if element else numbered(node, "member"):
            try:
                found.append(read_item(item))
            except MissingMember as lacking:
                number = str(len(found) + 1)
                raise (lacking.within(element, number) if element else lacking.within(number, "member")) from lacking
        return found

    return read_list


def _map_reader(shape: Any, show: Show) -> Reader:
    element = _element_name(shape)
    key_name, value_name = _names_in(shape)
    read_key, read_value = _reader(shape.key, show), _reader(shape.value, show)

    def read_map(node: Node) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for number, entry in enumerate(numbered_flat(node) if element else numbered(node, "entry"), 1):
            fields = branch_of(entry)
            for name in (key_name, value_name):
                if name not in fields:
                    raise MissingMember(element or "entry", str(number), show(name))
            key = read_key(fields[key_name])
            if key in found:
                raise malformed(f"The request has the entry {key} twice")
            try:
                found[key] = read_value(fields[value_name])
            except MissingMember as lacking:
                raise lacking.within(key, "member") from lacking
        return found

    return read_map


def _names_in(shape: Any) -> tuple[str, str]:
    """Return what the entries of a map call key and value."""
    if _element_name(shape):
        return ("Key" if shape.name == "TagMap" else "Name"), "Value"
    return shape.key.serialization.get("name", "key"), shape.value.serialization.get("name", "value")


def _read_text(node: Node) -> str:
    if type(node) is not str:
        raise malformed("Start of structure or map found where not expected.")
    return node


def _read_integer(node: Node) -> int:
    text = _read_text(node)
    if not _INTEGER.fullmatch(text):
        raise malformed("STRING_VALUE can not be converted to an Integer")
    return int(text)


def _read_boolean(node: Node) -> bool:
    value = _BOOLEANS.get(_read_text(node).lower())
    if value is None:
        raise malformed("STRING_VALUE can not be converted to a Boolean")
    return value


def _read_blob(node: Node) -> bytes:
    try:
        return from_base64(_read_text(node))
    except ValueError as error:
        raise malformed("STRING_VALUE can not be converted to a Blob") from error


_READERS: Final[Mapping[str, Callable[[Any, Show], Reader]]] = {
    "structure": _structure_reader,
    "list": _list_reader,
    "map": _map_reader,
    "integer": lambda *_: _read_integer,
    "boolean": lambda *_: _read_boolean,
    "blob": lambda *_: _read_blob,
}


def _lower_first(name: str) -> str:
    """Return *name* as AWS writes it in the path to what is wrong."""
    return name[0].lower() + name[1:]


def _null_at(path: str) -> Refused:
    return Refused(
        "ValidationError",
        f"1 validation error detected: Value null at '{path}' failed to satisfy constraint: Member must not be null",
    )


def _escape(text: str) -> str:
    return _SPECIAL.sub(_escape_character, text)


def _escape_character(found: re.Match[str]) -> str:
    # What XML cannot have at all becomes what stands for the unreadable.
    return _ESCAPES.get(found.group(), "\ufffd")


@cache
def _writer_of(service: str, operation: str) -> Writer:
    shape = service_model(service).operation_model(operation).output_shape
    if shape is None:
        return lambda _: ""
    return _tagged(f"{operation}Result", _writer(shape))


def _writer(shape: Any) -> Writer:
    make = _WRITERS.get(shape.type_name)
    return make(shape) if make else _write_text


def _tagged(name: str, write_content: Writer) -> Writer:
    return lambda value: f"<{name}>{write_content(value)}</{name}>"


def _structure_writer(shape: Any) -> Writer:
    writers = {name: _member_writer(name, member) for name, member in shape.members.items()}
    return lambda value: "".join(write(value[name]) for name, write in writers.items() if name in value)


def _member_writer(name: str, shape: Any) -> Writer:
    # What is flat has no element of its own around it.
    return _writer(shape) if _element_name(shape) else _tagged(name, _writer(shape))


def _list_writer(shape: Any) -> Writer:
    write_item = _tagged(_element_name(shape) or "member", _writer(shape.member))
    return lambda value: "".join(map(write_item, value))


def _map_writer(shape: Any) -> Writer:
    key_name, value_name = _names_in(shape)
    write_key, write_value = _tagged(key_name, _writer(shape.key)), _tagged(value_name, _writer(shape.value))
    element = _element_name(shape) or "entry"
    return lambda value: "".join(
        f"<{element}>{write_key(key)}{write_value(item)}</{element}>" for key, item in value.items()
    )


def _write_text(value: object) -> str:
    return _escape(str(value))


_WRITERS: Final[Mapping[str, Callable[[Any], Writer]]] = {
    "structure": _structure_writer,
    "list": _list_writer,
    "map": _map_writer,
    "boolean": lambda _: lambda value: str(value).lower(),
    "blob": lambda _: to_base64,
}
