"""``python -m megaflow``, and the command ``megaflow``: the command line, where its extra is installed."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line with the arguments of the process, and return its exit code."""
    try:
        return _import_and_run()
    except KeyboardInterrupt:
        # Before the command has begun.
        print("megaflow: interrupted", file=sys.stderr)  # noqa: T201
        return 130


def _import_and_run() -> int:
    try:
        from megaflow.cli.main import main as run
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in ("click", "rich"):
            raise
        print(f"megaflow: the command line needs the extra cli ({error}); pip install 'megaflow[cli]'", file=sys.stderr)  # noqa: T201
        return 2
    return run()


if __name__ == "__main__":
    sys.exit(main())
