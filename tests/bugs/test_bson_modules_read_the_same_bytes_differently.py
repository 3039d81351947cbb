"""The PyPI package and PyMongo read bools, UUIDs of old and times of the far future each in its own way."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from megaflow.messages import bson
from megaflow.messages.bson import NotBsonError
from tests.documents import blob, document, element, moment


@pytest.mark.parametrize("value", [b"\2", b"\xff"])
def test_a_bool_is_true_or_false(value: bytes) -> None:
    with pytest.raises(NotBsonError, match="a bool that is neither true nor false"):
        bson.decode_document(document(element(0x08, "x", value)))


@pytest.mark.parametrize("subtype", [3, 4])
def test_a_uuid_is_one_in_its_old_form_too(subtype: int) -> None:
    data = bytes(range(16))

    assert bson.decode_document(document(blob("x", data, subtype))) == {"x": UUID(bytes=data)}


@pytest.mark.parametrize("subtype", [3, 4])
def test_a_uuid_has_16_bytes(subtype: int) -> None:
    with pytest.raises(NotBsonError):
        bson.decode_document(document(blob("x", b"short", subtype)))


@pytest.mark.parametrize(
    ("milliseconds", "read"),
    [
        (253_402_300_799_999, datetime(9999, 12, 31, 23, 59, 59, 999000, tzinfo=UTC)),
        (-62_135_596_800_000, datetime(1, 1, 1, tzinfo=UTC)),
        (-62_135_596_799_999, datetime(1, 1, 1, 0, 0, 0, 1000, tzinfo=UTC)),
        (32_503_680_000_001, datetime(3000, 1, 1, 0, 0, 0, 1000, tzinfo=UTC)),
    ],
)
def test_a_time_is_right_to_the_millisecond(milliseconds: int, read: datetime) -> None:
    assert bson.decode_document(document(moment("x", milliseconds))) == {"x": read}
