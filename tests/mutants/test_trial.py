"""The trial of a mutant: what pytest says is read as it is meant."""

import pytest

from tests.mutants.trial import read_killer

LOGGED = "ERROR    megaflow.processing.log_lines:log_lines.py:51 message m: shop.answer rejects it: never\n"


@pytest.mark.parametrize("before", ["", LOGGED])
@pytest.mark.parametrize("word", ["FAILED", "ERROR"])
def test_the_test_that_failed_is_found_among_what_was_logged(before: str, word: str) -> None:
    said = f"{before}{word} tests/processing/test_around.py::test_it[a-b c] - AssertionError\n1 failed\n"

    assert read_killer(said) == "tests/processing/test_around.py::test_it[a-b"


@pytest.mark.parametrize("said", ["", LOGGED, "collected 0 items\n"])
def test_where_none_is_named_there_is_none(said: str) -> None:
    assert read_killer(said) == ""
