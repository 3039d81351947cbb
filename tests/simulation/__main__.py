"""Simulate days: ``python -m tests.simulation --seeds 100000``, or one, told in full: ``--seed 4711``."""

from __future__ import annotations

import argparse
import sys
import time
from multiprocessing import Pool

from tests.simulation.runs import find_violation, tell


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=2_000, help="how many days, one seed each")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="one day only, told in full")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    if options.seed is not None:
        print(tell(options.seed))
        return int(find_violation(options.seed) is not None)
    started, failed = time.monotonic(), 0
    with Pool(options.processes) as pool:
        seeds = range(options.first, options.first + options.seeds)
        for seed, violation in zip(seeds, pool.imap(find_violation, seeds, 50), strict=True):
            if violation is not None:
                failed += 1
                print(f"seed {seed}: {violation}", flush=True)
    seconds = time.monotonic() - started
    print(f"{options.seeds} days in {seconds:.0f} s, {failed} of them with a violation")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
