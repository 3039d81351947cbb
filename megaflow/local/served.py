"""The server as its accounts know it: whom it delivers to over HTTP, and who signs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from megaflow.local.endpoints.destinations import Destinations
from megaflow.local.endpoints.signing import Signer


@dataclass(frozen=True, slots=True)
class Served:
    """What a server lends to all accounts behind it."""

    destinations: Destinations
    signer: Signer | None
    """None where the package is missing that signs."""

    url_from: Callable[[str], str | None] = lambda address: None
    """Gives the URL of the server for whom it reaches from this address of its own; None is the account's."""
