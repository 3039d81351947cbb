"""Written conditions: the text of a test, for generated functions.

Values of plain types are tested on the spot. All others are given to what the condition compiles to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

from megaflow.dispatch.cuts import Cut, float_from, whole_from
from megaflow.dispatch.normal import OBJECT
from megaflow.match.comparison import read_number
from megaflow.match.conditions import AllOf, AnyOf, Condition, Not, Present, compile_test
from megaflow.match.leaves import Comparison, Equals, Regex, Text


class Written(NamedTuple):
    """The text of a test of ``{value}``, in which the names of constants are to be put."""

    test: str
    constants: tuple[Any, ...]
    is_true_of_missing: bool = False
    matches_missing: bool = False


ANYTHING: Final = "True"


def write_tests(condition: Condition) -> list[Written]:
    """Return the tests that all have to hold for *condition*."""
    if isinstance(condition, AllOf) and _as_range(condition) is None:
        return [_write_test(part) for part in condition.parts]
    return [_write_test(condition)]


def _write_test(condition: Condition) -> Written:
    """Return the test of *condition*: written out where it is a common one, or as a call of what it compiles to."""
    inline = _write_inline(condition)
    if inline is not None:
        return Written(*inline)
    denied = _write_inline(condition.part) if isinstance(condition, Not) else None
    if denied is not None:
        return Written(f"not {denied[0]}", denied[1], is_true_of_missing=True)
    # Nothing equals what is missing, nor is it text or a number; what is denied of it, it is.
    false_of_missing = isinstance(condition, Equals | Comparison | Regex | Text)
    return Written("{0}({value})", (compile_test(condition),), not false_of_missing, condition.matches_missing)


Inline: TypeAlias = tuple[str, tuple[Any, ...]]


def _write_inline(condition: Condition) -> Inline | None:
    """Return the text for *condition*, false of what is missing, and its constants; None where it is not common."""
    if isinstance(condition, Present):
        return ANYTHING, ()
    if condition is OBJECT:
        return "isinstance({value}, dict)", ()
    if isinstance(condition, Equals):
        return _write_equality(condition)
    if isinstance(condition, AnyOf):
        return _write_values(condition) or _write_alternatives(condition)
    if isinstance(condition, Text):
        return _write_text(condition)
    if isinstance(condition, Regex) and not condition.can_explode:
        return "(isinstance({value}, str) and {0}({value}) is not None)", (getattr(condition.regex, condition.name),)
    bounds = _as_range(condition)
    return None if bounds is None else _write_range(condition, *bounds)


def _write_equality(condition: Equals) -> Inline | None:
    value = condition.value
    if isinstance(value, str):
        return "(isinstance({value}, str) and {value} == {0})", (str.__str__(value),)
    if value is None or isinstance(value, bool):
        return "({value} is {0})", (value,)
    return _write_for_whole("{value} == {0}", int(value), condition) if _is_whole(value) else None


def _write_values(condition: AnyOf) -> Inline | None:
    values = [part.value for part in condition.parts if isinstance(part, Equals)]
    if len(values) < len(condition.parts):
        return None
    if all(isinstance(value, str) for value in values):
        return "(isinstance({value}, str) and {value} in {0})", (frozenset(map(str.__str__, values)),)
    if all(_is_whole(value) for value in values):
        return _write_for_whole("{value} in {0}", frozenset(map(int, values)), condition)
    return None


def _write_alternatives(condition: AnyOf) -> Inline | None:
    """Return the texts of all parts, joined; of many, most would be a text of their own."""
    written = [_write_inline(part) for part in condition.parts[: _FEW + 1]]
    inline = [each for each in written if each is not None and each[0] != ANYTHING]
    if len(inline) < len(written) or len(written) > _FEW:
        return None
    texts: list[str] = []
    constants: list[Any] = []
    for text, its_own in inline:
        texts.append(_rename(text, len(constants), len(its_own)))
        constants += its_own
    return f"({' or '.join(texts)})", tuple(constants)


_FEW: Final = 3


def _rename(text: str, first: int, count: int) -> str:
    """Return *text*, whose constants have their places from *first* on."""
    return text.format(*(f"{{{first + place}}}" for place in range(count)), value="{value}")


def _write_text(condition: Text) -> Inline:
    if condition.name in ("prefix", "suffix"):
        return "(isinstance({value}, str) and {value}." + _METHODS[condition.name] + "({0}))", (condition.text,)
    return "(isinstance({value}, str) and {0}({value}))", (condition.form,)


_METHODS: Final = {"prefix": "startswith", "suffix": "endswith"}


def _as_range(condition: Condition) -> _Range | None:
    """Return between which cuts *condition* holds for numbers; None where it is no range of them."""
    lows: list[Cut] = []
    highs: list[Cut] = []
    for part in condition.parts if isinstance(condition, AllOf) else (condition,):
        bound = read_number(part.bound) if isinstance(part, Comparison) else None
        if not isinstance(part, Comparison) or bound is None:
            return None
        (lows if part.name in ("gt", "gte") else highs).append(Cut(bound, part.name in ("gt", "lte")))
    return max(lows, default=None), min(highs, default=None)


_Range: TypeAlias = tuple[Cut | None, Cut | None]
_PLAIN: Final[Mapping[str, Callable[[Cut], float | None]]] = {"int": whole_from, "float": float_from}


def _write_range(condition: Condition, low: Cut | None, high: Cut | None) -> Inline:
    """Return a test for plain numbers of the type that the bounds have, for those of the other, and for all else."""
    texts: list[str] = []
    constants: list[Any] = []
    are_whole = all(cut is None or isinstance(cut.bound, int) for cut in (low, high))
    for type_ in ("int", "float") if are_whole else ("float", "int"):
        plain = [_PLAIN[type_](cut) for cut in (low, high) if cut is not None]
        if None not in plain:
            first, last = f"{{{len(constants)}}} <= ", f" < {{{len(constants) + len(plain) - 1}}}"
            test = f"{first if low else ''}{{value}}{last if high else ''}"
            texts.append(f"{test} if type({{value}}) is {type_} else ")
            constants += plain
    return f"({''.join(texts)}{{{len(constants)}}}({{value}}))", (*constants, condition.compile())


def _write_for_whole(test: str, constant: object, condition: Condition) -> Inline:
    """Return *test* for whole numbers, which most numbers are, with a call for what else reads as a number."""
    return f"({test} if type({{value}}) is int else {{1}}({{value}}))", (constant, compile_test(condition))


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
