"""What counts as a mutant, and that each stands where it says."""

from __future__ import annotations

import pytest

from tests.mutants.__main__ import all_mutants, read_equivalents
from tests.mutants.mutations import find_mutants
from tests.mutants.trial import ROOT


def changes_of(source: str) -> list[tuple[str, str]]:
    return [(mutant.before, mutant.after) for mutant in find_mutants("module.py", source.encode())]


@pytest.mark.parametrize(
    ("source", "changes"),
    [
        ("a < b", [("a < b", "(a <= b)"), ("a < b", "(a >= b)")]),
        ("a is None", [("a is None", "(a is not None)")]),
        ("a and b", [("a and b", "(a or b)"), ("a and b", "(b)"), ("a and b", "(a)")]),
        ("not a", [("not a", "(a)")]),
        ("a + 'text'", []),
        ("a -= b", [("a -= b", "a += b")]),
        ("7", [("7", "8")]),
        ("True", [("True", "False")]),
        ("'text'", []),
        ("f(a)", [("f(a)", "pass")]),
        ("log.info('a', 1 + 1)", []),
        ("raise ValueError(1)", []),
        ("min(a)", [("min(a)", "pass"), ("min", "max")]),
        ("if a:\n  b", [("a", "True"), ("a", "False")]),
        ("[a for a in b if c]", [("c", "True")]),
        ("def f(a: int = 1) -> 2:\n  '''text'''\n  return b", [("1", "2"), ("return b", "return None")]),
        ("def f():\n  return False", [("False", "True")]),
        ("def f():\n  return ''", []),
        ("def f():\n  return 0", [("return 0", "return None"), ("0", "1")]),
        ("zip(a, f(1), strict=True)", [("zip(a, f(1), strict=True)", "pass"), ("1", "2")]),
        ("a: Final = 1", [("1", "2")]),
        ("A: TypeAlias = B | C", []),
        ("isinstance(a, B | C)", [("isinstance(a, B | C)", "pass")]),
    ],
)
def test_small_changes_are_made_of_what_decides_something(source: str, changes: list[tuple[str, str]]) -> None:
    assert changes_of(source) == changes


def test_a_mutant_is_told_apart_from_the_same_change_elsewhere() -> None:
    source = "def ä():\n    ö = 1\n    return ö, 1\n".encode()

    first, second = (mutant for mutant in find_mutants("module.py", source) if mutant.before == "1")

    assert (first.key, second.key) == (("module.py", "ä", "1", "2", 0), ("module.py", "ä", "1", "2", 1))
    assert second.apply(source).decode() == "def ä():\n    ö = 1\n    return ö, 2\n"


def test_every_mutant_of_the_code_is_known_by_one_key() -> None:
    mutants = all_mutants()

    assert len({mutant.key for mutant in mutants}) == len(mutants)


@pytest.mark.parametrize("every", [20, pytest.param(1, marks=pytest.mark.long)])
def test_a_mutant_of_the_code_is_python(every: int) -> None:
    for mutant in all_mutants()[::every]:
        compile(mutant.apply((ROOT / mutant.path).read_bytes()), mutant.path, "exec")


def test_what_is_listed_as_equivalent_is_there() -> None:
    assert all(read_equivalents(all_mutants()).values())
