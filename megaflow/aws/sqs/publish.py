"""`SqsPublisher`, by the import path of the sqs-mega README, and with its regions."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Unpack

from megaflow.publishing import sqs
from megaflow.telemetry.metrics import Metrics
from megaflow.telemetry.tracing import Telemetry
from megaflow.transport.protocols import SqsClient
from megaflow.transport.session import AwsOptions, giving_way

__all__ = ["SqsPublisher"]


class SqsPublisher(sqs.SqsPublisher):
    """The same as `megaflow.SqsPublisher`, but the region in *queue_url* wins over *region_name*, with a warning."""

    def __init__(
        self,
        *,
        queue_url: str | None = None,
        client: SqsClient | None = None,
        wire: bool = True,
        sleep: Callable[[float], None] = time.sleep,
        metrics: Metrics | None = None,
        telemetry: bool | Telemetry = True,
        **aws: Unpack[AwsOptions],
    ) -> None:
        super().__init__(
            queue_url=queue_url,
            client=client,
            wire=wire,
            sleep=sleep,
            metrics=metrics,
            telemetry=telemetry,
            **giving_way(aws),
        )
