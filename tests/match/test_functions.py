from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from megaflow.errors import PatternError
from megaflow.match import functions
from megaflow.match.conditions import Condition
from megaflow.match.functions import (
    absent,
    all_items,
    and_,
    any_,
    between,
    cidr,
    contains,
    empty,
    eq,
    exists,
    fullmatch,
    gt,
    gte,
    iequals,
    in_,
    length,
    lt,
    lte,
    match,
    neq,
    not_,
    one_of,
    or_,
    prefix,
    search,
    suffix,
    wildcard,
)
from megaflow.match.pattern import as_condition
from tests.matching import matches, matches_missing

wrong: Any = functions
"""The same functions, for what their types refuse."""

ODD_VALUES: list[Any] = [
    None,
    True,
    5,
    1.5,
    math.nan,
    "",
    "a",
    b"a",
    [],
    [1],
    {},
    {"a": 1},
    datetime(2020, 1, 1, tzinfo=UTC),
]


@pytest.mark.parametrize(
    ("condition", "left"),
    [
        (eq("a"), "a"),
        (eq(5), "5.0"),
        (eq(None), None),
        (eq([1, {"a": 2}]), [1, {"a": 2}]),
        (eq({}), {}),
        (neq("a"), "b"),
        (neq("a"), None),
        (neq([1, 2]), [2, 1]),
        (neq({"a": 1}), {"a": 1, "b": 2}),
        (gt(5), 5.1),
        (gt(5), "1e1"),
        (gt("5"), 6),
        (gt(-math.inf), "-1e999999"),
        (gt(date(2020, 1, 1)), "2020-01-02"),
        (gt("2020-01-01T12:00"), datetime(2020, 1, 1, 12, 1)),
        (gte(5), "5.0"),
        (gte(date(2020, 1, 1)), "2020-01-01T23:59"),
        (lt(Decimal("19.99")), 19.98),
        (lt(date(2020, 1, 2)), "2020-01-02T00:30+01:00"),
        (lte(19.99), "19.99"),
        (lte(datetime(2020, 1, 1, 12)), date(2020, 1, 1)),
        (between(1, 3), 1),
        (between(1, 3), "2.999"),
        (between("1", 3), 2),
        (between(date(2020, 1, 1), "2020-01-02"), "2020-01-01T23:59"),
        (one_of("a", gt(5)), 6),
        (one_of({"a": 1}), {"a": 1, "b": 2}),
        (in_(["a", "b"]), "b"),
        (in_({"a": 1}.keys()), "a"),
        (not_("a"), "b"),
        (not_("a"), None),
        (not_(gt(5)), "soon"),
        (not_(["test", "synthetic"]), "john-doe"),
        (not_(absent()), None),
        (and_(gt(1), lt(3)), 2),
        (and_("a"), "a"),
        (or_(gt(3), lt(1)), 0),
        (match("a.c"), "abcd"),
        (match(re.compile("A", re.IGNORECASE)), "abc"),
        (search("c"), "abc"),
        (fullmatch("a.c"), "abc"),
        (prefix("ab"), "abc"),
        (prefix(""), ""),
        (suffix("bc"), "abc"),
        (wildcard("a*b"), "ab"),
        (wildcard("a*b"), "a\nxxb"),
        (wildcard("*a*"), "bab"),
        (wildcard("a*b*c"), "abbcbc"),
        (wildcard("*"), ""),
        (wildcard("**"), "*"),
        (wildcard("ab"), "ab"),
        (iequals("STRASSE"), "straße"),
        (iequals("Σ"), "ς"),
        (empty(), None),
        (empty(), ""),
        (empty(), []),
        (empty(), {}),
        (any_(), None),
        (exists(), None),
        (contains(gt(5)), [1, 6]),
        (contains({"a": 1}), [{"a": 1, "b": 2}]),
        (all_items(gt(5)), [6, "7"]),
        (all_items("a"), []),
        (length(3), "abc"),
        (length(gt(1)), [1, 2]),
        (length(0), {}),
        (cidr("10.0.0.0/8"), "10.1.2.3"),
        (cidr("10.0.0.1"), "10.0.0.1"),
        (cidr("2001:db8::/32"), "2001:DB8::1"),
    ],
    ids=repr,
)
def test_a_function_holds(condition: Condition, left: object) -> None:
    assert matches(condition, left)


