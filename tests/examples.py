"""How many examples hypothesis tries: a quarter in `make test`, and all of them in `make test-long`."""

from __future__ import annotations

import os
from typing import Final

VARIABLE: Final = "MEGAFLOW_EXAMPLES"
"""Says ``all`` where all examples are to be tried."""

_ALL: Final = os.environ.get(VARIABLE) == "all"


def examples(count: int) -> int:
    """Return how many of *count* examples to try."""
    return count if _ALL else count // 4
