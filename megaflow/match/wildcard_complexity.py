"""Complexity of wildcards: how many places in the patterns of a field one text can be at. EventBridge allows ten.

https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html
https://github.com/aws/event-ruler
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence, Set
from dataclasses import dataclass
from typing import Final

from megaflow.match.operators import split_wildcard

_LIMIT: Final = 10
_STAR: Final = -1
_OTHER: Final = -2
"""Any byte that stands in no pattern."""

_State = tuple[object, ...]
"""A place in a pattern: how far a text has come that may still match it."""


@dataclass(frozen=True, slots=True)
class _Path:
    """A wildcard as bytes, between the quotes that it is compared with; *term* tells whose it is."""

    term: int
    number: int
    tokens: Sequence[int]

    def state(self, place: int) -> _State:
        """Return the state after *place* tokens. What paths of one term begin with, they share, and their end."""
        if place == len(self.tokens):
            return (self.term, "end")
        read = tuple(self.tokens[:place])
        return (self.term, read) if _STAR not in read[:-1] else (self.term, self.number, place)

    def next(self, place: int, byte: int) -> Iterator[int]:
        """Go through the places that *byte* leads to."""
        tokens = self.tokens
        if place and tokens[place - 1] == _STAR:
            yield place
        if place == len(tokens):
            return
        if tokens[place] == _STAR:
            yield place + 1
            # The asterisk may stand for nothing.
            place += 1
        if tokens[place] == byte:
            yield place + 1

    def stars(self, place: int) -> Iterator[int]:
        """Go through the places that any byte leads to."""
        return self.next(place, _OTHER)


def is_too_complex(terms: Collection[Collection[str]]) -> bool:
    """Tell whether EventBridge refuses a field with these wildcards; each term is one, or a list that it denies."""
    return measure(terms, _LIMIT + 1) > _LIMIT


def measure(terms: Collection[Collection[str]], most: int) -> int:
    """Return at how many places in the wildcards one text can be, or *most* where that is fewer."""
    paths = list(_paths(terms))
    alphabet = {token for path in paths for token in path.tokens if token != _STAR}
    start = frozenset((path, 0) for path in range(len(paths)))
    seen, todo, largest = {start}, [start], 0
    while todo and largest < most:
        active = todo.pop()
        for byte in (*alphabet, _OTHER):
            found = frozenset((path, after) for path, place in active for after in paths[path].next(place, byte))
            largest = max(largest, _weigh(paths, found))
            if found not in seen:
                seen.add(found)
                todo.append(found)
    return min(largest, most)


def _paths(terms: Collection[Collection[str]]) -> Iterator[_Path]:
    for term, texts in enumerate({frozenset(texts) for texts in terms}):
        yield from (_Path(term, number, _tokens(text)) for number, text in enumerate(texts))


def _tokens(text: str) -> list[int]:
    pieces = [list(piece.encode()) for piece in split_wildcard(text, "")]
    tokens = [ord('"'), *pieces[0]]
    for piece in pieces[1:]:
        tokens += [_STAR, *piece]
    return [*tokens, ord('"')]


def _weigh(paths: Sequence[_Path], active: Set[tuple[int, int]]) -> int:
    """Count the states, and those behind an asterisk that may stand for nothing."""
    states = {paths[path].state(place) for path, place in active}
    behind = {paths[path].state(star) for path, place in active for star in paths[path].stars(place)}
    return len(states) + len(behind - states)
