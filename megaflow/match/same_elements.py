"""Whether fields match within the same elements of arrays: no two of them in different elements of one array.

https://github.com/aws/event-ruler#json-array-matching
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from megaflow.match.filter_tree import Element, Field, Occurrence

Chosen: TypeAlias = frozenset[tuple[int, int]]
"""One index for each of some arrays."""


def match_together(fields: Sequence[Field], found: Mapping[str, Sequence[Occurrence]]) -> bool:
    """Tell whether all *fields* match what was *found*, within the same elements.

    Where a field may be missing, it is enough that it is missing from the elements in which the fields before it match.
    """
    places = [(each, found.get(each.name, ())) for each in fields]
    return all(_may_match(*each) for each in places) and _can_choose([_read_step(*each) for each in places])


def _may_match(field: Field, occurrences: Sequence[Occurrence]) -> bool:
    alternatives = field.alternatives
    return alternatives.missing or any(alternatives.test(each.value) for each in occurrences)


@dataclass(slots=True)
class _Places:
    """Some places in a message: the elements that hold something, and the way down to them."""

    ends: set[Element | None] = field(default_factory=set)
    below: dict[Element | None, dict[int, dict[int, Element]]] = field(default_factory=dict)
    arrays: set[int] = field(default_factory=set)

    def add(self, element: Element | None) -> None:
        self.ends.add(element)
        while element is not None and element.index not in (siblings := self._siblings(element)):
            siblings[element.index] = element
            element = element.inside

    def _siblings(self, element: Element) -> dict[int, Element]:
        self.arrays.add(element.array)
        return self.below.setdefault(element.inside, {}).setdefault(element.array, {})

    def within(self, chosen: Mapping[int, int]) -> Iterator[Element | None]:
        """Go through those that do not stand in an element other than the *chosen* one."""
        todo: list[Element | None] = [None]
        while todo:
            element = todo.pop()
            if element in self.ends:
                yield element
            for array, elements in self.below.get(element, {}).items():
                todo += _choose(elements, chosen.get(array))


@dataclass(frozen=True, slots=True)
class _Step:
    """One field: where it matches, where it is, and whether it may be missing."""

    matching: _Places
    present: _Places
    may_be_missing: bool

    @property
    def arrays(self) -> set[int]:
        return self.matching.arrays | self.present.arrays

    def choices(self, chosen: Chosen) -> Iterator[Chosen]:
        """Give everything that can be chosen so that the field matches, with what is *chosen* already."""
        so_far = dict(chosen)
        yield from (chosen.union(_way_to(element)) for element in self.matching.within(so_far))
        if self.may_be_missing and next(self.present.within(so_far), self) is self:
            yield chosen


def _read_step(field: Field, occurrences: Sequence[Occurrence]) -> _Step:
    test, missing = field.alternatives.test, field.alternatives.missing
    matching = _places(each.element for each in occurrences if test(each.value))
    return _Step(matching, _places(each.element for each in occurrences) if missing else _Places(), missing)


def _places(elements: Iterable[Element | None]) -> _Places:
    places = _Places()
    for element in elements:
        places.add(element)
    return places


def _choose(elements: Mapping[int, Element], index: int | None) -> Iterable[Element]:
    if index is None:
        return elements.values()
    return [elements[index]] if index in elements else []


def _way_to(element: Element | None) -> Iterator[tuple[int, int]]:
    while element is not None:
        yield element.array, element.index
        element = element.inside


def _can_choose(steps: Sequence[_Step]) -> bool:
    """Tell whether there is a choice for each step, going back where one leads nowhere.

    What no later step asks about is forgotten, and no question is asked twice: this takes about as long as there are
    elements, even where there are many arrays of many.
    """
    later = _arrays_asked_later(steps)
    todo: list[tuple[int, Chosen]] = [(0, frozenset())]
    seen = set(todo)
    while todo:
        at, chosen = todo.pop()
        if at == len(steps):
            return True
        for choice in steps[at].choices(chosen):
            state = at + 1, frozenset(pair for pair in choice if pair[0] in later[at])
            if state not in seen:
                seen.add(state)
                todo.append(state)
    return False


def _arrays_asked_later(steps: Sequence[_Step]) -> list[set[int]]:
    """Return for each step the arrays that those after it ask about."""
    later: list[set[int]] = [set()]
    for step in reversed(steps[1:]):
        later.append(later[-1] | step.arrays)
    return later[::-1]
