"""Queues coming and going: created, changed, purged and deleted, within AWS's rules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from megaflow.local.account import Account
from megaflow.local.hosted_queue import HostedQueue
from megaflow.local.refused import Refused
from megaflow.local.settings import Settings, check_redrive, new_settings

_TAGS: Final = 50
SETTLING_TIME: Final = 60
"""Seconds between two purges of a queue, and between deleting a queue and creating one of that name.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_PurgeQueue.html
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_DeleteQueue.html
"""


def create_queue(account: Account, name: str, attributes: Mapping[str, str], tags: Mapping[str, str]) -> HostedQueue:
    """Return the queue of this *name*, made now unless it is there.

    Raises:
        Refused: a wrong name or attribute, a queue of that name with other attributes, or one deleted just now.
    """
    settings = new_settings(name, attributes)
    check_tags(name, tags)
    if name in account.queues:
        _check_same(account.queues[name].queue.settings, settings, attributes)
        return account.queues[name]
    _check_not_just_deleted(account, name)
    _check_redrive(account, account.arn("sqs", name), settings)
    hosted = account.host(name, settings)
    hosted.tags = dict(tags)
    account.touch(hosted)
    return hosted


def delete_queue(account: Account, url: str) -> None:
    """Delete a queue with its messages; a long poll on it ends with an error."""
    hosted = account.queue(url)
    del account.queues[hosted.name]
    _forget_settled(account)
    account.deleted_at[hosted.name] = account.clock()
    account.moves.forget(hosted.queue.arn)
    account.touched.account = True
    account.touch(hosted)


def set_attributes(account: Account, url: str, attributes: Mapping[str, str]) -> None:
    """Change attributes of a queue.

    Raises:
        Refused: a wrong attribute, or a dead-letter queue that is missing, of the other type, or not for this one.
    """
    hosted = account.queue(url)
    settings = hosted.queue.settings.with_attributes(attributes)
    if "RedrivePolicy" in attributes:
        _check_redrive(account, hosted.queue.arn, settings)
    hosted.queue.settings = settings
    hosted.modified_at = account.clock()
    account.touch(hosted)


def set_tags(account: Account, hosted: HostedQueue, tags: Mapping[str, str]) -> None:
    """Give a queue these tags, in place of any it had.

    Raises:
        Refused: they are too many.
    """
    check_tags(hosted.name, tags)
    hosted.tags = dict(tags)
    account.touch(hosted)


def check_tags(name: str, tags: Mapping[str, str]) -> None:
    """Refuse more tags than the queue of this *name* can have."""
    if len(tags) > _TAGS:
        raise Refused("InvalidParameterValue", f"Too many tags added for queue {name}.")


def purge_queue(account: Account, url: str) -> None:
    """Delete all messages of a queue, which then takes what it was sent of late as new.

    Raises:
        Refused: ``PurgeQueueInProgress``, within 60 seconds of the last purge.
    """
    hosted = account.queue(url)
    now = account.clock()
    if not account.relaxed and hosted.purged_at is not None and now < hosted.purged_at + SETTLING_TIME:
        raise Refused(
            "PurgeQueueInProgress",
            f"Only one PurgeQueue operation on {hosted.name} is allowed every {SETTLING_TIME} seconds.",
            status=403,
        )
    hosted.purged_at = now
    hosted.queue.purge()
    account.touch(hosted)


def _check_same(there: Settings, wanted: Settings, attributes: Iterable[str]) -> None:
    for name in attributes:
        if there.shown.get(name) != wanted.shown.get(name):
            raise Refused(
                "QueueNameExists",
                f"A queue already exists with the same name and a different value for attribute {name}",
            )


def _check_not_just_deleted(account: Account, name: str) -> None:
    _forget_settled(account)
    if name in account.deleted_at and not account.relaxed:
        raise Refused(
            "QueueDeletedRecently",
            f"You must wait {SETTLING_TIME} seconds after deleting a queue before you can create another with the same "
            "name.",
        )


def _forget_settled(account: Account) -> None:
    settled = account.clock() - SETTLING_TIME
    while account.deleted_at and next(iter(account.deleted_at.values())) <= settled:
        account.deleted_at.popitem(last=False)


def _check_redrive(account: Account, source_arn: str, settings: Settings) -> None:
    target = account.queue_by_arn(settings.redrive.target_arn) if settings.redrive else None
    check_redrive(settings, source_arn, None if target is None else target.queue.settings)
