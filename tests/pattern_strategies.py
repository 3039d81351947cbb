"""Patterns and payloads for hypothesis, out of a vocabulary so small that they often meet."""

from __future__ import annotations

import math
import re
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, StrEnum
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

from tests.reference_matcher import USERS, Ask, number


class Colour(StrEnum):
    """Values that are text, and enums."""

    RED = "a"
    GREEN = "ab"


class Level(Enum):
    """Values that are enums only."""

    LOW = 5
    HIGH = "19.99"


_ID = UUID("61fcc874-624e-40f8-8fd7-0e663c7837e8")
_KEYS = st.sampled_from(["a", "b", "c"])
_TEXT_NUMBERS = [
    "5",
    "5.0",
    "50e-1",
    "-1",
    "-0",
    "19.99",
    "1999E-2",
    "007",
    "+5",
    "5.",
    ".5",
    " 5",
    "5\n",
    "5_0",
    "NaN",
]
_TEXT_MOMENTS = [
    "2020-01-01",
    "2020-01-01T00:00",
    "2020-01-01 00:00:00",
    "2020-01-01T01:00:00.000+01:00",
    "2020-01-01T00:30:00.123456789Z",
    "2019-12-31T23:30-0030",
    "2020-01-02T00:00+02",
    "2020-02-30",
    "2020-01-01T24:00",
    "2020-01-01T00:00+00:99",
    "2020-1-1",
    "20200101",
    "2020-01-01T",
    "0001-01-01T00:00+01:00",
    "9999-12-31T23:59:59.999999-00:01",
]
_WORDS = ["", "a", "A", "ab", "ba", "aab", "a\nb", "ß", "SS", "*", "true", "null", str(_ID), str(_ID).upper()]
_ADDRESSES = ["10.0.0.1", "10.1.2.3", "11.0.0.1", "010.0.0.1", "::1", "fe80::1%a", "2001:db8::5", "::ffff:10.0.0.1"]

text = st.sampled_from(_WORDS + _TEXT_NUMBERS + _TEXT_MOMENTS + _ADDRESSES) | st.text("ab*\n", max_size=5)
numbers = st.one_of(
    st.integers(-1, 6),
    st.sampled_from([0.0, -0.0, 5.0, 19.99, 0.1, -1.0, 1e22, math.inf, -math.inf, math.nan]),
    st.sampled_from(["5", "5.00", "19.99", "-1", "0.1", "Infinity", "NaN", "sNaN", "1e22"]).map(Decimal),
)
moments = st.one_of(
    st.sampled_from([date(2020, 1, 1), date(2020, 1, 2), date.min, date.max]),
    st.sampled_from(
        [
            datetime(2020, 1, 1),
            datetime(2020, 1, 1, 0, 30, tzinfo=UTC),
            datetime(2020, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))),
            datetime(2020, 1, 1, 23, 59, tzinfo=timezone(timedelta(hours=-1))),
            datetime.min,
            datetime.max,
        ]
    ),
)
edges = st.sampled_from(
    [
        datetime.min.replace(tzinfo=timezone(timedelta(hours=1))),
        datetime.max.replace(tzinfo=timezone(timedelta(hours=-1))),
    ]
)
scalars = st.none() | st.booleans() | numbers | text | moments | st.sampled_from([_ID, b"", b"a", *Colour, *Level])


def _nested(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaves,
        lambda below: st.lists(below, max_size=3) | st.dictionaries(_KEYS, below, max_size=3),
        max_leaves=8,
    )


values = _nested(scalars)
"""What `eq` takes."""

scalar_payloads = st.one_of(
    st.none() | st.booleans(), numbers, text, moments | edges, st.sampled_from([_ID, b"", b"a"]), st.text(max_size=3)
)
payloads = _nested(scalar_payloads)
"""What a message may hold; hostile, too."""

_bounds = st.one_of(
    numbers.filter(lambda value: number(value) is not None),
    moments,
    st.sampled_from(["5", "19.99", "2020-01-01", "2020-01-01T00:30Z"]),
)
_regexes = st.sampled_from(["", "a", "a$", "^b", "a.b", "(?s)a.b", "[0-9]+", "(a|b)*\\Z", "(?i)ss"])
_words = st.sampled_from(["", "a", "ab", "b", "*", "5", "ß", "ss", "2020"])


def _ask(name: str, *args: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.tuples(*args).map(lambda drawn: Ask(name, drawn))


def _ask_several(name: str, below: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(below, min_size=1, max_size=3).map(lambda drawn: Ask(name, tuple(drawn)))


_plain = st.one_of(
    scalars,
    st.sets(st.sampled_from([None, True, 5, "a", "5", Colour.GREEN, date(2020, 1, 1)]), max_size=3),
    st.just(bool),
    _regexes.map(re.compile),
    st.just(re.compile("a  # (and more", re.VERBOSE)),
)
_simple_asks = st.one_of(
    *(_ask(name, values) for name in ("eq", "neq")),
    *(_ask(name, _bounds) for name in ("gt", "gte", "lt", "lte")),
    st.sampled_from([(0, 6), ("5", 5.5), (-math.inf, 0), (date(2020, 1, 1), "2020-01-02")]).map(
        lambda pair: Ask("between", pair)
    ),
    *(_ask(name, _regexes) for name in ("match", "search", "fullmatch")),
    *(_ask(name, _words) for name in ("prefix", "suffix", "iequals")),
    _ask("wildcard", st.text("ab*\n", max_size=5)),
    st.sampled_from(["empty", "any_", "exists", "absent"]).map(Ask),
    _ask("cidr", st.sampled_from(["10.0.0.0/8", "10.0.0.1", "::/0", "fe80::/10"])),
)
_user_asks = st.sampled_from(sorted(USERS)).map(lambda name: Ask("user", (name,)))


def _patterns(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaves,
        lambda below: st.one_of(
            st.dictionaries(_KEYS, below, max_size=3),
            st.lists(below, max_size=3),
            st.lists(below, max_size=2).map(tuple),
            *(_ask_several(name, below) for name in ("one_of", "or_", "and_")),
            st.lists(below, min_size=1, max_size=3).map(lambda drawn: Ask("in_", (drawn,))),
            *(_ask(name, below) for name in ("not_", "contains", "all_items", "length")),
        ),
        max_leaves=10,
    )


simple_patterns = _plain | _simple_asks
"""Well-formed patterns that hold no other patterns."""

patterns = _patterns(simple_patterns)
"""Well-formed patterns of every operator, as `tests.reference_matcher.build` takes them."""

patterns_with_functions = _patterns(simple_patterns | _user_asks)
"""The same, with functions of a user."""

objects = st.dictionaries(_KEYS, payloads, max_size=3)
object_patterns = st.dictionaries(_KEYS, patterns_with_functions, max_size=3)
