"""Generated parts of the docs, made from the code: ``python -m tests.docs.generated`` writes them anew.

Each stands between ``<!-- generated: NAME -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from megaflow.logs import LOG_KEYS
from megaflow.telemetry import conventions
from megaflow.telemetry.metrics import NAMES
from tests import guarantees
from tests.docs.pages import PAGES, ROOT

_PART: Final = re.compile(r"(?<=<!-- generated: )(?P<name>[\w ]+)( -->\n\n)(.*?)(?=\n\n<!-- end -->)", re.DOTALL)


def _table(*rows: tuple[str, ...]) -> str:
    head, *others = rows
    return "\n".join(f"| {' | '.join(row)} |" if row else "|---" * len(head) + "|" for row in (head, (), *others))


def _metrics() -> str:
    return _table(("counter", "counts"), *((f"`{name}`", meaning) for name, meaning in NAMES.items()))


def _log_keys() -> str:
    return _table(("key", ""), *((f"`{key}`", meaning) for key, meaning in LOG_KEYS.items()))


def _spans() -> str:
    rows = ((f"`{name}`", kind, meaning) for name, (kind, meaning) in conventions.SPANS.items())
    return _table(("span", "kind", "what it stands for"), *rows)


def _span_attributes() -> str:
    rows = ((f"`{name}`", ", ".join(spans), meaning) for name, (spans, meaning) in conventions.ATTRIBUTES.items())
    return _table(("attribute", "spans", ""), *rows)


PARTS: Final[Mapping[str, Callable[[], str]]] = {
    "guarantees": lambda: guarantees.render(guarantees.collect()),
    "log keys": _log_keys,
    "metrics": _metrics,
    "span attributes": _span_attributes,
    "spans": _spans,
}


def read_parts(page: str) -> Iterator[tuple[str, str]]:
    """Give name and text of each generated part, as it stands in a page."""
    return ((found["name"], found[3]) for found in _PART.finditer(page))


def main() -> int:
    """Write all parts anew."""
    for name, page in PAGES.items():
        (ROOT / name).write_text(_PART.sub(lambda found: f"{found['name']}{found[2]}{PARTS[found['name']]()}", page))
    return 0


if __name__ == "__main__":
    sys.exit(main())
