"""Nesting and digits: how much of both JSON text may hold, counted before it is parsed.

Python's parser gives up at another depth in each version and in each caller, or makes dicts that no code can walk.
"""

from __future__ import annotations

import re
from itertools import accumulate
from typing import Any, Final

from megaflow import limits

TOO_DEEP: Final = f"it is nested more than {limits.NESTING} levels deep"
TOO_LONG: Final = f"it holds a whole number of more than {limits.DIGITS:,} digits"

_HALF: Final = limits.NESTING // 2
_DIGITS: Final = limits.DIGITS
_DIGIT: Final = "0123456789"
_STEPS: Final = {ord("{"): 1, ord("["): 1, ord("}"): -1, ord("]"): -1}
_ALL_BUT_BRACKETS: Final = bytes(set(range(256)) - _STEPS.keys())
_NUMBER: Final = re.compile(r"[0-9]++(?:\.[0-9]*+)?+(?:[eE][+-]?+[0-9]*+)?+")


def find_excess(text: str) -> str:
    """Return what the JSON in *text* holds too much of, in words, or ``""`` where it is within the limits.

    Every object and list is a level. What is no JSON is within them too: the parser finds that out.
    """
    # Half of what it takes, of either: to look whether there is one at all costs next to nothing.
    has_many_brackets = text.count("{") > _HALF or ("[" in text and text.count("[") > _HALF)
    has_long_run = len(text) > _DIGITS and _has_long_run(text)
    if not has_many_brackets and not has_long_run:
        return ""
    bare = _without_strings(text)
    if has_many_brackets and _is_nested_too_deep(bare):
        return TOO_DEEP
    return TOO_LONG if has_long_run and _has_long_number(bare) else ""


def is_too_deep(value: Any) -> bool:
    """Tell whether *value*, a dict or list of such that do not hold themselves, is nested beyond the limit."""
    level = [value]
    for _ in range(limits.NESTING):
        level = [each for holder in level for each in _items(holder) if isinstance(each, dict | list)]
    return bool(level)


def _items(holder: dict[str, Any] | list[Any]) -> Any:
    return holder.values() if isinstance(holder, dict) else holder


def _without_strings(text: str) -> str:
    # What an escaped backslash or quote stands for does not matter, only where strings end.
    if "\\" in text:
        text = text.replace("\\\\", "").replace('\\"', "")
    return "".join(text.split('"')[::2])


def _is_nested_too_deep(bare: str) -> bool:
    brackets = bare.encode("ascii", "replace").translate(None, _ALL_BUT_BRACKETS)
    peeled = brackets
    for _ in range(_HALF):
        # This takes one or two levels off, from the inside, and most texts have few.
        peeled = peeled.replace(b"{}", b"").replace(b"[]", b"")
        if not peeled:
            return False
    return max(accumulate(_STEPS[bracket] for bracket in brackets)) > limits.NESTING


def _has_long_run(text: str) -> bool:
    """Tell whether more digits than the limit follow each other, whether they are a number or not."""
    # So many in a row include one of every so many characters: most texts are looked at in a few places.
    for place in range(0, len(text), _DIGITS + 1):
        before, after = text[max(0, place - _DIGITS) : place], text[place : place + _DIGITS + 1]
        following = len(after) - len(after.lstrip(_DIGIT))
        if following and following + len(before) - len(before.rstrip(_DIGIT)) > _DIGITS:
            return True
    return False


def _has_long_number(bare: str) -> bool:
    numbers = (found.group() for found in _NUMBER.finditer(bare))
    return any(len(number) > _DIGITS and number.isdigit() for number in numbers)
