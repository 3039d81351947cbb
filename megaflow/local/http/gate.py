"""The gate: which requests the embedded server answers, and that none of them was made by a web page of elsewhere.

It takes any credentials, so whoever reaches it may do anything. A browser reaches it from every page that a developer
has open, and by DNS rebinding under every name (https://owasp.org/www-community/attacks/DNS_Rebinding). What such a
request cannot hide is its headers.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from ipaddress import ip_address
from typing import Final

from megaflow.errors import ConfigurationError
from megaflow.local.refused import Refused

_OWN_NAMES: Final = ("localhost", "*.localhost", "localhost.localstack.cloud", "*.localhost.localstack.cloud")
_SINGLE_LABEL: Final = re.compile("[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
"""A name without a dot, such as that of a service in a compose file. Nobody leads one here by DNS: pages of elsewhere
have names with dots."""

_AUTHORITY: Final = re.compile(r"(\[[^\]%]+\]|[^:\[\]]+)(?::[0-9]*)?", re.ASCII)
_ALLOWED: Final = re.compile(r"(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*")
_URL: Final = re.compile(r"https?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(?::[0-9]{1,5})?(?:/[A-Za-z0-9_.~/-]*)?")
_OWN_PAGES: Final = (b"same-origin", b"none")
"""What ``Sec-Fetch-Site`` says of a page of this server's own, and of what somebody typed.

https://developer.mozilla.org/en-US/docs/Web/HTTP/Reference/Headers/Sec-Fetch-Site
"""

_FORM: Final = b"application/x-www-form-urlencoded"


class Gate:
    """Lets requests in, by their headers.

    *allowed_hosts* are names that the server goes by beside addresses, names without a dot and those of this machine;
    ``*.example.com`` stands for all below one. It goes by the host in *url*, too.

    Raises:
        ConfigurationError: what should be the name of a host, or a URL, is none.
    """

    def __init__(self, allowed_hosts: Collection[str] = (), *, url: str | None = None) -> None:
        self._names = {_read_allowed(name) for name in (*_OWN_NAMES, *allowed_hosts)}
        if url is not None:
            self._names.add(_host_of(url))
        # Nearly every request comes by the same name.
        self._goes_by = lru_cache(64)(self._find_host)

    def check(self, headers: Mapping[bytes, bytes]) -> None:
        """Let a request in, or raise `Refused`."""
        host, origin = headers.get(b"host"), headers.get(b"origin")
        if host is not None and not self._goes_by(host):
            raise _wrong_host(host)
        if origin is not None and origin.lower().partition(b"://")[2] != (host or b"").lower():
            raise _from_elsewhere("Origin", origin)
        site = headers.get(b"sec-fetch-site", b"none")
        if site not in _OWN_PAGES:
            raise _from_elsewhere("Sec-Fetch-Site", site)

    def _find_host(self, header: bytes) -> bool:
        found = _AUTHORITY.fullmatch(header.decode("latin-1").lower())
        name = found[1].removesuffix(".") if found else ""
        parents = (f"*.{name[place + 1 :]}" for place, character in enumerate(name) if character == ".")
        return bool(
            name in self._names
            or _SINGLE_LABEL.fullmatch(name)
            or _is_address(name)
            or not self._names.isdisjoint(parents)
        )


def _read_allowed(name: str) -> str:
    read = name.lower().removesuffix(".")
    if not _ALLOWED.fullmatch(read):
        raise ConfigurationError(f"{name!r} is no name of a host: give it as queue.example.com or *.example.com")
    return read


def _host_of(url: str) -> str:
    """Return the host in *url*.

    Raises:
        ConfigurationError: it is no URL, or one with more than a host, a port and a path.
    """
    found = _URL.fullmatch(url)
    if found is None:
        raise ConfigurationError(f"{url!r} cannot begin URLs of queues: give one such as https://sqs.example.com")
    return found[1].lower()


def check_form(method: str, headers: Mapping[bytes, bytes], body: bytes) -> None:
    """Raise `Refused` where what is read as a form came as something else, as a page may send without asking first.

    A page may ask by GET without saying where it is from; then the header ``Sec-Fetch-Site`` is missing, where the
    browser is old or the server no address of this machine. A call in JSON needs no such look: its header
    ``X-Amz-Target`` is none that a page may send so.
    """
    agent = headers.get(b"user-agent", b"")
    if method == "GET" and agent.startswith(b"Mozilla/") and b"sec-fetch-site" not in headers:
        raise _from_elsewhere("User-Agent", agent)
    given = headers.get(b"content-type", b"")
    if body and not given.strip().lower().startswith(_FORM):
        what = f"not {show(given)}" if given else "and this one has none"
        text = f"A call of SNS comes with the header Content-Type: {_FORM.decode()}, {what}."
        raise Refused("UnsupportedMediaType", text, status=415)


def _is_address(name: str) -> bool:
    try:
        return bool(ip_address(name.strip("[]")))
    except ValueError:
        return False


def _wrong_host(header: bytes) -> Refused:
    name = show(header).rpartition(":")[0] or show(header)
    return Refused(
        "AccessDeniedException",
        f"This server does not go by the name {name}. If that is yours, start it with --allow-host {name}, "
        f"or Server(allowed_hosts=[{name!r}]).",
        status=403,
    )


def _from_elsewhere(header: str, value: bytes) -> Refused:
    return Refused(
        "AccessDeniedException",
        f"This call was made by a web page of elsewhere ({header}: {show(value)}), and those are not answered.",
        status=403,
    )


def show(value: bytes) -> str:
    """Return the value of a header as printable text that is not long."""
    text = value.decode("latin-1")
    return "".join(character if character.isprintable() else "?" for character in text)[:100]
