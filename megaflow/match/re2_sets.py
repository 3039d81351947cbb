"""Many regular expressions asked at once, where google-re2 is installed: which of them may accept a text.

RE2 reads a text once, however many patterns there are. What it finds is a little more than what `re` accepts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import compress
from operator import not_
from typing import Any, Final, TypeAlias

from megaflow.match.regexes import Name, is_exactly_widened, widened

try:
    import re2
except ImportError:
    re2 = None

Patterns: TypeAlias = Sequence[tuple[int, str]]
"""Patterns of RE2 with their indexes."""

_FILTER_SIZE: Final = 10_000
_SET_SIZE: Final = 250
_MAX_MEM: Final = 8 << 20
"""Bytes for one pattern, or one set of them: for the compiled form, and for what RE2 remembers of earlier texts."""

_END_MARK: Final = "\x01\x02\x03\x02\x01"
"""What stands after each text, and is looked for as a pattern is: where it is not found, RE2 ran out of memory."""

_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_PROBES: Final = tuple(char * 30 for char in ("a", "Z", "0", " ", "-", "\u00e9"))


def is_available() -> bool:
    """Tell whether google-re2 is installed; other packages named ``re2`` do not count."""
    return hasattr(re2, "Filter") and hasattr(re2, "Set")


def can_hold(name: Name, regex: re.Pattern[str]) -> bool:
    """Tell whether a `RegexSet` can hold *regex*, and helps: RE2 takes it, and does not find it in nearly any text."""
    if not is_available():
        return False
    try:
        alone = _filter((widened(name, regex),)).re(0)
    except re2.error:
        return False
    return not all(alone.search(probe) for probe in _PROBES)


def make_screen(name: Name, regex: re.Pattern[str]) -> Callable[[str], bool] | None:
    """Return what tells of a text, in a time that grows with its length alone, whether *regex* may accept it.

    None where google-re2 is not installed, or does not take it.
    """
    if not is_available():
        return None
    try:
        find = _filter((widened(name, regex),)).re(0).search
    except re2.error:
        return None
    knows_surrogates = is_exactly_widened(regex)

    def screen(text: str) -> bool:
        try:
            return find(text) is not None
        except (
            UnicodeEncodeError
        ):  # a lone surrogate: to a pattern that names characters of ASCII alone, any other is the same
            return not knows_surrogates or find(_SURROGATE.sub("\ufffd", text)) is not None

    return screen


class RegexSet:
    """Regular expressions, each with the name of the function of `re` that is asked. `can_hold` must accept each.

    It never changes, and may be asked from any thread.
    """

    def __init__(self, regexes: Sequence[tuple[Name, re.Pattern[str]]]) -> None:
        """Compile all of them."""
        patterns = [(index, widened(name, regex)) for index, (name, regex) in enumerate(regexes)]
        are_literal = [_has_literals(pattern) for _, pattern in patterns]
        literal = list(compress(patterns, are_literal))
        others = list(compress(patterns, map(not_, are_literal)))
        self._size = len(patterns)
        self._parts = _compile(_literal_finder, literal, _FILTER_SIZE) + _compile(_finder, others, _SET_SIZE)

    def candidates(self, text: str) -> Sequence[int]:
        """Return the indexes of those that may accept *text*, in no order: of all that do, and maybe of others."""
        try:
            encoded = text.encode()
        except UnicodeEncodeError:  # a lone surrogate
            return range(self._size)
        return [index for part in self._parts for index in part.candidates(encoded)]


Find: TypeAlias = Callable[[bytes], Sequence[int] | None]
"""Which patterns may match, counted from 1, and 0 for the guard; neither where RE2 ran out of memory."""


@dataclass(frozen=True, slots=True)
class _Part:
    """Patterns that RE2 looks for together."""

    indexes: Sequence[int]
    find: Find

    def candidates(self, text: bytes) -> Sequence[int]:
        found = self.find(text) or ()
        return [self.indexes[place - 1] for place in found if place] if 0 in found else self.indexes


def _compile(make: Callable[[Sequence[str]], Find], patterns: Patterns, size: int) -> list[_Part]:
    chunks = [patterns[start : start + size] for start in range(0, len(patterns), size)]
    return [part for chunk in chunks for part in _compile_chunk(make, chunk)]


def _compile_chunk(make: Callable[[Sequence[str]], Find], patterns: Patterns) -> list[_Part]:
    indexes = [index for index, _ in patterns]
    try:
        return [_Part(indexes, make([pattern for _, pattern in patterns]))]
    except re2.error:  # too much for its memory
        if len(patterns) == 1:
            return [_Part(indexes, lambda text: ())]
        return _compile(make, patterns, (len(patterns) + 1) // 2)


def _literal_finder(patterns: Sequence[str]) -> Find:
    """Find patterns by the literal text in them alone: the fastest by far, as few texts hold any of it."""
    finder, mark = _filter((_END_MARK, *patterns)), _END_MARK.encode()
    return lambda text: finder.Match(text + mark, potential=True)


def _finder(patterns: Sequence[str]) -> Find:
    finder = re2.Set.SearchSet(_options())
    for pattern in (r"\A", *patterns):  # the first is in every text, unless RE2 runs out of memory
        finder.Add(pattern)
    finder.Compile()
    find: Find = finder.Match
    return find


def _has_literals(pattern: str) -> bool:
    """Tell whether RE2 knows of text, of three bytes or more, that must be in whatever *pattern* matches."""
    return not _filter((pattern,)).Match(b"", potential=True)


def _filter(patterns: Sequence[str]) -> Any:
    finder = re2.Filter()
    for pattern in patterns:
        finder.Add(pattern, _options())
    finder.Compile()
    return finder


def _options() -> Any:
    """Keep RE2 from writing to stderr, and from taking more memory than that."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MAX_MEM
    return options
