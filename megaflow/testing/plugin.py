"""A pytest plugin: fixtures for the embedded queue, and failed assertions that say which handlers a message reached."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from megaflow.local import Account, SqsClient
    from megaflow.local.server import Server


@pytest.fixture
def megaflow_account() -> Account:
    """SQS and SNS in this process: a `megaflow.local.Account` that is relaxed, with a clock that you can `advance`."""
    from megaflow.local import Account, Clock

    return Account(clock=Clock(), relaxed=True)


@pytest.fixture
def megaflow_sqs(megaflow_account: Account) -> SqsClient:
    """A client with boto3's methods for ``megaflow_account``: a `megaflow.local.SqsClient`."""
    from megaflow.local import SqsClient

    return SqsClient(megaflow_account)


@pytest.fixture
def megaflow_queue_url(megaflow_sqs: SqsClient) -> str:
    """The URL of a queue of ``megaflow_account``."""
    return str(megaflow_sqs.create_queue(QueueName="test")["QueueUrl"])


@pytest.fixture
def megaflow_server() -> Iterator[Server]:
    """SQS and SNS behind HTTP: a `megaflow.local.server.Server`. Its ``url`` is the endpoint. Extra ``local``."""
    from megaflow.local import Account, Clock
    from megaflow.local.server import Server

    with Server(Account(clock=Clock(), relaxed=True)) as server:
        yield server


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show which handlers the messages reached, and why not the others, where a test with a `TestClient` fails."""
    report = yield
    client = sys.modules.get("megaflow.testing.client")
    error = None if call.excinfo is None else call.excinfo.value
    if client is not None and isinstance(error, AssertionError) and not isinstance(error, client.Unmet):
        for each in client.open_clients:
            report.sections.append(("the messages, and the handlers", each.explain()))
    return report
