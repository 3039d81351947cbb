"""Message attributes: as SQS and SNS carry them, and as Python sees them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Final, TypeAlias

AttributeValue: TypeAlias = str | int | Decimal | bytes
_WHOLE_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,40}")


@dataclass(frozen=True, slots=True)
class Attribute:
    """A message attribute as SQS and SNS carry it: its type (``String``, ``Number.price``, …) and its value."""

    type: str
    value: str | bytes

    @property
    def plain(self) -> AttributeValue:
        """The value as Python sees it; a number that cannot be read stays text."""
        if not isinstance(self.value, str) or not self.type.startswith("Number"):
            return self.value
        if _WHOLE_NUMBER.fullmatch(self.value):
            return int(self.value)
        try:
            return Decimal(self.value)
        except InvalidOperation:
            return self.value


def plain_attributes(attributes: Mapping[str, Attribute]) -> dict[str, AttributeValue]:
    """Return *attributes* as Python sees them."""
    return {name: attribute.plain for name, attribute in attributes.items()}
