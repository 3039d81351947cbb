"""Places: from which buckets, below which prefixes, payloads are read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from megaflow.checks import refused
from megaflow.errors import PayloadError
from megaflow.messages.pointers import Pointer

_SCHEME = "s3://"


class Place(NamedTuple):
    """A bucket, and what its keys begin with; ``""`` is all of them."""

    bucket: str
    prefix: str

    def has(self, pointer: Pointer) -> bool:
        """Tell whether *pointer* leads here. Its key holds no ``..``."""
        return pointer.bucket == self.bucket and pointer.key.startswith(self.prefix)


def read_places(given: object) -> tuple[Place, ...]:
    """Return the places that *given* names as ``s3://bucket/prefix``; raise `ConfigurationError` for anything else."""
    wanted = "several addresses such as 's3://bucket/' or 's3://bucket/prefix/'"
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise refused("read_from", given, wanted)
    return tuple(_read_place(each, wanted) for each in given)


def _read_place(address: object, wanted: str) -> Place:
    if not (isinstance(address, str) and address.startswith(_SCHEME)):
        raise refused("read_from", address, wanted)
    bucket, slash, prefix = address.removeprefix(_SCHEME).partition("/")
    if not (bucket and slash):
        raise refused("read_from", address, wanted)
    return Place(bucket, prefix)


def check_place(pointer: Pointer, places: Iterable[Place]) -> None:
    """Raise `PayloadError` for a *pointer* that leads to none of the *places*."""
    if not any(place.has(pointer) for place in places):
        raise PayloadError(
            f"{pointer} is no place to read from: neither the bucket and prefix, nor read_from=, name it"
        )
