from __future__ import annotations

import json
import random
import urllib.request
from contextlib import closing
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from megaflow.errors import ConfigurationError
from megaflow.local import Account, SqsClient, declare
from megaflow.local.file.store import Store
from megaflow.local.journal import Touched
from megaflow.local.refused import Refused
from megaflow.local.server import Server
from tests.local.conftest import Shop
from tests.local.declared.facts import facts_of, queues_of, subscriptions_of, topics_of
from tests.waiting import PATIENCE

SHOP: dict[str, Any] = {
    "queues": {
        "orders": {
            "visibility_timeout": 60,
            "dead_letter_queue": {"max_receive_count": 3},
            "subscribe": ["news", {"topic": "shop", "raw_delivery": True, "filter_policy": {"kind": ["order"]}}],
            "tags": {"team": "shop"},
        },
        "audit": {"subscribe": ["shop"], "dead_letter_queue": "lost", "encryption": "alias/audit"},
        "lost": {"redrive_allow_policy": {"redrivePermission": "allowAll"}, "dead_letter_queue": "audit"},
        "line.fifo": {"content_based_deduplication": True},
    },
    "topics": {"shop": {"display_name": "Shop", "tags": {"team": "shop"}}, "news": {}},
}


def changed(**orders: Any) -> dict[str, Any]:
    config = deepcopy(SHOP)
    config["queues"]["orders"] |= orders
    return config


class Journal:
    """Notes what was written down."""

    def __init__(self) -> None:
        self.written: list[Touched] = []

    def write(self, account: Account, touched: Touched) -> None:
        self.written.append(touched)

    def anything(self) -> bool:
        return any(each.queues or each.topics or each.topics_gone or each.account for each in self.written)


def test_a_second_time_changes_nothing_and_keeps_messages(shop: Shop) -> None:
    declare(shop.account, SHOP)
    arns = [each["SubscriptionArn"] for each in subscriptions_of(shop.sns).values()]
    shop.send("orders", "a")
    shop.account.journal = journal = Journal()

    declare(shop.account, deepcopy(SHOP))

    assert not journal.anything()
    assert [each["SubscriptionArn"] for each in subscriptions_of(shop.sns).values()] == arns
    assert shop.bodies("orders") == ["a"]


def test_all_is_written_down_at_once(shop: Shop) -> None:
    shop.account.journal = journal = Journal()

    declare(shop.account, SHOP)

    assert [(len(each.queues), len(each.topics)) for each in journal.written] == [(5, 2)]


