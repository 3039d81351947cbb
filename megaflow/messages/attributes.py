"""Message attributes: as SQS and SNS carry them, and as Python sees them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, TypeAlias

AttributeValue: TypeAlias = str | int | Decimal | bytes
_WHOLE_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,40}")
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")

# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html
_LONGEST: Final = 100
"""Characters of a number. AWS allows 38 digits, and exponents from -128 to 126."""

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
