"""Which regular expressions can take module `re` hours, and that RE2 keeps those texts from it."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megaflow import App
from megaflow.dispatch.check import Oddity
from megaflow.match.backtracking import can_explode, is_safe_once_found
from megaflow.match.functions import match, not_, one_of, search
from megaflow.match.leaves import Regex
from megaflow.match.re2_sets import is_available
from megaflow.match.regexes import Name
from tests.waiting import PATIENCE

needs_re2 = pytest.mark.skipif(not is_available(), reason="needs the extra re2")

EXPLOSIVE: list[tuple[Name, str]] = [
    ("match", r"([a-z0-9]+)*@example\.com"),
    ("match", "(a+)+b"),
    ("fullmatch", "(a+)+"),
    ("fullmatch", "(a|a)*"),
    ("match", "(a|aa)+$"),
    ("match", r"^(\w+\s?)*$"),
    ("match", r"^(([a-z])+.)+[A-Z]([a-z])+$"),
    ("search", "(x+x+)+y"),
    ("search", "(?=(a+)+b)"),
    ("search", "(?>(a+)+b)"),
    ("fullmatch", "(.*a){10}b"),
    ("fullmatch", r"(\d+)*"),
    ("match", r"(?:[a-z]+\d*)+!"),
    ("match", "(a*)*b"),
    ("match", "(a*?)*?b"),
    ("match", r"([a-zA-Z]+)*\d"),
    ("fullmatch", r"(?:.|\n)*x(?:.|\s)*y"),
    ("match", r"(?i:([a-z]|k[A-Z]?)+)1"),
    ("match", r"([^a]|\w)+!"),
    ("match", r"(öa?|[à-ü])+!"),
]
HARMLESS: list[tuple[Name, str]] = [
    ("match", "a+b"),
    ("match", "(ab)*c"),
    ("match", "(a+)+"),
    ("match", "(?:a|b)*c"),
    ("match", "(a++)+b"),
    ("match", "(?>a+)+b"),
    ("match", r"^(?:https?://)?[\w.-]+(?:/[\w./-]*)?$"),
    ("match", r"([a-z]+|\d)*"),
    ("search", "[a-z]+@[a-z]+"),
    ("fullmatch", r"\d{3}-\d{4}"),
    ("fullmatch", r"\d{1,3}(\.\d{1,3}){3}"),
    ("fullmatch", r"(\d+,)*\d+"),
    ("fullmatch", "[a-z]+(-[a-z]+)*"),
    ("fullmatch", r"(\w+\.)+com"),
    ("fullmatch", "(a|ab)*c"),
    ("fullmatch", r"\s*(\S+\s+)*x"),
    ("fullmatch", r"[\w.+-]+@[\w-]+(\.[\w-]+)+"),
    ("fullmatch", "(?a:(\\w|é)*)"),
]


@pytest.mark.parametrize(("name", "pattern"), EXPLOSIVE)
def test_what_can_be_read_in_two_ways_again_and_again_can_explode(name: Name, pattern: str) -> None:
    assert can_explode(name, re.compile(pattern))


@pytest.mark.parametrize(("name", "pattern"), HARMLESS)
def test_what_can_be_read_in_one_way_cannot(name: Name, pattern: str) -> None:
    assert not can_explode(name, re.compile(pattern))


def test_of_one_that_is_too_large_to_be_looked_through_nothing_is_said() -> None:
    words = "|".join(f"word{number:04}" for number in range(2_000))

    assert not can_explode("search", re.compile(f"(?:{words})(?:[a-z]+)*!"))


def test_a_regex_nested_very_deep_is_no_error() -> None:
    deep = "(?:" * 90 + "a" + ")*" * 90

    assert can_explode("fullmatch", re.compile(deep)) in {True, False}


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("match", r"([a-z0-9]+)*@example\.com"),
        ("match", "id-([a-z]+)*@"),
        ("match", "(a*)*b"),
        ("fullmatch", "(a+)+"),
        ("fullmatch", "(a|a)*"),
    ],
)
def test_some_are_safe_once_re2_has_been_asked(name: Name, pattern: str) -> None:
    assert is_safe_once_found(name, re.compile(pattern))


@pytest.mark.parametrize(
    ("name", "pattern", "because"),
    [
        ("search", r"([a-z0-9]+)*@example\.com", "each place in the text is tried first"),
        ("match", r".*([a-z]+)*@x", "so is here"),
        ("match", r"([a-z]+)*a@", "it ends at no certain place"),
        ("match", r"(a+)+[ab]{20}c", "so here"),
        ("match", r"((a+)+c|a)*b", "another branch is tried first"),
        ("match", r"(a+b?)+!", "not all can follow each other"),
        ("match", r"(\w+)*!", "RE2 accepts other letters"),
        ("match", r"([a-z]+)*\b!", "RE2 knows of no other words than those of ASCII"),
        ("match", r"([à-ü]+)*!", "lone surrogates are not looked at"),
        ("match", r"(?i)([a-z]+)*!", "RE2 has other cases"),
        ("match", r"([a-z]+)*!([0-9]+)*;", "what follows can explode as well"),
    ],
)
def test_others_are_not(name: Name, pattern: str, because: str) -> None:
    assert not is_safe_once_found(name, re.compile(pattern)), because


def test_what_can_explode_is_said_with_its_path() -> None:
    app = App()

    @app.on_data({"user": {"email": not_(one_of(search("(x+x+)+y"), "none"))}, "id": match("[a-z]+@")})
    def handle(data: object) -> None: ...

    (finding,) = (each for each in app.check() if each.oddity is Oddity.BACKTRACKS)
    assert finding.handler.function is handle
    assert "search('(x+x+)+y') at user.email" in str(finding)


def test_it_is_said_where_a_function_is_asked_too() -> None:
    app = App()
    app.on_data({"email": one_of(search("(x+x+)+y"), lambda email: True)})(lambda data: None)

    assert [each.oddity for each in app.check()].count(Oddity.BACKTRACKS) == 1


@needs_re2
def test_what_is_safe_with_re2_is_not_said() -> None:
    app = App()
    app.on_data({"email": match(EXPLOSIVE[0][1])})(lambda data: None)

    assert Oddity.BACKTRACKS not in {each.oddity for each in app.check()}


@needs_re2
@pytest.mark.parametrize("last", ["", "\ud800", "é"])
def test_a_text_that_would_take_re_for_ever_is_refused_at_once(last: str) -> None:
    script = f"""
from megaflow import App
from megaflow.match.functions import match
app = App()
app.on_data({{"email": match({EXPLOSIVE[0][1]!r})}})(lambda data: None)
assert not app.handlers_for({{"email": "a" * 1_000 + {last!r}}})
assert "not matched" in str(app.explain({{"email": "a" * 1_000 + {last!r}}}))
assert app.handlers_for({{"email": "a" * 1_000 + "@example.com" + {last!r}}})
"""

    ended = subprocess.run(
        [sys.executable, "-c", script], timeout=PATIENCE, capture_output=True, text=True, check=False
    )

    assert ended.stderr == ""


@needs_re2
@given(st.sampled_from(EXPLOSIVE), st.text("abx1@!.\n\ud800 é", max_size=8))
def test_with_re2_asked_first_the_same_texts_match(explosive: tuple[Name, str], text: str) -> None:
    name, pattern = explosive
    regex = re.compile(pattern)

    assert Regex(name, regex).compile()(text) is (getattr(regex, name)(text) is not None)
