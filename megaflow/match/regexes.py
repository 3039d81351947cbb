"""Regular expressions: the texts they accept, how those start, and a wider pattern in RE2's language.

Both are read from the form that module `re` itself parses it into. Where that is not known, nothing is claimed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import dropwhile
from typing import Any, Final, Literal, TypeAlias

Name: TypeAlias = Literal["match", "search", "fullmatch"]
"""The function of module `re` that is asked."""

Item: TypeAlias = tuple[Any, Any]
"""An operation of the parsed form, whose `str` is its name, and what it takes."""

LONGEST_START: Final = 256
"""The most characters that `literal_start` returns."""

_MOST_COPIES: Final = 10
"""How far repeats are counted in RE2, which copies what is repeated, and refuses 1000 copies."""

_NO_END: Final = 4_294_967_295
"""The most repetitions, which stands for any number: `re` has it as ``MAXREPEAT``."""

_ASCII: Final = 128

_UNKNOWN: Final[Sequence[Item]] = (("UNKNOWN", None),)
REPEATS: Final = ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT")


def parse(regex: re.Pattern[str]) -> Sequence[Item]:
    """Return the operations that *regex* is made of; one that no one knows where it cannot be told."""
    try:
        # The flags that stand in the pattern are among its own by now. DEBUG would print the pattern again.
        tree = import_module("re._parser").parse(regex.pattern, regex.flags & ~re.DEBUG)
        return list(tree)
    except Exception:  # noqa: BLE001 - a private module of another Python may do anything
        return _UNKNOWN


# How texts start


@dataclass(frozen=True, slots=True)
class _Start:
    """What the texts that a part accepts start with, and whether that is all there is to them."""

    text: str
    is_whole: bool


def literal_start(name: Name, regex: re.Pattern[str]) -> str:
    """Return the text that every text *regex* accepts starts with; empty where there is none, or it is not known.

    ``literal_start("match", re.compile("ab+c"))`` is ``"ab"``. It is cut after `LONGEST_START` characters.
    """
    items = parse(regex)
    if name == "search" and not _is_anchored(items, regex.flags):
        return ""
    try:
        return _start(items, regex.flags).text
    except RecursionError:
        return ""


def _is_anchored(items: Sequence[Item], flags: int) -> bool:
    if not items:
        return False
    operation, args = items[0]
    if str(operation) == "SUBPATTERN":
        return _is_anchored(args[-1], scoped(flags, args))
    at_beginning = str(args) == "AT_BEGINNING" and not flags & re.MULTILINE
    return str(operation) == "AT" and (at_beginning or str(args) == "AT_BEGINNING_STRING")


def _start(items: Iterable[Item], flags: int) -> _Start:
    text = ""
    for operation, args in items:
        part = _start_of(str(operation), args, flags)
        text += part.text
        if not part.is_whole or len(text) > LONGEST_START:
            return _Start(text[:LONGEST_START], False)
    return _Start(text, True)


def _start_of(operation: str, args: Any, flags: int) -> _Start:
    match operation:
        case "LITERAL" if _has_one_case(chr(args), flags):
            return _Start(chr(args), True)
        case "SUBPATTERN":
            return _start(args[-1], scoped(flags, args))
        case "ATOMIC_GROUP":
            return _start(args, flags)
        case "AT" | "ASSERT" | "ASSERT_NOT":  # they take no text: what follows stands in the same place
            return _Start("", True)
        case _ if operation in REPEATS:
            return _start_of_repeat(args, flags)
        case _:
            return _Start("", False)


def _start_of_repeat(args: tuple[int, int, Any], flags: int) -> _Start:
    least, most, items = args
    once = _start(items, flags)
    if least == 0 or not once.is_whole:
        return _Start(once.text if least else "", False)
    return _Start(once.text * min(least, LONGEST_START), least == most <= LONGEST_START)


def _has_one_case(char: str, flags: int) -> bool:
    return not flags & re.IGNORECASE or (char.isascii() and not char.isalpha())


def scoped(flags: int, group: tuple[Any, int, int, Any]) -> int:
    _, added, removed, _ = group
    return (flags | added) & ~removed


# A wider pattern in RE2's language

_ANY: Final = r"(?s:.)"
_ANYTHING: Final = r"(?s:.*)"
_ALL: Final = r"\x{0}-\x{10FFFF}"
_BEYOND_ASCII: Final = r"\x{80}-\x{10FFFF}"

_OTHER_CASES: Final = {"i": "\u0130\u0131", "k": "\u212a", "s": "\u017f"}
"""Other letters that are one of ASCII's when case is ignored."""

