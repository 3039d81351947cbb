"""Looking: calls that change nothing, of which each may fail without ending the others; and the clock of AWS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, Final, TypeVar

from megaflow.errors import ConfigurationError
from megaflow.provision.doctor.facts import Trouble
from megaflow.provision.refusals import describe_refusal
from megaflow.transport.errors import is_missing_queue, read_code

Read = TypeVar("Read")

_NOT_THERE: Final = ("NotFound", "NotFoundException", "ResourceNotFoundException")
_UNKNOWN_CALLER: Final = frozenset(
    {
        "AuthFailure",
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSecurity",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "OptInRequired",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
"""What AWS says where it does not take the credentials, or the time at which they were used.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/CommonErrors.html
"""


class InTheWay(Exception):
    """Nothing else can be asked."""


@dataclass
class Looking:
    """Makes calls, and keeps what could not be looked at."""

    clock: Callable[[], float]
    troubles: list[Trouble] = field(default_factory=list)
    ahead: float | None = None
    """How many seconds this machine's clock is ahead of AWS's; None where no answer has said."""

    def look(
        self,
        what: str,
        call: Callable[[], Read],
        *,
        on_missing: Callable[[], object] | None = None,
        is_needed: bool = True,
        goes_on: bool = False,
    ) -> Read | None:
        """Return what *call* does, None where it fails, which is then one of the troubles, about *what*.

        Where that is not there, and somebody wants to know, it is none. Raises `InTheWay` where no other call can work,
        unless it *goes_on*; what the app does not need itself is never in the way.
        """
        try:
            return call()
        except Exception as error:
            # Whatever a client raises, the rest is looked at.
            self.note_time(getattr(error, "response", None))
            if on_missing and _is_not_there(error):
                on_missing()
                return None
            is_in_the_way = is_needed and _is_in_the_way(error)
            self.troubles.append(Trouble(what, describe_refusal(error), is_in_the_way))
            if is_in_the_way and not goes_on:
                raise InTheWay from error
            return None

    def note_time(self, answer: Any) -> None:
        """Take note of the time that *answer* has, once: that of boto3 has headers."""
        metadata = answer.get("ResponseMetadata") if isinstance(answer, dict) else None
        said = (metadata or {}).get("HTTPHeaders", {}).get("date")
        if said and self.ahead is None:
            self.ahead = _compare(said, self.clock())


def _compare(date: str, now: float) -> float | None:
    try:
        return now - parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None


def _is_not_there(error: Exception) -> bool:
    return is_missing_queue(error) or read_code(error) in _NOT_THERE


def _is_in_the_way(error: Exception) -> bool:
    from botocore.exceptions import BotoCoreError, ParamValidationError

    if isinstance(error, BotoCoreError):
        return not isinstance(error, ParamValidationError)
    return isinstance(error, ConfigurationError) or read_code(error) in _UNKNOWN_CALLER
