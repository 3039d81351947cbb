"""Backtracking: regular expressions that take module `re` hours where a text of some dozen characters is chosen for it.

That is so where one text can be read in two ways by a part that is repeated: each repetition doubles the ways, and all
are tried before the text is refused. https://owasp.org/www-community/attacks/Regular_expression_Denial_of_Service_-_ReDoS
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from megaflow.match.regexes import REPEATS, Item, Name, is_exactly_widened, parse, scoped

_MOST_COPIES: Final = 3
"""How far repeats are counted: what may be there twice in two ways, may be so often."""

_LONG: Final = 10
"""So many repetitions are as good as without end."""

_MOST_PLACES: Final = 500
"""Of an expression with more places nothing is told: that would take too long."""

_MOST_IN_LOOP: Final = 80
"""Nor of what is repeated with more."""

_SAMPLE: Final = "".join(map(chr, range(128))) + "\u00a0\u0660\u00e9\u4e2d\U0001f600"
"""Characters that stand for all: those of ASCII, and a space, digit, letter, ideograph and sign beyond."""

_Chars: TypeAlias = frozenset[str]
_END: Final[_Chars] = frozenset({"end"})
"""What stands for the end of the text, which is no character."""

_Places: TypeAlias = "Counter[int]"
"""Places in the expression that take a character, and in how many ways each comes about."""


def can_explode(name: Name, regex: re.Pattern[str]) -> bool:
    """Tell whether there are texts that *regex* is tried on in a number of ways that doubles with their length.

    *name* is the function of module `re` that is asked. Where it cannot be told, it is said to be so not.
    """
    repeats, choices = (sum(map(regex.pattern.count, signs)) for signs in ("*+{", "*+{?|"))
    if not repeats or choices < 2:
        return False
    items = parse(regex)
    try:
        return _has_loop_in_loop(items) and (
            _explodes(items, regex.flags, name == "fullmatch")
            or any(_explodes(part, regex.flags, False) for part in _looks(items))
        )
    except (_TooLargeError, RecursionError):
        return False


def is_safe_once_found(name: Name, regex: re.Pattern[str]) -> bool:
    """Tell whether module `re` accepts at once whatever text it accepts: then it is enough that RE2 is asked first.

    That is so where the part that can explode begins at a fixed place, can take any of its characters after any other,
    and ends where a character comes that it cannot take.
    """
    items = [*parse(regex), *([_END_ITEM] if name == "fullmatch" else [])]
    before = next((place for place, item in enumerate(items) if not _is_fixed(item, regex.flags)), len(items))
    if name == "search" or before == len(items) or not is_exactly_widened(regex):
        return False
    graph, rest = _Graph(items), _Graph(items)
    loop = graph.add(items[before : before + 1], regex.flags)
    after = rest.add(items[before + 1 :], regex.flags)
    chars = frozenset[str]().union(*graph.chars.values())
    takes_any = all(_all_of(graph, places) >= chars for places in (loop.first, *graph.after.values()))
    ends_anywhere = loop.last.keys() == graph.chars.keys()
    is_told_apart = not after.may_be_empty and chars.isdisjoint(_all_of(rest, after.first))
    return takes_any and ends_anywhere and is_told_apart and not _explodes(items[before + 1 :], regex.flags, False)


class _TooLargeError(Exception):
    """An expression has too many places to be looked through."""


@dataclass(slots=True)
class _Part:
    """Where a part of an expression can begin and end; in how many ways, up to two, it can be empty."""

    first: _Places = field(default_factory=Counter)
    last: _Places = field(default_factory=Counter)
    may_be_empty: int = 1


class _Graph:
    """The places of an expression that take a character each, and what can come after which.

    V. M. Glushkov, "The abstract theory of automata", 1961.
    """

    def __init__(self, items: Iterable[Item]) -> None:
        self._alphabet = frozenset(_SAMPLE).union(_named(items))
        self.chars: dict[int, _Chars] = {}
        self.after: dict[int, _Places] = {}

    def add(self, items: Iterable[Item], flags: int) -> _Part:
        """Add what stands in a row."""
        whole = _Part()
        for operation, args in items:
            whole = self._join(whole, self._add_item(str(operation), args, flags))
        return whole

    def _add_item(self, operation: str, args: Any, flags: int) -> _Part:
        match operation:
            case "BRANCH":
                return self._choose([self.add(branch, flags) for branch in args[1]])
            case "SUBPATTERN":
                return self.add(args[-1], scoped(flags, args))
            case "AT" if str(args) in ("AT_END", "AT_END_STRING"):
                return self._place(_END)
            case _ if operation in REPEATS:
                return self._repeat(operation, args, flags)
            case "LITERAL" | "NOT_LITERAL" | "IN" | "ANY":
                return self._place(_chars_of(operation, args, flags, self._alphabet))
        # Atomic groups give nothing back; what looks around takes nothing; references are not known.
        return _Part()

    def _repeat(self, operation: str, args: tuple[int, int, Any], flags: int) -> _Part:
        least, most, items = args
        if operation == "POSSESSIVE_REPEAT":
            return _Part()
        whole = _Part()
        for _ in range(min(least, _MOST_COPIES)):
            whole = self._join(whole, self.add(items, flags))
        if most >= _LONG:
            return self._join(whole, self._loop(self.add(items, flags)))
        for _ in range(min(most - least, _MOST_COPIES)):
            whole = self._join(whole, self._choose([self.add(items, flags), _Part()]))
        return whole

    def _place(self, chars: _Chars) -> _Part:
        place = len(self.chars)
        if place == _MOST_PLACES:
            raise _TooLargeError
        self.chars[place], self.after[place] = chars, Counter()
        return _Part(Counter([place]), Counter([place]), 0)

    def _join(self, one: _Part, other: _Part) -> _Part:
        self._link(one.last, other.first)
        return _Part(
            one.first + _times(other.first, one.may_be_empty),
            other.last + _times(one.last, other.may_be_empty),
            min(one.may_be_empty * other.may_be_empty, 2),
        )

    def _choose(self, parts: Sequence[_Part]) -> _Part:
        first, last = sum((part.first for part in parts), Counter()), sum((part.last for part in parts), Counter())
        return _Part(first, last, min(sum(part.may_be_empty for part in parts), 2))

    def _loop(self, part: _Part) -> _Part:
        # Module `re` goes round no more where nothing was taken: empty, there is one way.
        self._link(part.last, part.first)
        return _Part(part.first, part.last, 1)

    def _link(self, last: _Places, first: _Places) -> None:
        for place, ways in last.items():
            self.after[place] += _times(first, ways)


def _all_of(graph: _Graph, places: Iterable[int]) -> _Chars:
    return frozenset[str]().union(*(graph.chars[place] for place in places))


def _times(places: _Places, ways: int) -> _Places:
    return Counter({place: min(count * ways, 2) for place, count in places.items() if ways})


def _has_loop_in_loop(items: Iterable[Item], *, in_loop: bool = False) -> bool:
    """Tell whether something is repeated in which there is a choice: else nothing can be read in two ways."""
    for operation, args in items:
        name = str(operation)
        is_repeat = name in REPEATS
        if in_loop and (is_repeat or name == "BRANCH"):
            return True
        loops = in_loop or (is_repeat and args[1] >= _LONG)
        if any(_has_loop_in_loop(part, in_loop=loops) for part in _inner(name, args)):
            return True
    return False


def _inner(name: str, args: Any) -> Iterable[Sequence[Item]]:
    """Return the parts that stand within an operation."""
    match name:
        case "ASSERT" | "ASSERT_NOT":
            return (args[1],)
        case "SUBPATTERN":
            return (args[-1],)
        case "BRANCH":
            return args[1]  # type: ignore[no-any-return]
        case _ if name in REPEATS:
            return (args[2],)
    return (args,) if name == "ATOMIC_GROUP" else ()


def _looks(items: Iterable[Item]) -> Iterator[Sequence[Item]]:
    """Yield what is tried by itself, apart from what stands around it: what looks ahead or behind, atomic groups."""
    for operation, args in items:
        name = str(operation)
        is_apart = name in ("ASSERT", "ASSERT_NOT", "ATOMIC_GROUP", "POSSESSIVE_REPEAT")
        for part in _inner(name, args):
            if is_apart:
                yield part
            yield from _looks(part)


def _explodes(items: Sequence[Item], flags: int, is_whole: bool) -> bool:
    graph = _Graph(items)
    whole = graph.add([*items, *([_END_ITEM] if is_whole else [])], flags)
    for loop in _loops(graph.chars, lambda place: graph.after[place]):
        # Where it may end within the loop, it ends there: nothing is tried again.
        if len(loop) <= _MOST_IN_LOOP and not loop & whole.last.keys() and _is_ambiguous(graph, loop):
            return True
    return False


def _is_ambiguous(graph: _Graph, loop: set[int]) -> bool:
    """Tell whether there is a text that leads from a place of the *loop* back to it in two ways."""
    if any(ways > 1 for place in loop for after, ways in graph.after[place].items() if after in loop):
        return True

    def step(pair: tuple[int, int]) -> Iterator[tuple[int, int]]:
        for one in graph.after[pair[0]]:
            for other in graph.after[pair[1]]:
                if one in loop and other in loop and graph.chars[one] & graph.chars[other]:
                    yield one, other

    together = _loops([(place, place) for place in loop], step)
    return any(len({one == other for one, other in each}) > 1 for each in together)


def _loops(starts: Iterable[Any], step: Callable[[Any], Iterable[Any]]) -> Iterator[set[Any]]:
    """Yield what can be come back to, in sets of those that lead to each other. S. R. Kosaraju, 1978."""
    order: list[Any] = []
    before: dict[Any, list[Any]] = {}
    for start in starts:
        for node, after in _walk(start, step, set(order)):
            if after is None:
                order.append(node)
            else:
                before.setdefault(after, []).append(node)
    seen: set[Any] = set()
    for start in reversed(order):
        if start not in seen:
            found = {node for node, after in _walk(start, lambda node: before.get(node, ()), seen) if after is None}
            seen |= found
            if len(found) > 1 or start in before.get(start, ()):
                yield found


def _walk(start: Any, step: Callable[[Any], Iterable[Any]], seen: Collection[Any]) -> Iterator[tuple[Any, Any]]:
    """Yield each step from one to another that can be reached from *start*, and last of each the step to None."""
    if start in seen:
        return
    known = {start, *seen}
    path = [(start, iter(step(start)))]
    while path:
        node, following = path[-1]
        after = next(following, None)
        if after is None:
            path.pop()
        elif after not in known:
            known.add(after)
            path.append((after, iter(step(after))))
        yield node, after


def _is_fixed(item: Item, flags: int) -> bool:
    """Tell whether a part takes the same number of characters, whatever they are, in one way."""
    operation, args = str(item[0]), item[1]
    if operation == "SUBPATTERN":
        return all(_is_fixed(each, scoped(flags, args)) for each in args[-1])
    return operation in ("LITERAL", "NOT_LITERAL", "IN", "ANY") or str(args) in ("AT_BEGINNING", "AT_BEGINNING_STRING")


def _named(items: Iterable[Item]) -> Iterator[str]:
    """Yield the characters that an expression names: with the sample, they stand for all others."""
    for operation, args in items:
        name = str(operation)
        if name in ("LITERAL", "NOT_LITERAL"):
            yield chr(args)
        elif name == "RANGE":
            yield from map(chr, args)
        elif name == "IN":
            yield from _named(args)
        for part in _inner(name, args):
            yield from _named(part)


def _chars_of(operation: str, args: Any, flags: int, alphabet: _Chars) -> _Chars:
    """Return which characters of the alphabet one place takes."""
    if operation == "ANY":
        return alphabet if flags & re.DOTALL else alphabet - {"\n"}
    members = [(str(kind), member) for kind, member in args] if operation == "IN" else [("LITERAL", args)]
    taken = {char for char in alphabet if any(_takes(kind, what, char, flags) for kind, what in members)}
    is_negated = operation == "NOT_LITERAL" or members[0][0] == "NEGATE"
    return alphabet - taken if is_negated else frozenset(taken)


def _takes(kind: str, what: Any, char: str, flags: int) -> bool:
    if kind == "CATEGORY":
        name = str(what).removeprefix("CATEGORY_")
        is_in = bool(_CATEGORIES[name.removeprefix("NOT_")](char)) and (char.isascii() or not flags & re.ASCII)
        return is_in is not name.startswith("NOT_")
    if kind == "NEGATE":
        return False
    first, last = (what, what) if kind == "LITERAL" else what
    cases = {char, char.lower(), char.upper()} if flags & re.IGNORECASE else {char}
    return any(len(case) == 1 and first <= ord(case) <= last for case in cases)


_CATEGORIES: Final[Mapping[str, Callable[[str], object]]] = {
    "DIGIT": str.isdecimal,
    "SPACE": str.isspace,
    "WORD": lambda char: char.isalnum() or char == "_",
}


_END_ITEM: Final[Item] = ("AT", "AT_END_STRING")
