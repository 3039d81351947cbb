from __future__ import annotations

import asyncio
from collections.abc import Collection
from urllib.parse import urlsplit

import pytest

from megaflow.errors import ConfigurationError
from megaflow.local.endpoints.destinations import Destinations, WrongEndpoint, read_endpoint, without_password


class Names:
    """A name service that says something else each time it is asked."""

    def __init__(self, *answers: Collection[str]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, int]] = []

    async def __call__(self, name: str, port: int) -> Collection[str]:
        self.asked.append((name, port))
        return self.answers.pop(0)


def addresses(destinations: Collection[str], url: str, names: Names | None = None) -> list[str]:
    endpoint = read_endpoint(urlsplit(url).scheme, url)
    return asyncio.run(Destinations(destinations).addresses_of(endpoint, names or Names()))


def address(destinations: Collection[str], url: str, names: Names | None = None) -> str:
    return addresses(destinations, url, names)[0]


@pytest.mark.parametrize(
    ("allowed", "url", "reached"),
    [
        ("127.0.0.1", "http://127.0.0.1/", "127.0.0.1"),
        ("127.0.0.1", "https://127.0.0.1:8443/x", "127.0.0.1"),
        ("127.0.0.1:80", "http://127.0.0.1/", "127.0.0.1"),
        ("127.0.0.1:443", "https://127.0.0.1/", "127.0.0.1"),
        ("127.0.0.1", "http://localhost:1234/", "127.0.0.1"),
        ("[::1]:80", "http://localhost/", "::1"),
        ("::1", "http://[::1]:5/", "::1"),
        ("10.1.2.3:9000", "http://[::ffff:10.1.2.3]:9000/", "10.1.2.3"),
        ("169.254.1.1", "http://169.254.1.1/", "169.254.1.1"),
    ],
)
def test_an_address_that_is_named_is_reached_without_a_look_up(allowed: str, url: str, reached: str) -> None:
    if allowed == "::1":
        allowed = "[::1]"

    assert address([allowed], url) == reached


def test_the_name_of_this_machine_is_each_of_its_addresses_that_is_named() -> None:
    assert addresses(["127.0.0.1", "[::1]"], "http://localhost/") == ["127.0.0.1", "::1"]
    assert addresses(["localhost:80"], "http://shop.localhost/") == ["127.0.0.1", "::1"]
    assert addresses(["localhost:80"], "http://127.0.0.1/") == ["127.0.0.1"]
    with pytest.raises(WrongEndpoint):
        addresses(["localhost:80"], "http://localhost:81/")


def test_addresses_of_no_machine_are_left_out_of_several() -> None:
    names = Names(["169.254.169.254", "172.18.0.5", "fe80::1%eth0", "::ffff:169.254.169.254", "172.18.0.5"])

    assert addresses(["app"], "http://app/", names) == ["172.18.0.5"]


def test_a_name_that_is_named_is_looked_up_once_for_each_delivery() -> None:
    names = Names(["172.18.0.5", "172.18.0.6"])

    reached = addresses(["App:8080"], "http://app.:8080/hook", names)

    assert reached == ["172.18.0.5", "172.18.0.6"]
    assert names.asked == [("app", 8080)]


@pytest.mark.parametrize(
    "leads_to", [[], ["169.254.169.254"], ["fe80::1%eth0"], ["0.0.0.0"], ["::ffff:169.254.169.254"], ["fd00:ec2::254"]]
)
def test_a_name_leads_to_a_machine(leads_to: list[str]) -> None:
    with pytest.raises(WrongEndpoint, match="leads to no address of a machine"):
        address(["app"], "http://app/", Names(leads_to))


@pytest.mark.parametrize(
    ("allowed", "url"),
    [
        ([], "http://127.0.0.1/"),
        (["127.0.0.1:8080"], "http://127.0.0.1:8081/"),
        (["127.0.0.1"], "http://127.0.0.2/"),
        (["127.0.0.1"], "http://[::1]/"),
        (["127.0.0.1"], "http://app/"),
        (["127.0.0.1"], "http://127.1/"),
        (["127.0.0.1"], "http://0x7f000001/"),
        (["127.0.0.1"], "http://evil.example/127.0.0.1"),
        (["127.0.0.1"], "http://127.0.0.1@evil.example/"),
        (["127.0.0.1"], "http://evil.example#@127.0.0.1/"),
        (["app"], "http://app.example/"),
        (["app"], "http://other.app/"),
    ],
)
def test_what_was_not_named_is_not_even_looked_up(allowed: list[str], url: str) -> None:
    names = Names(["127.0.0.1"])

    with pytest.raises(WrongEndpoint, match="start it with --deliver-to"):
        address(allowed, url, names)

    assert names.asked == []


def test_the_refusal_says_what_to_type() -> None:
    with pytest.raises(WrongEndpoint) as nobody:
        address([], "https://hooks.example/x")
    with pytest.raises(WrongEndpoint) as others:
        address(["127.0.0.1", "app:80"], "http://[fd00::1]:90/x")

    assert "delivers to nobody; to let it deliver there, start it with --deliver-to hooks.example:443" in str(
        nobody.value
    )
    assert "delivers to 127.0.0.1 and app:80 alone" in str(others.value)
    assert "or Server(deliver_to=['[fd00::1]:90'])" in str(others.value)


@pytest.mark.parametrize(
    "written",
    [
        "",
        "http://app",
        "app:",
        "app:0",
        "app:65536",
        "app:http",
        "a b",
        "user@app",
        "::1:x",
        "*",
        "*.app",
        "10.0.0.0/8",
    ],
)
def test_a_place_is_a_host_and_maybe_a_port(written: str) -> None:
    with pytest.raises(ConfigurationError, match="give a host"):
        Destinations([written])


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://app/x", "http://app/x"),
        ("http://ann@app/x", "http://ann@app/x"),
        ("http://ann:secret@app:80/x@y:z", "http://ann:****@app:80/x@y:z"),
        ("https://:secret@app", "https://:****@app"),
    ],
)
def test_a_password_is_not_shown(url: str, shown: str) -> None:
    assert without_password(url) == shown
