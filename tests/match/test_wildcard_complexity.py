from __future__ import annotations

import pytest

from megaflow.errors import PatternError
from megaflow.match.filters import from_eventbridge
from megaflow.match.wildcard_complexity import measure

TOO_COMPLEX = "Rule is too complex - try using fewer wildcard characters or fewer repeating character sequences after"


# What event-ruler counts for them, one more for each asterisk at the end: there a quotation mark stands behind it.
# https://github.com/aws/event-ruler
@pytest.mark.parametrize(
    ("complexity", "wildcards"),
    [
        (2, ["*ab"]),
        (3, ["*aa"]),
        (2, ["a*b"]),
        (3, ["a*bb"]),
        (3, ["a*bcb"]),
        (4, ["a*bbb"]),
        (4, ["*ab*ad"]),
        (3, ["*ab*d"]),
        (5, ["a*b*bb"]),
        (4, ["a*b*cb"]),
        (3, ["a*b*cd"]),
        (3, ["ab*c", "x*xx"]),
        (4, ["*abc", "*abcde"]),
        (4, ["a*bcd", "ab*cd"]),
        (7, ["a*aaa", "aa*aa"]),
        (5, ["a*aax", "aaa*x"]),
        (6, ["ab*cd", "ab*wx", "ab*yz"]),
        (2, ["ab*c", "ab*c"]),
        (10, ["F*eatureFeature", "Fe*atureFeature", "Fea*tureFeature"]),
        (11, ["a*a*a*a*a*a*"]),
    ],
)
def test_complexity_is_counted_as_event_ruler_does(complexity: int, wildcards: list[str]) -> None:
    assert measure([[text] for text in wildcards], 100) == complexity


def test_what_is_denied_in_one_list_is_one_pattern() -> None:
    assert measure([["ab*cd", "ab*wx", "ab*yz"]], 100) == 2


def test_no_more_is_counted_than_is_asked_for() -> None:
    assert measure([["*" + "a" * 5000]], 3) == 3


@pytest.mark.parametrize(
    "alternatives",
    [
        [{"wildcard": "a*a*a*a*a*a*"}],
        [{"wildcard": "*" + "a" * 20}],
        [{"wildcard": f"*/datasync/*.{kind}"} for kind in ("bif", "tif", "tiff", "svs")],
        [{"anything-but": {"wildcard": "a*a*a*a*a*a*"}}],
        ["plain", {"anything-but": {"wildcard": ["x", "a*a*a*a*a*a*"]}}],
    ],
)
def test_too_complex_wildcards_are_refused(alternatives: list[object]) -> None:
    with pytest.raises(PatternError) as error:
        from_eventbridge({"detail": {"key": alternatives}})

    assert error.value.reason.startswith(TOO_COMPLEX)
    assert error.value.path == "detail.key"


@pytest.mark.parametrize(
    "alternatives",
    [
        [{"wildcard": "*"}],
        [{"wildcard": "arn:*:s3:::*/incoming/*"}],
        [{"wildcard": f"*.{kind}"} for kind in ("bif", "tif", "tiff", "svs")],
        [{"wildcard": f"*/datasync/*.{kind}"} for kind in ("bif", "tif")],
        [{"wildcard": r"a\*a\*a\*a\*a\*a\*"}],
    ],
)
def test_others_are_taken(alternatives: list[object]) -> None:
    from_eventbridge({"detail": {"key": alternatives}})
