"""An offset of 99 minutes was read as one hour and 39."""

from __future__ import annotations

from datetime import date

import pytest

from megaflow.match.functions import gt
from tests.matching import matches


@pytest.mark.parametrize("offset", ["+00:99", "-0060", "+05:75"])
def test_an_offset_has_less_than_60_minutes(offset: str) -> None:
    assert not matches(gt(date(2019, 1, 1)), f"2020-01-01T12:00{offset}")
