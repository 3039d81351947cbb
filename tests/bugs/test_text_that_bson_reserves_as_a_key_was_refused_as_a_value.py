"""A value that only mentioned the PyPI package's reserved key could not be sent as BSON."""

from __future__ import annotations

import pytest

from megaflow.messages.codec import decode, encode


@pytest.mark.parametrize(
    "payload",
    [
        {"text": "$$__CLASS_NAME__$$"},
        {"texts": ["about $$__CLASS_NAME__$$"]},
        {"a $$__CLASS_NAME__$$": b"$$__CLASS_NAME__$$"},
    ],
)
def test_a_value_may_mention_the_reserved_key(payload: dict[str, object]) -> None:
    encoded = encode(payload, binary_encoding=True)

    assert decode(encoded.body).payload == payload
