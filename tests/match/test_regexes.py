from __future__ import annotations

import re
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any, Final

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from megaflow.match import re2_sets, regexes
from megaflow.match.re2_sets import RegexSet, can_hold, is_available
from megaflow.match.regexes import LONGEST_START, Name, literal_start, widened
from tests.examples import examples

needs_re2 = pytest.mark.skipif(not is_available(), reason="google-re2 is not installed")

NAMES: Final[tuple[Name, ...]] = ("match", "search", "fullmatch")


def _words(text: str) -> list[str]:
    return text.split()


# Letters with cases beyond ASCII, digits of other scripts, characters that are white space to Python only.
_CHARS = "abzkKsSiIZ05_- .\n\t\x00\x0b\x1c\x85\xa0\u017fKİ\u0131ßẞéÉ٣५ΣςǅѦ\u2028\U0001d7dd𝄞"
_ALPHABET = st.characters(categories=(), include_characters=_CHARS + "cdefABCDEFX1234567890#o]^")
_ATOMS = [
    *_words(r"a b abz ab-5 order-12 k S Is K İ ß é Σ ٣ 𝄞 - 0 # \# . ^ $ \1 (?#said) (?(1)a|b)"),
    *_words(r"\. \n \t \x41 \x00 \101 \0 \u017f \u0131 \d \D \w \W \s \S \A \Z \b \B"),
    # Counted high here alone: of parts that may be empty, that would take `re` for ever.
    *_words(r"a{11} [ab]{3,40}? b{12,}"),
    *("", " ", "\n", "\u017f", "\u0131", r"\N{DIGIT FIVE}"),
]
_MEMBERS = [
    *_words(r"a z k S i - 0 _ ^ \] \n é K 𝄞 \u017f a-f A-Z 0-9 X-c \x00-\x1f é-ö z-é \u0131-\u017f"),
    *_words(r"\d \D \w \W \s \S"),
    *("\x1c", " "),
]
_QUANTIFIERS = _words("* + ? {2} {1,3} {,2} {2,} {0} *? +? ?? *+ ++ ?+")
_GROUPS = [
    *_words("(%s) (?:%s) (?P<name>%s) (?i:%s) (?-i:%s) (?s:%s) (?m:%s) (?a:%s) (?im-s:%s)"),
    *_words("(?=%s) (?!%s) (?<=%s) (?<!%s) (?>%s)"),
    "(?x: %s )",
]
_FLAGS = [0, re.IGNORECASE, re.MULTILINE, re.DOTALL, re.ASCII, re.VERBOSE, re.IGNORECASE | re.MULTILINE | re.ASCII]


