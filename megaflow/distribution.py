"""The distribution: what `pip` calls it, and what to say where an extra of it is missing."""

from __future__ import annotations

from typing import Final

DISTRIBUTION: Final = "megaflow-sqs"
"""What is installed. On the package index, ``megaflow`` is another project's."""


def describe_missing_extra(what: str, extra: str, error: ImportError) -> str:
    """Return that *what* needs *extra*, which module is missing, and what to type."""
    return f"{what} needs the extra {extra} ({error}): pip install '{DISTRIBUTION}[{extra}]'"
