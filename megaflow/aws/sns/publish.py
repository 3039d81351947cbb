"""`SnsPublisher`, by the import path of the sqs-mega README, and with its regions."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Unpack

from megaflow import limits
from megaflow.publishing import sns
from megaflow.telemetry.metrics import Metrics
from megaflow.telemetry.tracing import Telemetry
from megaflow.transport.protocols import SnsClient
from megaflow.transport.session import AwsOptions, giving_way

__all__ = ["SnsPublisher"]


class SnsPublisher(sns.SnsPublisher):
    """The same as `megaflow.SnsPublisher`, but the region in *topic_arn* wins over *region_name*, with a warning."""

    def __init__(
        self,
        *,
        topic_arn: str | None = None,
        max_message_size: int = limits.SNS_MESSAGE_SIZE,
        client: SnsClient | None = None,
        sleep: Callable[[float], None] = time.sleep,
        metrics: Metrics | None = None,
        telemetry: bool | Telemetry = True,
        **aws: Unpack[AwsOptions],
    ) -> None:
        super().__init__(
            topic_arn=topic_arn,
            max_message_size=max_message_size,
            client=client,
            sleep=sleep,
            metrics=metrics,
            telemetry=telemetry,
            **giving_way(aws),
        )
