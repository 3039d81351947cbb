"""An integer that Python refuses to write raised a bare ValueError, without a path."""

from __future__ import annotations

from typing import Any

import pytest

from megaflow.errors import EncodeError
from megaflow.messages.codec import encode

HUGE = 10**5_000


@pytest.mark.parametrize(
    ("payload", "path"),
    [
        ({"user": {"id": HUGE}}, "payload.user.id"),
        ({"ids": [1, -HUGE]}, "payload.ids[1]"),
        ({"ids": {HUGE}}, "payload.ids[0]"),
    ],
)
def test_an_integer_of_5000_digits_is_named_by_its_path(payload: dict[str, Any], path: str) -> None:
    with pytest.raises(EncodeError) as caught:
        encode(payload)

    assert str(caught.value) == f"{path}: a whole number of so many digits could not be read again; send it as text"
