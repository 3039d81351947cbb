from __future__ import annotations

import json
import tomllib
from typing import Any

import pytest

from megaflow.errors import ConfigurationError
from megaflow.local import SqsClient, declare
from megaflow.local.declared import document
from tests.local.conftest import Shop
from tests.local.declared.facts import facts_of, queues_of, subscriptions_of, topics_of

ARN = "arn:aws:sqs:us-east-1:000000000000"
TOPIC_ARN = "arn:aws:sns:us-east-1:000000000000"

EVERYTHING = """
[queues.orders]
visibility_timeout = 60
retention = 86400
delay = 5
wait_time = 20
max_message_size = 2048
encryption = "alias/orders"
policy = { Version = "2012-10-17", Statement = [] }
dead_letter_queue = { name = "lost", max_receive_count = 3 }
tags = { team = "shop", floor = 3, note = "" }

[[queues.orders.subscribe]]
topic = "shop"

[[queues.orders.subscribe]]
topic = "news"
raw_delivery = true
filter_policy = { kind = ["order"] }
filter_policy_scope = "MessageBody"
dead_letter_queue = "lost"

[queues.lost]
encryption = false

[queues.lost.redrive_allow_policy]
redrivePermission = "byQueue"
sourceQueueArns = ["arn:aws:sqs:us-east-1:000000000000:orders"]

[queues."line.fifo"]
fifo = true
content_based_deduplication = true
deduplication_scope = "messageGroup"
fifo_throughput_limit = "perMessageGroupId"
dead_letter_queue = { retention = 7200 }
subscribe = ["line.fifo"]

[queues.plain]
fifo = false
attributes = { VisibilityTimeout = "45", DelaySeconds = 7, SqsManagedSseEnabled = true }

[topics.shop]
display_name = "Shop"
max_message_size = 4096
signature_version = 2
encryption = "alias/shop"
policy = '{"Version":"2012-10-17"}'
tags = { team = "shop" }

[topics.news]
attributes = { TracingConfig = "Active" }

[topics."line.fifo"]
content_based_deduplication = true
fifo_throughput_scope = "MessageGroup"
"""


def refused(shop: Shop, config: dict[Any, Any]) -> str:
    """Return what is said of *config*, of which nothing is made."""
    before = facts_of(shop.account)
    with pytest.raises(ConfigurationError) as caught:
        declare(shop.account, config)
    assert facts_of(shop.account) == before
    return str(caught.value)


