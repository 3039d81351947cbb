"""The sender of a call, as far as it makes a difference: whether the call is signed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from megaflow.local.http.protocols import Call
from megaflow.local.operations.operation import UNSIGNED

_ASKING: Final = ("ConfirmSubscription", "Unsubscribe")
"""What anybody may do who was sent the link."""

_SIGNED: Final = re.compile(rb"(?:^|&)(?:X-Amz-Signature|Signature)=", re.IGNORECASE)
"""In the query or the form, for signatures that are in no header."""


def with_sender(operation: str, ask: Mapping[str, Any], call: Call) -> Mapping[str, Any]:
    """Return *ask* with what its operation needs to know of who sent it."""
    if operation not in _ASKING or b"authorization" in call.headers or _SIGNED.search(call.form):
        return ask
    return {**ask, UNSIGNED: True}
