"""What tests in any language need beside the calls: time let pass, messages seen, all forgotten, calls that fail."""

from __future__ import annotations

import json
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import pytest

from megaflow.local.server import Server
from tests.foreign.clients import Caller, Refused
from tests.foreign.test_sqs import bodies, queue


def ask(server: Server, method: str, path: str, body: object = None) -> Any:
    connection = HTTPConnection(urlsplit(server.url).netloc)
    connection.request(method, f"/_megaflow/{path}", None if body is None else json.dumps(body))
    answer = connection.getresponse()
    said = answer.read()
    connection.close()
    assert answer.status < 300, said
    return json.loads(said) if said else None


def test_time_passes_for_the_client_when_it_is_told_to(caller: Caller, server: Server) -> None:
    url = queue(caller, VisibilityTimeout="600")
    caller.sqs("SendMessage", QueueUrl=url, MessageBody="a")
    received = [bodies(caller, url), bodies(caller, url)]

    ask(server, "POST", "clock", {"advance": 600})

    assert received == [["a"], []]
    assert bodies(caller, url) == ["a"]


def test_what_the_client_sent_is_seen_without_being_received(caller: Caller, server: Server) -> None:
    url = queue(caller)
    sent = caller.sqs("SendMessage", QueueUrl=url, MessageBody="ä", DelaySeconds=60)

    (seen,) = ask(server, "GET", "messages?queue=orders")["messages"]

    assert (seen["id"], seen["body"], seen["state"], seen["receive_count"]) == (sent["MessageId"], "ä", "delayed", 0)


def test_everything_is_forgotten_between_two_tests(caller: Caller, server: Server) -> None:
    there = caller.in_region("eu-west-1")
    for each in (caller, there):
        each.sqs("SendMessage", QueueUrl=queue(each), MessageBody="a")

    ask(server, "POST", "reset?queue=orders")
    left = bodies(caller, "orders" if caller.name == "boto3" else f"{server.url}/000000000000/orders")
    ask(server, "POST", "reset")

    assert left == []
    assert [each.sqs("ListQueues").get("QueueUrls", []) for each in (caller, there)] == [[], []]


def test_calls_of_the_client_fail_when_they_are_told_to(caller: Caller, server: Server) -> None:
    url = queue(caller)
    ask(server, "PUT", "faults", {"faults": [{"operation": "SendMessage", "kind": "fail_before", "times": 1}]})

    with pytest.raises(Refused):
        caller.sqs("SendMessage", QueueUrl=url, MessageBody="a")
    caller.sqs("SendMessage", QueueUrl=url, MessageBody="b")

    assert bodies(caller, url) == ["b"]