@pytest.mark.parametrize(
    ("condition", "left"),
    [
        (eq("5"), 5),
        (eq({"a": 1}), {"a": 1, "b": 2}),
        (eq([1, 2]), [2, 1]),
        (neq(5), "5.0"),
        (neq([1]), [1]),
        (gt(5), 5),
        (gt(5), True),
        (gt(0), math.nan),
        (gt(5), "six"),
        (gt(5), date(2020, 1, 1)),
        (gt(date(2020, 1, 1)), "2020-01-01T23:59"),
        (gt(date(2020, 1, 1)), 10**9),
        (gte(5), 4.99),
        (lt(5), 5),
        (lte(5), "5.000000000000000000000000000001"),
        (lte(5), None),
        (between(1, 3), 3),
        (between(1, 3), 0),
        (between(1, 3), None),
        (between(date(2020, 1, 1), date(2020, 1, 2)), "2020-01-02"),
        (one_of("a", "b"), "c"),
        (one_of("a"), ["a"]),
        (in_(["a", "b"]), "ab"),
        (not_("a"), "a"),
        (not_(any_()), "a"),
        (and_(gt(1), lt(3)), 3),
        (or_(gt(3), lt(1)), 2),
        (match("b"), "abc"),
        (match("5"), 5),
        (search("d"), "abc"),
        (fullmatch("a"), "a\n"),
        (prefix("b"), "abc"),
        (prefix("a"), ["a"]),
        (suffix("b"), "abc"),
        (suffix("a"), None),
        (wildcard("a*b"), "abc"),
        (wildcard("aba*aba"), "ababa"),
        (wildcard("a*b*b"), "ab"),
        (wildcard("a*x*b"), "aab"),
        (wildcard("ab"), "ab\n"),
        (wildcard("a.b"), "axb"),
        (wildcard("*"), None),
        (iequals("a"), "b"),
        (iequals("5"), 5),
        (empty(), 0),
        (empty(), False),
        (empty(), " "),
        (empty(), [None]),
        (absent(), None),
        (contains(5), []),
        (contains("a"), "abc"),
        (contains("a"), {"a": 1}),
        (all_items(gt(5)), [6, 5]),
        (all_items("a"), "aa"),
        (all_items(any_()), {}),
        (length(3), 3),
        (length(3), "ab"),
        (length(0), None),
        (cidr("10.0.0.0/8"), "11.0.0.1"),
        (cidr("10.0.0.0/8"), "::ffff:10.0.0.1"),
        (cidr("10.0.0.0/8"), "10.0.0.0/8"),
        (cidr("10.0.0.0/8"), 167772161),
        (cidr("::/0"), "10.0.0.1"),
    ],
    ids=repr,
)
def test_a_function_does_not_hold(condition: Condition, left: object) -> None:
    assert not matches(condition, left)


ONE_OF_EACH: list[Condition] = [
    *(eq(1), neq(1), gt(1), gte(1), lt(1), lte(1), between(1, 2), one_of(1), in_([1]), not_(1), and_(1), or_(1)),
    *(match("a"), search("a"), fullmatch("a"), prefix("a"), suffix("a"), wildcard("a*"), iequals("a"), empty()),
    *(any_(), exists(), contains(1), all_items(1), length(1), cidr("::1")),
]


@pytest.mark.parametrize("condition", ONE_OF_EACH, ids=repr)
def test_a_missing_key_matches_nothing_but_absent(condition: Condition) -> None:
    assert not matches_missing(condition)


def test_every_function_is_tried_on_a_missing_key() -> None:
    assert {repr(condition).split("(")[0] for condition in ONE_OF_EACH} == {*functions.__all__} - {"absent"}


@pytest.mark.parametrize("condition", ONE_OF_EACH, ids=repr)
@pytest.mark.parametrize("left", ODD_VALUES, ids=repr)
def test_a_value_of_another_type_is_no_error(condition: Condition, left: object) -> None:
    assert matches(condition, left) in (True, False)


@pytest.mark.parametrize(
    "condition",
    [absent(), or_("a", absent()), one_of(absent()), in_([1, absent()]), and_(absent(), absent())],
    ids=repr,
)
def test_absent_matches_a_missing_key_also_inside_or(condition: Condition) -> None:
    assert matches_missing(condition)


