"""Batches: the rules for all entries together, and what becomes of each."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from megaflow.limits import BATCH_ENTRIES
from megaflow.local.operations.operation import Answer
from megaflow.local.refused import Refused

BatchEntry = Mapping[str, Any]

_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,80}")


def check_batch(entries: Sequence[BatchEntry], kind: str) -> None:
    """Refuse a batch that is empty or too long, or whose ids are wrong or not distinct.

    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html
    """
    if not entries:
        raise Refused("EmptyBatchRequest", f"There should be at least one {kind} in the request.")
    if len(entries) > BATCH_ENTRIES:
        raise Refused(
            "TooManyEntriesInBatchRequest",
            f"Maximum number of entries per request are {BATCH_ENTRIES}. You have sent {len(entries)}.",
        )
    _check_ids([entry["Id"] for entry in entries])


def check_batch_size(sizes: Sequence[int], limit: int) -> None:
    """Refuse entries that are too large together."""
    if sum(sizes) > limit:
        raise Refused(
            "BatchRequestTooLong",
            f"Batch requests cannot be longer than {limit} bytes. You have sent {sum(sizes)} bytes.",
        )


def each(entries: Sequence[BatchEntry], perform: Callable[[BatchEntry], Answer], code: Callable[[str], str]) -> Answer:
    """Do *perform* for every entry and answer which succeeded and which failed, as boto3 shows it."""
    successful: list[Answer] = []
    failed: list[Answer] = []
    for entry in entries:
        try:
            successful.append({"Id": entry["Id"], **perform(entry)})
        except Refused as refused:
            failed.append(_failure(entry, refused, code))
    answer = {"Successful": successful, "Failed": failed}
    return {name: results for name, results in answer.items() if results}


def is_entry_id(text: str) -> bool:
    """Tell whether *text* can be the id of an entry."""
    return _ID.fullmatch(text) is not None


def _check_ids(ids: Sequence[str]) -> None:
    if not all(map(is_entry_id, ids)):
        raise Refused(
            "InvalidBatchEntryId",
            "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 "
            "letters long.",
        )
    for index, one in enumerate(ids):
        if one in ids[:index]:
            raise Refused("BatchEntryIdsNotDistinct", f"Id {one} repeated.")


def _failure(entry: BatchEntry, refused: Refused, code: Callable[[str], str]) -> Answer:
    return {"Id": entry["Id"], "SenderFault": True, "Code": code(refused.name), "Message": refused.message}
