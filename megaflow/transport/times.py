"""Times: how long calls to AWS may take, and how often each is tried, where the options do not say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from megaflow.checks import check_time, check_whole
from megaflow.errors import ConfigurationError

_LONGEST_POLL: Final = 25.0
"""Seconds: a long poll takes up to 20, and its answer has to come after that."""

_ATTEMPTS: Final = ("max_attempts", "total_max_attempts")
"""What botocore's ``retries`` says of attempts."""


@dataclass(frozen=True, slots=True)
class Times:
    """How many seconds a client's calls may take, and how often each is tried; None leaves it to boto3.

    An answer is waited for *least_read_timeout* seconds, where less was given.
    """

    connect_timeout: float | None = None
    read_timeout: float | None = None
    max_attempts: int | None = None
    least_read_timeout: float = 0.0


BOTO3S: Final = Times()
"""Those of boto3: up to five minutes and more for a call."""

PUBLISHING: Final = Times(connect_timeout=2.0, read_timeout=4.0, max_attempts=3)
"""Whoever publishes has somebody waiting: `megaflow.wire.patience` makes 14 s in all of these."""

CONSUMING: Final = Times(least_read_timeout=_LONGEST_POLL)
"""A poll waits for messages, and nobody waits for it: one that hangs is given up elsewhere."""


def check_times(config: Any, given: Mapping[str, object]) -> None:
    """Raise `ConfigurationError` for what is no `Config` of botocore's, or no time, and for what both say.

    *given* are the options ``connect_timeout``, ``read_timeout``, ``max_attempts`` and ``region_name``; None is not
    given.
    """
    for name in ("connect_timeout", "read_timeout"):
        if given[name] is not None:
            check_time(name, given[name], longest=3_600)
    if given["max_attempts"] is not None:
        check_whole("max_attempts", given["max_attempts"], 1, 100)
    if config is None:
        return
    from botocore.config import Config

    if not isinstance(config, Config):
        raise ConfigurationError(f"config={config!r} must be a botocore.config.Config")
    own = _read_own(config)
    for name, value in given.items():
        if value is not None and name in own:
            raise ConfigurationError(
                f"{name}={value!r} contradicts the {name} of config=, or repeats it: say it in one place"
            )
    if "region_name" in own:
        raise ConfigurationError(
            f"config= says region_name={config.region_name!r}, which has an option of its own: give region_name="
        )


def write_config(config: Any, given: Times, times: Times, *, has_attempts: bool, **more: Any) -> Any:
    """Return the `Config` for a client: what *config* says, what was *given* beside it, and *times* for the rest.

    *has_attempts* is whether environment or profile say how often a call is tried, which then holds. *more* is what
    else is to be in it. None is that there is nothing to say.
    """
    own = _read_own(config)
    said = dict(more)
    for name in ("connect_timeout", "read_timeout"):
        value = getattr(given, name)
        if value is None and name not in own:
            value = getattr(times, name)
        if value is not None:
            said[name] = value
    read = said.get("read_timeout", own.get("read_timeout"))
    if read is not None and read < times.least_read_timeout:
        said["read_timeout"] = times.least_read_timeout
    attempts = given.max_attempts
    if attempts is None and "max_attempts" not in own and not has_attempts:
        attempts = times.max_attempts
    if attempts is not None:
        said["retries"] = {**own.get("retries", {}), "total_max_attempts": attempts}
    if not said:
        return config
    from botocore.config import Config

    made = Config(**said)
    return made if config is None else config.merge(made)


def _read_own(config: Any) -> dict[str, Any]:
    """Return what somebody has said in *config*, what botocore adds to it left out."""
    own: dict[str, Any] = dict(getattr(config, "_user_provided_options", {}))
    retries = own.get("retries") or {}
    if any(name in retries for name in _ATTEMPTS):
        own["max_attempts"] = retries
    return {name: value for name, value in own.items() if value is not None or name.endswith("_timeout")}
