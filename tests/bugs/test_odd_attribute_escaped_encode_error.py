"""Attributes that are no text, number or bytes, and ids that are no text, raised whatever Python made of them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from megaflow import EncodeError, Outgoing
from megaflow.messages.attributes import Attribute
from megaflow.publishing.outgoing import prepare


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"attributes": {5: "a name that is no text"}}, "attributes.5"),
        ({"attributes": {"n": Decimal("sNaN")}}, "attributes.n"),
        ({"attributes": {"n": Attribute("Number", 5)}}, "attributes.n"),  # type: ignore[arg-type]
        ({"attributes": {"n": Attribute("String", b"bytes")}}, "attributes.n"),
        ({"group_id": 5}, "group_id"),
        ({"deduplication_id": 5}, "deduplication_id"),
    ],
    ids=repr,
)
def test_what_cannot_be_sent_is_named_by_its_path(options: dict[str, Any], path: str) -> None:
    with pytest.raises(EncodeError) as caught:
        prepare(Outgoing("ping", **options), max_size=1_000)

    assert caught.value.path == path


def test_a_number_beyond_every_float_is_sent_as_it_is() -> None:
    prepared = prepare(Outgoing("ping", attributes={"n": 10**400}), max_size=1_000)

    assert prepared.attributes["n"].value == "1" + "0" * 400
