"""Generated parts of the docs are those that the code gives, and none is missing."""

import pytest

from tests.docs.generated import PARTS, read_parts
from tests.docs.pages import PAGES

WRITTEN = [part for page in PAGES.values() for part in read_parts(page)]


@pytest.mark.parametrize(("name", "text"), WRITTEN, ids=[name for name, _ in WRITTEN])
def test_a_part_is_what_the_code_gives(name: str, text: str) -> None:
    assert text == PARTS[name](), "write it anew: python -m tests.docs.generated"


def test_every_part_is_in_the_docs() -> None:
    assert sorted(name for name, _ in WRITTEN) == sorted(PARTS)
