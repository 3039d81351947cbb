"""A key that could not be kept ended all receives.

The file beside ``--data`` that keeps the key which signs envelopes could not be read or written: it was another user's,
a folder, or half of it was left by a process that was killed. Then each receive of an envelope was an error, though
the message went in flight, until it was a dead letter.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from megaflow.local.endpoints.signing import Signer
from megaflow.local.server import Server
from tests.conformance.conftest import clients
from tests.local.test_signatures import receive, subscribed, verify


def test_what_cannot_be_read_is_said_and_envelopes_are_signed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kept = tmp_path / "queue.db.sns.pem"
    kept.mkdir()
    with Server(key_file=kept) as server, clients(server.url) as (sqs, sns):
        url, topic = subscribed(sqs, sns)
        sns.publish(TopicArn=topic, Message="hello")

        verify(receive(sqs, url))
        verify(receive(sqs, url))

    assert caplog.text.count(f"the key that signs envelopes cannot be kept in {kept}") == 1


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", refuse)

    assert Signer(tmp_path / "key.pem").name == Signer(None).name
    assert list(tmp_path.iterdir()) == []


def test_half_a_file_of_a_process_that_was_killed_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / f"key.pem.{os.getpid()}").write_bytes(b"-----BEGIN")
    name = Signer(tmp_path / "key.pem").name

    assert Signer(tmp_path / "key.pem").name == name
    assert [path.name for path in tmp_path.iterdir()] == ["key.pem"]
