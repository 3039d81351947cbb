"""What the torture does to a table is an outage, and heals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config

from megaflow import Claim, DynamoDbStore, Store
from tests.torture.chaos import Act
from tests.torture.ledger import Ledger
from tests.torture.settings import TABLE
from tests.torture.table import TableFaults


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TableFaults]:
    folder = tmp_path_factory.mktemp("table")
    ledger = Ledger(folder / "ledger")
    faults = TableFaults(folder / "store", "fifo", ledger)
    try:
        faults.make()
        yield faults
    finally:
        faults.close()
        ledger.close()


@pytest.fixture
def client(faults: TableFaults) -> Iterator[Any]:
    client = boto3.client(
        "dynamodb",
        endpoint_url=faults.address,
        region_name="us-east-1",
        aws_access_key_id="any",
        aws_secret_access_key="any",
        config=Config(read_timeout=1.0, retries={"total_max_attempts": 1}),
    )
    yield client
    client.close()


def use(store: Store) -> tuple[str, str]:
    """Read and write, and return what came of both."""
    said = []
    for ask in (lambda: store.load("work"), lambda: store.claim("key", "me", 60.0)):
        try:
            ask()
        except Exception as error:  # noqa: BLE001 - it is told
            said.append(type(error).__name__)
        else:
            said.append("fine")
    return said[0], said[1]


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (Act.LOCK_STORE, ("fine", "ThrottlingException")),
        (Act.MOVE_STORE, ("ThrottlingException", "ThrottlingException")),
        (Act.SHUT_STORE, ("ReadTimeoutError", "ReadTimeoutError")),
        (Act.FAIL_DISK, ("ReadTimeoutError", "ReadTimeoutError")),
    ],
)
def test_what_befalls_a_table_is_an_outage_until_it_heals(
    faults: TableFaults, client: Any, act: Act, said: tuple[str, str]
) -> None:
    store = DynamoDbStore(TABLE, client=client)
    assert faults.harm(act, 60.0, [])

    assert use(store) == said

    faults.heal()
    assert store.claim("key", "another", 60.0) in (Claim.TAKEN, Claim.BUSY)
