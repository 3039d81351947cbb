"""A pytest plugin: fixtures for the embedded queue, and failed assertions that say which handlers a message reached."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from megaflow.local import Account, SqsClient
    from megaflow.local.server import Server


@pytest.fixture
def megaflow_account() -> Account:
    """SQS and SNS in this process: `megaflow.local.Account`, for clients of its own."""
    from megaflow.local import Account

    return Account()


@pytest.fixture
def megaflow_sqs(megaflow_account: Account) -> SqsClient:
    """A client with boto3's methods for the queues of ``megaflow_account``."""
    from megaflow.local import SqsClient

    return SqsClient(megaflow_account)


@pytest.fixture
def megaflow_queue_url(megaflow_sqs: SqsClient) -> str:
    """The URL of a queue of ``megaflow_account``."""
    return str(megaflow_sqs.create_queue(QueueName="test")["QueueUrl"])


@pytest.fixture
def megaflow_server() -> Iterator[Server]:
    """SQS and SNS behind HTTP, for real boto3 and other processes: its ``url`` is the endpoint. The extra ``local``."""
    from megaflow.local.server import Server

    with Server() as server:
        yield server


def pytest_assertrepr_compare(config: pytest.Config, op: str, left: object, right: object) -> list[str] | None:
    """Show which handlers the messages reached, and why not the others, where what a client has seen is compared."""
    from megaflow.testing.client import Seen

    seen = next((each for each in (left, right) if isinstance(each, Seen)), None)
    if seen is None:
        return None
    return [f"{_show(left)} {op} {_show(right)}", "", *seen.explain().splitlines()]


def _show(value: object) -> str:
    return repr(list(value)) if isinstance(value, tuple) else repr(value)
