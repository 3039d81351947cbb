"""Printable text: what others wrote, as it may be shown to people, on a terminal or in a log.

Whoever sends a message could else move the cursor, fill the clipboard, turn letters around, or forge lines of a log.
"""

from __future__ import annotations

from unicodedata import category


def printable(text: str) -> str:
    """Return *text* in one line, with an escape, as ``repr`` has them, for what does not stand for itself."""
    return text if text.isprintable() else "".join(map(_show, text))


def indented(text: str) -> str:
    """Return the lines of *text*, as those of a traceback, so that none can pass for a line of another kind."""
    return "\n".join([f"  {printable(line)}" for line in text.split("\n") if line])


def _show(char: str) -> str:
    stands_for_itself = char.isprintable() or char == "\t" or category(char) == "Zs"
    return char if stands_for_itself else char.encode("unicode_escape").decode()
