"""Wildcards: text with ``*`` in it, which stands for anything, line breaks too."""

from __future__ import annotations

from collections.abc import Sequence


def has_pieces(text: str, pieces: Sequence[str]) -> bool:
    """Tell whether *text* is *pieces* in order, with anything between them: each is taken where it comes first."""
    if len(pieces) == 1:
        return text == pieces[0]
    start, *between, end = pieces
    at, stop = len(start), len(text) - len(end)
    if at > stop or not text.startswith(start) or not text.endswith(end):
        return False
    for piece in between:
        found = text.find(piece, at, stop)
        if found < 0:
            return False
        at = found + len(piece)
    return True