def test_boto3_sees_all_that_is_declared(shop: Shop) -> None:
    declare(shop.account, tomllib.loads(EVERYTHING))

    queues, topics, subscriptions = (
        queues_of(shop.sqs),
        topics_of(shop.sns),
        subscriptions_of(shop.sns),
    )
    assert queues["orders"] == queues["orders"] | {
        "VisibilityTimeout": "60",
        "MessageRetentionPeriod": "86400",
        "DelaySeconds": "5",
        "ReceiveMessageWaitTimeSeconds": "20",
        "MaximumMessageSize": "2048",
        "KmsMasterKeyId": "alias/orders",
        "SqsManagedSseEnabled": "false",
        "Policy": '{"Version":"2012-10-17","Statement":[]}',
        "RedrivePolicy": f'{{"deadLetterTargetArn":"{ARN}:lost","maxReceiveCount":3}}',
        "tags": {"team": "shop", "floor": "3", "note": ""},
    }
    assert queues["lost"]["SqsManagedSseEnabled"] == "false"
    assert json.loads(queues["lost"]["RedriveAllowPolicy"])["sourceQueueArns"] == [f"{ARN}:orders"]
    assert queues["line.fifo"] == queues["line.fifo"] | {
        "FifoQueue": "true",
        "ContentBasedDeduplication": "true",
        "DeduplicationScope": "messageGroup",
        "FifoThroughputLimit": "perMessageGroupId",
        "RedrivePolicy": f'{{"deadLetterTargetArn":"{ARN}:line-dead.fifo","maxReceiveCount":5}}',
    }
    assert (queues["line-dead.fifo"]["FifoQueue"], queues["line-dead.fifo"]["MessageRetentionPeriod"]) == (
        "true",
        "7200",
    )
    assert (queues["plain"]["VisibilityTimeout"], queues["plain"]["DelaySeconds"]) == ("45", "7")
    assert topics["shop"] == topics["shop"] | {
        "DisplayName": "Shop",
        "MaximumMessageSize": "4096",
        "SignatureVersion": "2",
        "KmsMasterKeyId": "alias/shop",
        "Policy": '{"Version":"2012-10-17"}',
        "tags": {"team": "shop"},
    }
    assert topics["news"]["TracingConfig"] == "Active"
    assert topics["line.fifo"] == topics["line.fifo"] | {
        "FifoTopic": "true",
        "ContentBasedDeduplication": "true",
        "FifoThroughputScope": "MessageGroup",
    }
    assert subscriptions["news", "orders"] == subscriptions["news", "orders"] | {
        "RawMessageDelivery": "true",
        "FilterPolicy": '{"kind":["order"]}',
        "FilterPolicyScope": "MessageBody",
        "RedrivePolicy": f'{{"deadLetterTargetArn":"{ARN}:lost"}}',
    }
    assert subscriptions["shop", "orders"]["RawMessageDelivery"] == "false"
    assert set(queues) == {"orders", "lost", "line.fifo", "line-dead.fifo", "plain"}
    assert set(subscriptions) == {("shop", "orders"), ("news", "orders"), ("line.fifo", "line.fifo")}


def test_the_example_has_every_word() -> None:
    given = tomllib.loads(EVERYTHING)
    queues, topics = given["queues"].values(), given["topics"].values()
    tables = [each for queue in queues for each in queue.get("subscribe", ()) if isinstance(each, dict)]

    assert {key for queue in queues for key in queue} == set(document.QUEUE_KEYS)
    # Endpoints are posted to by a server: see test_endpoints.py.
    assert {key for topic in topics for key in topic} | {"fifo", "endpoints"} == set(document.TOPIC_KEYS)
    assert {key for table in tables for key in table} == set(document.SUBSCRIPTION_KEYS)


def test_a_dead_letter_queue_is_declared_where_it_is_used(shop: Shop) -> None:
    config: dict[str, Any] = {
        "a": {"dead_letter_queue": True},
        "b.fifo": {"dead_letter_queue": {"max_receive_count": 3}},
        "c": {"dead_letter_queue": {"name": "lost"}},
        "d": {"dead_letter_queue": {"name": "lost", "max_receive_count": 7}},
        "e": {"dead_letter_queue": {"name": "a"}},
        "f": {"dead_letter_queue": {"name": f"{ARN}:lost", "max_receive_count": 1}},
        "g": {"dead_letter_queue": "a-dead"},
        "h": {"dead_letter_queue": None},
    }

    declare(shop.account, {"queues": config})

    used = {name: hosted.queue.settings.redrive for name, hosted in shop.account.queues.items()}
    assert {name: (each.target_arn, each.max_receive_count) for name, each in used.items() if each} == {
        "a": (f"{ARN}:a-dead", 5),
        "b.fifo": (f"{ARN}:b-dead.fifo", 3),
        "c": (f"{ARN}:lost", 5),
        "d": (f"{ARN}:lost", 7),
        "e": (f"{ARN}:a", 5),
        "f": (f"{ARN}:lost", 1),
        "g": (f"{ARN}:a-dead", 5),
    }
    kept = {name: hosted.queue.settings.retention_period for name, hosted in shop.account.queues.items()}
    assert {name for name, seconds in kept.items() if seconds == 1_209_600} == {"a-dead", "b-dead.fifo", "lost"}