def test_what_cannot_be_written_down_is_said(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(account: Account, touched: Touched) -> None:
        raise Refused("InternalFailure", "The disk is full", status=500)

    shop.account.journal = journal = Journal()
    monkeypatch.setattr(journal, "write", fail)

    with pytest.raises(ConfigurationError, match="what is declared cannot be made: The disk is full"):
        declare(shop.account, SHOP)


def test_a_changed_file_changes_what_is_there(shop: Shop) -> None:
    declare(shop.account, SHOP)
    shop.send("orders", "a")
    config = changed(
        visibility_timeout=90,
        dead_letter_queue="audit",
        subscribe=["news", {"topic": "shop", "filter_policy": {"a": {"b": [3]}}, "filter_policy_scope": "MessageBody"}],
        tags={"team": "orders", "floor": 3},
        encryption="alias/orders",
    )
    config["queues"]["audit"]["encryption"] = "sqs"
    config["topics"]["shop"] = {"display_name": "The shop", "tags": {"floor": 3}, "signature_version": 2}

    declare(shop.account, config)

    queues, topics, subscriptions = queues_of(shop.sqs), topics_of(shop.sns), subscriptions_of(shop.sns)
    assert queues["orders"] == queues["orders"] | {
        "VisibilityTimeout": "90",
        "KmsMasterKeyId": "alias/orders",
        "tags": {"team": "orders", "floor": "3"},
    }
    assert json.loads(queues["orders"]["RedrivePolicy"])["deadLetterTargetArn"].endswith(":audit")
    assert ("KmsMasterKeyId" in queues["audit"], queues["audit"]["SqsManagedSseEnabled"]) == (False, "true")
    assert topics["shop"] == topics["shop"] | {
        "DisplayName": "The shop",
        "SignatureVersion": "2",
        "tags": {"team": "shop", "floor": "3"},
    }
    assert subscriptions["shop", "orders"] == subscriptions["shop", "orders"] | {
        "RawMessageDelivery": "false",
        "FilterPolicy": '{"a":{"b":[3]}}',
        "FilterPolicyScope": "MessageBody",
    }
    assert shop.bodies("orders") == ["a"]


def test_a_filter_goes_from_bodies_to_attributes_and_away(shop: Shop) -> None:
    tables: list[dict[str, Any]] = [
        {"filter_policy": {"a": {"b": [3]}}, "filter_policy_scope": "MessageBody"},
        {"filter_policy": {"a": ["b"]}},
        {"filter_policy": {}},
        {"filter_policy": {"a": ["c"]}},
        {},
    ]
    shown = []
    for table in tables:
        declare(shop.account, changed(subscribe=[{"topic": "shop", **table}]))
        there = subscriptions_of(shop.sns)["shop", "orders"]
        shown.append((there.get("FilterPolicy"), there.get("FilterPolicyScope")))

    assert shown == [
        ('{"a":{"b":[3]}}', "MessageBody"),
        ('{"a":["b"]}', "MessageAttributes"),
        (None, None),
        ('{"a":["c"]}', "MessageAttributes"),
        (None, None),
    ]


def test_what_is_not_declared_any_more_stays(shop: Shop) -> None:
    declare(shop.account, SHOP)
    before = facts_of(shop.account)

    declare(shop.account, {"queues": {"orders": {}}, "topics": {"shop": {}}})

    assert facts_of(shop.account) == before


def test_a_queue_ceases_to_have_a_dead_letter_queue_where_that_is_said(shop: Shop) -> None:
    declare(shop.account, SHOP)

    declare(shop.account, {"queues": {"orders": {"dead_letter_queue": False}}})

    assert "RedrivePolicy" not in queues_of(shop.sqs)["orders"]
    assert "orders-dead" in shop.account.queues


def test_what_allows_a_dead_letter_queue_is_changed_before_it_is_used(shop: Shop) -> None:
    config: dict[str, Any] = {"queues": {"b": {"redrive_allow_policy": {"redrivePermission": "denyAll"}}, "a": {}}}
    declare(shop.account, config)
    config["queues"]["b"]["redrive_allow_policy"]["redrivePermission"] = "allowAll"
    config["queues"] = {"a": {"dead_letter_queue": "b"}, **config["queues"], "c": {"dead_letter_queue": "b"}}
    config["queues"]["a"] = {"dead_letter_queue": "b"}

    declare(shop.account, config)

    assert [hosted.name for hosted in shop.account.sources_of(shop.account.arn("sqs", "b"))] == ["a", "c"]


def test_nothing_is_changed_where_something_cannot_be(shop: Shop) -> None:
    declare(shop.account, SHOP)
    before = facts_of(shop.account)
    config = changed(visibility_timeout=90, dead_letter_queue="line.fifo")
    config["queues"] = {"another": {}, **config["queues"]}
    config["topics"]["shop"]["display_name"] = "The shop"

    with pytest.raises(ConfigurationError, match="must be same type of queue"):
        declare(shop.account, config)

    assert facts_of(shop.account) == before


def test_a_queue_that_is_there_does_not_become_fifo(shop: Shop) -> None:
    declare(shop.account, SHOP)

    with pytest.raises(ConfigurationError, match=r"orders\.fifo: .* declare orders\.fifo, which is another queue"):
        declare(shop.account, changed(fifo=True))


@pytest.mark.parametrize("seed", range(10))
def test_the_order_does_not_matter(seed: int) -> None:
    order = random.Random(seed)
    shuffled = {kind: dict(order.sample(list(SHOP[kind].items()), len(SHOP[kind]))) for kind in ("topics", "queues")}
    plain, other = Account(), Account()

    declare(plain, SHOP)
    declare(other, shuffled)

    assert facts_of(other) == facts_of(plain)


def test_after_a_reset_it_is_there_again_and_nothing_else_is(shop: Shop) -> None:
    declare(shop.account, SHOP)
    before = facts_of(shop.account)
    shop.queue("another")
    shop.send("orders", "a")
    shop.sqs.set_queue_attributes(QueueUrl="orders", Attributes={"VisibilityTimeout": "1"})
    shop.sqs.delete_queue(QueueUrl="lost")

    shop.account.reset()

    assert facts_of(shop.account) == before
    assert shop.bodies("orders") == []


def test_what_is_there_again_after_a_reset_is_in_the_file_too(tmp_path: Path) -> None:
    account = Account()
    with closing(Store(tmp_path / "shop.db")) as store:
        store.load(account)
        declare(account, SHOP)
        SqsClient(account).send_message(QueueUrl="orders", MessageBody="a")
        account.reset()

    again = Account()
    with closing(Store(tmp_path / "shop.db")) as store:
        store.load(again)

        assert facts_of(again) == facts_of(account)
        assert again.peek("orders") == []


def test_a_reset_over_http_leaves_what_is_declared() -> None:
    with Server(config={"queues": {"orders": {}}}) as server:
        SqsClient(server.account).create_queue(QueueName="another")
        request = urllib.request.Request(f"{server.url}/_megaflow/reset", method="POST")
        with urllib.request.urlopen(request, timeout=PATIENCE):
            pass

        assert list(server.account.queues) == ["orders"]


def test_a_server_takes_a_dict_or_a_file(tmp_path: Path) -> None:
    file = tmp_path / "local.toml"
    file.write_text("[queues.orders]\n")
    configs: list[Any] = [{"queues": {"orders": {}}}, file, str(file)]
    for config in configs:
        server = Server(config=config)
        server.close()

        assert list(server.account.queues) == ["orders"]


def test_a_server_that_does_not_start_gives_its_port_back() -> None:
    with pytest.raises(ConfigurationError, match=r"^config: queue: there is no such key"):
        Server(config={"queue": {}})


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.toml", "[queues.orders]\n[queues.orders]\n", r"it is no TOML: Cannot declare .* \(at line 2"),
        ("a.json", '{"queues": {"orders": {}, "orders": {}}}', "it is no JSON: the key orders is there twice"),
        ("a.json", '{"queues": ', r"it is no JSON: .*line 1"),
        ("a.json", "[" * 100_000, "it is no JSON: "),
        ("a.json", "[]", r"\[\] is not allowed: give a table"),
        (
            "a.yaml",
            "queues:\n  orders: {}\n  orders: {}\n",
            r"no YAML: orders is there twice \(at line 3, column 3\)",
        ),
        ("a.yml", "queues: [", r"it is no YAML: expected the node content.* \(at line 1, column 10\)"),
        ("a.yml", "queues: \x07", "it is no YAML: "),
        ("a.yaml", "3", "3 is not allowed: give a table"),
        ("a.ini", "", r"its name says nothing of its format: let it end with \.toml, \.json, "),
        ("a.toml", "[queues.orders]\ndelya = 3", "queues.orders.delya: there is no such key: did you mean delay"),
        ("a.yaml", "queues: &a {b: {policy: *a}}", "queues.b.policy: it cannot be written as JSON"),
        ("a.yaml", "Resources: {Q: {Type: 'AWS::SQS::Queue', Properties: {Tags: &a [*a]}}}", "it is nested too deeply"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, shop: Shop, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)

    with pytest.raises(ConfigurationError, match=said) as caught:
        declare(shop.account, tmp_path / name)

    assert str(caught.value).startswith(f"{tmp_path / name}: ")
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, shop: Shop) -> None:
    (tmp_path / "latin.toml").write_bytes(b"# \xe4")

    with pytest.raises(ConfigurationError, match=r"none\.toml: it cannot be read: No such file or directory"):
        declare(shop.account, tmp_path / "none.toml")
    with pytest.raises(ConfigurationError, match=r"latin\.toml: it cannot be read: 'utf-8' codec"):
        declare(shop.account, tmp_path / "latin.toml")


@pytest.mark.parametrize("ending", ["json", "yaml", "yml", "JSON"])
def test_other_formats_say_the_same(tmp_path: Path, shop: Shop, ending: str) -> None:
    plain = Account()
    declare(plain, SHOP)
    (tmp_path / f"local.{ending}").write_text(json.dumps(SHOP))

    declare(shop.account, tmp_path / f"local.{ending}")

    assert facts_of(shop.account) == facts_of(plain)


def test_nothing_is_an_empty_table_in_yaml(tmp_path: Path, shop: Shop) -> None:
    (tmp_path / "empty.yaml").write_text("")
    (tmp_path / "local.yaml").write_text("queues:\n  orders:\n  mails:\n    tags:\ntopics:\n")

    declare(shop.account, tmp_path / "empty.yaml")
    declare(shop.account, tmp_path / "local.yaml")

    assert list(shop.account.queues) == ["orders", "mails"]
