from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megaflow import limits
from megaflow.match.comparison import alike, comparison, read_moment, read_number
from megaflow.match.ip_addresses import is_address_of

NOON = datetime(2020, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (5, 5),
        (-0.0, 0),
        (19.99, Decimal("19.99")),
        (1e22, 10**22),
        (math.inf, Decimal("Infinity")),
        (Decimal("19.990"), Decimal("19.99")),
        ("19.99", Decimal("19.99")),
        ("-0", 0),
        ("5e0", 5),
        ("0.5E+1", 5),
    ],
)
def test_a_number_is_read_exactly(value: object, number: object) -> None:
    assert read_number(value) == number


@pytest.mark.parametrize(
    "value", [True, None, math.nan, Decimal("NaN"), Decimal("sNaN"), b"5", [5], {}, date(2020, 1, 1)]
)
def test_what_is_no_number_is_not_read_as_one(value: object) -> None:
    assert read_number(value) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "007",
        "+5",
        "5.",
        ".5",
        " 5",
        "5 ",
        "5\n",
        "5_0",
        "0x5",
        "1e",
        "1e1.5",
        "--5",
        "NaN",
        "Infinity",
        "\u0665",
        "5,0",
    ],
)
def test_text_reads_as_a_number_by_the_grammar_of_json_alone(text: str) -> None:
    assert read_number(text) is None


@pytest.mark.parametrize("text", ["1e99999999999999999999", "1e-99999999999999999999", "-1E+99999999999999999999"])
def test_an_exponent_beyond_all_bounds_is_no_number_and_no_error(text: str) -> None:
    assert read_number(text) is None


@given(digits=st.integers(0, 3 * limits.DIGITS), before=st.sampled_from(["", "-", "0.", "1e", "-7.5e-"]))
def test_no_text_beyond_the_limit_of_digits_is_read_as_a_number(digits: int, before: str) -> None:
    text = before + "9" * digits

    number = read_number(text)

    assert number is None or len(text) <= limits.DIGITS
    assert (number is not None) == (len(text) <= limits.DIGITS) or "e" in before or not digits


@pytest.mark.parametrize("rest", ["", "Z", "+01:00"])
def test_no_text_beyond_it_is_read_as_a_moment(rest: str) -> None:
    start = "2020-01-01T00:00:00."
    most = start + "0" * (limits.DIGITS - len(start) - len(rest)) + rest

    assert read_moment(most) is not None
    assert read_moment(most.replace(start, start + "0")) is None


@pytest.mark.parametrize("block", ["10.0.0.0/8", "fe80::/10"])
def test_no_long_text_is_read_as_an_address(block: str) -> None:
    network = ip_network(block)
    start = "fe80::1%" if ":" in block else "10.0.0."

    assert is_address_of(start + "1" * (92 if ":" in block else 1), network)
    assert not is_address_of(start + "1" * 1_000_000, network)


def test_a_huge_exponent_compares_at_once() -> None:
    huge = read_number("1e999999999999999999")

    assert huge is not None
    assert huge > 10**4000


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2020-01-01", date(2020, 1, 1)),
        ("2020-01-01T12:00", NOON),
        ("2020-01-01 12:00", NOON),
        ("2020-01-01T12:00:00", NOON),
        ("2020-01-01T12:00:00.000", NOON),
        ("2020-01-01T12:00:00Z", NOON),
        ("2020-01-01T14:00+02:00", NOON),
        ("2020-01-01T14:00:00+0200", NOON),
        ("2020-01-01T06:00-06", NOON),
        ("2020-01-01T12:00:00-00:00", NOON),
        ("2020-01-01T12:00:00.123456789", NOON + timedelta(microseconds=123456)),
    ],
)
def test_a_moment_is_read_in_utc(text: str, moment: date) -> None:
    assert read_moment(text) == moment


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2020",
        "20200101",
        "2020-1-1",
        "2020-02-30",
        "2020-01-01\n",
        "2020-01-01T",
        "2020-01-01T12",
        "2020-01-01T24:00",
        "2020-01-01T12:60",
        "2020-01-01T12:00:60",
        "2020-01-01T12:00.5",
        "2020-01-01T12:00:00,5",
        "2020-01-01t12:00",
        "2020-01-01T12:00z",
        "2020-01-01T12:00+24:00",
        "2020-01-01T12:00 +01:00",
        "2020-W01-1",
        "\u0662\u0660\u0662\u0660-01-01",
        "0000-01-01",
    ],
)
def test_other_text_is_no_moment(text: str) -> None:
    assert read_moment(text) is None


