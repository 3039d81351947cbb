"""How consumers and producers are set up; times in seconds."""

from __future__ import annotations

import os
from typing import Any, Final

VISIBILITY_TIMEOUTS: Final = (2, 3)
CONCURRENCIES: Final = (4, 5, 6, 8)
MAX_CONCURRENCIES: Final = (None, 1, 2, 3)
RATES: Final = (None, "10/s", "40/s", "500/m")
"""Limits of handlers, in each consumer."""

CONSUMERS_PER_QUEUE: Final = (2, 3, 4)
SHUTDOWN_TIMEOUT: Final = 5.0
EXIT_GRACE: Final = 30.0
"""What a consumer may take beyond its shutdown timeout, on a busy machine: one that hangs does not end at all."""

BUSY_TIMEOUTS: Final = (0.5, 2.0, 10.0)
"""Of the stores: how long a consumer waits for another one that writes."""

CANNOT_START: Final = 78
"""The exit code of a consumer whose store could not be opened or written at the start."""

TABLE: Final = "progress"
WAIT_TIME: Final = 2
READ_TIMEOUT: Final = 4.0
CONNECT_TIMEOUT: Final = 2.0

GROUPS: Final = tuple(f"group-{number}" for number in range(8))
ACCOUNT: Final = "000000000000"


def make_client(url: str, service: str = "sqs") -> Any:
    """Return a boto3 client for the server behind *url*, which gives up soon."""
    import boto3
    from botocore.config import Config

    return boto3.client(
        service,
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="any",
        aws_secret_access_key="any",
        config=Config(
            connect_timeout=CONNECT_TIMEOUT,
            read_timeout=READ_TIMEOUT,
            retries={"total_max_attempts": 2, "mode": "standard"},
            max_pool_connections=20,
            proxies={},
        ),
    )


def without_aws(environment: dict[str, str] | None = None) -> dict[str, str]:
    """Return the environment without what would lead boto3 or megaflow elsewhere."""
    given = dict(os.environ) if environment is None else environment
    return {name: value for name, value in given.items() if not name.startswith(("AWS_", "MEGAFLOW_"))}