def _extend(patterns: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    sequences = st.lists(patterns, min_size=2, max_size=4)
    return st.one_of(
        sequences.map("".join),
        sequences.map("|".join).map("(?:{})".format),
        st.builds("(?:{}){}".format, patterns, st.sampled_from(_QUANTIFIERS)),
        st.builds(lambda group, pattern: group % pattern, st.sampled_from(_GROUPS), patterns),
    )


def _compiled(pattern: str, flags: int) -> re.Pattern[str]:
    try:
        return re.compile(pattern, flags)
    except (re.error, FutureWarning, OverflowError):
        assume(False)
        raise


_CLASSES = st.builds(
    "[{}{}]".format, st.sampled_from(["", "^"]), st.lists(st.sampled_from(_MEMBERS), min_size=1).map("".join)
)
_PATTERNS = st.builds(
    "{}{}{}".format,
    st.sampled_from(["", "", "", "(?i)", "(?m)", "(?s)", "(?x)", "^", r"\A", "a|", ".*"]),
    st.recursive(st.sampled_from(_ATOMS) | _CLASSES, _extend, max_leaves=8),
    st.sampled_from(["", "", "$", r"\Z", "|b", ".*"]),
)
_REGEXES = st.builds(_compiled, _PATTERNS, st.sampled_from(_FLAGS))
_RANDOM_TEXTS = st.text(_CHARS, max_size=8) | st.text(max_size=5)


# Texts are short: what is generated may take `re` a time that doubles with each character.
def _texts(regex: re.Pattern[str]) -> st.SearchStrategy[str]:
    try:
        accepted = st.from_regex(regex, alphabet=_ALPHABET)
        accepted.validate()
    except Exception:  # noqa: BLE001 - hypothesis does not know all of the language, and says so in many ways
        return _RANDOM_TEXTS
    return st.one_of(
        accepted.filter(lambda text: len(text) <= 20), _RANDOM_TEXTS, accepted.map(lambda text: text[:19] + "\n")
    )


def _accepts(name: Name, regex: re.Pattern[str], text: str) -> bool:
    return getattr(regex, name)(text) is not None


@st.composite
def _regexes_and_texts(draw: st.DrawFn) -> tuple[list[re.Pattern[str]], list[str]]:
    found = draw(st.lists(_REGEXES, min_size=1, max_size=4))
    try:
        return found, [text for regex in found for text in draw(st.lists(_texts(regex), min_size=1, max_size=3))]
    except SystemError:  # of some `re` says: "please report a bug for the re module"
        assume(False)
        raise


@pytest.mark.parametrize(
    ("pattern", "start"),
    [
        ("abc", "abc"),
        (r"order\.created\n\x41\101\N{DIGIT FIVE}\t.", "order.created\nAA5\t"),
        ("ab*", "a"),
        ("ab?", "a"),
        ("ab{0,2}c", "a"),
        ("ab+c", "ab"),
        ("ab+?c", "ab"),
        ("ab++c", "ab"),
        ("ab{3}c", "abbbc"),
        ("a(?:bc){2,}d", "abcbc"),
        ("a(bc*)d", "ab"),
        ("(?P<kind>order)-(?:x|yy)", "order-"),
        ("(?>ab)c", "abc"),
        ("order|cart", ""),
        ("order|orbit", "or"),
        ("[o]rder[0]", "order0"),
        ("[ab]c", ""),
        ("[^a]c", ""),
        (r"\d", ""),
        (".a", ""),
        ("", ""),
        (r"^\Aab$c", "abc"),
        ("(?=x)ab(?!c)d(?<=d)e", "abde"),
        (r"(a)\1", "a"),
        ("(a)(?(1)b|c)", "a"),
        ("(?i)12-ab", "12-"),
        ("(?i:12-a)b", "12-"),
        ("(?i)1(?-i:ab)2c", "1ab2"),
        ("(?i)é", ""),
        ("(?x) a b # said\n c", "abc"),
        ("a{1000}b", "a" * LONGEST_START),
        ("(?:a{100}b){100}", ("a" * 100 + "b") * 2 + "a" * 54),
        ("\ud800a", "\ud800a"),
    ],
)
def test_texts_start_with_the_literals_that_a_regex_starts_with(pattern: str, start: str) -> None:
    regex = re.compile(pattern)

    assert literal_start("match", regex) == literal_start("fullmatch", regex) == start


@pytest.mark.parametrize(
    ("pattern", "start"),
    [
        ("abc", ""),
        ("^abc", "abc"),
        (r"\Aabc", "abc"),
        ("(^ab)c", "abc"),
        ("(?m)^abc", ""),
        ("(?m:^)abc", ""),
        (r"(?m)\Aabc", "abc"),
        ("^a|b", ""),
        ("(?:^)?abc", ""),
        ("(?:^|-)abc", ""),
        ("$abc", ""),
        ("", ""),
    ],
)
def test_search_starts_at_the_beginning_only_where_it_is_anchored(pattern: str, start: str) -> None:
    assert literal_start("search", re.compile(pattern)) == start


def test_nothing_is_known_where_the_parser_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "re._parser", None)

    assert literal_start("match", re.compile("abc")) == ""
    assert widened("search", re.compile("abc")) == widened("search", re.compile("x.*")) == "(?s:.*)"


