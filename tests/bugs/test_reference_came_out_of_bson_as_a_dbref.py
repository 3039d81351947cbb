"""PyMongo made a DBRef of a dict with the keys ``$ref`` and ``$id``, which JSON Schemas have too."""

from __future__ import annotations

from typing import Any

import pytest

from megaflow.messages.codec import decode, encode
from tests.strategies import exactly


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/definitions/user", "$id": "https://example.com/user"},
        {"$ref": "#/definitions/user", "$id": None, "$db": None, "title": "User"},
        {"$ref": "a", "$id": {"$ref": "b", "$id": 1}},
    ],
)
def test_a_reference_stays_a_dict(schema: dict[str, Any]) -> None:
    payload = {"schema": schema, "all": [schema, [schema]]}

    decoded = decode(encode(payload, binary_encoding=True).body)

    assert exactly(decoded.payload) == exactly(payload)