# RE2's own classes are ASCII's, Python's are Unicode's or ASCII's: what may be in them, and what surely is.
_MAYBE: Final[Mapping[str, str]] = {
    "CATEGORY_DIGIT": rf"\d{_BEYOND_ASCII}",
    "CATEGORY_NOT_DIGIT": r"\D",
    "CATEGORY_SPACE": rf"\s\x{{b}}\x{{1c}}-\x{{1f}}{_BEYOND_ASCII}",
    "CATEGORY_NOT_SPACE": r"\S",
    "CATEGORY_WORD": rf"\w{_BEYOND_ASCII}",
    "CATEGORY_NOT_WORD": r"\W",
}
_SURELY: Final[Mapping[str, str]] = {
    "CATEGORY_DIGIT": r"\d",
    "CATEGORY_NOT_DIGIT": r"\x{0}-\x{2f}\x{3a}-\x{7f}",
    "CATEGORY_SPACE": r"\s",
    "CATEGORY_NOT_SPACE": r"\x{0}-\x{8}\x{e}-\x{1b}\x{21}-\x{7f}",
    "CATEGORY_WORD": r"\w",
    "CATEGORY_NOT_WORD": r"\x{0}-\x{2f}\x{3a}-\x{40}\x{5b}-\x{5e}\x{60}\x{7b}-\x{7f}",
}


def widened(name: Name, regex: re.Pattern[str]) -> str:
    """Return a pattern that RE2 finds in every text, in UTF-8, that *regex* accepts, and maybe in others.

    What is repeated at either end, and may be missing there, is left out.
    """
    items = _without_loose_ends(name, parse(regex))
    start, end = "" if name == "search" else r"\A", r"\z" if name == "fullmatch" else ""
    try:
        return start + _wide(items, regex.flags) + end
    except RecursionError:
        return _ANYTHING


def is_exactly_widened(regex: re.Pattern[str]) -> bool:
    """Tell whether what `widened` makes of *regex* accepts nothing else, in any text."""
    return not regex.flags & (re.IGNORECASE | re.MULTILINE) and _are_exact(parse(regex))


def _are_exact(items: Iterable[Item]) -> bool:
    return all(_is_exact(str(operation), args) for operation, args in items)


def _is_exact(operation: str, args: Any) -> bool:
    match operation:
        case "LITERAL" | "NOT_LITERAL":
            return bool(args < _ASCII)
        case "IN":
            return all(_is_exact_member(str(kind), member) for kind, member in args)
        case "BRANCH":
            return all(map(_are_exact, args[1]))
        case "SUBPATTERN":
            return args[1:3] == (0, 0) and _are_exact(args[-1])
        case "MAX_REPEAT" | "MIN_REPEAT":
            least, most, items = args
            return least <= _MOST_COPIES and (most <= _MOST_COPIES or most == _NO_END) and _are_exact(items)
    return operation == "ANY" or str(args) in ("AT_BEGINNING", "AT_BEGINNING_STRING", "AT_END_STRING")


def _is_exact_member(kind: str, member: Any) -> bool:
    match kind:
        case "LITERAL":
            return bool(member < _ASCII)
        case "RANGE":
            return bool(member[1] < _ASCII)
    return kind == "NEGATE"


