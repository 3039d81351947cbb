"""Hashes of parts: whatever the parts are, two lists of them do not meet."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from megaflow.hashes import hash_parts

# Of a few characters, lone surrogates and what frames the parts among them, so that lists are often alike.
TEXTS = st.text(st.sampled_from("ab1:sb \0é\ud800\udc00\U00010000"), max_size=4)
PARTS = st.lists(TEXTS | st.binary(max_size=3), max_size=4)


@given(PARTS, PARTS)
@example(["charge", "card 5"], ["charge card", "5"])
@example(["ab", ""], ["", "ab"])
@example(["ab"], ["a", "b"])
@example(["a"], ["a", ""])
@example([], [""])
@example(["a"], [b"a"])
@example(["\ud800\udc00"], ["\U00010000"])
@example(["a1:b"], ["a", "b"])
@example(["s1:a"], [b"s1:a"])
def test_two_lists_of_parts_do_not_meet(one: list[str | bytes], other: list[str | bytes]) -> None:
    assert (hash_parts(*one) == hash_parts(*other)) == (one == other)


def test_a_hash_stays_what_it_is_from_version_to_version() -> None:
    # Stores keep them for weeks.
    assert hash_parts() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert hash_parts("é", b"\0") == "7a86ca16b7ddaec7e03f16e4e22f7eb1239582684ba51069ee0568d76723fd1d"