@pytest.mark.parametrize(
    "condition",
    [
        not_(absent()),
        not_(not_(absent())),
        and_(absent(), any_()),
        contains(absent()),
        all_items(absent()),
        not_(or_(absent())),
    ],
    ids=repr,
)
def test_absent_inside_others_does_not_match_a_missing_key(condition: Condition) -> None:
    assert not matches_missing(condition)


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda: wrong.gt("abc"), "gt() needs a number or a date, got 'abc'"),
        (lambda: wrong.gt("2020-02-30"), "gt() needs a number or a date, got '2020-02-30'"),
        (lambda: wrong.gte(True), "gte() needs a number or a date, got True"),
        (lambda: wrong.lt(math.nan), "lt() needs a number or a date, got nan"),
        (lambda: wrong.lte(None), "lte() needs a number or a date, got None"),
        (lambda: wrong.between(3, 1), "between() needs a lower and a higher bound, got 3 and 1: nothing is between"),
        (lambda: wrong.between(1, 1), "between() needs a lower and a higher bound, got 1 and 1: nothing is between"),
        (lambda: wrong.between("a", 1), "between() needs a number or a date, got 'a'"),
        (lambda: wrong.between(1, "2020-01-01"), "between() needs two numbers or two dates, got 1 and '2020-01-01'"),
        (lambda: wrong.one_of(), "one_of() needs at least one pattern"),
        (lambda: wrong.or_(), "or_() needs at least one pattern"),
        (lambda: wrong.and_(), "and_() needs at least one pattern"),
        (lambda: wrong.in_([]), "in_() needs at least one pattern"),
        (lambda: wrong.in_("abc"), "in_() needs a list, tuple or set of patterns, got 'abc'; or use one_of()"),
        (lambda: wrong.in_(b"abc"), "in_() needs a list, tuple or set of patterns, got b'abc'; or use one_of()"),
        (lambda: wrong.in_({"a": 1}), "in_() needs a list, tuple or set of patterns, got {'a': 1}; or use one_of()"),
        (lambda: wrong.in_(5), "in_() needs a list, tuple or set of patterns, got 5; or use one_of()"),
        (lambda: wrong.match("("), "match() needs a regular expression, got '(': missing ), unterminated subpattern"),
        (lambda: wrong.search(5), "search() needs a regular expression, got 5: "),
        (lambda: wrong.fullmatch("a{99999999999}"), "fullmatch() needs a regular expression, got 'a{99999999999}': "),
        (lambda: wrong.match(b"a"), "match() needs a regular expression for text, got b'a'"),
        (lambda: wrong.prefix(5), "prefix() needs text, got 5"),
        (lambda: wrong.suffix(None), "suffix() needs text, got None"),
        (lambda: wrong.wildcard(re.compile("a")), "wildcard() needs text, got re.compile('a')"),
        (lambda: wrong.iequals(b"a"), "iequals() needs text, got b'a'"),
        (
            lambda: wrong.cidr("10.0.0.1/8"),
            "cidr() needs a block of addresses such as '10.0.0.0/8': 10.0.0.1/8 has host bits",
        ),
        (lambda: wrong.cidr("home"), "cidr() needs a block of addresses such as '10.0.0.0/8': 'home' does not appear"),
        (lambda: wrong.cidr(10), "cidr() needs text, got 10"),
        (lambda: wrong.eq({1}), "eq() compares values exactly: set is no value that a message can hold"),
        (
            lambda: wrong.neq([wrong.gt(5)]),
            "neq() compares values exactly: Comparison is no value that a message can hold",
        ),
    ],
)
def test_a_wrong_pattern_is_refused_where_it_is_written(write: Callable[[], Condition], said: str) -> None:
    with pytest.raises(PatternError) as caught:
        write()

    assert str(caught.value).startswith(said)


@pytest.mark.parametrize("write", [not_, and_, or_, one_of, contains, all_items, length])
def test_a_wrong_part_is_refused_with_its_path(write: Callable[[object], Condition]) -> None:
    with pytest.raises(PatternError) as caught:
        write({"user": {"id": [object()]}})

    assert caught.value.path == "user.id[]"
    assert str(caught.value).startswith("user.id[]: object is no pattern")


def test_a_wildcard_takes_no_more_than_one_look() -> None:
    assert not matches(wildcard("*a" * 50 + "b"), "a" * 100_000)


@pytest.mark.parametrize(
    ("condition", "written"),
    [
        (eq([1]), "eq([1])"),
        (neq("a"), "neq('a')"),
        (gt("5"), "gt('5')"),
        (lt(date(2020, 1, 1)), "lt(datetime.date(2020, 1, 1))"),
        (between("1", 3), "between('1', 3)"),
        (one_of("a", {"b": None}), "one_of('a', {'b': None})"),
        (in_(["a"]), "in_(['a'])"),
        (not_(["a", re.compile("b")]), "not_(['a', match('b')])"),
        (and_(gt(1), lt(3)), "and_(gt(1), lt(3))"),
        (or_(absent(), bool), "or_(absent(), bool)"),
        (search("(?i)a"), "search('(?i)a')"),
        (match(re.compile("a", re.IGNORECASE)), "match(re.compile('a', re.IGNORECASE))"),
        (prefix("a"), "prefix('a')"),
        (suffix("a"), "suffix('a')"),
        (wildcard("a*"), "wildcard('a*')"),
        (iequals("a"), "iequals('a')"),
        (contains(gt(0)), "contains(gt(0))"),
        (cidr("::/0"), "cidr('::/0')"),
        (not_(len), "not_(len())"),
    ],
    ids=repr,
)
def test_a_condition_shows_as_it_is_written(condition: Condition, written: str) -> None:
    assert str(condition) == written


@pytest.mark.parametrize("name", functions.__all__)
def test_a_function_that_is_not_called_is_refused(name: str) -> None:
    with pytest.raises(PatternError, match=rf"a: {name} is to be called: {name}\(…\)"):
        as_condition({"a": getattr(functions, name)})