@pytest.mark.parametrize("value", [None, True, 5, 1577880000.0, b"2020-01-01", [], {}])
def test_what_is_neither_date_nor_text_is_no_moment(value: object) -> None:
    assert read_moment(value) is None


def test_a_datetime_without_an_offset_is_in_utc() -> None:
    assert read_moment(datetime(2020, 1, 1, 12)) == NOON


def test_a_zone_that_does_not_know_its_offset_is_no_offset() -> None:
    class Nowhere(tzinfo):
        def utcoffset(self, moment: datetime | None) -> None:
            return None

        def tzname(self, moment: datetime | None) -> str:
            return "nowhere"

        dst = utcoffset

    assert read_moment(datetime(2020, 1, 1, 12, tzinfo=Nowhere())) == NOON


@pytest.mark.parametrize(
    "value",
    [
        "0001-01-01T00:00+01:00",
        "9999-12-31T23:59-00:01",
        datetime.min.replace(tzinfo=timezone(timedelta(minutes=1))),
        datetime.max.replace(tzinfo=timezone(timedelta(minutes=-1))),
    ],
)
def test_a_moment_that_is_outside_the_calendar_in_utc_is_none_and_no_error(value: object) -> None:
    assert read_moment(value) is None


def test_two_datetimes_stay_what_they_are() -> None:
    assert alike(NOON, NOON) == (NOON, NOON)


@pytest.mark.parametrize(("left", "right"), [(NOON, date(2020, 1, 1)), (date(2020, 1, 1), NOON)])
def test_where_either_is_a_date_both_are_dates(left: date, right: date) -> None:
    assert alike(left, right) == (date(2020, 1, 1), date(2020, 1, 1))


@pytest.mark.parametrize(
    ("right", "left"),
    [
        (None, None),
        (True, True),
        ("a", "a"),
        (b"a", b"a"),
        (5, "5.0"),
        (19.99, Decimal("19.99")),
        (date(2020, 1, 1), "2020-01-01T23:59:59Z"),
        (NOON, "2020-01-01"),
        (NOON, "2020-01-01T13:00+01:00"),
        ({"a": [1, {"b": None}]}, {"a": ["1", {"b": None}]}),
        ((1, 2), [1, 2]),
        ([], ()),
    ],
)
def test_these_are_equal(right: object, left: object) -> None:
    assert comparison(right)(left)


@pytest.mark.parametrize(
    ("right", "left"),
    [
        (None, False),
        (False, 0),
        (True, 1),
        (1, True),
        (0, False),
        ("a", b"a"),
        (b"a", "a"),
        ("5", 5),
        ("a", "A"),
        (5, "5 "),
        (0.1, Decimal.from_float(0.1)),
        (math.nan, math.nan),
        (Decimal("NaN"), math.nan),
        (NOON, "2020-01-01T12:00:01"),
        (date(2020, 1, 1), "2020-01-01T00:00+01:00"),
        (date(2020, 1, 1), "soon"),
        (date(2020, 1, 1), 5),
        (datetime.min.replace(tzinfo=timezone(timedelta(hours=1))), datetime.min),
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"a": 1}, {}),
        ({"a": 1}, [("a", 1)]),
        ([1, 2], [2, 1]),
        ([1], [1, 1]),
        ([1], 1),
        ([], {}),
        ([], ""),
    ],
)
def test_these_are_not_equal(right: object, left: object) -> None:
    assert not comparison(right)(left)


@pytest.mark.parametrize("right", [{1}, object(), len, [{"a": {1}}]])
def test_what_no_message_can_hold_is_refused(right: Any) -> None:
    with pytest.raises(TypeError, match="is no value that a message can hold"):
        comparison(right)
