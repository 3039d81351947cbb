"""``python -m tests.foreign`` installs the foreign clients that are missing, each into an environment of its own.

It says which of them cannot be had here, and why. That is a failure only where they are required.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from tests.foreign.environments import ENVIRONMENTS, REQUIRED, Environment


def main(environments: Sequence[Environment] = ENVIRONMENTS) -> int:
    missing = [each for each in environments if not each.is_made()]
    if missing:
        print(f"Installing foreign clients for the tests: {', '.join(each.name for each in missing)}", flush=True)
    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(Environment.make, missing))
    for each in (each for each, is_made in zip(missing, made, strict=True) if not is_made):
        print(f"{each.content} cannot be had here, and its tests are skipped: {each.reason()}", flush=True)
    return 1 if not all(made) and os.environ.get(REQUIRED) else 0


if __name__ == "__main__":
    sys.exit(main())
