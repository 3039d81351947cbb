"""Writers, relays, consumers and PostgreSQL are killed for a minute: what was committed is charged once, in order."""

from __future__ import annotations

import os
import shutil

import pytest

pytest.importorskip("greenlet", reason="async SQLAlchemy needs greenlet, which is not installed")

from tests.torture_sql.plants import Plant
from tests.torture_sql.run import torture

SECONDS = float(os.environ.get("MEGAFLOW_TORTURE_SECONDS", "60"))
SEED = int(os.environ.get("MEGAFLOW_TORTURE_SEED", "1"))


@pytest.mark.long
def test_what_is_committed_is_charged_once_whatever_is_killed() -> None:
    report = torture(seed=SEED, seconds=SECONDS, say=print)

    print(report)
    assert report.violations == [], str(report)


@pytest.mark.long
@pytest.mark.parametrize(
    ("plant", "said"),
    [
        (Plant.DELETES_FIRST, "was committed and never charged"),
        (Plant.INBOX_APART, "was committed and charged 2 times"),
        (Plant.CLAIMS_ROWS, "was charged after number"),
    ],
)
def test_a_fault_that_outbox_or_inbox_has_is_found(plant: Plant, said: str) -> None:
    report = torture(seed=1, seconds=20.0, say=print, plant=plant)

    print(report)
    assert any(said in violation for violation in report.violations), str(report)
    shutil.rmtree(report.folder)
