"""What tests of telemetry share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unmocked import making_unmocked


@pytest.fixture(autouse=True)
def _unmocked() -> Iterator[None]:
    with making_unmocked():
        yield
