"""Destinations: the hosts that may be delivered to over HTTP, and the address that a delivery connects to.

Whoever reaches the server may subscribe any URL, so the server would call whatever it reaches itself: other services on
this machine, the metadata of a cloud's machine. So it calls those alone that it was told of.
https://owasp.org/www-community/attacks/Server_Side_Request_Forgery
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, NamedTuple
from urllib.parse import SplitResult, urlsplit

from megaflow.errors import ConfigurationError

Address = IPv4Address | IPv6Address
Resolve = Callable[[str, int], Awaitable[Collection[str]]]
"""Looks up the addresses of a name, to be connected to at a port."""

THIS_MACHINE: Final = ("127.0.0.1",)
"""Where deliveries may go while nobody but this machine reaches the server."""

_PORTS: Final = {"http": 80, "https": 443}
_WRITTEN: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(?::([0-9]{1,5}))?")
_PRINTABLE: Final = re.compile(r"[!-~]+")
_HIGHEST_PORT: Final = 65535
_METADATA: Final = ip_address("fd00:ec2::254")
"""Where a machine of EC2 finds its metadata, beside 169.254.169.254, which no machine can have anyway.
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html
"""


class WrongEndpoint(Exception):
    """What is wrong with an endpoint."""


class AllowedHost(NamedTuple):
    """A host, by name or address, and a port; None is every port."""

    host: str | Address
    port: int | None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A URL that is posted to."""

    url: SplitResult
    host: str | Address
    port: int

    @property
    def path(self) -> str:
        """What is asked for: path and query."""
        return (self.url.path or "/") + (f"?{self.url.query}" if self.url.query else "")

    @property
    def authority(self) -> str:
        """The host and, where it is not the usual one, the port."""
        return self.url.netloc.rpartition("@")[2]


def read_endpoint(protocol: str, text: str) -> Endpoint:
    """Read the URL of a subscription.

    Raises:
        WrongEndpoint: it is no URL, or of another protocol.
    """
    if not text.lower().startswith(f"{protocol}://"):
        raise WrongEndpoint("Endpoint must match the specified protocol")
    try:
        url = urlsplit(text) if _PRINTABLE.fullmatch(text) else None
        port = url.port if url else None
    except ValueError:
        url = None
    if url is None or not url.hostname or port == 0:
        raise WrongEndpoint("Endpoint Reason: it is no URL")
    return Endpoint(url, _read_host(url.hostname), port or _PORTS[protocol])


def without_password(endpoint: str) -> str:
    """Return the URL of an endpoint as everybody may see it."""
    scheme, _, rest = endpoint.partition("://")
    authority, slash, path = rest.partition("/")
    login, at, host = authority.rpartition("@")
    user, colon, _ = login.partition(":")
    return f"{scheme}://{user}:****{at}{host}{slash}{path}" if colon else endpoint


class Destinations:
    """The hosts that may be delivered to.

    Args:
        written: Each ``HOST``, or ``HOST:PORT``. A name allows whatever it leads to, but for addresses that are no
            machine's; an address allows itself, however it is asked for.

    Raises:
        ConfigurationError: one of them is neither.
    """

    def __init__(self, written: Collection[str]) -> None:
        self._written = tuple(written)
        self._allowed = tuple(
            AllowedHost(host, each.port) for each in map(_read_allowed, written) for host in _meant(each.host)
        )

    def check(self, endpoint: Endpoint) -> None:
        """Refuse an endpoint that is not allowed.

        Raises:
            WrongEndpoint: with what to type so that it is.
        """
        if not self.allows(endpoint):
            raise WrongEndpoint(self._explain(endpoint))

    def allows(self, endpoint: Endpoint) -> bool:
        """Tell whether an endpoint is allowed."""
        return any(self._allows(host, endpoint.port) for host in _meant(endpoint.host))

    async def addresses_of(self, endpoint: Endpoint, resolve: Resolve) -> list[str]:
        """Return the addresses to connect to, of which the first may hear nobody. A name is looked up once.

        Raises:
            WrongEndpoint: it is not allowed, or leads nowhere that is.
        """
        self.check(endpoint)
        port, meant = endpoint.port, _meant(endpoint.host)
        if named := [str(each) for each in meant if not isinstance(each, str) and self._allows(each, port)]:
            return named
        found = [_read_host(each.partition("%")[0]) for each in await resolve(str(endpoint.host), endpoint.port)]
        addresses = [str(each) for each in found if not isinstance(each, str) and _is_of_a_machine(each)]
        if not addresses:
            raise WrongEndpoint(f"{endpoint.host} leads to no address of a machine")
        return list(dict.fromkeys(addresses))

    def _allows(self, host: str | Address, port: int) -> bool:
        return any(each.host == host and each.port in (None, port) for each in self._allowed)

    def _explain(self, endpoint: Endpoint) -> str:
        host = f"[{endpoint.host}]" if isinstance(endpoint.host, IPv6Address) else endpoint.host
        wanted = f"{host}:{endpoint.port}"
        allowed = f"{' and '.join(self._written)} alone" if self._written else "nobody"
        return (
            f"Endpoint Reason: this server delivers to {allowed}; to let it deliver there, start it with --deliver-to "
            f"{wanted}, or Server(deliver_to=[{wanted!r}])"
        )


def _read_allowed(text: str) -> AllowedHost:
    found = _WRITTEN.fullmatch(text)
    port = int(found[2]) if found and found[2] else None
    if not found or (port is not None and not 0 < port <= _HIGHEST_PORT):
        raise ConfigurationError(
            f"cannot deliver to {text!r}: give a host, or a host, a colon and a port, such as app:8080"
        )
    return AllowedHost(_read_host(found[1].strip("[]")), port)


def _read_host(text: str) -> str | Address:
    try:
        address = ip_address(text)
    except ValueError:
        return text.lower().rstrip(".")
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address


def _meant(host: str | Address) -> tuple[str | Address, ...]:
    """Return what a host of a URL stands for: this machine's name needs no look-up, which may say anything."""
    if isinstance(host, str) and (host == "localhost" or host.endswith(".localhost")):
        return (ip_address("127.0.0.1"), ip_address("::1"), host)
    return (host,)


def _is_of_a_machine(address: Address) -> bool:
    return not (address.is_link_local or address.is_multicast or address.is_unspecified or address == _METADATA)
