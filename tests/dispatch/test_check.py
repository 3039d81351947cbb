from __future__ import annotations

import re
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from megaflow import App
from megaflow.dispatch.check import Finding, Oddity
from megaflow.event import Event, Payload
from megaflow.match.functions import (
    absent,
    and_,
    any_,
    between,
    contains,
    empty,
    fullmatch,
    gt,
    gte,
    in_,
    length,
    lt,
    lte,
    match,
    not_,
    one_of,
    or_,
    prefix,
    search,
    suffix,
    wildcard,
)
from megaflow.messages.message import message_with
from tests.examples import examples
from tests.linear_twin import LinearTable
from tests.matching import Spy, handle, show
from tests.pattern_strategies import object_patterns, objects, simple_patterns
from tests.reference_matcher import Ask, build


def app_of(*patterns: object) -> App:
    """Return an app in which the handlers for data are called ``0``, ``1``, …, each with a function of its own."""
    app = App(retry_on=())
    for position, pattern in enumerate(patterns):
        app.on_data(pattern, handler_name=str(position))(lambda payload: None)
    return app


def found(app: App, oddity: Oddity) -> list[tuple[str, str]]:
    """Return the names of the handlers with that oddity, and of those that make them odd."""
    findings = [finding for finding in app.check() if finding.oddity is oddity]
    return [(each.handler.name, each.other.name if each.other else "") for each in findings]


def test_nothing_is_odd_about_handlers_that_differ() -> None:
    app = app_of({"type": "a", "id": gt(0)}, {"type": "b", "id": gt(0)}, {"type": "a", "id": lt(9)})

    assert app.check() == ()


@pytest.mark.parametrize(
    "pattern",
    [
        gt(5) & lt(3),
        gt(5) & lt(5),
        gt(5) & lte(5),
        gte(5) & lt(5),
        gt(date(2020, 1, 2)) & lt(date(2020, 1, 1)),
        gt(5) & gt(date(2020, 1, 1)),
        gt(5) & 3,
        gt(5) & "abc",
        gt(5) & None,
        between(1, 3) & between(3, 5),
        one_of(1, 2) & gt(5),
        one_of("a", "b") & prefix("c"),
        one_of("a", gt(5)) & "b",
        prefix("ab") & prefix("cd"),
        prefix("ab") & match("cd"),
        suffix("ab") & suffix("cd"),
        wildcard("ab*") & prefix("cd"),
        prefix("ab") & "cd",
        gt(5) & {"b": 1},
        {"b": 1} & prefix("x"),
        {"b": gt(5)} & and_({"b": lt(3)}),
        absent() & any_(),
        absent() & 5,
        empty() & gt(5),
        not_(any_()),
        not_("a") & "a",
        not_(gt(5)) & gt(5),
        contains(1) & "x",
        contains(gt(5) & lt(3)),
        length(gt(5) & lt(3)),
        float("nan"),
        True & gt(0),
        or_(gt(5) & lt(3), "a" & gt(0)),
    ],
    ids=show,
)
def test_what_never_holds_is_found(pattern: object) -> None:
    app = app_of({"a": pattern})

    assert found(app, Oddity.NEVER_MATCHES) == [("0", "")]


@pytest.mark.parametrize(
    "pattern",
    [
        gt(3) & lt(5),
        gte(5) & lte(5),
        gt(5) & "7",
        gt(5) & search("7"),
        one_of(1, 9) & gt(5),
        one_of("a", "b") & prefix("b"),
        prefix("ab") & prefix("abc") & suffix("c"),
        prefix("a") & match("ab"),
        prefix("a") & match("b?a"),
        empty() & "",
        empty() & {},
        empty() & {"b": absent()},
        or_(absent(), 5) & or_(absent(), 6),
        not_("a") & "b",
        not_(gt(5)) & lt(9),
        contains(1) & contains("x"),
        [1] & gt(0),
        length(3) & "abc",
        (lambda left: False) & gt(5),
    ],
    ids=show,
)
def test_what_may_hold_is_not_complained_of(pattern: object) -> None:
    app = app_of({"a": pattern})

    assert found(app, Oddity.NEVER_MATCHES) == []


def test_the_reason_names_the_path_and_what_contradicts() -> None:
    app = app_of({"user": {"age": gt(5) & lt(3)}})

    (finding,) = app.check()

    assert re.fullmatch(r"0 \(.*test_check\.py:\d+\) never matches: user\.age: and_\(gt\(5\), lt\(3\)\)", str(finding))


def test_what_matches_everything_is_found() -> None:
    app = app_of(None, {}, {"a": any_()})
    app.on_event(handler_name="event")(handle)
    app.on_message(handler_name="message")(handle)

    assert [name for name, _ in found(app, Oddity.MATCHES_EVERYTHING)] == ["0", "1", "event", "message"]
    assert str(app.check()[-1]).endswith("matches every message")


def test_duplicates_are_found_whatever_their_order_of_keys() -> None:
    app = app_of({"a": 1, "b": one_of(1, 2)}, {"b": in_([2, 1]), "a": 1.0}, {"a": "1", "b": one_of(1, 2)})

    assert found(app, Oddity.DUPLICATE) == [("1", "0")]


def test_a_function_registered_twice_for_the_same_is_told() -> None:
    app = App(retry_on=())
    for _ in range(2):
        app.on_data({"a": 1}, handler_name="orders")(handle)

    (finding,) = app.check()

    assert finding.oddity is Oddity.DUPLICATE
    assert "the same function, which runs once" in str(finding)


