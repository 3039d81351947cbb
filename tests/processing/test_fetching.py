"""Fetching: what lies outside of a message is its payload, where it is what was sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from megaflow import App
from megaflow.messages.attributes import Attribute
from megaflow.messages.message import open_message
from megaflow.messages.pointers import write_pointer
from megaflow.payloads import DirectoryPayloads


@pytest.mark.parametrize(("size", "handled"), [("6", []), ("7", [{"n": 1}]), ("8", [])])
def test_a_payload_that_is_longer_or_shorter_than_what_was_sent_is_a_dead_letter(
    tmp_path: Path, size: str, handled: list[object]
) -> None:
    payloads, got = DirectoryPayloads(tmp_path), list[object]()
    pointer = payloads.make_pointer()
    payloads.write(pointer, b'{"n":1}')
    app = App(large_payloads=payloads)
    app.on_data()(got.append)

    verdict = app.process(
        open_message(write_pointer(pointer), sqs_attributes={"ExtendedPayloadSize": Attribute("Number", size)})
    )

    assert got == handled
    assert verdict.dead_letters is (not handled)
