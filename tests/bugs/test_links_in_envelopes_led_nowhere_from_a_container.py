"""Links in envelopes led nowhere from a container.

A server that listens on 0.0.0.0 wrote http://127.0.0.1:4566 into all of them. In a compose file the endpoint of a
subscription could neither confirm it nor look at the certificate, as 127.0.0.1 is the endpoint itself there.
"""

from __future__ import annotations

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from megaflow.local import Account
from megaflow.local.clock import Clock
from megaflow.local.file.store import Store
from megaflow.local.listening import listen, url_from
from megaflow.local.server import Server
from tests.conformance.conftest import clients
from tests.endpoints import endpoint
from tests.local.test_signatures import receive, subscribed, verify
from tests.waiting import PATIENCE

LINKS = {"SubscribeURL", "SigningCertURL", "UnsubscribeURL"}


def origins(fields: dict[str, Any]) -> dict[str, str]:
    """Where each link of an envelope leads."""
    return {name: urlsplit(fields[name]).netloc for name in LINKS & fields.keys()}


def test_an_endpoint_is_led_to_the_address_that_it_is_connected_from(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(host="0.0.0.0", deliver_to=["127.0.0.1"])
    with endpoint() as made, server, clients(server.url) as (_, sns):
        # As in a container: the address by which the server knows itself is not one that the endpoint can reach.
        monkeypatch.setattr(server.account, "url", "http://127.0.0.9:1")
        topic = sns.create_topic(Name="news")["TopicArn"]
        sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=made.url)
        made.confirm()
        sns.publish(TopicArn=topic, Message="hello")
        (sent,) = made.wait_for_kind("Notification")
        verify(sent.fields)

    (asked, notified) = (origins(each.fields) for each in made.sent)
    assert asked == dict.fromkeys({"SubscribeURL", "SigningCertURL"}, urlsplit(server.url).netloc)
    assert notified == dict.fromkeys({"UnsubscribeURL", "SigningCertURL"}, urlsplit(server.url).netloc)


def test_whoever_receives_is_led_to_the_name_by_which_it_calls() -> None:
    with Server(host="0.0.0.0") as server:
        named = server.url.replace("127.0.0.1", "localhost")
        with clients(named) as (sqs, sns):
            url, topic = subscribed(sqs, sns)
            sns.publish(TopicArn=topic, Message="hello")

            fields = receive(sqs, url)

    assert origins(fields) == dict.fromkeys({"UnsubscribeURL", "SigningCertURL"}, urlsplit(named).netloc)


def test_a_receive_that_waited_is_led_there_too() -> None:
    with Server(host="0.0.0.0") as server, ThreadPoolExecutor(1) as threads:
        named = server.url.replace("127.0.0.1", "localhost")
        with clients(named) as (sqs, sns):
            url, topic = subscribed(sqs, sns)
            waiting = threads.submit(sqs.receive_message, QueueUrl=url, WaitTimeSeconds=20)
            with server.account.changed:
                assert server.account.changed.wait_for(lambda: len(server.account.polls) == 1, PATIENCE)
            sns.publish(TopicArn=topic, Message="hello")
            (message,) = waiting.result(PATIENCE)["Messages"]

    assert set(origins(json.loads(message["Body"])).values()) == {urlsplit(named).netloc}


def test_the_url_that_is_given_is_the_one_of_all_links() -> None:
    given = "http://megaflow:4566/behind"
    server = Server(host="0.0.0.0", url=given, deliver_to=["127.0.0.1"])
    with endpoint() as made, server, clients(server.url) as (sqs, sns):
        url, topic = subscribed(sqs, sns)
        sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=made.url)
        sns.publish(TopicArn=topic, Message="hello")
        (asked,) = made.wait_for_kind("SubscriptionConfirmation")
        fields = receive(sqs, url)

    links = [each[name] for each in (fields, asked.fields) for name in LINKS & each.keys()]
    assert len(links) == 4
    assert all(link.startswith((f"{given}/?Action=", f"{given}/SimpleNotificationService-")) for link in links)


def test_links_of_before_lead_to_the_server_of_today(tmp_path: Path) -> None:
    first = Account(clock=Clock())
    store = Store(tmp_path / "queue.db")
    store.load(first)
    with Server(first) as server, clients(server.url) as (sqs, sns):
        _, topic = subscribed(sqs, sns)
        sns.publish(TopicArn=topic, Message="hello")
    store.close()

    second = Account(clock=Clock())
    store = Store(tmp_path / "queue.db")
    store.load(second)
    with Server(second) as server, clients(server.url) as (sqs, _):
        fields = receive(sqs, "orders")
    store.close()

    assert set(origins(fields).values()) == {urlsplit(server.url).netloc}


@pytest.mark.parametrize(
    ("host", "local", "led"),
    [
        ("0.0.0.0", "172.18.0.2", "http://172.18.0.2:{}"),
        ("0.0.0.0", "fd00::2", None),
        ("::", "fd00::2", "http://[fd00::2]:{}"),
        ("::", "172.18.0.2", "http://172.18.0.2:{}"),
        ("::", "fe80::2%eth0", None),
        ("127.0.0.1", "127.0.0.1", None),
    ],
)
def test_nobody_is_led_where_the_server_does_not_listen(host: str, local: str, led: str | None) -> None:
    if host == "::" and not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    with listen(host, 0) as listener:
        assert url_from(listener, local) == (led and led.format(listener.getsockname()[1]))