def test_a_regex_nested_very_deep_is_no_error() -> None:
    regex = re.compile("(?:" * 190 + "a" + ")+" * 190)

    assert literal_start("match", regex) in ("", "a")
    assert widened("match", regex)


def test_a_regex_is_not_printed_again_for_debugging(capsys: pytest.CaptureFixture[str]) -> None:
    regex = re.compile("abc", re.DEBUG)
    capsys.readouterr()

    start = literal_start("match", regex)

    assert (start, capsys.readouterr().out) == ("abc", "")


@given(_regexes_and_texts())
@settings(max_examples=examples(100))
def test_whatever_is_accepted_has_the_literal_start(given_: tuple[list[re.Pattern[str]], list[str]]) -> None:
    _check_starts(*given_)


def test_the_letters_known_to_have_other_cases_are_all_there_are() -> None:
    beyond = "".join(map(chr, [*range(0x80, 0xD800), *range(0xE000, 0x110000)]))

    found = {letter: set(re.findall(re.escape(letter), beyond, re.IGNORECASE)) for letter in map(chr, range(128))}

    known = regexes._OTHER_CASES
    assert found == {letter: set(known.get(letter.lower(), "")) for letter in map(chr, range(128))}


def test_nothing_is_held_where_re2_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(re2_sets, "re2", None)

    assert not is_available()
    assert not can_hold("search", re.compile("-12$"))


def test_another_package_of_that_name_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(re2_sets, "re2", re)

    assert not is_available()


@needs_re2
@pytest.mark.parametrize("pattern", ["order-12", r"\d+$", "^[^x]$", r"(a)\1", "(?i)kiss", ".*-5", "a{2000}b", "[é-𝄞]"])
def test_a_regex_that_tells_texts_apart_can_be_held(pattern: str) -> None:
    assert all(can_hold(name, re.compile(pattern)) for name in NAMES)


@needs_re2
@pytest.mark.parametrize("pattern", ["", ".*", ".+", ".{2,}", "(?s).*", "a*|b", r"\b", "(?!x)", "[^x]", "(?i)é?"])
def test_a_regex_that_accepts_nearly_anything_is_not_held(pattern: str) -> None:
    assert not can_hold("search", re.compile(pattern))


@needs_re2
def test_a_regex_too_large_for_re2_is_not_held() -> None:
    assert not can_hold("search", re.compile("((((a{10}){10}){10}){10}){10}"))


@needs_re2
def test_candidates_are_few() -> None:
    numbers = [re.compile(rf".*-[a-z]+-{number}\b") for number in range(100, 1000)]
    kinds = [re.compile(rf"(?i)^(?:Order|Cart)s?:{number}$") for number in range(100, 1000)]
    bare = [re.compile(rf"^[a-f]{{{number}}}[_-]\d$") for number in range(1, 10)]
    many = RegexSet([("search", regex) for regex in numbers + kinds + bare])

    found = [set(many.candidates(text)) for text in ("eu-cart-512", "ORDERS:177\n", "ab_5", "nothing")]

    assert found == [{412}, {977}, {1801}, set()]


@needs_re2
@pytest.mark.parametrize("text", ["", "\x00", "a\x00b", "𝄞-5", "x" * 100_000, "5\n", "\n5", "K", "\u017f"])
def test_any_text_has_candidates(text: str) -> None:
    held = [re.compile(pattern) for pattern in ("\x00b", "𝄞", "5$", r"\A5", "(?i)k", "(?i)S", "^x+$", "^$", "^[^a]$")]
    many = RegexSet([("search", regex) for regex in held])

    candidates = many.candidates(text)

    assert {index for index, regex in enumerate(held) if regex.search(text)} <= set(candidates)


@needs_re2
def test_a_text_that_has_no_utf_8_may_be_accepted_by_all() -> None:
    many = RegexSet([("search", re.compile("\ud800abc")), ("match", re.compile("x"))])

    assert list(many.candidates("\ud800abc")) == [0, 1]


