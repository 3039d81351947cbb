"""Operations of SNS that begin, confirm and end subscriptions.

https://docs.aws.amazon.com/sns/latest/dg/SendMessageToHttp.prepare.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from megaflow.local.account import Account
from megaflow.local.endpoints.destinations import WrongEndpoint, read_endpoint
from megaflow.local.operations.arns import ELEMENTS, check_arn
from megaflow.local.operations.aws_checks import check_dead_letters
from megaflow.local.operations.known import known_topic, up_to_date
from megaflow.local.operations.operation import UNSIGNED, Answer, Ask
from megaflow.local.operations.posting import post_confirmation
from megaflow.local.operations.subscriptions import with_attributes
from megaflow.local.refused import Refused, invalid_parameter
from megaflow.local.topic import POSTED, LocalTopic, Subscription

_PROTOCOLS: Final = (
    "application",
    "email",
    "email-json",
    "firehose",
    *POSTED,
    "lambda",
    "sms",
    "sqs",
)
_TOKEN_PARTS: Final = 7
"""Ids in a token, which is about as long as AWS's then."""


def subscribe(account: Account, ask: Ask) -> Answer:
    """Subscribe an endpoint; a URL is asked to confirm that."""
    topic, protocol = known_topic(account, ask["TopicArn"]), ask["Protocol"]
    endpoint, attributes = ask.get("Endpoint", ""), ask.get("Attributes", {})
    _check_protocol(account, protocol)
    _check_endpoint(account, topic, protocol, endpoint)
    plain = Subscription(f"{topic.arn}:{account.new_id()}", topic.arn, endpoint, protocol=protocol)
    wanted = with_attributes(plain, attributes, where="Attributes Reason: ")
    check_dead_letters(account, wanted)
    subscription = _find_same(topic, wanted, attributes) or wanted
    if protocol in POSTED and (subscription is wanted or subscription.state != "confirmed"):
        subscription = _ask(account, topic, subscription)
    topic.subscriptions[subscription.arn] = subscription
    account.touch_topic(topic)
    shown = subscription.state == "confirmed" or ask.get("ReturnSubscriptionArn", False)
    return {"SubscriptionArn": subscription.arn if shown else "pending confirmation"}


def confirm_subscription(account: Account, ask: Ask) -> Answer:
    """Confirm the subscription of a token, at first or after it was ended by a link."""
    topic, token = known_topic(account, ask["TopicArn"]), ask["Token"]
    signed, guarded = not ask.get(UNSIGNED), ask.get("AuthenticateOnUnsubscribe", "").lower() == "true"
    found = next((one for one in topic.subscriptions.values() if token and one.token == token), None)
    if found is None:
        raise invalid_parameter("Token")
    if guarded and not signed:
        raise _not_authorized("AuthenticateOnUnsubscribe is for calls that are signed")
    if found.state != "confirmed":
        topic.subscriptions[found.arn] = replace(found, state="confirmed", authenticated=signed, guarded=guarded)
        account.touch_topic(topic)
    return {"SubscriptionArn": found.arn}


def unsubscribe(account: Account, ask: Ask) -> Answer:
    """End a subscription. Whoever ends it by a link is told how to have it back."""
    arn = check_arn("SubscriptionArn", ask["SubscriptionArn"])
    topic = account.topics.get(arn.rpartition(":")[0])
    if topic is None and arn.count(":") < ELEMENTS:
        raise invalid_parameter("SubscriptionId")
    found = up_to_date(account, topic).subscriptions.get(arn) if topic is not None else None
    if topic is not None and found is not None:
        _end(account, topic, found, signed=not ask.get(UNSIGNED))
    return {}


def _end(account: Account, topic: LocalTopic, subscription: Subscription, *, signed: bool) -> None:
    if not signed and subscription.guarded:
        raise _not_authorized("the subscription was confirmed with AuthenticateOnUnsubscribe: sign the call")
    account.posts.forget(lambda post: post.subscription_arn == subscription.arn)
    account.touch_topic(topic)
    if signed or subscription.state != "confirmed" or not subscription.is_posted_to:
        del topic.subscriptions[subscription.arn]
        return
    ended = subscription.asking("deleted", _new_token(account), account.clock())
    topic.subscriptions[ended.arn] = ended
    post_confirmation(account, topic, ended, "UnsubscribeConfirmation")


def _check_protocol(account: Account, protocol: str) -> None:
    if protocol not in _PROTOCOLS:
        raise invalid_parameter(f"Amazon SNS does not support this protocol string: {protocol}")
    if protocol in POSTED and account.served is None:
        raise invalid_parameter(
            f"Protocol Reason: {protocol} is not supported by the embedded topic without its server, which delivers; "
            "sqs is"
        )
    if protocol not in ("sqs", *POSTED):
        raise invalid_parameter(f"Protocol Reason: {protocol} is not supported by the embedded topic; sqs is")


def _check_endpoint(account: Account, topic: LocalTopic, protocol: str, endpoint: str) -> None:
    """Refuse what is none for this topic. A queue that is not there yet may come later."""
    if protocol in POSTED:
        _check_url(account, topic, protocol, endpoint)
        return
    if not endpoint.startswith("arn:aws:sqs:"):
        raise invalid_parameter("SQS endpoint ARN")
    if endpoint.endswith(".fifo") and not topic.fifo:
        raise invalid_parameter(
            "Invalid parameter: Endpoint Reason: FIFO SQS Queues can not be subscribed to standard SNS topics"
        )


def _check_url(account: Account, topic: LocalTopic, protocol: str, endpoint: str) -> None:
    if topic.fifo:
        raise invalid_parameter("Invalid parameter: Endpoint Reason: Please use FIFO SQS queue")
    try:
        read = read_endpoint(protocol, endpoint)
        if account.served is not None:
            account.served.destinations.check(read)
    except WrongEndpoint as wrong:
        raise invalid_parameter(str(wrong)) from wrong


def _find_same(topic: LocalTopic, wanted: Subscription, attributes: Mapping[str, str]) -> Subscription | None:
    """Return the subscription of this endpoint that is there, unless it was ended."""
    for known in topic.subscriptions.values():
        if (known.protocol, known.endpoint) == (wanted.protocol, wanted.endpoint) and known.state != "deleted":
            if with_attributes(known, attributes, where="Attributes Reason: ") != known:
                raise invalid_parameter("Attributes Reason: Subscription already exists with different attributes")
            return known
    return None


def _ask(account: Account, topic: LocalTopic, subscription: Subscription) -> Subscription:
    """Ask the endpoint to confirm, once more where it was asked before."""
    asked = subscription.asking("pending", subscription.token or _new_token(account), account.clock())
    post_confirmation(account, topic, asked, "SubscriptionConfirmation")
    return asked


def _new_token(account: Account) -> str:
    return "".join(account.new_id().replace("-", "") for _ in range(_TOKEN_PARTS))


def _not_authorized(why: str) -> Refused:
    return Refused("AuthorizationError", f"User is not authorized to perform this: {why}", status=403)
