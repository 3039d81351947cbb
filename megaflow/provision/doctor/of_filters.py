"""Checks of filter policies: whether they keep away what handlers want, or let through what none does.

They compare the policy of a subscription with the handlers' patterns, and with what `App.sns_filter_policy` makes of
these. No message is received.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from megaflow.dispatch.allowed import branches_of
from megaflow.dispatch.examples import make_examples
from megaflow.dispatch.filter_choices import attribute_branches_of
from megaflow.dispatch.sns_policy import derive_sns_filter_policy
from megaflow.errors import PatternError
from megaflow.handlers.handler import Handler
from megaflow.match.filters import SCOPES, Scope, read_filter_policy
from megaflow.messages.codec import Kind
from megaflow.provision.doctor.check import Check, Severity, Symptom
from megaflow.provision.doctor.facts import Facts, Subscribed
from megaflow.provision.filters import lets_through_all

_LONGEST: Final = 200
_MOST: Final = 10
"""Handlers that are named one by one."""

_BODIES: Final = "MessageBody"


def _find_cut_off(facts: Facts) -> Iterator[Symptom]:
    for each in _filtered(facts):
        reasons = ((handler, _why_cut_off(each, handler)) for handler in _perhaps_cut_off(facts, each))
        yield from _tell(each, reasons)


def _find_perhaps_cut_off(facts: Facts) -> Iterator[Symptom]:
    for each in _filtered(facts):
        reasons = ((handler, _why_perhaps_cut_off(each, handler)) for handler in _perhaps_cut_off(facts, each))
        yield from _tell(each, reasons)
        if facts.settings.unmatched != "delete":
            text = f"unmatched={facts.settings.unmatched!r}: the app wants what no handler matches, and it has a filter"
            yield Symptom(each.name, text)
        if not each.json_only and each.found.filter_scope == _BODIES:
            text = "its filter is for bodies, which keeps away text, bytes and BSON: is there none? json_only= says so"
            yield Symptom(each.name, text)


def _find_unwanted(facts: Facts) -> Iterator[Symptom]:
    wanted = derive_sns_filter_policy(facts.handlers, json_only=True)
    if facts.settings.unmatched != "delete" or wanted.policy is None:
        return
    for each in facts.subscriptions:
        has = each.found.filter_policy
        if each.is_shown and each.json_only and (has or each.is_declared):
            is_as_narrow = has and each.found.filter_scope == wanted.scope and lets_through_all(wanted.policy, has)
            if not is_as_narrow:
                shown = f"its filter is {_shorten(has)}" if has else "it has no filter"
                yield Symptom(each.name, f"{shown}, and {_shorten(wanted.policy)} would do")


def _tell(subscribed: Subscribed, reasons: Iterable[tuple[Handler, str]]) -> Iterator[Symptom]:
    """Give a symptom for each handler for which there is a reason; of many, how many more there are."""
    found = [Symptom(subscribed.name, f"{handler.name} {why}") for handler, why in reasons if why]
    yield from found[:_MOST]
    if len(found) > _MOST:
        yield Symptom(subscribed.name, f"so it is with {len(found) - _MOST:,} handlers more")


def _filtered(facts: Facts) -> Iterator[Subscribed]:
    return (each for each in facts.subscriptions if each.found.filter_policy)


def _perhaps_cut_off(facts: Facts, subscribed: Subscribed) -> Sequence[Handler]:
    """Return the handlers: none, where the filter certainly lets through what they want together."""
    found, wanted = subscribed.found, derive_sns_filter_policy(facts.handlers, json_only=True)
    is_wide = wanted.policy is not None and lets_through_all(found.filter_policy, wanted.policy)
    return () if is_wide and found.filter_scope == wanted.scope else facts.handlers


def _why_cut_off(subscribed: Subscribed, handler: Handler) -> str:
    """Say which message of *handler* the filter certainly keeps away; ``""`` where none is found."""
    found = subscribed.found
    if found.filter_scope != _BODIES:
        return ""
    if handler.kind in (Kind.TEXT, Kind.BINARY):
        return f"takes {handler.kind.value}, and the filter is for bodies, which lets JSON objects through alone"
    example = _find_refused(make_examples(handler), dict(found.filter_policy))
    return f"wants {_shorten(example)}, and the filter {_shorten(found.filter_policy)} keeps it away" if example else ""


def _find_refused(bodies: Iterator[str], policy: dict[str, Any]) -> str:
    try:
        accepts = read_filter_policy(policy, _BODIES)
    except PatternError:
        # One that SNS has taken and megaflow cannot read: nothing is certain.
        return ""
    return next((body for body in bodies if not accepts(body, {})), "")


def _why_perhaps_cut_off(subscribed: Subscribed, handler: Handler) -> str:
    """Say why the filter may keep away messages of *handler*; ``""`` where it certainly does not, or does."""
    found, scope = subscribed.found, _read_scope(subscribed.found.filter_scope)
    asks_attributes = attribute_branches_of(handler) is not None
    never_matches = not asks_attributes and not branches_of(handler)
    if never_matches or _why_cut_off(subscribed, handler):
        return ""
    if asks_attributes != (scope != _BODIES):
        asked, has = ("attributes", "bodies") if asks_attributes else ("bodies", "attributes")
        return f"chooses by {asked}, and the filter is for {has}: {_shorten(found.filter_policy)}"
    wanted = derive_sns_filter_policy([handler], json_only=True)
    if wanted.policy is None:
        return f"takes what no filter can say, and there is one: {_shorten(found.filter_policy)}"
    if not lets_through_all(found.filter_policy, wanted.policy):
        return f"wants {_shorten(wanted.policy)}, of which {_shorten(found.filter_policy)} may keep some away"
    return ""


def _read_scope(said: str) -> Scope:
    return next((each for each in SCOPES if each == said), SCOPES[0])


def _shorten(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


_PAGE: Final = "docs/how-to/filter-at-the-topic.md"
_REMEDY: Final = "Take the policy that App.sns_filter_policy gives today; megaflow provision --apply widens the filter."

CHECKS: Final[Sequence[Check]] = (
    Check(
        name="filter-cuts-off",
        severity=Severity.ERROR,
        looks_at="messages that a handler matches, made from its pattern: whether the filter lets them through",
        cost="The handler never gets them, and nobody is told.",
        remedy=_REMEDY,
        page=_PAGE,
        find=_find_cut_off,
    ),
    Check(
        name="filter-may-cut-off",
        severity=Severity.WARNING,
        looks_at="filters of which it is not certain that they let through all that handlers want, by the patterns",
        cost="A handler may miss messages, and nobody is told.",
        remedy=_REMEDY,
        page=_PAGE,
        find=_find_perhaps_cut_off,
    ),
    Check(
        name="filter-lets-through",
        severity=Severity.NOTE,
        looks_at="filters that let through more than `App.sns_filter_policy` would",
        cost="You pay for messages that are received only to be deleted.",
        remedy="megaflow provision --apply --narrow, once no process of before is running.",
        page=_PAGE,
        find=_find_unwanted,
    ),
)
