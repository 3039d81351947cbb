"""Message attributes: as SQS and SNS carry them, as Python sees them, and what can become one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, TypeAlias

from megaflow import limits
from megaflow.errors import EncodeError

AttributeValue: TypeAlias = str | int | Decimal | bytes
_WHOLE_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,40}")
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")

# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html
_LONGEST: Final = 100
"""Characters of a number. AWS allows 38 digits, and exponents from -128 to 126."""

_VALUE_TYPES: Final[Mapping[str, type]] = {"String": str, "Number": str, "Binary": bytes}

_FARTHEST: Final = 324
"""A number's exponent at most: that of the smallest float. `int` takes seconds for what is far beyond."""


@dataclass(frozen=True, slots=True)
class Attribute:
    """A message attribute as SQS and SNS carry it. Give one to `App.publish` where the type matters."""

    type: str
    """The type, with or without a label: ``String``, ``Number``, ``Binary``, ``Number.price``."""

    value: str | bytes
    """Text for ``String`` and ``Number``, bytes for ``Binary``."""

    @property
    def plain(self) -> AttributeValue:
        """The value in Python: text, bytes, an int or a Decimal. A number that Python cannot read stays text."""
        if not isinstance(self.value, str) or not self.type.startswith("Number"):
            return self.value
        if _WHOLE_NUMBER.fullmatch(self.value):
            return int(self.value)
        if len(self.value) > _LONGEST or not _NUMBER.fullmatch(self.value):
            return self.value
        number = Decimal(self.value)
        return number if abs(number.adjusted()) <= _FARTHEST else self.value


def plain_attributes(attributes: Mapping[str, Attribute]) -> dict[str, AttributeValue]:
    """Return *attributes* as Python sees them."""
    return {name: attribute.plain for name, attribute in attributes.items()}


AttributeInput: TypeAlias = str | int | float | Decimal | bytes | Attribute
"""What can become an attribute: text, a number or bytes, or an `Attribute` where the type matters."""


def is_exact_for_aws(number: int | Decimal) -> bool:
    """Tell whether AWS has room for all of *number*: 38 digits, and an exponent from -128 to 126."""
    exact = Decimal(number)
    return len(exact.as_tuple().digits) <= 38 and -128 <= exact.adjusted() <= 126


def read_attributes(given: Mapping[str, AttributeInput], path: str) -> dict[str, Attribute]:
    """Return what is *given* as attributes; raise `EncodeError`, below *path*, for what AWS would refuse."""
    if not isinstance(given, Mapping):
        raise EncodeError(f"are names and their values, as in {{'tenant': 'a'}}, not {type(given).__qualname__}", path)
    return {name: _read_attribute(name, value, f"{path}.{name}") for name, value in given.items()}


def check_text(text: str, path: str) -> None:
    """Raise `EncodeError` for text that AWS would refuse, in a body or an attribute."""
    if not text:
        raise EncodeError("is empty, and AWS takes no empty text", path)
    refused = limits.refused_character(text)
    if refused is not None:
        raise EncodeError(f"holds {refused!r}, a character that SQS refuses; send bytes, or JSON", path)


def _read_attribute(name: str, value: AttributeInput, path: str) -> Attribute:
    if not isinstance(name, str) or not limits.allows_attribute_name(name):
        raise EncodeError("a name is up to 256 letters, digits, '_', '-' and single dots inside, not 'AWS.'", path)
    attribute = value if isinstance(value, Attribute) else _make_attribute(value, path)
    _check_attribute(attribute, path)
    return attribute


def _make_attribute(value: str | int | float | Decimal | bytes, path: str) -> Attribute:
    if isinstance(value, str):
        return Attribute("String", value)
    if isinstance(value, bytes):
        return Attribute("Binary", value)
    # By way of Decimal, which takes whole numbers of any length and numbers that are none.
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool) and Decimal(value).is_finite():
        return Attribute("Number", repr(float(value)) if isinstance(value, float) else str(Decimal(value)))
    raise EncodeError(f"{value!r} is no text, number or bytes", path)


def _check_attribute(attribute: Attribute, path: str) -> None:
    base = str(attribute.type).partition(".")[0]
    if base not in _VALUE_TYPES or not isinstance(attribute.value, _VALUE_TYPES[base]):
        raise EncodeError(f"{attribute!r} is neither a String or Number of text nor a Binary of bytes", path)
    if isinstance(attribute.value, str):
        check_text(attribute.value, path)
    elif not attribute.value:
        raise EncodeError("is empty, and AWS takes no empty value", path)
