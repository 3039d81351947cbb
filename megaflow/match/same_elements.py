"""Same elements: fields that have to match within one element of an array, as EventBridge has it.

https://github.com/aws/event-ruler#json-array-matching
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import TypeAlias

from megaflow.match.filter_tree import Element, Field, Occurrence

Chosen: TypeAlias = frozenset[Element]
"""Elements of arrays; what they are inside of is chosen with them."""


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
    below: dict[Element | None, dict[int, set[Element]]] = field(default_factory=dict)
    arrays: set[int] = field(default_factory=set)

    def add(self, element: Element | None) -> None:
        self.ends.add(element)
        while element is not None and element not in (siblings := self._siblings(element)):
            siblings.add(element)
            element = element.inside

    def _siblings(self, element: Element) -> set[Element]:
        self.arrays.add(element.array)
        return self.below.setdefault(element.inside, {}).setdefault(element.array, set())

    def within(self, chosen: Mapping[int, Element]) -> Iterator[Element | None]:
        """Go through those that are in the *chosen* element of every array that has one."""
        todo: list[Element | None] = [None]
        while todo:
            element = todo.pop()
            if element in self.ends:
                yield element
            for array, elements in self.below.get(element, {}).items():
                todo += elements & {chosen[array]} if array in chosen else elements


@dataclass(frozen=True, slots=True)
class _Step:
    """One field: where it matches, where it is, and whether it may be missing."""

    matching: _Places
    present: _Places
    may_be_missing: bool

    @property
    def arrays(self) -> Set[int]:
        return self.matching.arrays | self.present.arrays

    def choices(self, chosen: Chosen) -> Iterator[Chosen]:
        """Give everything that can be chosen so that the field matches, with what is *chosen* already."""
        by_array = {each.array: each for element in chosen for each in _way_to(element)}
        for element in self.matching.within(by_array):
            yield chosen if element is None else chosen | {element}
        if self.may_be_missing and not any(True for _ in self.present.within(by_array)):
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


def _way_to(element: Element | None) -> Iterator[Element]:
    while element is not None:
        yield element
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
            state = at + 1, _forget(choice, later[at])
            if state not in seen:
                seen.add(state)
                todo.append(state)
    return False


def _arrays_asked_later(steps: Sequence[_Step]) -> Sequence[Set[int]]:
    """Return for each step the arrays that those after it ask about."""
    later: list[Set[int]] = [frozenset()]
    for step in reversed(steps[1:]):
        later.append(later[-1] | step.arrays)
    return later[::-1]


def _forget(chosen: Chosen, asked: Set[int]) -> Chosen:
    """Return what is left of *chosen* without the elements of arrays that are not *asked* about."""
    if not asked:
        return frozenset()
    left = (next((each for each in _way_to(element) if each.array in asked), None) for element in chosen)
    return frozenset(each for each in left if each is not None)
