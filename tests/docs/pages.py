"""Pages: README and docs as they are written, and the blocks of code that are in them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

ROOT: Final = Path(__file__).parents[2]

PAGES: Final[Mapping[str, str]] = {
    path.relative_to(ROOT).as_posix(): path.read_text()
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
}
"""What is read by users, by path."""

_BLOCK: Final = re.compile(
    r"(?:^<!-- (?P<mark>.*?) -->\n)?^```python\n(?P<text>.*?)^```$(?:\n\n^```text\n(?P<shown>.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)
_GOES_ON: Final = "goes on"
_FILE: Final = "is this file"


class Block(NamedTuple):
    """A block of Python, with what it goes on from on its page, and what it prints, where that is shown."""

    text: str
    before: str
    shown: str | None


def read_blocks(page: str) -> Iterator[Block]:
    """Give the blocks of a page that run by themselves; files of a session are run there."""
    before = ""
    for found in _BLOCK.finditer(page):
        mark = found["mark"] or ""
        if mark.endswith(_FILE):
            continue
        before = before if mark == _GOES_ON else ""
        yield Block(found["text"], before, found["shown"])
        before += found["text"]


def run(text: str, **names: Any) -> dict[str, Any]:
    """Run a block, as the file carts.py would be, and return what it defines."""
    namespace: dict[str, Any] = {"__name__": "carts"} | names
    exec(compile(text, "carts.py", "exec", dont_inherit=True), namespace)
    return namespace
