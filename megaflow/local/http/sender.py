"""The sender of a call, as far as it makes a difference: whether the call is signed, and by what name it came."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from megaflow.local.http.protocols import Call
from megaflow.local.http.queue_urls import url_by
from megaflow.local.operations.operation import CALLED_AT, UNSIGNED

_ASKING: Final = ("ConfirmSubscription", "Unsubscribe")
"""What anybody may do who was sent the link."""

_SIGNED: Final = re.compile(rb"(?:^|&)(?:X-Amz-Signature|Signature)=", re.IGNORECASE)
"""In the query or the form, for signatures that are in no header."""


def with_sender(operation: str, ask: Mapping[str, Any], call: Call, *, follows_host: bool) -> Mapping[str, Any]:
    """Return *ask* with what its operation needs to know of who sent it.

    *follows_host* says whether links lead to the name by which the server was called.
    """
    if operation == "ReceiveMessage" and follows_host and b"host" in call.headers:
        return {**ask, CALLED_AT: url_by(call.headers[b"host"])}
    if operation not in _ASKING or b"authorization" in call.headers or _SIGNED.search(call.form):
        return ask
    return {**ask, UNSIGNED: True}
