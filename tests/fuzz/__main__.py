"""Try messages made at random: ``python -m tests.fuzz [--messages N] [--seed N] [--processes N] [--at N]``."""

from __future__ import annotations

import argparse
import multiprocessing
import random
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Final

from tests.fuzz.trial import find_faults

_AT_A_TIME: Final = 500
_TOLD: Final = 20
"""Messages of which it is told, after which it ends."""


def _try_all(seed: int, count: int, processes: int) -> Iterator[tuple[int, list[str]]]:
    """Give how many were tried by then, and what does not hold of the last of them."""
    parts = [range(begin, min(count, begin + _AT_A_TIME)) for begin in range(0, count, _AT_A_TIME)]
    if processes == 1:
        yield from ((part.stop, find_faults(seed, part)) for part in parts)
        return
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        found = pool.map(partial(find_faults, seed), parts)
        try:
            yield from zip((part.stop for part in parts), found, strict=True)
        finally:
            pool.shutdown(cancel_futures=True)


def main(arguments: list[str] | None = None) -> int:
    """Try them, and return 1 where something does not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, help="which ones; another one each time where it is left out")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--at", type=int, help="only the message at this place")
    options = parser.parse_args(arguments)
    seed = random.randrange(10**6) if options.seed is None else options.seed
    if options.at is not None:
        faults = find_faults(seed, range(options.at, options.at + 1))
        print(*faults or ["nothing is wrong with it"], sep="\n")
        return 1 if faults else 0
    began, told = time.monotonic(), 0
    for tried, faults in _try_all(seed, options.messages, options.processes):
        print(*faults, sep="\n", end="\n" if faults else "")
        told += len(faults)
        if tried % (20 * _AT_A_TIME) == 0 or tried == options.messages or told >= _TOLD:
            print(
                f"seed {seed}: {tried:,} messages in {time.monotonic() - began:.0f} s, {told} with faults", flush=True
            )
        if told >= _TOLD:
            break
    return 1 if told else 0


if __name__ == "__main__":
    sys.exit(main())
