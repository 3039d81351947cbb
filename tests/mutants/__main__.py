"""Make mutants and see which of them live: ``python -m tests.mutants [--count N] [--seed N] [--only PATH]``."""

from __future__ import annotations

import argparse
import random
import sys
import time
import tomllib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from typing import Final

from tests.mutants.mutations import Mutant, find_mutants
from tests.mutants.reached import Reached, digest_code
from tests.mutants.trial import ROOT, Copy

_CODE: Final = ("megaflow/consumer", "megaflow/processing", "megaflow/stores", "megaflow/handlers/status.py")
_EQUIVALENT: Final = Path(__file__).with_name("equivalent.toml")
_WANTED: Final = 0.95


def all_mutants() -> list[Mutant]:
    """Return every mutant of the code that decides."""
    modules = [(str(path.relative_to(ROOT)), path.read_bytes()) for path in _all_modules()]
    return [mutant for path, source in modules for mutant in find_mutants(path, source)]


def read_equivalents(mutants: Sequence[Mutant]) -> dict[Mutant, str]:
    """Return the mutants that no test can tell apart from the code, each with the reason why."""
    by_key = {mutant.key: mutant for mutant in mutants}
    listed = tomllib.loads(_EQUIVALENT.read_text())["mutant"]
    found = {}
    for each in listed:
        key = (each["path"], each["function"], each["before"], each["after"], each.get("nth", 0))
        if key not in by_key:
            raise SystemExit(f"{_EQUIVALENT.name}: there is no such mutant (any more): {each}")
        found[by_key[key]] = each["why"]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--count", type=int, help="so many at random; all where it is left out")
    parser.add_argument("--seed", type=int, default=None, help="which ones at random")
    parser.add_argument("--only", default="", help="only of paths that begin so")
    parser.add_argument("--processes", type=int, default=2)
    keep = "keep there which test reaches which line: as long as the code is the same, only new tests are asked again"
    parser.add_argument("--reach", type=Path, metavar="FILE", help=keep)
    options = parser.parse_args()
    seed = random.randrange(10_000) if options.seed is None else options.seed
    everything = all_mutants()
    equivalents = read_equivalents(everything)
    mutants = [mutant for mutant in everything if mutant.path.startswith(options.only)]
    if options.count is not None:
        mutants = random.Random(seed).sample(mutants, min(options.count, len(mutants)))
    print(f"{len(mutants)} of {len(everything)} mutants, seed {seed}", flush=True)
    tried = [mutant for mutant in mutants if mutant not in equivalents]
    with TemporaryDirectory() as folder:
        copies = [Copy(Path(folder) / str(number)) for number in range(options.processes)]
        survivors = _try_all(tried, copies, _learn_reach(copies, options.reach))
    return _report(mutants, tried, survivors, equivalents)


def _all_modules() -> list[Path]:
    places = [ROOT / name for name in _CODE]
    return [path for place in places for path in (sorted(place.rglob("*.py")) if place.is_dir() else [place])]


def _learn_reach(copies: Sequence[Copy], file: Path | None) -> Reached:
    began = time.monotonic()
    reached = Reached.read(file, digest_code(_all_modules()))
    known = tuple(reached.seconds)
    with ThreadPoolExecutor(len(copies)) as pool:
        shares = [(number, len(copies)) for number in range(len(copies))]
        for learnt in pool.map(lambda copy, share: copy.learn_reach(_CODE, share, known), copies, shares):
            reached.add(learnt)
    if file is not None:
        reached.write(file)
    spent = time.monotonic() - began
    print(f"{len(reached.seconds)} tests reach it, {len(known)} of them known, learnt in {spent:.0f} s", flush=True)
    return reached


def _try_all(mutants: Sequence[Mutant], copies: Sequence[Copy], reached: Reached) -> list[Mutant]:
    with ThreadPoolExecutor(len(copies)) as pool:
        free: SimpleQueue[Copy] = SimpleQueue()
        for copy in copies:
            free.put(copy)

        def try_one(mutant: Mutant) -> bool:
            copy = free.get()
            try:
                began = time.monotonic()
                killer = copy.try_out(mutant, reached)
                print(
                    f"{'killed' if killer else 'LIVES '} {mutant}: {killer} {time.monotonic() - began:.0f} s",
                    flush=True,
                )
                return bool(killer)
            finally:
                free.put(copy)

        killed = list(pool.map(try_one, mutants))
    return [mutant for mutant, is_killed in zip(mutants, killed, strict=True) if not is_killed]


def _report(
    mutants: Sequence[Mutant], tried: Sequence[Mutant], survivors: Sequence[Mutant], equivalents: dict[Mutant, str]
) -> int:
    for mutant in survivors:
        print(f"lives: {mutant}")
    killed = len(tried) - len(survivors)
    share = killed / len(tried) if tried else 1.0
    equal = len(mutants) - len(tried)
    print(f"{killed} of {len(tried)} killed: {share:.1%}; {equal} more are equivalent, as {_EQUIVALENT.name} says why")
    return int(share < _WANTED)


if __name__ == "__main__":
    sys.exit(main())
