"""Operations of SQS on queues and their attributes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from megaflow.local import hosting, settings
from megaflow.local.account import Account
from megaflow.local.hosted_queue import HostedQueue
from megaflow.local.operations.operation import Answer, Ask, Operation
from megaflow.local.operations.pages import page
from megaflow.local.operations.permissions import with_permission, without_permission
from megaflow.local.refused import Refused, invalid_value, no_queue

_LIST_SIZE: Final = 1000
QUEUE_ATTRIBUTES: Final = frozenset(
    {
        *settings.NAMES,
        "All",
        "ApproximateNumberOfMessages",
        "ApproximateNumberOfMessagesDelayed",
        "ApproximateNumberOfMessagesNotVisible",
        "CreatedTimestamp",
        "LastModifiedTimestamp",
        "QueueArn",
    }
)


def _create_queue(account: Account, ask: Ask) -> Answer:
    hosted = hosting.create_queue(account, ask["QueueName"], ask.get("Attributes", {}), ask.get("tags", {}))
    return {"QueueUrl": account.queue_url(hosted.name)}


def _delete_queue(account: Account, ask: Ask) -> Answer:
    hosting.delete_queue(account, ask["QueueUrl"])
    return {}


def _get_queue_url(account: Account, ask: Ask) -> Answer:
    if ask.get("QueueOwnerAWSAccountId", account.account_id) != account.account_id:
        raise no_queue()
    return {"QueueUrl": account.queue_url(account.queue_named(ask["QueueName"]).name)}


def _list_queues(account: Account, ask: Ask) -> Answer:
    prefix = ask.get("QueueNamePrefix", "")
    urls = (account.queue_url(name) for name in account.queues if name.startswith(prefix))
    return _urls("QueueUrls", urls, ask)


def _list_dead_letter_source_queues(account: Account, ask: Ask) -> Answer:
    arn = account.queue(ask["QueueUrl"]).queue.arn
    sources = (account.queue_url(hosted.name) for hosted in account.sources_of(arn))
    return {"queueUrls": [], **_urls("queueUrls", sources, ask)}


def _urls(key: str, urls: Iterable[str], ask: Ask) -> Answer:
    size = ask.get("MaxResults", _LIST_SIZE)
    if not 1 <= size <= _LIST_SIZE:
        raise invalid_value(size, "MaxResults", f"Must be between 1 and {_LIST_SIZE}.")
    shown, token = page(urls, size, ask.get("NextToken"))
    # As AWS does, a token is given only to who asked for pages.
    return {**({key: shown} if shown else {}), **(token if "MaxResults" in ask else {})}


def _get_queue_attributes(account: Account, ask: Ask) -> Answer:
    attributes = _queue_attributes(account.queue(ask["QueueUrl"]))
    names = ask.get("AttributeNames", ())
    for name in names:
        _check_attribute_name(name)
    shown = attributes if "All" in names else {name: attributes[name] for name in names if name in attributes}
    return {"Attributes": shown} if shown else {}


def _check_attribute_name(name: str) -> None:
    if name not in QUEUE_ATTRIBUTES:
        raise Refused("InvalidAttributeName", f"Unknown Attribute {name}.")


def _queue_attributes(hosted: HostedQueue) -> dict[str, str]:
    return {
        "QueueArn": hosted.queue.arn,
        "CreatedTimestamp": str(int(hosted.created_at)),
        "LastModifiedTimestamp": str(int(hosted.modified_at)),
        **{name: str(count) for name, count in hosted.queue.counts().items()},
        **hosted.queue.settings.shown,
    }


def _set_queue_attributes(account: Account, ask: Ask) -> Answer:
    hosting.set_attributes(account, ask["QueueUrl"], ask["Attributes"])
    return {}


def _add_permission(account: Account, ask: Ask) -> Answer:
    queue = account.queue(ask["QueueUrl"]).queue
    policy = with_permission(
        queue.settings.shown.get("Policy"),
        queue_arn=queue.arn,
        label=ask["Label"],
        account_ids=ask["AWSAccountIds"],
        actions=ask["Actions"],
    )
    hosting.set_attributes(account, ask["QueueUrl"], {"Policy": policy})
    return {}


def _remove_permission(account: Account, ask: Ask) -> Answer:
    policy = account.queue(ask["QueueUrl"]).queue.settings.shown.get("Policy")
    hosting.set_attributes(account, ask["QueueUrl"], {"Policy": without_permission(policy, ask["Label"]) or ""})
    return {}


def _purge_queue(account: Account, ask: Ask) -> Answer:
    hosting.purge_queue(account, ask["QueueUrl"])
    return {}


def _tag_queue(account: Account, ask: Ask) -> Answer:
    hosted = account.queue(ask["QueueUrl"])
    hosting.set_tags(account, hosted, {**hosted.tags, **ask["Tags"]})
    return {}


def _untag_queue(account: Account, ask: Ask) -> Answer:
    hosted = account.queue(ask["QueueUrl"])
    hosting.set_tags(account, hosted, {key: value for key, value in hosted.tags.items() if key not in ask["TagKeys"]})
    return {}


def _list_queue_tags(account: Account, ask: Ask) -> Answer:
    tags = account.queue(ask["QueueUrl"]).tags
    return {"Tags": dict(tags)} if tags else {}


QUEUE_OPERATIONS: Final[Mapping[str, Operation]] = {
    "CreateQueue": _create_queue,
    "DeleteQueue": _delete_queue,
    "GetQueueUrl": _get_queue_url,
    "ListQueues": _list_queues,
    "ListDeadLetterSourceQueues": _list_dead_letter_source_queues,
    "GetQueueAttributes": _get_queue_attributes,
    "SetQueueAttributes": _set_queue_attributes,
    "AddPermission": _add_permission,
    "RemovePermission": _remove_permission,
    "PurgeQueue": _purge_queue,
    "TagQueue": _tag_queue,
    "UntagQueue": _untag_queue,
    "ListQueueTags": _list_queue_tags,
}
