"""Whom the embedded server answers: nobody whose call a web page of elsewhere has made."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from megaflow.errors import ConfigurationError
from megaflow.local import Account
from megaflow.local.http.gate import Gate
from megaflow.local.server import Server
from tests.local.wire import Answer, Wire, signature

FORM = "Content-Type: application/x-www-form-urlencoded"
CREATE = b"Action=CreateTopic&Version=2010-03-31&Name=news"


@pytest.fixture
def account() -> Account:
    return Account()


@pytest.fixture
def server(account: Account) -> Iterator[Server]:
    with Server(
        account, url="https://sqs.example.net/aws", allowed_hosts=["queue.example.com", "*.Dev.example.com."]
    ) as server:
        yield server


@pytest.fixture
def wire(server: Server) -> Iterator[Wire]:
    with Wire(server.url) as wire:
        yield wire


def ask(wire: Wire, method: str, path: str, *headers: str, body: bytes = b"") -> Answer:
    lines = [f"{method} {path} HTTP/1.1", *headers, f"Content-Length: {len(body)}", "", ""]
    wire.send("\r\n".join(lines).encode() + body)
    return wire.answer()


def create_topic(wire: Wire, *headers: str) -> Answer:
    return ask(wire, "POST", "/", *headers, body=CREATE)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:4566",
        "127.0.0.1",
        "10.0.0.7:80",
        "[::1]:4566",
        "[::1]",
        "localhost",
        "LOCALHOST:4566",
        "localhost.:4566",
        "sqs.localhost",
        "localhost.localstack.cloud:4566",
        "sqs.us-west-2.localhost.localstack.cloud:4566",
        "queue.example.com",
        "Queue.Example.com:8000",
        "a.b.dev.example.com",
        "SQS.example.net",
        "megaflow:4566",
        "megaflow",
        "megaflow.:4566",
        "message_queue:4566",
        "q",
        "[2001:db8::7]:4566",
        "[::ffff:10.0.0.7]",
        "0.0.0.0:4566",
    ],
)
def test_it_goes_by_addresses_names_of_this_machine_and_what_is_allowed(
    account: Account, wire: Wire, host: str
) -> None:
    assert create_topic(wire, f"Host: {host}", FORM).status == 200
    assert len(account.topics) == 1


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:4566",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "127.0.0.1@evil.example",
        "notlocalhost.example",
        "host.docker.internal",
        "megaflow.evil",
        "-megaflow",
        "m" * 64,
        "m\u00fcller",
        "[evil.example]",
        "[localhost]",
        "[::1%25evil.example]",
        "[::1%x]:80",
        "[::1",
        "xsqs.example.net",
        "dev.example.com",
        "example.com",
        "xqueue.example.com",
        "localhost:4566:80",
        "::1",
        "",
        "a b",
    ],
)
def test_it_answers_to_no_other_name_be_it_led_there_by_dns(account: Account, wire: Wire, host: str) -> None:
    answer = create_topic(wire, f"Host: {host}", FORM)

    assert answer.status in {400, 403}, "uvicorn refuses some of these by itself"
    assert not account.topics


def test_a_wrong_name_is_told_what_to_do(wire: Wire) -> None:
    answer = create_topic(wire, "Host: sqs.megaflow.test:4566", FORM)

    assert answer.status == 403
    assert "does not go by the name sqs.megaflow.test" in answer.body.decode()
    assert "--allow-host sqs.megaflow.test" in answer.body.decode()


@pytest.mark.parametrize("path", ["/", "/health", "/_megaflow/faults"])
def test_pages_are_shown_by_its_own_name_alone(wire: Wire, path: str) -> None:
    assert ask(wire, "GET", path, "Host: 127.0.0.1").status == 200

    refused = ask(wire, "GET", path, "Host: evil.example")

    assert refused.status == 403
    assert b"evil.example" in refused.body


def test_who_asks_in_json_is_told_in_json(wire: Wire) -> None:
    answer = ask(wire, "POST", "/", "Host: evil.example", "X-Amz-Target: AmazonSQS.ListQueues", body=b"{}")

    assert answer.status == 403
    assert answer.json["__type"].endswith("#AccessDeniedException")
    assert "--allow-host evil.example" in answer.json["message"]


@pytest.mark.parametrize(
    "name", ["queue.example.com:80", "http://queue.example.com", "*", "*.*.example.com", "", "a b", "a..b"]
)
def test_what_is_no_name_is_not_allowed(name: str) -> None:
    with pytest.raises(ConfigurationError, match="is no name of a host: give it as"):
        Gate([name])


@pytest.mark.parametrize(
    "url",
    [
        "sqs.example.com",
        "ftp://sqs.example.com",
        "http://",
        "http://a b",
        "http://a/?b",
        "http://a@b",
        "http://a:x",
        "",
    ],
)
def test_what_is_no_url_begins_none(url: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot begin URLs of queues"):
        Server(url=url)


def test_faults_are_set_by_nobody_from_elsewhere(account: Account, wire: Wire) -> None:
    body = json.dumps({"seed": 7}).encode()

    answer = ask(wire, "PUT", "/_megaflow/faults", "Host: 127.0.0.1", "Origin: https://evil.example", body=body)

    assert answer.status == 403


@pytest.mark.parametrize(
    "header",
    [
        "Origin: https://evil.example",
        "Origin: null",
        "Origin: http://127.0.0.1:9999",
        "Origin: http://localhost:4566",
        "Sec-Fetch-Site: cross-site",
        "Sec-Fetch-Site: same-site",
    ],
)
@pytest.mark.parametrize("content_type", [FORM, "Content-Type: text/plain", "X-Amz-Target: AmazonSQS.ListQueues"])
def test_what_a_page_of_elsewhere_makes_a_browser_send_is_refused(
    account: Account, wire: Wire, header: str, content_type: str
) -> None:
    assert create_topic(wire, "Host: 127.0.0.1:4566", header, content_type).status == 403
    assert not account.topics


SIGNED = signature("us-east-1", service="sns")


def test_what_a_page_of_elsewhere_sends_is_refused_be_it_signed(account: Account, wire: Wire) -> None:
    assert create_topic(wire, "Host: 127.0.0.1", "Origin: https://evil.example", SIGNED, FORM).status == 403
    assert create_topic(wire, "Host: evil.example", SIGNED, FORM).status == 403
    assert not account.topics


def test_a_page_of_elsewhere_is_not_told_what_it_may_send(wire: Wire) -> None:
    answer = ask(
        wire, "OPTIONS", "/", "Host: megaflow", "Origin: https://evil.example", "Access-Control-Request-Method: POST"
    )

    assert answer.status == 403
    assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_a_page_that_was_led_here_by_a_name_of_its_own_is_refused(account: Account, wire: Wire) -> None:
    """DNS rebinding: the page's own name now leads here, and the browser finds that it calls its own origin."""
    answer = create_topic(
        wire, "Host: evil.example:4566", "Origin: http://evil.example:4566", "Sec-Fetch-Site: same-origin", FORM
    )

    assert answer.status == 403
    assert not account.topics


@pytest.mark.parametrize(
    "header", ["Origin: http://127.0.0.1:4566", "Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: none"]
)
def test_what_its_own_pages_send_is_answered(wire: Wire, header: str) -> None:
    assert create_topic(wire, "Host: 127.0.0.1:4566", header, FORM).status == 200


@pytest.mark.parametrize(
    "header", ["Content-Type: text/plain", "Content-Type: multipart/form-data; boundary=x", "X-No: type"]
)
def test_a_form_comes_as_a_form(account: Account, wire: Wire, header: str) -> None:
    answer = create_topic(wire, "Host: 127.0.0.1", header)

    assert answer.status == 415
    assert b"application/x-www-form-urlencoded" in answer.body
    assert not account.topics
