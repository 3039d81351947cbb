"""Refusals: what AWS says no to, in the words of someone who has to mend it."""

from __future__ import annotations

from typing import Final

from megaflow.transport.errors import is_denied, is_missing_queue, read_code

_THROTTLED: Final = ("Throttl", "RequestLimitExceeded", "TooManyRequests", "RequestThrottled")
_DELETED: Final = "QueueDeletedRecently"
_SERVICES: Final = (
    ("Topic", "sns"),
    ("Subscri", "sns"),
    ("Key", "kms"),
    ("EventSource", "lambda"),
    ("Function", "lambda"),
    ("Metric", "cloudwatch"),
)
"""Parts of operations of other services than SQS."""

_NO_TARGET: Final = "dead letter target does not exist"


def describe_refusal(error: Exception) -> str:
    """Return what *error*, of a call to AWS, means for whoever provisions; a `ValueError` says it itself."""
    code, operation = read_code(error), getattr(error, "operation_name", "")
    if not operation:
        return str(error)
    said = str(getattr(error, "response", {}).get("Error", {}).get("Message", ""))
    if code.endswith(_DELETED):
        return "a queue of this name was deleted less than 60 seconds ago, and can be made again once these have passed"
    if any(each in code for each in _THROTTLED):
        return f"AWS gets too many calls, and refused {operation}: try again a little later ({said})"
    if is_denied(error):
        return f"access is refused: let the role do {_name_action(operation)} ({said})"
    return f"{code}: {said} ({operation})"


def is_unsettled(error: BaseException) -> bool:
    """Tell whether *error* may be that what was just made is not to be seen everywhere yet."""
    return is_missing_queue(error) or read_code(error) == "NotFound" or _NO_TARGET in str(error).lower()


def _name_action(operation: str) -> str:
    return f"{next((service for part, service in _SERVICES if part in operation), 'sqs')}:{operation}"
