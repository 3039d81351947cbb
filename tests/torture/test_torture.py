"""Consumers are killed, stopped and cut off for a minute; nothing is lost, and the order of the groups holds."""

from __future__ import annotations

import os

import pytest

from tests.torture.run import torture

SECONDS = float(os.environ.get("MEGAFLOW_TORTURE_SECONDS", "60"))
SEED = int(os.environ.get("MEGAFLOW_TORTURE_SEED", "1"))


@pytest.mark.long
def test_consumers_lose_nothing_whatever_befalls_them() -> None:
    report = torture(seed=SEED, seconds=SECONDS, say=print)

    print(report)
    assert report.violations == [], str(report)
