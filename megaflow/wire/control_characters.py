"""Control characters in what a request's header is made of: a line break there would begin another header."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from megaflow.errors import ConfigurationError

_CONTROL_CHARACTER: Final = re.compile(r"[\x00-\x1f\x7f]")
_CREDENTIALS: Final = {
    "aws_access_key_id": "access_key",
    "aws_secret_access_key": "secret_key",
    "aws_session_token": "token",
}
_PARAMETERS: Final = {
    "host": "endpoint_url",
    "authorization": "aws_access_key_id, or region_name,",
    "x-amz-security-token": "aws_session_token",
    "user-agent": "the user agent",
}
"""What one gives to say what is in a header."""


def refuse_control_characters(name: str, value: object) -> None:
    """Raise `ConfigurationError` where *value*, the parameter *name*, holds any; it shows no secret."""
    if isinstance(value, str) and _CONTROL_CHARACTER.search(value):
        raise _refuse(name if name in _CREDENTIALS else f"{name}={value!r}")


def check_credentials(client: Any) -> None:
    """Raise `ConfigurationError` where the credentials of *client* hold any: boto3's own error would show them.

    Those that are renewed are looked at as they come, see `find_control_character`.
    """
    found = getattr(getattr(client, "_request_signer", None), "_credentials", None)
    if found is None or hasattr(found, "refresh_needed"):
        return
    for name, attribute in _CREDENTIALS.items():
        value = getattr(found, attribute, None)
        if isinstance(value, str) and _CONTROL_CHARACTER.search(value):
            raise _refuse(f"{name} (found by boto3: {found.method})")


def find_control_character(head: Iterable[str]) -> ConfigurationError:
    """Return what is wrong with one of the lines of *head*, which holds a line break or a NUL."""
    name = next(line for line in head if any(each in line for each in "\r\n\0")).partition(":")[0]
    return _refuse(_PARAMETERS.get(name, f"what the header {name} says"))


def _refuse(what: str) -> ConfigurationError:
    return ConfigurationError(
        f"{what} holds a line break or another control character, which no request can carry: is there one at its end?"
    )