@needs_re2
def test_an_empty_set_has_no_candidates() -> None:
    assert list(RegexSet([]).candidates("a")) == list(RegexSet([]).candidates("\ud800")) == []


class _ForgetfulRe2:
    """RE2 that runs out of memory: while it compiles more than *most* patterns, and whenever it matches."""

    def __init__(self, re2: Any, most: int) -> None:
        self.error, self.Options, self.most = re2.error, re2.Options, most
        self._re2 = re2
        self.Set = self

    def SearchSet(self, options: object) -> Any:  # noqa: N802
        return self.Filter()

    def Filter(self) -> Any:  # noqa: N802
        forgetful, real = self, self._re2.Filter()

        class Finder:
            def __init__(self) -> None:
                self.size = 0

            def Add(self, pattern: str, options: object = None) -> None:  # noqa: N802
                self.size += 1
                real.Add(pattern, options or forgetful.Options())

            def Compile(self) -> None:  # noqa: N802
                if self.size > forgetful.most:
                    raise forgetful.error("failed to compile Set")
                real.Compile()

            def Match(self, text: bytes, potential: bool = False) -> list[int] | None:  # noqa: N802
                return real.Match(text, potential=True) if self.size == 1 else None

        return Finder()


@needs_re2
@pytest.mark.parametrize("most", [100, 3, 1])
def test_all_are_candidates_where_re2_runs_out_of_memory(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(re2_sets, "re2", _ForgetfulRe2(import_module("re2"), most))
    many = RegexSet([("search", re.compile(pattern)) for pattern in ("order", r"\d", "cart", r"[ab]$", "item")])

    candidates = many.candidates("nothing")

    assert sorted(candidates) == [0, 1, 2, 3, 4]


@needs_re2
def test_more_than_fit_into_one_set_are_spread_over_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(re2_sets, "_MAX_MEM", 1 << 16)
    held = [re.compile(rf"^\w{{1,9}}[{'abcdefgh'[n % 8]}]\d{{{n % 9 + 1}}}$") for n in range(200)]
    many = RegexSet([("match", regex) for regex in held])

    for text in ("aa5", "éééb٣٣", "nothing", "h1234567\n"):
        candidates = many.candidates(text)

        assert {index for index, regex in enumerate(held) if regex.match(text)} <= set(candidates)


@needs_re2
def test_many_threads_may_ask_at_once() -> None:
    held = [re.compile(rf"[a-z]+{n % 10}\d*[x-z]{n % 7}") for n in range(300)]
    held += [re.compile(rf"-{n}$") for n in range(1000)]
    many = RegexSet([("search", regex) for regex in held])
    texts = [f"order{n}y{n % 7}-{n * 7 % 1000}" for n in range(2000)]
    alone = [sorted(RegexSet([("search", regex) for regex in held]).candidates(text)) for text in texts[:3]]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda text: sorted(many.candidates(text)), texts * 4))

    assert answers[:3] == alone
    assert answers == [sorted(many.candidates(text)) for text in texts] * 4


@needs_re2
@given(_regexes_and_texts())
@settings(max_examples=examples(100))
def test_whatever_is_accepted_is_among_the_candidates(given_: tuple[list[re.Pattern[str]], list[str]]) -> None:
    _check_candidates(*given_)


def _check_starts(found: list[re.Pattern[str]], texts: list[str]) -> None:
    for name in NAMES:
        for regex in found:
            start = literal_start(name, regex)
            assert all(text.startswith(start) for text in texts if _accepts(name, regex, text))


def _check_candidates(found: list[re.Pattern[str]], texts: list[str]) -> None:
    held = [(name, regex) for name in NAMES for regex in found if can_hold(name, regex)]
    many = RegexSet(held)
    for text in texts:
        accepted = {index for index, (name, regex) in enumerate(held) if _accepts(name, regex, text)}
        assert accepted <= set(many.candidates(text))
