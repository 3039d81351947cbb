"""``python -m tests.torture_sql``: torture outbox and inbox, and say what they did not stand."""

from __future__ import annotations

import argparse
import random
import signal
import sys
from typing import Final

import pytest

from tests.torture_sql.plants import Plant
from tests.torture_sql.run import torture

_SEEDS: Final = 1_000_000


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.torture_sql", description=__doc__)
    parser.add_argument("--seconds", type=float, default=300.0, help="of load and chaos (default: %(default)s)")
    parser.add_argument("--seed", type=int, help="decides what happens, and when (default: another one each time)")
    parser.add_argument("--plant", type=Plant, choices=list(Plant), default=Plant.NONE, help="a fault to be found")
    given = parser.parse_args()
    # Whoever is terminated cleans up as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    seed = random.randrange(_SEEDS) if given.seed is None else given.seed
    try:
        report = torture(seed=seed, seconds=given.seconds, plant=given.plant, say=lambda text: print(text, flush=True))
    except (pytest.skip.Exception, pytest.fail.Exception) as error:
        print(error)
        return 1
    print(report)
    if report.violations:
        print(f"again: python -m tests.torture_sql --seconds {given.seconds:g} --seed {seed}")
    return 1 if report.violations else 0


if __name__ == "__main__":
    sys.exit(main())
