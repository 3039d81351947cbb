"""``python -m megaflow``, and the command ``megaflow``: the command line, where its extra is installed."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Final

import megaflow
from megaflow.distribution import describe_missing_extra

_METADATA: Final = re.compile(r"megaflow(-[^-]+)?(-py[^-]+)?\.(dist|egg)-info", re.IGNORECASE)
"""The folder, or file, that says that a distribution named ``megaflow`` is installed. This one is ``megaflow_sqs``."""


def main() -> int:
    """Run the command line with the arguments of the process, and return its exit code."""
    try:
        return _report_clash() or _import_and_run()
    except KeyboardInterrupt:
        # Before the command has begun.
        return _refuse("interrupted", 130)


def _report_clash() -> int:
    """Say which other distributions have a folder ``megaflow``; return 2 where one has harmed this."""
    others = [each for place in dict.fromkeys(sys.path) for each in _find_others(place or ".")]
    # Without its __init__.py it is no more than a folder.
    if not others and getattr(megaflow, "__file__", None):
        return 0
    from megaflow.cli.clash import report

    return report(others)


def _find_others(place: str) -> list[Path]:
    # A look at the names costs a tenth of what importing importlib.metadata does.
    try:
        return [Path(place, name) for name in os.listdir(place) if _METADATA.fullmatch(name)]  # noqa: PTH208
    except OSError:
        return []


def _import_and_run() -> int:
    try:
        from megaflow.cli.main import main as run
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in ("click", "rich"):
            raise
        return _refuse(describe_missing_extra("the command line", "cli", error), 2)
    return run()


def _refuse(text: str, code: int) -> int:
    print(f"megaflow: {text}", file=sys.stderr)  # noqa: T201
    return code


if __name__ == "__main__":
    sys.exit(main())
