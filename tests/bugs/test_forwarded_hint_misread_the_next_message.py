"""Attributes forwarded from a received message brought its hint along, by which the new payload was then read."""

from __future__ import annotations

from typing import Any

import pytest

from megaflow import Outgoing
from megaflow.messages.message import open_message
from megaflow.publishing.outgoing import prepare


@pytest.mark.parametrize("forwarded", ["text", "binary", "data"])
@pytest.mark.parametrize("payload", [{"id": 1}, b"\0\1", "ping", '{"id": 1}'], ids=repr)
@pytest.mark.parametrize("binary_encoding", [False, True])
def test_a_payload_is_read_as_what_it_is(payload: Any, binary_encoding: bool, forwarded: str) -> None:
    attributes = {"megaflow-kind": forwarded, "tenant": "acme"}
    as_bson = binary_encoding and isinstance(payload, dict)

    prepared = prepare(Outgoing(payload, binary_encoding=as_bson, attributes=attributes), max_size=1_000)

    message = open_message(prepared.body, sqs_attributes=prepared.attributes)
    assert message.payload == payload
    assert message.attributes["tenant"] == "acme"
