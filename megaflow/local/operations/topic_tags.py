"""Tags of a topic: what SNS takes, and what it says of others.

https://docs.aws.amazon.com/sns/latest/dg/sns-tags.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from megaflow.local.account import Account
from megaflow.local.operations.arns import check_arn
from megaflow.local.operations.operation import Answer, Ask, Operation
from megaflow.local.refused import Refused, invalid_parameter
from megaflow.local.topic import LocalTopic

_TAGS: Final = 50


def read_tags(given: Iterable[Mapping[str, str]], known: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the tags that are *given*, added to those that are *known*.

    Raises:
        Refused: a key is given twice, or they are too many.
    """
    pairs = [(tag["Key"], tag["Value"]) for tag in given]
    added = dict(pairs)
    if len(added) < len(pairs):
        raise invalid_parameter("Duplicated keys are not allowed.")
    tags = {**(known or {}), **added}
    if len(tags) > _TAGS:
        raise Refused("TagLimitExceeded", "Could not complete request: tag quota of per resource exceeded")
    return tags


def check_same_tags(topic: LocalTopic, wanted: Mapping[str, str]) -> None:
    """Refuse to create a topic again with a tag that it does not have."""
    if not wanted.items() <= topic.tags.items():
        raise invalid_parameter("Tags Reason: Topic already exists with different tags")


def _tag_resource(account: Account, ask: Ask) -> Answer:
    topic = _tagged(account, ask)
    topic.tags = read_tags(ask["Tags"], topic.tags)
    account.touch_topic(topic)
    return {}


def _untag_resource(account: Account, ask: Ask) -> Answer:
    topic = _tagged(account, ask)
    topic.tags = {key: value for key, value in topic.tags.items() if key not in ask["TagKeys"]}
    account.touch_topic(topic)
    return {}


def _list_tags_for_resource(account: Account, ask: Ask) -> Answer:
    return {"Tags": [{"Key": key, "Value": value} for key, value in _tagged(account, ask).tags.items()]}


def _tagged(account: Account, ask: Ask) -> LocalTopic:
    arn = check_arn("ResourceArn", ask["ResourceArn"])
    if arn not in account.topics:
        raise Refused("ResourceNotFound", "Resource does not exist", status=404)
    return account.topics[arn]


TAG_OPERATIONS: Final[Mapping[str, Operation]] = {
    "TagResource": _tag_resource,
    "UntagResource": _untag_resource,
    "ListTagsForResource": _list_tags_for_resource,
}
