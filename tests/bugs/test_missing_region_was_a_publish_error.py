"""A batch found out about a missing region only as it was sent: a PublishError, "not known whether it was sent"."""

from __future__ import annotations

import pytest

from megaflow import ConfigurationError, SnsPublisher, SqsPublisher


@pytest.mark.parametrize(
    "publisher",
    [SqsPublisher(queue_url="http://127.0.0.1:1/0/orders"), SnsPublisher(topic_arn="arn:aws:sns:us-east-1:0:orders")],
    ids=["queue", "topic"],
)
def test_a_batch_without_a_region_is_a_configuration_error(
    publisher: SqsPublisher | SnsPublisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "nowhere")

    with pytest.raises(ConfigurationError, match="no AWS region"):
        publisher.publish_batch(["ping"])
