"""CloudFormation: templates that cfn-lint takes, and a stack of one on which the main job runs."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml

from megaflow import App, SnsPublisher, SqsPublisher
from megaflow.local import Account, SnsClient, SqsClient, declare
from megaflow.provision import DeadLetterQueue, Queue
from megaflow.provision.export.cloudformation import write_template
from megaflow.provision.export.deployment import Deployment, deploy
from megaflow.provision.export.text import write_yaml
from megaflow.provision.making import Provisioner
from tests.cfn_lint import lint
from tests.conftest import ACCOUNT
from tests.provision.export.deployments import DEPLOYMENTS, make, name_alone
from tests.test_main_job import Consumer, World, publish_in_every_way
from tests.unmocked import unmocked
from tests.waiting import PATIENCE, wait_until


def resources(name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = write_template(DEPLOYMENTS[name])["Resources"]
    return found


def properties(name: str, of: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = resources(name)[of]["Properties"]
    return found


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_cfn_lint_takes_a_template(name: str) -> None:
    assert lint(write_yaml([write_template(DEPLOYMENTS[name])])) == []


def test_cfn_lint_would_refuse_one_that_is_wrong() -> None:
    template = json.loads(json.dumps(write_template(DEPLOYMENTS["a name alone"])))
    template["Resources"]["OrdersQueue"]["Properties"]["VisibilityTimeout"] = 100_000

    assert [found.rule.id for found in lint(write_yaml([template]))] == ["E3034"]


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_a_template_is_the_same_each_time_and_has_all_that_is_needed(name: str) -> None:
    deployment: Deployment = DEPLOYMENTS[name]
    template = write_template(deployment)
    kinds = [each["Type"] for each in template["Resources"].values()]
    needs = deployment.needs

    assert yaml.safe_load(write_yaml([template])) == json.loads(json.dumps(template))
    assert kinds.count("AWS::SQS::Queue") == len(needs.queues)
    assert kinds.count("AWS::SNS::Topic") == len(needs.topics)
    assert kinds.count("AWS::SNS::Subscription") == len(needs.subscriptions)
    assert kinds.count("AWS::SQS::QueuePolicy") == sum(bool(queue.topics) for queue in needs.queues)
    assert kinds.count("AWS::DynamoDB::Table") == len(deployment.tables)
    assert kinds.count("AWS::CloudWatch::Alarm") == 3 * len(needs.consumed)


def test_a_template_says_what_is_declared() -> None:
    assert properties("everything", "OrdersQueue") == {
        "QueueName": "orders",
        "VisibilityTimeout": 120,
        "KmsMasterKeyId": "alias/orders",
        "MessageRetentionPeriod": 86_400,
        "RedrivePolicy": {"deadLetterTargetArn": {"Fn::GetAtt": ["FailedQueue", "Arn"]}, "maxReceiveCount": 3},
    }
    assert properties("everything", "FailedQueue")["MessageRetentionPeriod"] == 100_000
    assert properties("everything", "ReturnsTopic") == {"TopicName": "returns", "KmsMasterKeyId": "alias/returns"}
    assert properties("a FIFO pair on one topic", "ShopFifoTopic") == {
        "TopicName": "shop.fifo",
        "FifoTopic": True,
        "ContentBasedDeduplication": True,
    }


def test_a_subscription_has_the_filter_that_follows_from_the_handlers() -> None:
    subscriptions = [each for each in resources("everything").values() if each["Type"] == "AWS::SNS::Subscription"]
    subscribed = subscriptions[0]["Properties"]

    assert subscribed["FilterPolicy"]["currency"] == ["EUR", "USD"]
    assert subscribed["FilterPolicyScope"] == "MessageBody"
    assert (subscribed["RawMessageDelivery"], subscribed["Protocol"]) == (True, "sqs")
    assert subscriptions[0]["DependsOn"] in resources("everything")


def test_alarms_are_for_age_dead_letters_and_messages_in_flight() -> None:
    def alarm(name: str, of: str) -> tuple[str, int]:
        found = properties(name, f"{of}Alarm")
        return found["MetricName"], found["Threshold"]

    assert alarm("a name alone", "OrdersOld") == ("ApproximateAgeOfOldestMessage", 900)
    assert alarm("a name alone", "OrdersDeadDeadLetters") == ("ApproximateNumberOfMessagesVisible", 0)
    assert alarm("a name alone", "OrdersInFlight") == ("ApproximateNumberOfMessagesNotVisible", 96_000)
    assert alarm("a FIFO pair on one topic", "CartsFifoInFlight")[1] < 96_000
    short = make(shop=App(queue=Queue("orders", retention=600)))
    assert write_template(short)["Resources"]["OrdersOldAlarm"]["Properties"]["Threshold"] == 300


def test_what_holds_messages_outlives_the_stack() -> None:
    kept = ("AWS::SQS::Queue", "AWS::SNS::Topic", "AWS::DynamoDB::Table")

    for each in resources("everything").values():
        policies = (each.get("DeletionPolicy"), each.get("UpdateReplacePolicy"))
        assert policies == (("RetainExceptOnCreate", "Retain") if each["Type"] in kept else (None, None))


def test_a_topic_of_somebody_else_is_not_made() -> None:
    mine = make(shop=App(queue=Queue("orders", subscribe=["shop"])))
    template = write_template(replace(mine, existing_topics=frozenset({"shop"})))
    arn = {"Fn::Sub": "arn:${AWS::Partition}:sns:${AWS::Region}:${AWS::AccountId}:shop"}
    kinds = {each["Type"]: each for each in template["Resources"].values()}

    assert "AWS::SNS::Topic" not in kinds
    assert kinds["AWS::SNS::Subscription"]["Properties"]["TopicArn"] == arn
    (statement,) = kinds["AWS::SQS::QueuePolicy"]["Properties"]["PolicyDocument"]["Statement"]
    assert statement["Condition"] == {"ArnEquals": {"aws:SourceArn": arn}}
    assert lint(write_yaml([template])) == []


class Stack:
    """A stack on moto, which leaves out what it does not know: these are made of their properties."""

    def __init__(self, template: Mapping[str, Any], **options: str) -> None:
        cloudformation = boto3.client("cloudformation", **options)
        cloudformation.create_stack(StackName="main", TemplateBody=write_yaml([template]))
        (stack,) = cloudformation.describe_stacks(StackName="main")["Stacks"]
        assert stack["StackStatus"] == "CREATE_COMPLETE"
        self.outputs = {each["OutputKey"]: each["OutputValue"] for each in stack["Outputs"]}
        self._template = template
        self._sqs, self._sns = boto3.client("sqs", **options), boto3.client("sns", **options)
        self._region = options["region_name"]
        for each in template["Resources"].values():
            self._make(each["Type"], each["Properties"])

    def _make(self, kind: str, properties: Mapping[str, Any]) -> None:
        if kind == "AWS::SQS::QueuePolicy":
            policy = json.dumps(self._resolve(properties["PolicyDocument"]))
            for queue in properties["Queues"]:
                self._sqs.set_queue_attributes(QueueUrl=self._resolve(queue), Attributes={"Policy": policy})
        if kind == "AWS::SNS::Subscription":
            said = self._resolve(properties)
            attributes = {"RawMessageDelivery": json.dumps(said["RawMessageDelivery"])}
            if "FilterPolicy" in said:
                attributes |= {"FilterPolicyScope": said["FilterPolicyScope"]}
                attributes |= {"FilterPolicy": json.dumps(said["FilterPolicy"])}
            names = ("TopicArn", "Protocol", "Endpoint")
            self._sns.subscribe(**{name: said[name] for name in names}, Attributes=attributes)

    def _resolve(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._resolve(each) for each in value]
        if not isinstance(value, dict):
            return value
        if "Ref" in value:
            return next(found for name, found in self._made() if name == value["Ref"])
        if "Fn::GetAtt" in value:
            name, attribute = value["Fn::GetAtt"]
            assert attribute == "Arn"
            queue = self._template["Resources"][name]["Properties"]["QueueName"]
            return f"arn:aws:sqs:{self._region}:{ACCOUNT}:{queue}"
        return {name: self._resolve(each) for name, each in value.items()}

    def _made(self) -> Any:
        for name, output in self._template["Outputs"].items():
            yield output["Value"]["Ref"], self.outputs[name]


def test_on_a_stack_of_a_template_the_main_job_runs(moto_url: str) -> None:
    pytest.importorskip("cfnlint", reason="moto needs cfn-lint for stacks, which does not go with this Python yet")
    options = {
        "endpoint_url": moto_url,
        "region_name": "eu-central-1",
        "aws_access_key_id": "testing",
        "aws_secret_access_key": "testing",
    }
    queue = Queue("main", dead_letter_queue=DeadLetterQueue(max_receive_count=9), subscribe=["first", "second"])
    app = App(queue=queue, topic="first", unmatched="dead_letter", retry_on=())
    stack = Stack(write_template(deploy({"main.py": app})), **options)
    world = World(unmocked(boto3.client("sqs", **options)), boto3.client("sns", **options))
    url, dead_url = (
        world.sqs.get_queue_url(QueueName=stack.outputs[name].rpartition("/")[2])["QueueUrl"]
        for name in ("MainQueueUrl", "MainDeadQueueUrl")
    )
    to_queue = SqsPublisher(queue_url=url, client=world.sqs)
    ways: dict[str, SqsPublisher | SnsPublisher] = {
        "queue": to_queue,
        "first": SnsPublisher(topic_arn=stack.outputs["FirstTopicArn"], client=world.sns),
        "second": SnsPublisher(topic_arn=stack.outputs["SecondTopicArn"], client=world.sns),
    }
    consumer = Consumer(url, world.sqs)

    publish_in_every_way(ways)
    to_queue.publish({"order": 1}, attributes={"way": "queue"})
    to_queue.publish_raw_message('{"user": {"id": 1, "email": "nobody"}}')
    running = threading.Thread(target=consumer.app.run, daemon=True)
    running.start()
    assert consumer.done.wait(PATIENCE)
    wait_until(lambda: world.count(dead_url) == 2)
    consumer.app.stop()
    running.join(PATIENCE)

    expected = {(name, way): times for name, times in consumer.EXPECTED.items() for way in ways}
    assert consumer.handled == expected | {("charge", "queue"): 2}
    assert world.count(url) == 0


def test_a_name_alone_is_a_queue_with_dead_letters_and_three_alarms() -> None:
    assert list(write_template(make(shop=name_alone()))["Resources"]) == [
        "OrdersDeadQueue",
        "OrdersQueue",
        "OrdersDeadDeadLettersAlarm",
        "OrdersOldAlarm",
        "OrdersInFlightAlarm",
    ]


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_where_a_template_was_made_provision_finds_nothing_to_do(name: str, tmp_path: Path) -> None:
    deployment: Deployment = DEPLOYMENTS[name]
    (tmp_path / "template.yaml").write_text(write_yaml([write_template(deployment)]))
    account = Account()
    declare(account, tmp_path / "template.yaml")

    differences = Provisioner(SqsClient(account), SnsClient(account)).provision(deployment.needs)

    assert [*differences] == []
