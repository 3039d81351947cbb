"""The topic: its subscriptions, and which of them get a published message."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from types import MappingProxyType
from typing import Any, Final, Literal

from megaflow.limits import SNS_MESSAGE_SIZE
from megaflow.local.content import MessageAttribute
from megaflow.local.recent import Recent
from megaflow.local.refused import invalid_parameter
from megaflow.match.filters import FilterPolicy, Scope, read_filter_policy

_FIRST_SEQUENCE_NUMBER: Final = 10_000_000_000_000_000_000
_TOKEN_LIFE: Final = 2 * 24 * 3600
"""Seconds in which a subscription can be confirmed. https://docs.aws.amazon.com/sns/latest/api/API_Subscribe.html"""

POSTED: Final = ("http", "https")
"""The protocols whose endpoints are URLs."""

NO_PARTS: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Subscription:
    """An endpoint that gets what is published: enveloped, or raw; all of it, or what a filter policy accepts.

    Raises:
        PatternError: SNS does not take the filter policy.
    """

    arn: str
    topic_arn: str
    endpoint: str
    """The queue's ARN, or the URL that is posted to."""

    raw: bool = False
    filter_policy: str = ""
    """JSON as it was given, or nothing."""

    filter_scope: Scope = "MessageAttributes"
    redrive_policy: str = ""
    """JSON as it was given, or nothing."""

    protocol: str = "sqs"
    """``sqs``, ``http`` or ``https``."""

    delivery_policy: str = ""
    """JSON as it was given, or nothing."""

    state: Literal["confirmed", "pending", "deleted"] = "confirmed"
    """Whether it gets anything; one that is deleted, by a link, can be confirmed anew."""

    token: str = ""
    """What confirms it."""

    token_ends_at: float = 0.0
    """Until when it does."""

    authenticated: bool = True
    """Whether a signed call confirmed it."""

    guarded: bool = False
    """Whether only a signed call can end it."""

    _accepts: FilterPolicy | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Read the filter policy, so that no message has to."""
        read = read_filter_policy(self.filter_policy, self.filter_scope) if self.filter_policy else None
        object.__setattr__(self, "_accepts", read)

    @property
    def dead_letter_arn(self) -> str | None:
        """The queue for what cannot be delivered."""
        return str(json.loads(self.redrive_policy)["deadLetterTargetArn"]) if self.redrive_policy else None

    @property
    def is_posted_to(self) -> bool:
        """Whether its endpoint is a URL."""
        return self.protocol in POSTED

    def asking(self, state: Literal["pending", "deleted"], token: str, now: float) -> Subscription:
        """Return it as one that waits from *now* to be confirmed by *token*."""
        return replace(self, state=state, token=token, token_ends_at=now + _TOKEN_LIFE)

    def accepts(self, publication: Publication) -> bool:
        """Tell whether the filter policy accepts *publication*."""
        if self._accepts is None:
            return True
        attributes = {name: (given.data_type, given.value) for name, given in publication.attributes.items()}
        return self._accepts(publication.message, attributes)


@dataclass(frozen=True, slots=True)
class Publication:
    """What was published, and what SNS made of it then."""

    message: str
    """What queues get, unless there is a part for another protocol."""

    subject: str | None = None
    attributes: Mapping[str, MessageAttribute] = field(default_factory=dict)
    group_id: str | None = None
    deduplication_id: str | None = None
    system_attributes: Mapping[str, MessageAttribute] = field(default_factory=dict)
    """What goes on to SQS as such: the trace header."""

    parts: Mapping[str, str] = field(default_factory=lambda: NO_PARTS)
    """What other protocols get, where they get anything else."""

    id: str = ""
    published_at: float = 0.0
    sequence_number: str | None = None

    def part_for(self, protocol: str) -> Publication:
        """Return it as subscribers of this protocol get it."""
        return replace(self, message=self.parts[protocol]) if protocol in self.parts else self


class LocalTopic:
    """One topic as plain data, with the *clock* it is given. Not safe for threads: whoever owns it takes turns."""

    def __init__(
        self, arn: str, attributes: Mapping[str, str], *, clock: Callable[[], float], new_id: Callable[[], str]
    ) -> None:
        self.arn = arn
        self.attributes = dict(attributes)
        self.subscriptions: dict[str, Subscription] = {}
        """By ARN."""

        self.tags: dict[str, str] = {}
        self.next_number = 1
        self.published: Recent[Publication] = Recent()
        """What a FIFO topic was given of late."""

        self._clock = clock
        self._new_id = new_id

    @property
    def fifo(self) -> bool:
        """Whether the topic keeps the order of each message group."""
        return self.attributes.get("FifoTopic") == "true"

    @property
    def signature_version(self) -> str:
        """What the envelopes say of their signature."""
        return self.attributes.get("SignatureVersion", "1")

    @property
    def maximum_message_size(self) -> int:
        """Bytes of a message with its attributes."""
        return int(self.attributes.get("MaximumMessageSize", SNS_MESSAGE_SIZE))

    def publish(self, publication: Publication, deliver: Callable[[Subscription, Publication], None]) -> Publication:
        """Give *publication* its id and *deliver* it to every subscription that accepts it.

        A FIFO topic delivers nothing for one it had in the last five minutes, and returns that first one; what it is
        given has passed ``check_order``.
        """
        now = self._clock()
        made = replace(publication, id=self._new_id(), published_at=now)
        if self.fifo:
            made = self._in_order(made)
            key = (self._scope(made), made.deduplication_id)
            first = self.published.find(key, now)
            if first is not None:
                return first
            self.published.remember(key, replace(made, message="", attributes={}), now)
        for subscription in self.subscriptions.values():
            if subscription.state == "confirmed":
                part = made.part_for(subscription.protocol) if made.parts else made
                if subscription.accepts(part):
                    deliver(subscription, part)
        return made

    def forget_unconfirmed(self) -> bool:
        """Forget the subscriptions whose token is of no use any more; tell whether there were any."""
        now = self._clock()
        gone = [one.arn for one in self.subscriptions.values() if one.state != "confirmed" and one.token_ends_at <= now]
        for arn in gone:
            del self.subscriptions[arn]
        return bool(gone)

    def check_order(self, given: Mapping[str, Any]) -> None:
        """Refuse what a FIFO topic could not put in its place, or not tell from a duplicate.

        *given* has what boto3's ``publish`` takes.
        """
        if self.fifo and given.get("MessageGroupId") is None:
            raise invalid_parameter("The MessageGroupId parameter is required for FIFO topics")
        if self.fifo and given.get("MessageDeduplicationId") is None and not self._deduplicates_by_content:
            raise invalid_parameter(
                "The topic should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided "
                "explicitly"
            )

    def _in_order(self, publication: Publication) -> Publication:
        number = self.next_number
        self.next_number += 1
        return replace(
            publication,
            deduplication_id=publication.deduplication_id or sha256(publication.message.encode()).hexdigest(),
            sequence_number=str(_FIRST_SEQUENCE_NUMBER + number * 1000),
        )

    @property
    def _deduplicates_by_content(self) -> bool:
        return self.attributes.get("ContentBasedDeduplication") == "true"

    def _scope(self, publication: Publication) -> str | None:
        """Return the group within which an id is looked for, or None where that is the whole topic."""
        return publication.group_id if self.attributes.get("FifoThroughputScope") == "MessageGroup" else None
