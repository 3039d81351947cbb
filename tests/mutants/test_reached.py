"""What is kept of which test reaches which line, and the tests that are chosen by it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutants.mutations import Mutant, find_mutants
from tests.mutants.reached import Reached, digest_code

SOURCE = b"LIMIT = 1\n\n\ndef f(a):\n    return a + 2\n"
OWN, ROOM, FAR, SLOW = (
    "tests/room/test_module.py::test_own",
    "tests/room/test_other.py::test_near",
    "tests/bugs/test_far.py::test_far",
    "tests/room/test_module.py::test_slow",
)


def mutant_of(before: str) -> Mutant:
    (found,) = (each for each in find_mutants("megaflow/room/module.py", SOURCE) if each.before == before)
    return found


def reached(**seconds: float) -> Reached:
    names = {"own": OWN, "room": ROOM, "far": FAR, "slow": SLOW}
    lines = {1: {""}, 5: {OWN, ROOM, FAR}, 4: {SLOW}}
    return Reached("code", {names[name]: spent for name, spent in seconds.items()}, {"megaflow/room/module.py": lines})


def test_a_mutant_is_tried_with_the_tests_that_reach_its_line_those_of_its_room_first() -> None:
    assert reached(far=0.1, room=0.2, own=3.0, slow=1.0).tests_of(mutant_of("2")) == [OWN, ROOM, FAR]


def test_what_is_run_at_import_is_tried_with_every_test_that_reaches_the_module() -> None:
    assert reached(far=0.1, own=3.0, slow=4.0).tests_of(mutant_of("1")) == [OWN, SLOW, FAR]


def test_a_test_that_fails_by_itself_kills_nothing() -> None:
    assert reached(far=0.1).tests_of(mutant_of("2")) == [FAR]


def test_a_test_that_takes_too_long_is_left_out_and_those_after_it_are_not() -> None:
    assert reached(own=100.0, room=30.0, far=0.1).tests_of(mutant_of("2")) == [OWN, FAR]


@pytest.mark.parametrize(("code", "known"), [("code", {OWN: 3.0}), ("other", {})])
def test_what_was_learnt_is_read_again_as_long_as_the_code_is_the_same(
    tmp_path: Path, code: str, known: dict[str, float]
) -> None:
    learnt = reached(own=3.0)

    learnt.write(tmp_path / "reach.json")

    read = Reached.read(tmp_path / "reach.json", code)
    assert read.seconds == known
    assert (read == learnt) is bool(known)
    assert read.code == code


def test_nothing_is_known_where_nothing_was_kept(tmp_path: Path) -> None:
    assert Reached.read(tmp_path / "reach.json", "code") == Reached("code")
    assert Reached.read(None, "code") == Reached("code")


def test_what_is_learnt_later_is_added() -> None:
    whole = reached(own=3.0)

    whole.add(Reached("", {"new": 1.0}, {"megaflow/room/module.py": {5: {"new"}, 9: {"new"}}, "megaflow/b.py": {}}))

    assert whole.seconds == {OWN: 3.0, "new": 1.0}
    assert whole.lines["megaflow/room/module.py"] == {1: {""}, 5: {OWN, ROOM, FAR, "new"}, 4: {SLOW}, 9: {"new"}}


def test_code_that_differs_has_another_digest(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("1")
    before = digest_code([tmp_path / "a.py"])

    (tmp_path / "a.py").write_text("2")

    assert digest_code([tmp_path / "a.py"]) != before