def test_a_dead_letter_queue_is_declared_in_one_way(shop: Shop) -> None:
    config = {
        "a": {"dead_letter_queue": {"name": "lost"}},
        "b": {"dead_letter_queue": {"name": "lost", "retention": 90}},
    }

    complaint = refused(shop, {"queues": config})

    assert complaint == (
        "config: queues.b.dead_letter_queue: queues.a.dead_letter_queue declares lost otherwise: "
        "declare it below queues"
    )


def test_dead_letter_queues_may_go_round_in_a_circle(shop: Shop) -> None:
    declare(shop.account, {"queues": {"a": {"dead_letter_queue": "b"}, "b": {"dead_letter_queue": "a"}}})

    assert [hosted.queue.settings.dead_letter_arn for hosted in shop.account.queues.values()] == [
        f"{ARN}:b",
        f"{ARN}:a",
    ]


def test_a_queue_and_a_topic_that_are_there_may_be_named_by_their_arns(shop: Shop) -> None:
    shop.queue("lost")
    shop.sns.create_topic(Name="shop")

    declare(
        shop.account, {"queues": {"orders": {"dead_letter_queue": f"{ARN}:lost", "subscribe": [f"{TOPIC_ARN}:shop"]}}}
    )

    assert shop.account.queues["orders"].queue.settings.dead_letter_arn == f"{ARN}:lost"
    assert list(subscriptions_of(shop.sns)) == [("shop", "orders")]


