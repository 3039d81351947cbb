from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from megaflow.errors import ConfigurationError
from megaflow.local import Account, declare
from megaflow.local.declared.yaml_text import read_yaml
from tests.local.conftest import Shop
from tests.local.declared.facts import facts_of, queues_of, subscriptions_of, topics_of

SHOP = """
AWSTemplateFormatVersion: 2010-09-09
Description: A shop
Parameters:
  Stage: {Type: String, Default: dev}
  Seconds: {Type: Number, Default: 90}
  Floors: {Type: CommaDelimitedList, Default: "1, 2"}
  Unused: {Type: String}
Mappings:
  Retention: {dev: {dead: 1209600}, prod: {dead: 86400}}
Conditions:
  IsProd: !Equals [!Ref Stage, prod]
  NobodyKnows: !Equals [!Ref Unused, a]
  IsOther: !And [!Not [!Condition IsProd], !Or [!Equals [true, "false"], !Equals [!Ref Stage, dev]]]
Resources:
  Access:
    Type: AWS::SQS::QueuePolicy
    Properties:
      Queues: [!Ref Orders]
      PolicyDocument:
        Version: 2012-10-17
        Statement:
          - {Effect: Allow, Principal: "*", Action: "sqs:SendMessage", Resource: !GetAtt Orders.Arn,
             Condition: {ArnEquals: {"aws:SourceArn": [!Ref Shop, !GetAtt Bucket.Arn, !ImportValue A, !Ref Unused]}}}
  Orders:
    Type: AWS::SQS::Queue
    DependsOn: Lost
    Properties:
      QueueName: !Sub "orders-${Stage}"
      VisibilityTimeout: !Ref Seconds
      DelaySeconds: !If [IsProd, 9, !Ref "AWS::NoValue"]
      RedrivePolicy: {deadLetterTargetArn: !GetAtt Lost.Arn, maxReceiveCount: 3}
      KmsMasterKeyId: !Ref Key
      Tags:
        - {Key: stack, Value: !Ref "AWS::StackName"}
        - {Key: floors, Value: !Join ["-", !Ref Floors]}
        - {Key: second, Value: !Select [1, !Split ["-", "a-b-c"]]}
        - {Key: literal, Value: !Sub ["${!Stage} ${Where}", {Where: !Ref "AWS::Region"}]}
  Lost:
    Type: AWS::SQS::Queue
    Properties:
      MessageRetentionPeriod: !FindInMap [Retention, !Ref Stage, dead]
      RedriveAllowPolicy:
        redrivePermission: byQueue
        sourceQueueArns: [!Sub "arn:${AWS::Partition}:sqs:${AWS::Region}:${AWS::AccountId}:orders-${Stage}"]
  Line:
    Type: AWS::SQS::Queue
    Properties: {FifoQueue: true, ContentBasedDeduplication: !If [IsOther, "true", "false"]}
  LineTopic:
    Type: AWS::SNS::Topic
    Properties: {FifoTopic: true, Subscription: [{Protocol: sqs, Endpoint: !GetAtt Line.Arn}]}
  Shop:
    Type: AWS::SNS::Topic
    Properties:
      DisplayName: Shop
      DataProtectionPolicy: {}
      Tags: [{Key: queue, Value: !GetAtt Orders.QueueName}]
      Subscription:
        - {Protocol: sqs, Endpoint: !GetAtt Lost.Arn}
        - {Protocol: lambda, Endpoint: !GetAtt Worker.Arn}
        - !If [IsProd, {Protocol: sqs, Endpoint: !GetAtt Later.Arn}, !Ref "AWS::NoValue"]
  Subscription:
    Type: AWS::SNS::Subscription
    Properties:
      TopicArn: !Ref Shop
      Protocol: sqs
      Endpoint: !GetAtt [Orders, Arn]
      RawMessageDelivery: true
      FilterPolicyScope: MessageBody
      FilterPolicy: {price: [{numeric: [">", 100]}]}
      RedrivePolicy: {deadLetterTargetArn: !GetAtt Lost.Arn}
  Mail:
    Type: AWS::SNS::Subscription
    Properties: {TopicArn: !Ref Shop, Protocol: email, Endpoint: jane@example.com}
  Publishers:
    Type: AWS::SNS::TopicPolicy
    Properties: {Topics: [!Ref Shop], PolicyDocument: {Version: 2012-10-17, Statement: []}}
  Inline:
    Type: AWS::SQS::QueueInlinePolicy
    Properties: {Queue: !GetAtt Line.QueueUrl, PolicyDocument: {Version: 2012-10-17}}
  Key: {Type: AWS::KMS::Key, Properties: {KeyPolicy: {}}}
  Bucket: {Type: AWS::S3::Bucket}
  Worker: {Type: AWS::Lambda::Function}
  Other: {Type: AWS::Lambda::Function, Condition: NobodyKnows}
  Later: {Type: AWS::SQS::Queue, Condition: IsProd}
Outputs:
  Url: {Value: !Ref Orders}
"""