def test_functions_make_duplicates_only_where_they_are_the_same() -> None:
    ask = Spy()
    app = app_of({"a": ask}, {"a": ask}, {"a": Spy()})

    assert found(app, Oddity.DUPLICATE) == [("1", "0")]
    assert ask.asked == []


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"a": 1}, {"a": "1"}),
        ({"a": gt(0)}, {"a": gt(5)}),
        ({"a": gt(0)}, {"a": 7}),
        ({"a": gt(0)}, {"a": between(1, 3)}),
        ({"a": gte(0)}, {"a": gt(0)}),
        ({"a": gt(date(2020, 1, 1))}, {"a": gt(date(2021, 1, 1))}),
        ({"a": one_of(1, 2, 3)}, {"a": 2}),
        ({"a": one_of("x", "y")}, {"a": "y"}),
        ({"a": one_of("x", "y", "z")}, {"a": one_of("x", "z")}),
        ({"a": prefix("x")}, {"a": prefix("xy")}),
        ({"a": prefix("x")}, {"a": match("xy.*z")}),
        ({"a": suffix("y")}, {"a": suffix("xy")}),
        ({"a": search("y")}, {"a": "xyz"}),
        ({"a": any_()}, {"a": 1}),
        ({"a": any_()}, {"a": {"b": 1}}),
        ({"a": {}}, {"a": {"b": 1}}),
        ({"a": not_("x")}, {"a": "y"}),
        ({"a": not_(gt(5))}, {"a": lt(3)}),
        ({"a": search("x$")}, {"a": search("x$"), "b": 1}),
        ({"a": {"b": absent()}}, {"a": {"b": absent(), "c": 1}}),
        (or_({"a": 1}, {"b": 1}), {"b": 1, "c": 1}),
    ],
    ids=show,
)
def test_a_handler_that_another_one_covers_is_found(wide: object, narrow: object) -> None:
    app = app_of(wide, narrow)

    assert found(app, Oddity.COVERED) == [("1", "0")]
    assert found(app_of(narrow, wide), Oddity.COVERED) == [("0", "1")]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": "1"}, {"a": 1.5}),
        ({"a": prefix("1")}, {"a": 1}),
        ({"a": gt(0)}, {"a": lt(5)}),
        ({"a": one_of("x", "y")}, {"a": one_of("y", "z")}),
        ({"a": search("x")}, {"a": fullmatch("x")}),
        ({"a": 1, "b": 1}, {"a": 1, "c": 1}),
        ({"a": lambda left: True}, {"a": 1}),
        ({"a": not_("x")}, {"b": 1}),
    ],
    ids=show,
)
def test_handlers_of_which_neither_covers_the_other_are_not_complained_of(one: object, other: object) -> None:
    app = app_of(one, other)

    assert found(app, Oddity.COVERED) == []


def test_handlers_of_another_kind_and_those_that_match_everything_cover_nothing() -> None:
    app = app_of({"a": 1}, {})
    app.on_event(attributes={"a": 1})(handle)
    app.on_message()(handle)

    assert found(app, Oddity.COVERED) == []


def test_handlers_for_events_are_compared_too() -> None:
    app = App()
    app.on_event(domain="cart", handler_name="wide")(handle)
    app.on_event(domain="cart", name="added", attributes={"quantity": gt(0)}, handler_name="narrow")(
        lambda payload: None
    )

    assert found(app, Oddity.COVERED) == [("narrow", "wide")]
    assert (
        app.handlers_for(Payload(event=Event(name="added", domain="cart", attributes={"quantity": 1}))) == app.handlers
    )


def test_what_cannot_be_indexed_is_found_with_the_reason() -> None:
    app = app_of({"a": lambda left: True}, {"a": not_("x"), "b": absent()}, {"a": not_("x"), "b": 1})
    app.on_message(lambda message: True, handler_name="message")(handle)

    unindexed = [finding for finding in app.check() if finding.oddity is Oddity.UNINDEXED]

    assert [finding.handler.name for finding in unindexed] == ["0", "1", "message"]
    assert "cannot be indexed: not_('x'), absent() can only be asked" in str(unindexed[1])


def test_findings_come_in_order_of_registration_and_each_says_where() -> None:
    app = app_of({"a": gt(5) & lt(3)}, None, {"a": 1}, {"a": 1})

    findings = app.check()

    assert [finding.handler.name for finding in findings] == ["0", "1", "3"]
    assert all("test_check.py:" in str(finding) for finding in findings)


@settings(max_examples=examples(300))
@given(
    patterns=st.lists(object_patterns | st.fixed_dictionaries({"a": simple_patterns}), min_size=1, max_size=5),
    pairs=st.lists(st.tuples(simple_patterns, simple_patterns), max_size=3),
    payloads=st.lists(objects, min_size=1, max_size=4),
)
def test_what_is_found_is_true_of_every_payload(patterns: list[Any], pairs: list[Any], payloads: list[Any]) -> None:
    both = [{"a": Ask("and_", pair)} for pair in pairs]
    app = app_of(*(build(pattern) for pattern in (*patterns, *both)))
    findings = app.check()

    for payload in payloads:
        matched = LinearTable(app.handlers).select(message_with(payload)).matched
        assert [str(each) for each in findings if not _is_true(each, matched)] == []


def _is_true(finding: Finding, matched: tuple[Any, ...]) -> bool:
    holds, other_holds = finding.handler in matched, finding.other in matched
    return {
        Oddity.NEVER_MATCHES: not holds,
        Oddity.MATCHES_EVERYTHING: holds,
        Oddity.DUPLICATE: holds == other_holds,
        Oddity.COVERED: other_holds or not holds,
        Oddity.UNINDEXED: True,
        Oddity.UNDECIDED: False,
    }[finding.oddity]
