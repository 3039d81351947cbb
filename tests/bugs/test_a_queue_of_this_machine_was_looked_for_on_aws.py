"""Where ``AWS_ENDPOINT_URL`` was forgotten, nothing said that AWS was asked for a queue of this machine."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from megaflow.cli.options import _describe_place


@pytest.mark.parametrize(
    ("endpoint_url", "said"),
    [
        (
            "https://sqs.eu-west-1.amazonaws.com",
            " at https://sqs.eu-west-1.amazonaws.com, in eu-west-1; set AWS_ENDPOINT_URL for one on this machine",
        ),
        ("http://127.0.0.1:4566", " at http://127.0.0.1:4566, in eu-west-1"),
    ],
)
def test_where_a_queue_was_looked_for_is_said(endpoint_url: str, said: str) -> None:
    client = SimpleNamespace(meta=SimpleNamespace(endpoint_url=endpoint_url, region_name="eu-west-1"))

    assert _describe_place(client) == said
