"""Accounts beside each other: one for each number in each region, found by what a call is signed for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

from megaflow.local.account import Account
from megaflow.local.operations.arns import ELEMENTS

NUMBER: Final = re.compile("[0-9]{12}")
"""The number of an account."""

REGION: Final = re.compile("[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}")

_CREDENTIAL: Final = re.compile(
    rb"Credential=([^/,& ]+)(?:/|%2F)[0-9]*(?:/|%2F)([a-z0-9-]*)(?:/|%2F)([a-z0-9-]*)", re.IGNORECASE
)
ARNS: Final = ("TopicArn", "SubscriptionArn", "TargetArn", "ResourceArn")
"""Where a call of SNS names what it is about."""


class Signature(NamedTuple):
    """Who has signed a call, and what for."""

    key: str
    """The id of a key, which nobody checks."""

    region: str
    service: str
    is_for_a_region: bool
    """Whether the region is one, by its form."""


def signature_of(headers: Mapping[bytes, bytes], query: bytes = b"") -> Signature | None:
    """Return the signature of a call, in its headers or in the query of its URL; None where it has none."""
    found = _CREDENTIAL.search(headers.get(b"authorization", b"")) or _CREDENTIAL.search(query)
    return None if found is None else _read_signature(found[1], found[2], found[3])


@lru_cache(maxsize=1024)
def _read_signature(*parts: bytes) -> Signature:
    key, region, service = (part.decode("latin-1") for part in parts)
    return Signature(key, region, service, is_for_a_region=REGION.fullmatch(region) is not None)


class Accounts:
    """All accounts behind one server. They share a clock, a lock and whoever watches them.

    Calls that are not signed go to *default*; so do all where it is the *only* one. A key id of twelve digits is the
    number of its account, and *keys* says which number others have.

    Args:
        default: The account that is there from the start.
        keys: Numbers of accounts by key ids.
        only: Whether every call goes to the default account.
        opened: Called with each account that is made, before anything is done to it.
    """

    def __init__(
        self,
        default: Account,
        *,
        keys: Mapping[str, str] | None = None,
        only: bool = False,
        opened: Callable[[Account], object] = lambda account: None,
    ) -> None:
        self.default: Final = default
        """The account of calls that are not signed."""

        self._keys = keys or {}
        self._only = only
        self._opened = opened
        self._known = {(default.region, default.account_id): default}
        self._signed_for: dict[Signature, Account] = {}
        default.owner_of = self.owner_of

    def __iter__(self) -> Iterator[Account]:
        """Go through the accounts that were called so far."""
        return iter(list(self._known.values()))

    def of(self, signature: Signature | None) -> Account:
        """Return the account that a call with this signature is for."""
        if self._only or signature is None:
            return self.default
        account = self._signed_for.get(signature)
        if account is None:
            account = self._find(signature)
            if len(self._signed_for) < 1000:
                self._signed_for[signature] = account
        return account

    def serving(self, account: Account, ask: Mapping[str, Any]) -> Account:
        """Return the account that has what *ask* names, where it is another one than the *account* that was called."""
        if len(self._known) == 1:
            return account
        named = next((str(ask[name]) for name in ARNS if name in ask), None)
        if named is not None:
            return self.owner_of(named) or account
        number = ask.get("QueueOwnerAWSAccountId") or number_in(str(ask.get("QueueUrl", "")))
        return self._known.get((account.region, number), account)

    def owner_of(self, arn: str) -> Account | None:
        """Return the account that the queue or topic of this ARN is in, or None where nobody has called it."""
        parts = arn.split(":")
        return self._known.get((parts[3], parts[4])) if len(parts) >= ELEMENTS else None

    def at(self, region: str, account_id: str) -> Account:
        """Return the account of this number in this region, made where it is not there."""
        with self.default.lock:
            known = self._known.get((region, account_id))
            return known if known is not None else self._make(region, account_id)

    def next_alarm(self) -> float | None:
        """Return when somebody has to take a turn, or deliver something, though nobody calls."""
        alarms = (alarm for account in self for alarm in (account.next_alarm(), account.posts.next_alarm()))
        return min((alarm for alarm in alarms if alarm is not None), default=None)

    def _find(self, signature: Signature) -> Account:
        key = signature.key
        number = self._keys.get(key) or (key if NUMBER.fullmatch(key) else self.default.account_id)
        return self.at(signature.region if signature.is_for_a_region else self.default.region, number)

    def _make(self, region: str, account_id: str) -> Account:
        made = self.default.sibling(region, account_id)
        made.owner_of = self.owner_of
        self._opened(made)
        self._known[region, account_id] = made
        return made


def number_in(queue_url: str) -> str:
    """Return the number of the account that the URL of a queue names; ``""`` where it is the name of one alone."""
    return queue_url.rpartition("/")[0].rpartition("/")[2]