ARN = "arn:aws:sqs:us-east-1:000000000000"


@pytest.fixture
def template(tmp_path: Path) -> Path:
    path = tmp_path / "shop.yaml"
    path.write_text(SHOP)
    return path


def test_the_resources_of_a_template_are_made(template: Path, shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    declare(shop.account, template)

    queues, topics, subscriptions = queues_of(shop.sqs), topics_of(shop.sns), subscriptions_of(shop.sns)
    assert set(queues) == {"orders-dev", "shop-Lost", "shop-Line.fifo"}
    assert queues["orders-dev"] == queues["orders-dev"] | {
        "VisibilityTimeout": "90",
        "DelaySeconds": "0",
        "KmsMasterKeyId": "shop-Key",
        "tags": {"stack": "shop", "floors": "1-2", "second": "b", "literal": "${Stage} us-east-1"},
    }
    assert json.loads(queues["orders-dev"]["RedrivePolicy"]) == {
        "deadLetterTargetArn": f"{ARN}:shop-Lost",
        "maxReceiveCount": 3,
    }
    (statement,) = json.loads(queues["orders-dev"]["Policy"])["Statement"]
    assert statement["Resource"] == f"{ARN}:orders-dev"
    assert statement["Condition"]["ArnEquals"]["aws:SourceArn"] == [
        "arn:aws:sns:us-east-1:000000000000:shop-Shop",
        "arn:aws:s3:us-east-1:000000000000:shop-Bucket",
        "shop-ImportValue",
        "shop-Unused",
    ]
    assert queues["shop-Lost"]["MessageRetentionPeriod"] == "1209600"
    assert json.loads(queues["shop-Lost"]["RedriveAllowPolicy"])["sourceQueueArns"] == [f"{ARN}:orders-dev"]
    assert queues["shop-Line.fifo"] == queues["shop-Line.fifo"] | {
        "ContentBasedDeduplication": "true",
        "Policy": '{"Version":"2012-10-17"}',
    }
    assert set(topics) == {"shop-Shop", "shop-LineTopic.fifo"}
    assert topics["shop-Shop"] == topics["shop-Shop"] | {
        "DisplayName": "Shop",
        "Policy": '{"Version":"2012-10-17","Statement":[]}',
        "tags": {"queue": "orders-dev"},
    }
    assert set(subscriptions) == {
        ("shop-Shop", "orders-dev"),
        ("shop-Shop", "shop-Lost"),
        ("shop-LineTopic.fifo", "shop-Line.fifo"),
    }
    assert subscriptions["shop-Shop", "orders-dev"] == subscriptions["shop-Shop", "orders-dev"] | {
        "RawMessageDelivery": "true",
        "FilterPolicy": '{"price":[{"numeric":[">",100]}]}',
        "FilterPolicyScope": "MessageBody",
        "RedrivePolicy": f'{{"deadLetterTargetArn":"{ARN}:shop-Lost"}}',
    }
    (said,) = [record.getMessage() for record in caplog.records]
    assert said == (
        f"{template}: nothing is made of DataProtectionPolicy of AWS::SNS::Topic (Shop), "
        "AWS::SNS::Subscription of lambda (Shop), AWS::SNS::Subscription of email (Mail), AWS::KMS::Key (Key), "
        "AWS::S3::Bucket (Bucket), AWS::Lambda::Function (Worker, Other)"
    )


def test_parameters_have_the_values_that_are_given(template: Path, shop: Shop) -> None:
    declare(shop.account, template, parameters={"Stage": "prod", "Floors": "7,8,9"})

    queues = queues_of(shop.sqs)
    assert set(queues) == {"orders-prod", "shop-Lost", "shop-Line.fifo", "shop-Later"}
    assert queues["orders-prod"] == queues["orders-prod"] | {"DelaySeconds": "9", "VisibilityTimeout": "90"}
    assert queues["orders-prod"]["tags"]["floors"] == "7-8-9"
    assert queues["shop-Lost"]["MessageRetentionPeriod"] == "86400"
    assert ("shop-Shop", "shop-Later") in subscriptions_of(shop.sns)


def test_a_parameter_that_is_not_there_is_named(template: Path, shop: Shop) -> None:
    with pytest.raises(ConfigurationError, match="Parameters: there is no parameter Stag: did you mean Stage"):
        declare(shop.account, template, parameters={"Stag": "prod"})
    with pytest.raises(ConfigurationError, match="config: it has no parameters, such as Stage: only a template does"):
        declare(shop.account, {"queues": {}}, parameters={"Stage": "prod"})


def test_a_second_time_it_is_the_same(template: Path, shop: Shop) -> None:
    declare(shop.account, template)
    before = facts_of(shop.account)

    declare(shop.account, template)

    assert facts_of(shop.account) == before


@pytest.mark.parametrize("seed", range(10))
def test_the_order_of_resources_does_not_matter(seed: int, template: Path, tmp_path: Path) -> None:
    parsed = read_yaml(SHOP)
    resources = list(parsed["Resources"].items())
    parsed["Resources"] = dict(random.Random(seed).sample(resources, len(resources)))
    (tmp_path / "json").mkdir()
    shuffled = tmp_path / "json" / "shop.json"
    shuffled.write_text(json.dumps(parsed))
    plain, other = Account(), Account()

    declare(plain, template)
    declare(other, shuffled)

    assert facts_of(other) == facts_of(plain)


def test_the_name_of_a_queue_is_short_enough_and_stays(tmp_path: Path) -> None:
    resources = {
        f"{'Long' * 20}{end}": {"Type": "AWS::SQS::Queue", "Properties": {"FifoQueue": end == "B"}} for end in "AB"
    }
    path = tmp_path / "orders & mails.template.json"
    path.write_text(json.dumps({"Resources": resources}))
    first, second = Account(), Account()

    declare(first, path)
    declare(second, path)

    assert list(first.queues) == list(second.queues)
    assert [len(name) for name in first.queues] == [80, 80]
    assert [name.partition("Long")[0] for name in first.queues] == ["orders-mails-", "orders-mails-"]


def test_dead_letter_queues_of_a_template_may_go_round_in_a_circle(shop: Shop) -> None:
    def queue(dead: str) -> dict[str, Any]:
        policy = {"deadLetterTargetArn": {"Fn::GetAtt": [dead, "Arn"]}, "maxReceiveCount": {"Ref": "Count"}}
        return {"Type": "AWS::SQS::Queue", "Properties": {"RedrivePolicy": policy}}

    declare(
        shop.account,
        {
            "Parameters": {"Count": {"Type": "Number", "Default": 4}},
            "Resources": {"A": queue("B"), "B": queue("A")},
        },
    )

    redrives = [hosted.queue.settings.redrive for hosted in shop.account.queues.values()]
    assert [(each.target_arn, each.max_receive_count) for each in redrives if each] == [
        (f"{ARN}:local-B", 4),
        (f"{ARN}:local-A", 4),
    ]


PARAMETERS = {
    "Missing": {"Type": "String"},
    "Kept": {"Type": "AWS::SSM::Parameter::Value<String>", "Default": "/a"},
    "Stage": {"Type": "String", "Default": "dev"},
}


@pytest.mark.parametrize(
    ("properties", "said"),
    [
        ({"VisibilityTimout": 3}, "VisibilityTimout: there is no such key: did you mean VisibilityTimeout?"),
        ({"VisibilityTimeout": 99999}, "VisibilityTimeout: 99999 is not allowed: give whole seconds from 0 to 43200"),
        (
            {"VisibilityTimeout": {"Ref": "Missing"}},
            "VisibilityTimeout: the parameter Missing has no default: give it a value",
        ),
        (
            {"VisibilityTimeout": {"Ref": "Kept"}},
            "VisibilityTimeout: the parameter Kept is one of SSM, which is not here",
        ),
        (
            {"VisibilityTimeout": {"Ref": "Stag"}},
            "VisibilityTimeout: Stag is no resource or parameter of the template: did you mean Stage?",
        ),
        (
            {"VisibilityTimeout": {"Fn::GetAtt": "Key.Seconds"}},
            "VisibilityTimeout: Key is of the type AWS::KMS::Key, which is not made here: give a value in its place",
        ),
        (
            {"QueueName": {"Fn::ImportValue": "a"}},
            "QueueName: Fn::ImportValue is not known here. There are Ref, Fn::GetAtt,",
        ),
        ({"QueueName": {"Fn::Sub": "${Queue.QueueName}-a"}}, "QueueName: it is made of itself: give a name"),
        ({"QueueName": {"Fn::Sub": "${Nobody}"}}, "QueueName: Nobody is no resource or parameter"),
        ({"QueueName": {"Fn::Sub": ["a"]}}, "QueueName: Fn::Sub takes 2 values, not 1"),
        (
            {"QueueName": {"Fn::GetAtt": ["Queue", "Arn", "a"]}},
            "QueueName: Fn::GetAtt ['Queue', 'Arn', 'a'] is not allowed",
        ),
        (
            {"QueueName": {"Fn::GetAtt": "Queue"}},
            "QueueName: Fn::GetAtt 'Queue' is not allowed: give a resource and an",
        ),
        ({"QueueName": {"Fn::Join": ["-", "a"]}}, "QueueName: 'a' is not allowed: give a list"),
        ({"QueueName": {"Fn::Join": ["-", [["a"]]]}}, "QueueName: ['a'] gives no text"),
        ({"QueueName": {"Fn::Select": [3, ["a"]]}}, "QueueName: Fn::Select takes a number below 1 here, not 3"),
        (
            {"QueueName": {"Fn::FindInMap": ["Names", "de", "a"]}},
            "QueueName: Fn::FindInMap finds no de: did you mean dev?",
        ),
        ({"QueueName": {"Fn::If": ["Nobody", "a", "b"]}}, "QueueName: there is no condition Nobody"),
        ({"QueueName": {"Fn::If": ["Wrong", "a", "b"]}}, "Conditions.Wrong: 'a' is not allowed: give a condition"),
        ({"QueueName": {"Fn::If": ["Endless", "a", "b"]}}, "it is nested too deeply, or within itself"),
        ({"QueueName": "a b"}, "QueueName: Can only include alphanumeric characters"),
        ({"QueueName": "a", "FifoQueue": True}, "FifoQueue: a queue is FIFO where its name ends with .fifo"),
        ({"ContentBasedDeduplication": True}, "ContentBasedDeduplication: only a FIFO queue has it"),
        ({"Tags": {"a": "b"}}, "Tags: {'a': 'b'} is not allowed: give a list"),
        ({"Tags": [{"Key": "a"}]}, "Tags: {'Key': 'a'} is not allowed: give Key and Value"),
        (
            {"RedrivePolicy": {"deadLetterTargetArn": {"Fn::GetAtt": "Queue.Url"}, "maxReceiveCount": 1}},
            "RedrivePolicy.deadLetterTargetArn: Queue has no attribute Url here. There are Ref, QueueUrl, QueueName, ",
        ),
        ({"RedrivePolicy": {"deadLetterTargetArn": f"{ARN}:none", "maxReceiveCount": 1}}, "RedrivePolicy: Value {"),
    ],
    ids=str,
)
def test_what_cannot_be_worked_out_is_named_with_its_resource_and_property(
    shop: Shop, properties: dict[str, Any], said: str
) -> None:
    template = {
        "Parameters": PARAMETERS,
        "Mappings": {"Names": {"dev": {"a": "b"}}},
        "Conditions": {"Wrong": "a", "Endless": {"Fn::Not": [{"Condition": "Endless"}]}},
        "Resources": {
            "First": {"Type": "AWS::SQS::Queue"},
            "Key": {"Type": "AWS::KMS::Key"},
            "Queue": {"Type": "AWS::SQS::Queue", "Properties": properties},
        },
    }

    with pytest.raises(ConfigurationError) as caught:
        declare(shop.account, template)

    assert said in str(caught.value)
    assert str(caught.value).startswith(("config: Resources.Queue.Properties.", "config: it is nested", "config: Cond"))
    assert shop.account.queues == {}


def topic(**properties: Any) -> dict[str, Any]:
    return {"Type": "AWS::SNS::Topic", "Properties": properties}


def subscription(**properties: Any) -> dict[str, Any]:
    plain = {"TopicArn": {"Ref": "Topic"}, "Protocol": "sqs", "Endpoint": {"Fn::GetAtt": "Queue.Arn"}}
    return {"Type": "AWS::SNS::Subscription", "Properties": {**plain, **properties}}


def policy(kind: str, **properties: Any) -> dict[str, Any]:
    return {"Type": f"AWS::{kind}Policy", "Properties": {"PolicyDocument": {"Version": "2012-10-17"}, **properties}}


@pytest.mark.parametrize(
    ("resources", "said"),
    [
        ({"A": {}}, "Resources.A.Type: None is not allowed: give text"),
        ({"A": ["a"]}, "Resources.A: ['a'] is not allowed: give a table"),
        ({"Fn::ForEach::A": ["a"]}, "Resources.\"Fn::ForEach::A\": ['a'] is not allowed: give a table"),
        (
            {"A": {"Type": "AWS::SQS::Queue", "Condition": "Nobody"}},
            "Resources.A.Condition: there is no condition Nobody",
        ),
        ({"A": topic(TopicName="a b")}, "Resources.A.Properties.TopicName: Invalid parameter: Topic Name"),
        ({"A": topic(Name="a")}, "Resources.A.Properties.Name: there is no such key"),
        (
            {"A": topic(Subscription=[{"Protocol": "sqs"}])},
            "Resources.A.Properties.Subscription[0].Endpoint: None is not allowed: give text",
        ),
        (
            {"A": topic(Subscription=[{"Protocol": "sqs", "Endpoint": "a", "Raw": True}])},
            "Resources.A.Properties.Subscription[0].Raw: there is no such key. There are Endpoint, Protocol",
        ),
        (
            {"A": topic(Subscription=[{"Protocol": "sqs", "Endpoint": "a"}])},
            "Resources.A.Properties.Subscription[0]: Invalid parameter: SQS endpoint ARN",
        ),
        ({"A": subscription(Protocol=None)}, "Resources.A.Properties.Protocol: None is not allowed: give text"),
        ({"A": subscription(TopicArn=None)}, "Resources.A.Properties.TopicArn: None is not allowed: give text"),
        (
            {"A": subscription(TopicArn="arn:aws:sns:us-east-1:000000000000:none")},
            "Resources.A.Properties.TopicArn: Topic does not exist",
        ),
        ({"A": subscription(FilterPolicy={"a": "b"})}, "Resources.A.Properties.FilterPolicy: Invalid parameter"),
        ({"A": subscription(RawDelivery=True)}, "Resources.A.Properties.RawDelivery: there is no such key"),
        (
            {"A": subscription(), "B": subscription(RawMessageDelivery=True)},
            "Resources.B.Properties: Resources.A.Properties declares it, too: leave one of the two away",
        ),
        (
            {"A": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "orders"}}},
            "Resources.A.Properties: Resources.Queue.Properties declares it, too",
        ),
        ({"A": policy("SQS::Queue", Queues=["a"])}, "Resources.A.Properties.PolicyDocument: a is no queue or topic"),
        ({"A": policy("SQS::Queue", Queues=[])}, "Resources.A.Properties.Queues: it names nothing"),
        ({"A": policy("SNS::Topic")}, "Resources.A.Properties.Topics: it names nothing"),
        (
            {"A": policy("SNS::Topic", Topics=[{"Ref": "Topic"}], PolicyDocument=None)},
            "Resources.A.Properties.PolicyDocument: it is missing: give a policy",
        ),
        (
            {
                "A": policy("SQS::Queue", Queues=[{"Ref": "Queue"}]),
                "B": policy("SQS::Queue", Queues=[{"Ref": "Queue"}]),
            },
            "Resources.B.Properties.PolicyDocument: Resources.A.Properties.PolicyDocument says it, too",
        ),
        (
            {"A": policy("SQS::Queue", Queues=[{"Ref": "Queue"}], Topics=[])},
            "Resources.A.Properties.Topics: there is no ",
        ),
    ],
    ids=str,
)
def test_what_is_wrong_in_other_resources_is_said_with_its_place(
    shop: Shop, resources: dict[str, Any], said: str
) -> None:
    plain = {"Queue": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "orders"}}, "Topic": topic()}

    with pytest.raises(ConfigurationError) as caught:
        declare(shop.account, {"Resources": {**plain, **resources}})

    assert str(caught.value).startswith(f"config: {said}")
    assert (shop.account.queues, shop.account.topics) == ({}, {})


