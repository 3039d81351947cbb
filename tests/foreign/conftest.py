"""A server that has forgotten everything for each test, and each foreign client in turn to call it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from megaflow.local.server import Server
from tests.foreign import clients
from tests.foreign.clients import MAKERS, Caller, Maker


@pytest.fixture(scope="session")
def one_server() -> Iterator[Server]:
    """One server for all, as each client takes its time to set itself up for a URL."""
    with Server() as server:
        yield server


@pytest.fixture
def server(one_server: Server) -> Iterator[Server]:
    yield one_server
    for account in one_server.accounts:
        account.reset()


@pytest.fixture(scope="session", params=MAKERS)
def maker(request: pytest.FixtureRequest) -> Iterator[tuple[str, Maker]]:
    with clients.maker(request.param) as made:
        yield request.param, made


@pytest.fixture
def caller(server: Server, maker: tuple[str, Maker]) -> Caller:
    name, made = maker
    return Caller(made, name, server.url)