def _without_loose_ends(name: Name, items: Sequence[Item]) -> Sequence[Item]:
    if name == "search":
        items = list(dropwhile(_may_be_empty, items))
    if name != "fullmatch":
        items = list(dropwhile(_may_be_empty, items[::-1]))[::-1]
    return items


def _may_be_empty(item: Item) -> bool:
    operation, args = item
    return str(operation) in REPEATS and args[0] == 0


def _wide(items: Iterable[Item], flags: int) -> str:
    return "".join(_wide_item(str(operation), args, flags) for operation, args in items)


def _wide_item(operation: str, args: Any, flags: int) -> str:
    if operation in _WIDE_ITEMS:
        return _WIDE_ITEMS[operation](args, flags)
    return _wide_repeat(args, flags) if operation in REPEATS else _ANYTHING


def _wide_branch(args: Any, flags: int) -> str:
    _, branches = args
    return "(?:" + "|".join(_wide(branch, flags) for branch in branches) + ")"


def _wide_repeat(args: tuple[int, int, Any], flags: int) -> str:
    least, most, items = args
    counted = f"{{{min(least, _MOST_COPIES)},{most if most <= _MOST_COPIES else ''}}}"
    return f"(?:{_wide(items, flags)}){counted}"


def _wide_anchor(args: Any, flags: int) -> str:
    match str(args):
        case "AT_BEGINNING":
            return "(?m:^)" if flags & re.MULTILINE else r"\A"
        case "AT_BEGINNING_STRING":
            return r"\A"
        case "AT_END":  # without MULTILINE too, it holds before a newline: the last
            return "(?m:$)"
        case "AT_END_STRING":
            return r"\z"
        case _:  # \b and \B depend on what Unicode calls a word
            return ""


def _wide_class(args: Sequence[Item], flags: int) -> str:
    if str(args[0][0]) == "NEGATE":
        return _wide_negated(args[1:], flags)
    return "[" + "".join(_members(str(kind), member, flags) for kind, member in args) + "]"


def _wide_negated(args: Sequence[Item], flags: int) -> str:
    if flags & re.IGNORECASE:
        return _ANY
    excluded = "".join(_sure_members(str(kind), member) for kind, member in args)
    return f"[^{excluded}]" if excluded else _ANY


def _members(kind: str, member: Any, flags: int) -> str:
    if kind not in ("LITERAL", "RANGE"):
        return _MAYBE.get(str(member), _ALL)
    first, last = (member, member) if kind == "LITERAL" else member
    if not flags & re.IGNORECASE:
        return _range(first, last)
    return _ALL if last >= 128 else "".join(_cases(chr(code)) for code in range(first, last + 1))


def _sure_members(kind: str, member: Any) -> str:
    if kind not in ("LITERAL", "RANGE"):
        return _SURELY.get(str(member), "")
    return _range(member, member) if kind == "LITERAL" else _range(*member)


def _cases(char: str) -> str:
    cases = {char.lower(), char.upper(), *_OTHER_CASES.get(char.lower(), "")}
    return "".join(_range(ord(case), ord(case)) for case in sorted(cases))


def _range(first: int, last: int) -> str:
    return rf"\x{{{first:x}}}-\x{{{last:x}}}"


_WIDE_ITEMS: Final[Mapping[str, Callable[[Any, int], str]]] = {
    "LITERAL": lambda args, flags: _wide_class((("LITERAL", args),), flags),
    "NOT_LITERAL": lambda args, flags: _wide_negated((("LITERAL", args),), flags),
    "IN": _wide_class,
    "ANY": lambda args, flags: _ANY if flags & re.DOTALL else r"[^\n]",
    "AT": _wide_anchor,
    "ASSERT": lambda args, flags: "",
    "ASSERT_NOT": lambda args, flags: "",
    "BRANCH": _wide_branch,
    "SUBPATTERN": lambda args, flags: _wide(args[-1], scoped(flags, args)),
    "ATOMIC_GROUP": _wide,
}
