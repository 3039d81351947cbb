"""The content of a message: body and attributes, checked, measured and summed as SQS does."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import md5
from types import MappingProxyType
from typing import Any, Final

from megaflow.limits import MESSAGE_ATTRIBUTES, refused_character
from megaflow.local.refused import Refused, missing

TRACE_HEADER: Final = "AWSTraceHeader"
"""The one system attribute that a sender may give; also the name by which a call has what its header says."""

NUMBER: Final = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_VALID_CHARACTERS: Final = (
    "Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF"
)
_CHECKED_LATER: Final = frozenset({"MessageBody", "StringValue", "Message"})
TYPES: Final = ("String", "Number", "Binary")
_NAME_LENGTH: Final = 256
"""Characters of a name, and of a data type."""

_NAME: Final = re.compile(r"(?!(?i:aws|amazon)\.)(?!.*\.\.)(?!\.)[\w.-]+(?<!\.)")
"""Letters of any script, though the documentation speaks of A to Z alone: SQS takes them."""


@dataclass(frozen=True, slots=True)
class MessageAttribute:
    """One message attribute: ``String``, ``Number`` or ``Binary``, with or without a label of its own."""

    data_type: str
    value: str | bytes

    @property
    def size(self) -> int:
        """Bytes this counts for, without its name."""
        return size_in_bytes(self.data_type) + size_in_bytes(self.value)


NO_ATTRIBUTES: Final[Mapping[str, MessageAttribute]] = MappingProxyType({})
"""One for all, because most of a million messages have none."""


@dataclass(frozen=True, slots=True)
class Content:
    """A body with its attributes, as sent."""

    body: str
    attributes: Mapping[str, MessageAttribute] = field(default_factory=lambda: NO_ATTRIBUTES)
    system_attributes: Mapping[str, MessageAttribute] = field(default_factory=lambda: NO_ATTRIBUTES)

    @property
    def size(self) -> int:
        """Bytes of body, names, types and values; the trace header does not count.

        https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html
        """
        size = size_in_bytes(self.body)
        if self.attributes:
            size += sum(size_in_bytes(name) + attribute.size for name, attribute in self.attributes.items())
        return size


def size_in_bytes(value: str | bytes | bytearray) -> int:
    """Return how many bytes SQS counts for a text or bytes."""
    return len(value) if not isinstance(value, str) or value.isascii() else len(as_bytes(value))


def as_bytes(value: str | bytes | bytearray) -> bytes:
    """Return the bytes that SQS sees of a text or bytes."""
    # Half of a surrogate pair is refused later; until then it has a size.
    return value.encode(errors="surrogatepass") if isinstance(value, str) else bytes(value)


def size_of_entry(body: str, attributes: Mapping[str, Mapping[str, Any]]) -> int:
    """Return the bytes that an entry of a batch counts for, before anything is checked."""
    size = size_in_bytes(body)
    for name, fields in attributes.items():
        texts = (name, *(fields[key] for key in ("DataType", "StringValue", "BinaryValue") if key in fields))
        size += sum(map(size_in_bytes, texts))
    return size


def read_attributes(given: Mapping[str, Mapping[str, Any]]) -> Mapping[str, MessageAttribute]:
    """Make attributes of what boto3 takes as ``MessageAttributes`` of SQS.

    Raises:
        Refused: a name, type or value that SQS does not take.
    """
    if not given:
        return NO_ATTRIBUTES
    return {name: _read_attribute(name, fields) for name, fields in given.items()}


def read_content(given: Mapping[str, Any]) -> Content:
    """Make the content of a message of what boto3's ``send_message`` takes.

    Raises:
        Refused: no body, a character SQS refuses, too many attributes or a wrong one.
    """
    body = given["MessageBody"]
    if not body:
        raise missing("MessageBody")
    check_text(body)
    attributes = read_attributes(given.get("MessageAttributes", {}))
    check_count(attributes)
    system = read_trace_header(given) | _read_system_attributes(given.get("MessageSystemAttributes", {}))
    return Content(body, attributes, system or NO_ATTRIBUTES)


def read_trace_header(given: Mapping[str, Any]) -> dict[str, MessageAttribute]:
    """Make the system attribute of what the header of a call says, where it has one."""
    return {TRACE_HEADER: MessageAttribute("String", given[TRACE_HEADER])} if TRACE_HEADER in given else {}


def check_text(text: str) -> None:
    """Refuse a text with a character that SQS does not take."""
    if refused_character(text) is not None:
        raise Refused(
            "InvalidMessageContents",
            f"Invalid characters found. {_VALID_CHARACTERS}",
        )


def check_texts(value: object, name: str = "") -> None:
    """Refuse half of a surrogate pair wherever it stands but in what the operations check in words of their own."""
    if isinstance(value, str):
        if not value.isascii() and name not in _CHECKED_LATER:
            _check_surrogates(value)
    elif isinstance(value, dict):
        for key, item in value.items():
            check_texts(key)
            check_texts(item, key)
    elif isinstance(value, list | tuple):
        for item in value:
            check_texts(item)


def _check_surrogates(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Refused("SerializationException", "The request has half of a surrogate pair") from error


def check_count(attributes: Mapping[str, MessageAttribute]) -> None:
    """Refuse more attributes than SQS takes."""
    if len(attributes) > MESSAGE_ATTRIBUTES:
        raise _wrong(
            f"Number of message attributes [{len(attributes)}] exceeds the allowed maximum [{MESSAGE_ATTRIBUTES}]."
        )


def chosen(attributes: Mapping[str, MessageAttribute], names: Iterable[str]) -> dict[str, MessageAttribute]:
    """Return those *attributes* that ``MessageAttributeNames`` asks for: by name, ``All``, ``prefix.*``.

    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html
    """
    wanted = set(names)
    if wanted & {"All", ".*", "*"}:
        return dict(attributes)
    starts = tuple(name[:-2] for name in wanted if name.endswith(".*"))
    return {name: value for name, value in attributes.items() if name in wanted or name.startswith(starts)}


def show_attributes(attributes: Mapping[str, MessageAttribute]) -> dict[str, dict[str, Any]]:
    """Return *attributes* as boto3 gives them."""
    return {name: _show_attribute(attribute) for name, attribute in attributes.items()}


def md5_of_body(body: str) -> str:
    """Return the sum SQS gives for a body."""
    return md5(body.encode(), usedforsecurity=False).hexdigest()


def md5_of_attributes(attributes: Mapping[str, MessageAttribute]) -> str:
    """Return the sum SQS gives for attributes: by name, each part with its length in four bytes.

    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html
    """
    total = md5(usedforsecurity=False)
    for name in sorted(attributes):
        attribute = attributes[name]
        for part in (name.encode(), attribute.data_type.encode()):
            total.update(len(part).to_bytes(4, "big") + part)
        value = as_bytes(attribute.value)
        transport = b"\x02" if isinstance(attribute.value, bytes) else b"\x01"
        total.update(transport + len(value).to_bytes(4, "big") + value)
    return total.hexdigest()


def _read_attribute(name: str, fields: Mapping[str, Any]) -> MessageAttribute:
    if len(name) > _NAME_LENGTH or not _NAME.fullmatch(name):
        raise _wrong(
            f"The message attribute name '{name}' is invalid. Attribute name can contain A-Z, a-z, 0-9, "
            "underscore (_), hyphen (-), and period (.) characters."
        )
    if fields.get("StringListValues") or fields.get("BinaryListValues"):
        raise Refused("UnsupportedOperation", "Message attribute list values are not supported.")
    attribute = MessageAttribute(fields["DataType"], _read_value(name, fields))
    _check_value(name, attribute)
    return attribute


def _read_value(name: str, fields: Mapping[str, Any]) -> str | bytes:
    base = fields["DataType"].split(".", 1)[0]
    if base not in TYPES or len(fields["DataType"]) > _NAME_LENGTH:
        raise _wrong(
            f"The type of message (user) attribute '{name}' is invalid. You must use only the following supported "
            "type prefixes: Binary, Number, String."
        )
    value = fields.get("BinaryValue") if base == "Binary" else fields.get("StringValue")
    if not value:
        raise _wrong(f"Message (user) attribute '{name}' must contain a non-empty value of type '{base}'.")
    return as_bytes(value) if base == "Binary" else str(value)


def _check_value(name: str, attribute: MessageAttribute) -> None:
    if isinstance(attribute.value, bytes):
        return
    if refused_character(attribute.value) is not None:
        raise _wrong(f"Message (user) attribute '{name}' has invalid characters. {_VALID_CHARACTERS}")
    if attribute.data_type.startswith("Number") and not NUMBER.fullmatch(attribute.value):
        raise _wrong(f"Can't cast the value of message (user) attribute '{name}' to a number.")


def _read_system_attributes(given: Mapping[str, Mapping[str, Any]]) -> dict[str, MessageAttribute]:
    attributes = dict(read_attributes(given))
    for name in attributes:
        if name != TRACE_HEADER:
            raise _wrong(f"Message system attribute name '{name}' is invalid.")
        if attributes[name].data_type != "String":
            raise _wrong(f"The message system attribute '{TRACE_HEADER}' must be of type 'String'.")
    return attributes


def _show_attribute(attribute: MessageAttribute) -> dict[str, Any]:
    kind = "BinaryValue" if isinstance(attribute.value, bytes) else "StringValue"
    return {kind: attribute.value, "DataType": attribute.data_type}


def _wrong(message: str) -> Refused:
    return Refused("InvalidParameterValue", message)
