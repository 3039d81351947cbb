"""Operations of SQS and SNS: what is asked, and answered, in boto3's words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from megaflow.local.account import Account

Ask: TypeAlias = Mapping[str, Any]
"""The parameters of one call, by name."""

Answer: TypeAlias = dict[str, Any]

Operation: TypeAlias = Callable[["Account", Ask], Answer]

UNSIGNED: Final = "megaflow.unsigned"
"""What a call is asked that came without a signature, where that makes a difference. No parameter has this name."""

CALLED_AT: Final = "megaflow.called_at"
"""What a receive is asked that came over HTTP: where the URL begins by which the server was called."""
