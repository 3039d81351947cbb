"""Message attributes of what is published: names, types and values as SNS takes them, and its words for others.

https://docs.aws.amazon.com/sns/latest/dg/sns-message-attributes.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from megaflow.limits import refused_character
from megaflow.local.content import NO_ATTRIBUTES, NUMBER, TYPES, MessageAttribute, as_bytes
from megaflow.local.operations.operation import Ask
from megaflow.local.refused import Refused

_NAME_LENGTH: Final = 256
_NO_NAME_CHARACTER: Final = re.compile(r"[^A-Za-z0-9_.-]")
_TYPE: Final = re.compile(rf"({'|'.join(TYPES)})(\..{{1,256}})?")
_FIELDS: Final = {"String": "StringValue", "Number": "StringValue", "Binary": "BinaryValue"}


def read_attributes_of(ask: Ask) -> Mapping[str, MessageAttribute]:
    """Read the attributes of what boto3's ``publish`` takes, or of an entry of ``publish_batch``.

    Raises:
        Refused: a name, type or value that SNS does not take.
    """
    given = ask.get("MessageAttributes")
    return {name: _read(name, fields) for name, fields in given.items()} if given else NO_ATTRIBUTES


def _read(name: str, fields: Mapping[str, Any]) -> MessageAttribute:
    _check_name(name)
    data_type = _TYPE.fullmatch(fields["DataType"])
    if data_type is None:
        raise _wrong(
            f"The message attribute '{name}' has an invalid message attribute type, the set of supported type "
            "prefixes is Binary, Number, and String."
        )
    return MessageAttribute(fields["DataType"], _read_value(name, fields, data_type[1]))


def _check_name(name: str) -> None:
    if len(name) > _NAME_LENGTH:
        raise _wrong(f"Length of message attribute name must be less than {_NAME_LENGTH} bytes.")
    found = _NO_NAME_CHARACTER.search(name)
    if found:
        raise _wrong(
            f"Invalid non-alphanumeric character '#x{ord(found.group()):X}' was found in the message attribute name. "
            "Can only include alphanumeric characters, hyphens, underscores, or dots."
        )
    if name.startswith("."):
        raise _wrong("Invalid message attribute name starting with character '.' was found.")
    if name.endswith("."):
        raise _wrong("Invalid message attribute name ending with character '.' was found.")
    if ".." in name:
        raise _wrong("Message attribute name can not have successive '.' character.")
    if not name or name.lower().startswith(("aws.", "amazon.")):
        raise _wrong(f"The message attribute name '{name}' is empty, or begins with what AWS keeps for itself.")


def _read_value(name: str, fields: Mapping[str, Any], base: str) -> str | bytes:
    wanted = _FIELDS[base]
    if not any(fields.get(field) for field in _FIELDS.values()):
        raise _wrong(
            f"The message attribute '{name}' must contain non-empty message attribute value for message attribute type "
            f"'{base}'."
        )
    value = fields.get(wanted)
    if not value:
        raise _wrong(
            f"The message attribute '{name}' with type '{base}' must use field '{wanted.removesuffix('Value')}'."
        )
    if wanted == "BinaryValue":
        return as_bytes(value)
    _check_text(name, value, base)
    return str(value)


def _check_text(name: str, text: str, base: str) -> None:
    if refused_character(text) is not None:
        raise _wrong(f"The message attribute '{name}' has a character that SQS does not take.")
    if base == "Number" and not NUMBER.fullmatch(text):
        raise _wrong(f"Could not cast message attribute '{name}' value to number.")


def _wrong(message: str) -> Refused:
    return Refused("ParameterValueInvalid", message)
