"""Envelopes: what SNS writes around a message, and what it writes to whom it asks to confirm a subscription.

https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final, Literal
from urllib.parse import quote

from megaflow.local.content import Content, MessageAttribute
from megaflow.local.topic import LocalTopic, Publication, Subscription

Kind = Literal["Notification", "SubscriptionConfirmation", "UnsubscribeConfirmation"]

UNSIGNED: Final = "megaflow.unsigned"
"""The system attribute of what gets its links, and its signature, once somebody gets it. No sender can give it, and
nobody sees it.
"""

_MARK: Final[Mapping[str, MessageAttribute]] = MappingProxyType({UNSIGNED: MessageAttribute("String", "yes")})
"""One for all, because a million messages may have it."""

_ASKED: Final[Mapping[Kind, str]] = {
    "SubscriptionConfirmation": (
        "You have chosen to subscribe to the topic {0.topic_arn}.\n"
        "To confirm the subscription, visit the SubscribeURL included in this message."
    ),
    "UnsubscribeConfirmation": (
        "You have chosen to deactivate subscription {0.arn}.\n"
        "To cancel this operation and restore the subscription, visit the SubscribeURL included in this message."
    ),
}


@dataclass(frozen=True, slots=True)
class Origin:
    """Where envelopes come from."""

    url: str
    """Where the URLs in them begin."""

    region: str
    signs: bool
    """Whether they are sealed once somebody gets them."""


def content_for(subscription: Subscription, publication: Publication, topic: LocalTopic, origin: Origin) -> Content:
    """Return what the endpoint of *subscription* gets.

    https://docs.aws.amazon.com/sns/latest/dg/sns-large-payload-raw-message-delivery.html
    """
    system = publication.system_attributes
    if subscription.raw:
        return Content(publication.message, publication.attributes, system)
    fields = {
        "Type": "Notification",
        "MessageId": publication.id,
        "SequenceNumber": publication.sequence_number,
        "TopicArn": subscription.topic_arn,
        "Subject": publication.subject,
        "Message": publication.message,
        "Timestamp": _timestamp(publication.published_at),
        # What comes in order is never signed.
        **({} if publication.sequence_number else _signature(topic, origin)),
        "UnsubscribeURL": f"{origin.url}/?Action=Unsubscribe&SubscriptionArn={subscription.arn}",
        "MessageAttributes": {name: _show(attribute) for name, attribute in publication.attributes.items()} or None,
    }
    return _unsigned(fields, system, signs=origin.signs)


def confirmation_for(
    subscription: Subscription, kind: Kind, topic: LocalTopic, origin: Origin, *, message_id: str, now: float
) -> Content:
    """Return what asks the endpoint of *subscription* to confirm it, at first or anew."""
    arn = quote(subscription.topic_arn, safe=":")
    fields = {
        "Type": kind,
        "MessageId": message_id,
        "Token": subscription.token,
        "TopicArn": subscription.topic_arn,
        "Message": _ASKED[kind].format(subscription),
        "SubscribeURL": f"{origin.url}/?Action=ConfirmSubscription&TopicArn={arn}&Token={subscription.token}",
        "Timestamp": _timestamp(now),
        **_signature(topic, origin),
    }
    return _unsigned(fields, {}, signs=origin.signs)


def write_envelope(fields: Mapping[str, Any]) -> str:
    """Write an envelope as SNS does."""
    present = {name: value for name, value in fields.items() if value is not None}
    return json.dumps(present, ensure_ascii=False, indent=2, separators=(",", " : "))


def _unsigned(fields: Mapping[str, Any], system: Mapping[str, MessageAttribute], *, signs: bool) -> Content:
    if signs:
        system = {**system, **_MARK} if system else _MARK
    return Content(write_envelope(fields), system_attributes=system)


def _signature(topic: LocalTopic, origin: Origin) -> dict[str, str]:
    # What reads envelopes only wants these to be there.
    return {
        "SignatureVersion": topic.signature_version,
        "Signature": "EXAMPLE",
        "SigningCertURL": (
            f"https://sns.{origin.region}.amazonaws.com/SimpleNotificationService-0000000000000000000000.pem"
        ),
    }


def _show(attribute: MessageAttribute) -> dict[str, str]:
    value = attribute.value
    return {"Type": attribute.data_type, "Value": value if isinstance(value, str) else b64encode(value).decode()}


def _timestamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
