"""Before 3.13, Python's strict Base64 lets any number of "=" follow a whole group: ``ping=`` was read as bytes."""

from __future__ import annotations

import pytest

from megaflow.messages.codec import Decoded, Kind, decode


@pytest.mark.parametrize("body", ["ping=", "ping==", "ping===", "ping===="])
def test_surplus_padding_is_no_base64(body: str) -> None:
    assert decode(body, "binary") == Decoded(Kind.TEXT, body)


def test_nor_is_it_bson() -> None:
    document = "CAAAAAp4AAA="
    unpadded = "CQAAAAp4eAAA"

    assert decode(document).payload == {"x": None}
    assert decode(unpadded).payload == {"xx": None}
    assert decode(unpadded + "=") == Decoded(Kind.TEXT, unpadded + "=")
