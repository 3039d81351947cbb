"""Posting: deliveries over HTTP are made, tried again by the delivery policy, or given up and dead-lettered.

https://docs.aws.amazon.com/sns/latest/dg/sns-message-delivery-retries.html
"""

from __future__ import annotations

from typing import Final

from megaflow.local.account import Account
from megaflow.local.content import Content
from megaflow.local.endpoints.delivery_policy import DeliveryRules, rules_by
from megaflow.local.endpoints.posts import Post
from megaflow.local.envelopes import UNSIGNED, Kind, Origin, confirmation_for
from megaflow.local.operations.sending import send_to_queue
from megaflow.local.topic import LocalTopic, Publication, Subscription
from megaflow.logs import get_logger

log = get_logger(__name__)

_TOO_MANY: Final = 429


def origin_of(account: Account) -> Origin:
    """Return where the envelopes of an account come from: the server in front of it, or SNS itself."""
    if account.served is None:
        return Origin(f"https://sns.{account.region}.amazonaws.com", account.region, signs=False)
    return Origin(account.url, account.region, signs=account.served.signer is not None)


def body_of(account: Account, content: Content, url: str) -> str:
    """Return the body of *content* as somebody gets it who reaches the server at *url*: signed, if it was not yet."""
    signer = account.served.signer if account.served else None
    if signer is None or UNSIGNED not in content.system_attributes:
        return content.body
    return signer.seal(content.body, url)


def post_publication(account: Account, subscription: Subscription, publication: Publication, content: Content) -> None:
    """Have *content* posted to the endpoint of *subscription*."""
    _post(account, subscription, "Notification", publication.id, content, group_id=publication.group_id)


def post_confirmation(account: Account, topic: LocalTopic, subscription: Subscription, kind: Kind) -> None:
    """Have the endpoint of *subscription* asked to confirm it."""
    message_id = account.new_id()
    content = confirmation_for(
        subscription, kind, topic, origin_of(account), message_id=message_id, now=account.clock()
    )
    _post(account, subscription, kind, message_id, content)


def rules_of(account: Account, post: Post) -> DeliveryRules:
    """Return how a post is made, by what its topic and subscription say now."""
    topic = account.topics.get(post.topic_arn)
    subscription = topic.subscriptions.get(post.subscription_arn) if topic else None
    return rules_by(
        subscription.delivery_policy if subscription else "",
        topic.attributes.get("DeliveryPolicy", "") if topic else "",
    )


def settle(account: Account, post: Post, status: int | None, why: str) -> None:
    """Decide what becomes of a post that was answered with *status*, or with nothing, for the reason *why*."""
    post.tries += 1
    if status is not None and 200 <= status < 300:
        account.posts.settle(post, None)
        return
    delays = rules_of(account, post).delays
    if _is_worth_a_retry(status) and post.tries <= len(delays):
        log.info("message %s to %s not delivered, try %d: %s", post.message_id, post.subscription_arn, post.tries, why)
        account.posts.settle(post, account.clock() + delays[post.tries - 1])
        return
    log.warning("message %s to %s given up, try %d: %s", post.message_id, post.subscription_arn, post.tries, why)
    account.posts.settle(post, None)
    _dead_letter(account, post)


def _is_worth_a_retry(status: int | None) -> bool:
    """Tell whether it may go better next time: what was redirected or refused is so every time."""
    return status is None or not 300 <= status < 500 or status == _TOO_MANY


def _dead_letter(account: Account, post: Post) -> None:
    topic = account.topics.get(post.topic_arn)
    subscription = topic.subscriptions.get(post.subscription_arn) if topic else None
    if subscription is None or subscription.dead_letter_arn is None or post.kind != "Notification":
        return
    arn = subscription.dead_letter_arn
    send_to_queue(account, post.topic_arn, arn, post.content, message_id=post.message_id, group_id=post.group_id)


def _post(
    account: Account,
    subscription: Subscription,
    kind: Kind,
    message_id: str,
    content: Content,
    *,
    group_id: str | None = None,
) -> None:
    account.posts.add(
        Post(
            account.posts.next_number(),
            kind,
            message_id,
            subscription.topic_arn,
            subscription.arn,
            subscription.endpoint,
            content,
            account.clock(),
            raw=subscription.raw and kind == "Notification",
            group_id=group_id,
        )
    )
