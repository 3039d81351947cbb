"""Instances: what OpenTelemetry tells the processes apart by, which would all have that of the environment."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

VARIABLE: Final = "OTEL_RESOURCE_ATTRIBUTES"
_INSTANCE: Final = "service.instance.id"


@contextmanager
def instance_of_its_own(place: int) -> Iterator[None]:
    """Let a process that is started within a ``with`` find a ``service.instance.id`` of its own in its environment.

    It is that of the environment and the *place* of the process, or else a random one; what a program says itself where
    it sets up OpenTelemetry's SDK goes before. A child reads the environment while it imports, so that it must be there
    when it is started: https://opentelemetry.io/docs/specs/otel/resource/sdk/
    """
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = _with_instance(before or "", place)
    try:
        yield
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before


def _with_instance(attributes: str, place: int) -> str:
    pairs = dict(pair.strip().split("=", 1) for pair in attributes.split(",") if "=" in pair)
    own = pairs.get(_INSTANCE)
    pairs[_INSTANCE] = f"{own}-{place}" if own else str(uuid.uuid4())
    return ",".join(f"{name}={value}" for name, value in pairs.items())
