"""A key of an Enum of text was sent as ``Color.RED`` instead of ``red``."""

from __future__ import annotations

from enum import Enum

import pytest

from megaflow.errors import EncodeError
from megaflow.messages.codec import decode, encode


class Color(str, Enum):  # noqa: UP042 - unlike a StrEnum's, its str() is Color.RED
    RED = "red"


@pytest.mark.parametrize("binary_encoding", [False, True])
def test_a_key_is_the_value_of_its_enum(binary_encoding: bool) -> None:
    encoded = encode({Color.RED: {Color.RED: 1}}, binary_encoding=binary_encoding)

    assert decode(encoded.body).payload == {"red": {"red": 1}}


def test_and_so_it_stands_in_a_path() -> None:
    with pytest.raises(EncodeError, match=r"^payload\.red: bytes need binary_encoding=True$"):
        encode({Color.RED: b""})
