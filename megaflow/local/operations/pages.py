"""Pages: long lists, with a token for the next one."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from bisect import bisect_right
from collections.abc import Iterable

from megaflow.local.refused import Refused


def page(names: Iterable[str], size: int, token: str | None) -> tuple[list[str], dict[str, str]]:
    """Return the *names* after *token*, at most *size*, and the token for those that are left, as boto3 shows it."""
    ordered = sorted(names)
    start = bisect_right(ordered, _read(token)) if token else 0
    shown = ordered[start : start + size]
    more = len(ordered) > start + size
    return shown, {"NextToken": urlsafe_b64encode(shown[-1].encode()).decode()} if more else {}


def _read(token: str) -> str:
    try:
        return urlsafe_b64decode(token.encode()).decode()
    except ValueError as error:
        raise Refused("InvalidParameterValue", "Invalid or expired next token.") from error
