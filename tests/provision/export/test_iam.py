"""IAM: the policies of roles, in the account where the queues are. Which actions they need is in test_permissions."""

from __future__ import annotations

from typing import Any

import pytest

from megaflow import App, ConfigurationError
from megaflow.provision import Queue, Topic
from megaflow.provision.export.deployment import deploy
from megaflow.provision.export.iam import write_policies, write_policy
from megaflow.provision.permissions import Role
from tests.provision.export.deployments import HERE, NUMBER, TOPIC, URL, by_address, everything, fifo, make, other_fifo


def statements(role: Role, **apps: App) -> dict[str, dict[str, Any]]:
    return {each["Sid"]: each for each in write_policy(make(**apps), role)["Statement"]}


def test_each_role_has_a_policy_of_its_own() -> None:
    policies = write_policies(make(shop=everything()))

    assert list(policies) == ["consumer", "producer", "operator"]
    assert {policy["Version"] for policy in policies.values()} == {"2012-10-17"}


def test_resources_are_named_in_full() -> None:
    consumer = statements(Role.CONSUMER, shop=everything())

    assert consumer["Consume"]["Resource"] == [f"arn:aws:sqs:eu-west-1:{NUMBER}:orders"]
    assert consumer["DeadLetter"]["Resource"] == [f"arn:aws:sqs:eu-west-1:{NUMBER}:failed"]
    assert consumer["Remember"]["Resource"] == [f"arn:aws:dynamodb:eu-west-1:{NUMBER}:table/orders-progress"]


def test_addresses_say_where_their_queues_are() -> None:
    policy = write_policies(deploy({"shop.py": by_address()}))

    assert policy["consumer"]["Statement"][0]["Resource"] == [f"arn:aws:sqs:eu-west-1:{NUMBER}:orders"]
    assert policy["producer"]["Statement"][0]["Resource"] == [TOPIC]


def test_a_dead_letter_queue_may_be_elsewhere() -> None:
    elsewhere = "https://sqs.us-east-2.amazonaws.com/999999999999/failed"
    consumer = statements(Role.CONSUMER, shop=App(URL, dead_letter_queue_url=elsewhere))

    assert consumer["DeadLetter"]["Resource"] == ["arn:aws:sqs:us-east-2:999999999999:failed"]


@pytest.mark.parametrize(
    ("region", "partition"), [("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov"), ("eu-west-1", "aws")]
)
def test_partitions_follow_from_the_region(region: str, partition: str) -> None:
    policy = write_policy(deploy({"shop.py": App(queue="orders")}, region=region, account_id=NUMBER), Role.CONSUMER)

    assert policy["Statement"][0]["Resource"] == [f"arn:{partition}:sqs:{region}:{NUMBER}:orders"]


def test_several_apps_have_one_policy() -> None:
    consumer = statements(Role.CONSUMER, carts=fifo(), mails=other_fifo())

    assert [arn.rpartition(":")[2] for arn in consumer["Consume"]["Resource"]] == ["carts.fifo", "mails.fifo"]
    assert len(statements(Role.PRODUCER, carts=fifo(), mails=other_fifo())["Publish"]["Resource"]) == 1


def test_a_statement_that_is_about_nothing_is_left_out() -> None:
    consumer = statements(Role.CONSUMER, shop=App(queue=Queue("orders", dead_letter_queue=None)))

    assert list(consumer) == ["Consume", "FindQueue"]
    assert statements(Role.CONSUMER, shop=App(topic="shop")) == {}


def test_a_key_by_alias_is_allowed_through_sqs_alone() -> None:
    consumer = statements(Role.CONSUMER, shop=everything())

    assert consumer["DecryptReceived"] == {
        "Sid": "DecryptReceived",
        "Effect": "Allow",
        "Action": ["kms:Decrypt"],
        "Resource": [f"arn:aws:kms:eu-west-1:{NUMBER}:key/*"],
        "Condition": {
            "StringLike": {"kms:ViaService": "sqs.eu-west-1.*"},
            "ForAnyValue:StringEquals": {"kms:ResourceAliases": "alias/orders"},
        },
    }
    assert consumer["EncryptDeadLetters"]["Action"] == ["kms:GenerateDataKey", "kms:Decrypt"]


@pytest.mark.parametrize("key", ["0d8a7c4e-1111-2222-3333-444455556666", f"arn:aws:kms:eu-west-1:{NUMBER}:key/1"])
def test_a_key_by_id_or_arn_is_named(key: str) -> None:
    app = App(queue=Queue("orders", encryption=key, dead_letter_queue=None))
    statement = statements(Role.CONSUMER, shop=app)["DecryptReceived"]

    assert statement["Resource"] == [key if key.startswith("arn:") else f"arn:aws:kms:eu-west-1:{NUMBER}:key/{key}"]
    assert list(statement["Condition"]) == ["StringLike"]


@pytest.mark.parametrize("key", ["sqs", "alias/aws/sqs", f"arn:aws:kms:eu-west-1:{NUMBER}:alias/aws/sqs"])
def test_aws_own_keys_need_nothing(key: str) -> None:
    app = App(queue=Queue("orders", encryption=key))

    for role in Role:
        assert not [each for each in statements(role, shop=app).values() if "Condition" in each]


def test_a_producer_needs_the_key_of_where_it_sends() -> None:
    to_queue = App(queue=Queue("orders", encryption="alias/orders"))
    to_topic = App(queue=Queue("orders", encryption="alias/orders"), topic=Topic("shop", encryption="alias/shop"))
    sent = statements(Role.PRODUCER, shop=to_queue)
    published = statements(Role.PRODUCER, shop=to_topic)

    assert list(sent) == ["Send", "FindQueue", "EncryptSent"]
    assert list(published) == ["Publish", "FindTopic", "EncryptPublished"]
    condition = published["EncryptPublished"]["Condition"]
    assert condition["StringLike"] == {"kms:ViaService": "sns.eu-west-1.*"}
    assert condition["ForAnyValue:StringEquals"] == {"kms:ResourceAliases": "alias/shop"}


def test_two_keys_are_two_statements() -> None:
    apps = {name: App(queue=Queue(name, encryption=f"alias/{name}")) for name in ("carts", "mails")}
    keys = [each for each in statements(Role.CONSUMER, **apps) if each.startswith("Decrypt")]

    assert keys == ["DecryptReceived", "DecryptReceived2"]


def test_without_region_or_account_it_says_what_to_give() -> None:
    app = App(queue="orders")

    with pytest.raises(ConfigurationError, match=r"the region is not known, .* give region_name=eu-west-1"):
        write_policies(deploy({"shop.py": app}))
    with pytest.raises(ConfigurationError, match=r"the account is not known, .* give account_id=123456789012"):
        write_policies(deploy({"shop.py": app}, region="eu-west-1"))
    for wrong in ({"region": "Europe"}, {"account_id": "1234"}, {"existing_topics": ["shop"]}):
        with pytest.raises(ConfigurationError, match=next(iter(wrong)).replace("region", "region_name")):
            deploy({"shop.py": app}, **{**HERE, **wrong})  # type: ignore[arg-type]
