"""A batch found out what was not configured only as it was sent: a PublishError, "not known whether it was sent"."""

from __future__ import annotations

import pytest

from megaflow import ConfigurationError, SnsPublisher, SqsPublisher


@pytest.mark.parametrize(
    "publisher",
    [
        SqsPublisher(queue_url="http://127.0.0.1:1/0/orders", region_name="us-east-1"),
        SqsPublisher(queue_url="https://sqs.us-east-1.amazonaws.com/424566909325/orders", profile_name="nobody"),
        SnsPublisher(topic_arn="arn:aws:sns:us-east-1:424566909325:orders", profile_name="nobody"),
    ],
    ids=["no endpoint", "no profile", "no profile for a topic"],
)
def test_a_batch_that_cannot_be_sent_is_a_configuration_error(
    publisher: SqsPublisher | SnsPublisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "nowhere")

    with pytest.raises(ConfigurationError, match=r"endpoint_url=|profile_name="):
        publisher.publish_batch(["ping"])
