from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megaflow.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("Grüße, 世界 🎉", "Grüße, 世界 🎉"),
        ("no-break\xa0space\tand tab", "no-break\xa0space\tand tab"),
        ("a\nmessage 4711: deleted\r\n", r"a\nmessage 4711: deleted\r\n"),
        ("\x1b]52;c;cm0gLXJm\x07", r"\x1b]52;c;cm0gLXJm\x07"),
        ("\x9b31m", r"\x9b31m"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\u2066\u2069\u200f\u061c", r"\u2066\u2069\u200f\u061c"),
        ("\u2028\u2029\x85\x0b\x0c\x1c", r"\u2028\u2029\x85\x0b\x0c\x1c"),
        ("\x00\x7f\ud800", r"\x00\x7f\ud800"),
    ],
)
def test_what_would_do_something_is_shown(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(st.characters(codec=None)))
def test_it_is_one_line_that_can_be_written(text: str) -> None:
    shown = printable(text)

    assert len(shown.splitlines()) <= 1
    assert shown.encode().decode() == shown
    assert printable(shown) == shown
