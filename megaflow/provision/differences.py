"""Differences: where what is there is not what is needed, and what that comes to. Nothing is asked of AWS here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from megaflow.provision.filters import lets_through_all, widen
from megaflow.provision.found import FoundSubscription
from megaflow.provision.needs import Attributes, NeededSubscription

_FIXED: Final = ("FifoQueue", "FifoTopic")
"""What cannot be changed once it is made.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/FIFO-queues-moving.html
"""

_NARROWS: Final = "it would let less through, and processes of before may still want that: --narrow does it"
_BOTH: Final = "it lets through what either wants; --narrow then leaves out what nobody wants any more"


class State(Enum):
    """What a difference comes to."""

    DIFFERS = "differs"
    """``--apply`` ends it."""

    MADE = "made"
    """It has been ended."""

    NARROWER = "narrower"
    """``--narrow`` ends it: a filter would let less through."""

    FIXED = "fixed"
    """Nothing ends it: it cannot be changed."""

    FAILED = "failed"
    """It could not be looked at, or not be ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Something that is not as it is needed. *found* and *declared* are as AWS shows them, None for nothing.

    Of several attributes at once they are a mapping.
    """

    resource: str
    """``"queue"``, ``"topic"``, ``"queue policy"`` or ``"subscription"``."""

    name: str
    attribute: str = ""
    """The attribute; ``""`` is the whole resource."""

    found: Any = None
    declared: Any = None
    state: State = State.DIFFERS
    reason: str = ""


@dataclass(frozen=True, slots=True)
class FilterChange:
    """What a filter policy is to become: *policy* is None where everything is let through."""

    policy: Mapping[str, Any] | None
    scope: str
    state: State = State.DIFFERS
    reason: str = ""


def compare_attributes(resource: str, name: str, found: Attributes, declared: Attributes) -> Iterator[Difference]:
    """Give what differs of the *declared* attributes."""
    for attribute, value in declared.items():
        if not _is_same(attribute, found.get(attribute), value):
            is_fixed = attribute in _FIXED
            yield Difference(
                resource=resource,
                name=name,
                attribute=attribute,
                found=found.get(attribute),
                declared=value,
                state=State.FIXED if is_fixed else State.DIFFERS,
                reason="that is settled when it is made: declare it as it is, or under another name" * is_fixed,
            )


def compare_filters(found: FoundSubscription, needed: NeededSubscription, *, narrow: bool) -> FilterChange | None:
    """Return what becomes of the filter policy, None where it is as it is needed.

    It lets through what it does now, and what is needed, unless it is to *narrow*.
    """
    has, wanted, scope = found.filter_policy, needed.filter_policy, needed.filter_scope
    if not has or wanted is None:
        # What is let through now is everything, or is to be.
        change = None if not has and wanted is None else FilterChange(wanted, scope)
        return change if has or narrow else _narrowed(change, _NARROWS)
    if found.filter_scope != scope:
        return FilterChange(wanted, scope) if narrow else _narrowed(FilterChange(wanted, scope), _scopes(found, scope))
    is_wider, is_narrower = lets_through_all(wanted, has), lets_through_all(has, wanted)
    if is_wider and is_narrower:
        return None
    if is_wider or narrow:
        return FilterChange(wanted, scope)
    if is_narrower:
        return _narrowed(FilterChange(wanted, scope), _NARROWS)
    both = widen(has, wanted, scope)
    if both is None:
        return _narrowed(
            FilterChange(wanted, scope), "it may let less through, and both together do not fit: --narrow does it"
        )
    return FilterChange(both, scope, reason=_BOTH)


def show_filter(policy: Mapping[str, Any] | None, scope: str) -> Mapping[str, Any] | None:
    """Return a filter policy with its scope, None where it lets everything through."""
    return {"FilterPolicy": policy, "FilterPolicyScope": scope} if policy else None


def _narrowed(change: FilterChange | None, reason: str) -> FilterChange | None:
    return change and FilterChange(change.policy, change.scope, State.NARROWER, reason)


def _scopes(found: FoundSubscription, scope: str) -> str:
    return f"it is for {found.filter_scope}, and one for {scope} may let less through: --narrow does it"


def _is_same(attribute: str, found: str | None, declared: str) -> bool:
    if found is None or found == declared:
        return found == declared
    if attribute == "KmsMasterKeyId":
        # An id, or an alias, may be shown as the ARN that it is part of.
        return found.endswith((f":{declared}", f"/{declared}")) or declared.endswith((f":{found}", f"/{found}"))
    return found.lower() == declared.lower() and declared in ("true", "false")