def test_short_forms_and_texts_are_read_as_cloudformation_does() -> None:
    text = """
    ref: !Ref A
    att: [!GetAtt A.Arn, !GetAtt [A, Arn]]
    nested: !Join ["-", [!Sub "${A}", !If [B, !Ref C, d]]]
    mapped: !Transform {Name: A}
    condition: !Condition A
    version: 2012-10-17
    account: 012345678901
    numbers: [30, -1, 1.5, 1e3]
    words: [yes, on, true, False, null, ~]
    base: &base {a: 1}
    merged: {<<: *base, b: 2}
    """

    assert read_yaml(text) == {
        "ref": {"Ref": "A"},
        "att": [{"Fn::GetAtt": "A.Arn"}, {"Fn::GetAtt": ["A", "Arn"]}],
        "nested": {"Fn::Join": ["-", [{"Fn::Sub": "${A}"}, {"Fn::If": ["B", {"Ref": "C"}, "d"]}]]},
        "mapped": {"Fn::Transform": {"Name": "A"}},
        "condition": {"Condition": "A"},
        "version": "2012-10-17",
        "account": "012345678901",
        "numbers": [30, -1, 1.5, 1000.0],
        "words": ["yes", "on", True, False, None, None],
        "base": {"a": 1},
        "merged": {"a": 1, "b": 2},
    }
