"""Consumers are killed, stopped and cut off for a minute; nothing is lost, and the order of the groups holds."""

from __future__ import annotations

import os
import shutil

import pytest

from tests.torture.consumer_script import Plant
from tests.torture.run import torture

SECONDS = float(os.environ.get("MEGAFLOW_TORTURE_SECONDS", "60"))
SEED = int(os.environ.get("MEGAFLOW_TORTURE_SEED", "1"))


@pytest.mark.long
def test_consumers_lose_nothing_whatever_befalls_them() -> None:
    report = torture(seed=SEED, seconds=SECONDS, say=print)

    print(report)
    assert report.violations == [], str(report)


@pytest.mark.long
@pytest.mark.parametrize(
    ("plant", "said"),
    [
        (Plant.IGNORES_OUTAGES, "and its store was out since"),
        (Plant.FORGETS, "was run again by"),
    ],
)
def test_a_fault_that_consumers_have_is_found(plant: Plant, said: str) -> None:
    report = torture(seed=1, seconds=30.0, say=print, plant=plant)

    print(report)
    assert any(said in violation for violation in report.violations), str(report)
    shutil.rmtree(report.folder)
