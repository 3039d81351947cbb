"""Listening: the address and the port that the server is bound to, and the URL that leads there."""

from __future__ import annotations

import errno
import os
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from megaflow.errors import ConfigurationError

_BACKLOG: Final = 2048


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on *host*: an address of this machine, or a name of one.

    ``0.0.0.0`` is all of its addresses, and ``::`` those of IPv6 as well.

    Raises:
        ConfigurationError: there is no such address here, or the port is taken.
    """
    try:
        family, address = _find(host, port)
        # The protocol is named because asyncio sends small answers at once only where it is known to be TCP.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    except (OSError, UnicodeError) as error:
        raise _cannot(host, port, error) from error
    try:
        _bind(listener, address)
    except OSError as error:
        listener.close()
        raise _cannot(host, port, error) from error
    return listener


def is_loopback(listener: socket.socket) -> bool:
    """Tell whether only this machine reaches *listener*."""
    return _address_of(listener).is_loopback


def url_to(listener: socket.socket) -> str:
    """Return the URL by which this machine reaches *listener*."""
    address = _address_of(listener)
    if address.is_unspecified:
        address = ip_address("127.0.0.1" if address.version == 4 else "::1")
    return _url_at(address, listener)


def url_from(listener: socket.socket, local: str) -> str | None:
    """Return the URL by which others reach *listener* who are reached from the *local* address; None if they do not."""
    address, bound = ip_address(local.partition("%")[0]), _address_of(listener)
    is_heard = bound.is_unspecified and address.version <= bound.version
    return _url_at(address, listener) if is_heard and not address.is_link_local else None


def _find(host: str, port: int) -> tuple[socket.AddressFamily, tuple[object, ...]]:
    if not host:
        raise OSError(errno.EINVAL, "it names no address; 0.0.0.0 is all of them")
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    family, _, _, _, address = min(found, key=lambda each: each[0] != socket.AF_INET)
    return family, address


def _bind(listener: socket.socket, address: tuple[object, ...]) -> None:
    if os.name == "posix":
        # A server that starts again need not wait until old connections are forgotten.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if address[0] == "::" and socket.has_dualstack_ipv6():
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    listener.bind(address)
    listener.listen(_BACKLOG)


def _url_at(address: IPv4Address | IPv6Address, listener: socket.socket) -> str:
    port = listener.getsockname()[1]
    return f"http://{address}:{port}" if address.version == 4 else f"http://[{address}]:{port}"


def _address_of(listener: socket.socket) -> IPv4Address | IPv6Address:
    return ip_address(listener.getsockname()[0])


def _cannot(host: str, port: int, error: OSError | UnicodeError) -> ConfigurationError:
    is_taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
    why = (isinstance(error, OSError) and error.strerror) or error
    hint = " (is another one running?); port 0 takes a free one" if is_taken else ""
    return ConfigurationError(f"cannot listen on {_joined(host, port)}: {why}{hint}")


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
