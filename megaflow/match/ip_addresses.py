"""IP addresses in text, of either version, and the blocks that they are of."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Final

_LONGEST: Final = 100
"""Characters: the longest address has 45, and a zone behind it is the name of a network interface."""


def is_address_of(text: str, network: IPv4Network | IPv6Network) -> bool:
    """Tell whether *text* is an address of *network*."""
    try:
        return len(text) <= _LONGEST and ip_address(text) in network
    except ValueError:
        return False
