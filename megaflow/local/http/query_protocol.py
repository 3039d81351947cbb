"""SNS on the wire: AWS Query, a form read into boto3's words and XML written from them. No I/O.

Readers and writers are compiled from botocore's own model, once per operation.
https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
"""

from __future__ import annotations

import re
from binascii import a2b_qp
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, Final

from megaflow.local.refused import Refused
from megaflow.local.shapes import MissingMember, from_base64, service_model, to_base64

Node = Any
"""What stands under a name of the form: text, or a dict of further nodes by their names."""
Reader = Callable[[Node], Any]
Writer = Callable[[Any], str]

_NAMESPACE: Final = "http://sns.amazonaws.com/doc/2010-03-31/"
_LEVELS: Final = 16
"""How deep a name may go: twice what SNS needs, and little enough to be no burden."""
_INDEX: Final = re.compile("[1-9][0-9]{0,8}")
_INTEGER: Final = re.compile("[+-]?[0-9]{1,18}")
_BOOLEANS: Final = {"true": True, "1": True, "false": False, "0": False}
_SPECIAL: Final = re.compile("[^\t\n -%'-;=?-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What cannot stand in XML as it is; a carriage return can, but would be read as a line feed."""
_ESCAPES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#xD;"}


def read(form: bytes) -> tuple[str, dict[str, Any]]:
    """Return the name of the operation that *form* asks for, and what it asks, as boto3 takes it.

    Members that the model does not know are left out.

    Raises:
        Refused: there is no such operation, the form is not one, has a wrong type or lacks a parameter.
    """
    fields = _parse(form)
    operation = fields.get("Action")
    if type(operation) is not str or not operation:
        raise Refused("InvalidAction", "The request must contain the parameter Action.")
    read_ask = _reader_of(operation)
    try:
        return operation, read_ask(fields)
    except MissingMember as lacking:
        raise _null_at(".".join(lacking.path)) from lacking


def write(operation: str, answer: Mapping[str, Any], request_id: str) -> bytes:
    """Return the document that answers *operation*."""
    metadata = f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata>"
    return _document(f"{operation}Response", _writer_of(operation)(answer) + metadata)


def write_error(refused: Refused, request_id: str) -> bytes:
    """Return the document of an error."""
    fault = "Receiver" if refused.status >= 500 else "Sender"
    error = f"<Type>{fault}</Type><Code>{refused.name}</Code><Message>{_escape(refused.message)}</Message>"
    return _document("ErrorResponse", f"<Error>{error}</Error><RequestId>{request_id}</RequestId>")


def unknown_operation(operation: str) -> Refused:
    """Make the error for an operation that SNS, or the embedded SNS, does not have."""
    known = operation in service_model("sns").operation_names
    where = "The embedded SNS" if known else "SNS"
    return Refused("InvalidAction", f"{where} has no operation {operation}.")


def _parse(form: bytes) -> dict[str, Node]:
    """Make a tree of *form*, whose names say the way to their values: ``Tags.member.1.Key``."""
    root: dict[str, Node] = {}
    branches = {"": root}
    for name, value in _pairs(form):
        path, _, leaf = name.rpartition(".")
        branch = branches.get(path)
        if branch is None:
            branch = branches[path] = _grow(root, path)
        if leaf in branch:
            raise _malformed(f"The request has {name} twice")
        branch[leaf] = value
    return root


def _pairs(form: bytes) -> Iterator[tuple[str, str]]:
    # A line break belongs in an escape, and would be lost below.
    form = form.replace(b"\n", b"%0A").replace(b"\r", b"%0D").replace(b"+", b" ")
    try:
        for pair in form.split(b"&"):
            name, _, value = pair.partition(b"=")
            if name:
                yield _unquote(name), _unquote(value)
    except ValueError as error:
        raise _malformed("The request is no form of escaped UTF-8") from error


def _unquote(value: bytes) -> str:
    if b"%" not in value:
        return value.decode()
    # This is quoted-printable with another sign, and Python reads that four times as fast as unquote() does this.
    quoted = value.replace(b"=", b"=3D").replace(b"%", b"=")
    unquoted = a2b_qp(quoted)
    if len(unquoted) != len(quoted) - 2 * quoted.count(b"="):
        raise ValueError("a percent sign has no two digits behind it")
    return unquoted.decode()


def _grow(root: dict[str, Node], path: str) -> dict[str, Node]:
    """Return the branch at *path*, which no value may be on."""
    names = path.split(".", _LEVELS)
    node = root
    for name in names:
        node = node.setdefault(name, {})
        if type(node) is not dict:
            raise _malformed(f"The request has {path} both as a value and as more than one")
    return node


def _reader_of(operation: str) -> Reader:
    # Names nobody knows are not kept: anyone could fill the memory with them.
    if operation not in service_model("sns").operation_names:
        raise unknown_operation(operation)
    return _known_reader_of(operation)


@cache
def _known_reader_of(operation: str) -> Reader:
    return _reader(service_model("sns").operation_model(operation).input_shape)


def _reader(shape: Any) -> Reader:
    make = _READERS.get(shape.type_name)
    return make(shape) if make else _read_text


def _structure_reader(shape: Any) -> Reader:
    readers = {name: _reader(member) for name, member in shape.members.items()}
    required = tuple(shape.required_members)

    def read_structure(node: Node) -> dict[str, Any]:
        ask: dict[str, Any] = {}
        for name, item in _branch(node).items():
            if name in readers:
                try:
                    ask[name] = readers[name](item)
                except MissingMember as lacking:
                    raise lacking.within(_lower_first(name)) from lacking
        for name in required:
            if name not in ask:
                raise MissingMember(_lower_first(name))
        return ask

    return read_structure


def _list_reader(shape: Any) -> Reader:
    read_item = _reader(shape.member)

    def read_list(node: Node) -> list[Any]:
        found: list[Any] = []
        for item in _numbered(node, "member"):
            try:
                found.append(read_item(item))
            except MissingMember as lacking:
                raise lacking.within(str(len(found) + 1), "member") from lacking
        return found

    return read_list


def _map_reader(shape: Any) -> Reader:
    key_name, value_name = _names_in(shape)
    read_key, read_value = _reader(shape.key), _reader(shape.value)

    def read_map(node: Node) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for number, entry in enumerate(_numbered(node, "entry"), 1):
            fields = _branch(entry)
            for name in (key_name, value_name):
                if name not in fields:
                    raise MissingMember("entry", str(number), _lower_first(name))
            key = read_key(fields[key_name])
            if key in found:
                raise _malformed(f"The request has the entry {key} twice")
            try:
                found[key] = read_value(fields[value_name])
            except MissingMember as lacking:
                raise lacking.within(key, "member") from lacking
        return found

    return read_map


def _names_in(shape: Any) -> tuple[str, str]:
    """Return what the entries of a map call key and value."""
    return shape.key.serialization.get("name", "key"), shape.value.serialization.get("name", "value")


def _branch(node: Node) -> dict[str, Node]:
    """Return the nodes below *node*; a value that is empty stands for none."""
    if type(node) is dict:
        return node
    if node:
        raise _malformed("Value found where not expected")
    return {}


def _numbered(node: Node, tag: str) -> list[Node]:
    """Return the nodes at ``tag.1``, ``tag.2`` and so on below *node*, in this order; some may be left out."""
    branch = _branch(node)
    if branch.keys() - {tag}:
        raise _malformed(f"A list has its values at {tag}.1, {tag}.2 and so on")
    items = _branch(branch.get(tag, ""))
    for index in items:
        if not _INDEX.fullmatch(index):
            raise _malformed(f"{index} is not a valid index")
    return [items[index] for index in sorted(items, key=int)]


def _read_text(node: Node) -> str:
    if type(node) is not str:
        raise _malformed("Start of structure or map found where not expected.")
    return node


def _read_integer(node: Node) -> int:
    text = _read_text(node)
    if not _INTEGER.fullmatch(text):
        raise _malformed("STRING_VALUE can not be converted to an Integer")
    return int(text)


def _read_boolean(node: Node) -> bool:
    value = _BOOLEANS.get(_read_text(node).lower())
    if value is None:
        raise _malformed("STRING_VALUE can not be converted to a Boolean")
    return value


def _read_blob(node: Node) -> bytes:
    try:
        return from_base64(_read_text(node))
    except ValueError as error:
        raise _malformed("STRING_VALUE can not be converted to a Blob") from error


_READERS: Final[Mapping[str, Callable[[Any], Reader]]] = {
    "structure": _structure_reader,
    "list": _list_reader,
    "map": _map_reader,
    "integer": lambda _: _read_integer,
    "boolean": lambda _: _read_boolean,
    "blob": lambda _: _read_blob,
}


def _malformed(words: str) -> Refused:
    return Refused("MalformedInput", words)


def _lower_first(name: str) -> str:
    """Return *name* as AWS writes it in the path to what is wrong."""
    return name[0].lower() + name[1:]


def _null_at(path: str) -> Refused:
    return Refused(
        "ValidationError",
        f"1 validation error detected: Value null at '{path}' failed to satisfy constraint: Member must not be null",
    )


def _document(name: str, content: str) -> bytes:
    return f'<{name} xmlns="{_NAMESPACE}">{content}</{name}>'.encode()


def _escape(text: str) -> str:
    return _SPECIAL.sub(_escape_character, text)


def _escape_character(found: re.Match[str]) -> str:
    # What XML cannot have at all becomes what stands for the unreadable.
    return _ESCAPES.get(found.group(), "\ufffd")


@cache
def _writer_of(operation: str) -> Writer:
    shape = service_model("sns").operation_model(operation).output_shape
    if shape is None:
        return lambda _: ""
    return _tagged(shape.serialization["resultWrapper"], _writer(shape))


def _writer(shape: Any) -> Writer:
    make = _WRITERS.get(shape.type_name)
    return make(shape) if make else _write_text


def _tagged(name: str, write_content: Writer) -> Writer:
    return lambda value: f"<{name}>{write_content(value)}</{name}>"


def _structure_writer(shape: Any) -> Writer:
    writers = {name: _tagged(name, _writer(member)) for name, member in shape.members.items()}
    return lambda value: "".join(write(value[name]) for name, write in writers.items() if name in value)


def _list_writer(shape: Any) -> Writer:
    write_item = _tagged("member", _writer(shape.member))
    return lambda value: "".join(map(write_item, value))


def _map_writer(shape: Any) -> Writer:
    key_name, value_name = _names_in(shape)
    write_key, write_value = _tagged(key_name, _writer(shape.key)), _tagged(value_name, _writer(shape.value))
    return lambda value: "".join(f"<entry>{write_key(key)}{write_value(item)}</entry>" for key, item in value.items())


def _write_text(value: object) -> str:
    return _escape(str(value))


_WRITERS: Final[Mapping[str, Callable[[Any], Writer]]] = {
    "structure": _structure_writer,
    "list": _list_writer,
    "map": _map_writer,
    "boolean": lambda _: lambda value: str(value).lower(),
    "blob": lambda _: to_base64,
}