@pytest.mark.parametrize(
    ("queue", "said"),
    [
        (
            {"visibility_timout": 3},
            "visibility_timout: there is no such key: did you mean visibility_timeout? There are ",
        ),
        ({"colour": "red"}, "colour: there is no such key. There are fifo, visibility_timeout, "),
        ({"VisibilityTimeout": 3}, "VisibilityTimeout: write visibility_timeout, or put it below attributes"),
        ({"max_receive_count": 3}, "max_receive_count: it goes into dead_letter_queue"),
        ({"filter_policy": {}}, "filter_policy: it goes into a table of subscribe"),
        ({"visibility_timeout": 50000}, "visibility_timeout: 50000 is not allowed: give whole seconds from 0 to 43200"),
        ({"visibility_timeout": 1.5}, "visibility_timeout: 1.5 is not allowed: give whole seconds from 0 to 43200"),
        ({"visibility_timeout": True}, "visibility_timeout: True is not allowed: give whole seconds from 0 to 43200"),
        ({"retention": "14d"}, "retention: '14d' is not allowed: give whole seconds from 60 to 1209600"),
        ({"max_message_size": 1}, "max_message_size: 1 is not allowed: give whole bytes from 1024 to 1048576"),
        ({"delay": [1]}, "delay: [1] is not allowed: give text, a number, true, false or a table"),
        ({"fifo": "yes"}, "fifo: 'yes' is not allowed: give true or false"),
        ({"fifo": True}, "and stays what it is: declare orders.fifo, which is another queue"),
        ({"attributes": {"FifoQueue": "True"}}, "attributes.FifoQueue: a queue is FIFO where its name ends with .fifo"),
        ({"fifo": {"delay": 3}}, 'fifo: a table is not allowed: what is called orders.fifo is [queues."orders.fifo"]'),
        ({"content_based_deduplication": True}, "content_based_deduplication: only a FIFO queue has it"),
        ({"deduplication_scope": "all"}, "deduplication_scope: 'all' is not allowed: give queue or messageGroup"),
        ({"policy": "nonsense"}, "policy: Invalid value for the parameter Policy."),
        ({"policy": {"a": float("nan")}}, "policy: it cannot be written as JSON: "),
        (
            {"delay": 3, "attributes": {"DelaySeconds": 3}},
            "attributes.DelaySeconds: queues.orders.delay says it, too: leave one of the two away",
        ),
        (
            {"attributes": {"DelaySecond": 3}},
            "attributes.DelaySecond: SQS has no such attribute: did you mean DelaySeconds?",
        ),
        ({"attributes": ["a"]}, "attributes: ['a'] is not allowed: give a table"),
        (
            {"encryption": "sqs", "attributes": {"KmsMasterKeyId": "a"}},
            "You can use one type of server-side encryption",
        ),
        ({"dead_letter_queue": "mail"}, "dead_letter_queue: no queue mail is declared: did you mean mails?"),
        ({"dead_letter_queue": "xyz"}, "dead_letter_queue: no queue xyz is declared: add [queues.xyz], or give an ARN"),
        ({"dead_letter_queue": {"name": 3.5}}, "dead_letter_queue.name: 3.5 is not allowed: give text"),
        ({"dead_letter_queue": {"name": "a b"}}, "dead_letter_queue: Can only include alphanumeric characters"),
        ({"dead_letter_queue": {"name": "b.fifo"}}, "Reason: Dead-letter queue must be same type of queue"),
        ({"dead_letter_queue": {"name": f"{ARN}:nowhere"}}, "Reason: Dead letter target does not exist."),
        ({"dead_letter_queue": {"retention": 3}}, "dead_letter_queue.retention: 3 is not allowed: give whole seconds"),
        (
            {"dead_letter_queue": {"name": "mails", "retention": 90}},
            "dead_letter_queue.retention: mails is declared elsewhere: say it there",
        ),
        ({"encryption": True}, 'encryption: True is not allowed: give the id of a key, or "sqs", or false'),
        ({"dead_letter_queue": "a.fifo"}, "dead_letter_queue: Value {"),
        ({"dead_letter_queue": f"{ARN}:nowhere"}, "Reason: Dead letter target does not exist."),
        ({"dead_letter_queue": {"max_receive_count": 0}}, "dead_letter_queue: Value {"),
        (
            {"dead_letter_queue": {"max_receive_count": "3"}},
            "max_receive_count: '3' is not allowed: give a whole number",
        ),
        (
            {"dead_letter_queue": {"max_receives": 3}},
            "max_receives: there is no such key: did you mean max_receive_count?",
        ),
        ({"dead_letter_queue": 3}, "dead_letter_queue: 3 is not allowed: give a table"),
        ({"subscribe": "news"}, "subscribe: 'news' is not allowed: give a list"),
        ({"subscribe": ["new"]}, "subscribe[0]: no topic new is declared: did you mean news?"),
        ({"subscribe": ["xyz"]}, "subscribe[0]: no topic xyz is declared: add [topics.xyz], or give an ARN"),
        ({"subscribe": [f"{TOPIC_ARN}:nowhere"]}, "subscribe[0]: Topic does not exist"),
        (
            {"subscribe": ["news", {"topic": "news"}]},
            "subscribe[1]: queues.orders.subscribe[0] declares it, too: leave one of the two away",
        ),
        ({"subscribe": [{}]}, "subscribe[0]: it names no topic: give topic"),
        ({"subscribe": [3]}, "subscribe[0]: 3 is not allowed: give a table"),
        ({"subscribe": [{"topic": ""}]}, "subscribe[0].topic: '' is not allowed: give text"),
        ({"subscribe": [{"topic": "news", "raw": True}]}, "subscribe[0].raw: there is no such key"),
        ({"subscribe": [{"topic": "news", "RawMessageDelivery": True}]}, "RawMessageDelivery: write raw_delivery"),
        (
            {"subscribe": [{"topic": "news", "raw_delivery": "true"}]},
            "raw_delivery: 'true' is not allowed: give true or",
        ),
        (
            {"subscribe": [{"topic": "news", "filter_policy": {"a": "b"}}]},
            'subscribe[0].filter_policy: Invalid parameter: Attributes Reason: FilterPolicy: "a"',
        ),
        (
            {"subscribe": [{"topic": "news", "filter_policy": {"a": ["b"]}, "filter_policy_scope": "Body"}]},
            "subscribe[0].filter_policy_scope: Invalid parameter",
        ),
        (
            {"subscribe": [{"topic": "news", "dead_letter_queue": "mail"}]},
            "subscribe[0].dead_letter_queue: no queue mail",
        ),
        ({"tags": {"team": ["a"]}}, "tags.team: ['a'] is not allowed: give text"),
        ({"tags": {str(number): "a" for number in range(51)}}, "Too many tags added for queue orders."),
        ({"attributes": {3: 3}}, "attributes: the key 3 is not allowed: give text"),
    ],
    ids=str,
)
def test_what_is_wrong_with_a_queue_is_said_with_its_place(shop: Shop, queue: dict[str, Any], said: str) -> None:
    shop.queue("there")
    config = {"queues": {"first": {}, "mails": {}, "a.fifo": {}, "orders": queue}, "topics": {"news": {}}}

    complaint = refused(shop, config)

    assert complaint.startswith("config: queues.orders")
    assert said in complaint


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"queue": {}}, "config: queue: there is no such key: did you mean queues? There are queues, topics"),
        ({"queues": ["a"]}, "config: queues: ['a'] is not allowed: give a table"),
        ({"queues": {"a": 3}}, "config: queues.a: 3 is not allowed: give a table"),
        ({"queues": {"a b": {}}}, 'config: queues."a b": Can only include alphanumeric characters'),
        ({"queues": {"a.fifo": {"fifo": False}}}, 'config: queues."a.fifo".fifo: a queue is FIFO where'),
        ({"topics": {"a b": {}}}, 'config: topics."a b": Invalid parameter: Topic Name'),
        ({"topics": {"a": {"fifo": True}}}, "config: topics.a.fifo: a topic is FIFO where its name ends with .fifo"),
        ({"topics": {"a": {"colour": 3}}}, "config: topics.a.colour: there is no such key. There are fifo, "),
        (
            {"topics": {"a": {"DisplayName": "A"}}},
            "topics.a.DisplayName: write display_name, or put it below attributes",
        ),
        (
            {"topics": {"a": {"max_message_size": 5}}},
            "config: topics.a.max_message_size: Invalid parameter: Attributes ",
        ),
        ({"topics": {"a": {"encryption": False}}}, "topics.a.encryption: False is not allowed: give the id of a key"),
        ({"topics": {"a": {"attributes": {"Nonsense": 5}}}}, "topics.a.attributes.Nonsense: Invalid parameter: "),
        (
            {"topics": {"a": {"content_based_deduplication": True}}},
            "content_based_deduplication: only a FIFO topic has it",
        ),
        ({"queues": {"a.fifo": {"subscribe": ["b"]}}, "topics": {"b": {}}}, 'queues."a.fifo".subscribe[0]: Invalid '),
        (
            {"topics": {"a": {"tags": {str(number): "" for number in range(51)}}}},
            "config: topics.a: Could not complete",
        ),
        ({"queues": {"a": {"tags": {"a": "\ud800"}}}}, "config: queues.a: The request has half of a surrogate pair"),
    ],
    ids=str,
)
def test_what_is_wrong_elsewhere_is_said_with_its_place(shop: Shop, config: dict[str, Any], said: str) -> None:
    assert said in refused(shop, config)


def test_an_endless_document_is_refused(shop: Shop) -> None:
    policy: dict[str, Any] = {}
    policy["itself"] = policy

    complaint = refused(shop, {"queues": {"a": {"policy": policy}}})

    assert "queues.a.policy: it cannot be written as JSON: " in complaint


def test_a_queue_that_was_deleted_just_now_is_not_made_again(shop: Shop) -> None:
    SqsClient(shop.account).delete_queue(QueueUrl=shop.queue("orders"))

    assert "queues.orders: You must wait 60 seconds" in refused(shop, {"queues": {"orders": {}}})
