"""What stands for its value as a pattern was refused by `eq`, and a UUID in BSON from elsewhere matched nothing."""

from __future__ import annotations

from enum import Enum
from uuid import UUID

import pytest

from megaflow.match.functions import eq, neq, one_of
from megaflow.messages.codec import decode
from tests.matching import matches

ID = UUID("61fcc874-624e-40f8-8fd7-0e663c7837e8")
BSON_WITH_ID = "HgAAAAVpZAAQAAAABGH8yHRiTkD4j9cOZjx4N+gA"


class State(Enum):
    OPEN = "open"


def test_an_enum_equals_its_value() -> None:
    assert matches(eq(State.OPEN), "open")
    assert matches(neq(State.OPEN), "closed")
    assert matches(eq({"states": [State.OPEN]}), {"states": ["open"]})


@pytest.mark.parametrize("pattern", [ID, eq(ID), one_of(ID), [ID]], ids=repr)
def test_a_uuid_equals_its_text_and_itself(pattern: object) -> None:
    assert matches(pattern, str(ID))
    assert matches(pattern, ID)
    assert not matches(pattern, ID.bytes)


def test_a_uuid_in_bson_from_elsewhere_is_found() -> None:
    decoded = decode(BSON_WITH_ID)

    assert matches({"id": ID}, decoded.payload)
