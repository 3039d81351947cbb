"""CloudFormation: a template with queues, topics, subscriptions, policies, tables and alarms.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/AWS_SQS.html
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from megaflow.hashes import hash_parts
from megaflow.provision.export.alarms import PERIOD, Alarm, find_alarms
from megaflow.provision.export.deployment import Deployment
from megaflow.provision.export.names import logical_id
from megaflow.provision.export.text import Document
from megaflow.provision.needs import Attributes, NeededQueue, NeededSubscription, NeededTopic
from megaflow.provision.policies import let_topic_send, make_policy

_ALARM_TOPIC: Final = "AlarmTopicArn"
_TELLS: Final = "TellsOfAlarms"
_NUMBERS: Final = frozenset({"VisibilityTimeout", "MessageRetentionPeriod"})
_TEXTS: Final = frozenset({"KmsMasterKeyId"})

# https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-attribute-deletionpolicy.html
_KEPT: Final = {"DeletionPolicy": "RetainExceptOnCreate", "UpdateReplacePolicy": "Retain"}
"""What holds messages outlives the stack; what was made in vain does not."""

_Resources = Iterator[tuple[str, dict[str, Any]]]


def write_template(deployment: Deployment) -> Document:
    """Return the template."""
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": f"What {', '.join(service.name for service in deployment.services)} needs, by megaflow export.",
        "Parameters": {
            _ALARM_TOPIC: {
                "Type": "String",
                "Default": "",
                "Description": "The topic that is told of alarms; none by default.",
            }
        },
        "Conditions": {_TELLS: {"Fn::Not": [{"Fn::Equals": [{"Ref": _ALARM_TOPIC}, ""]}]}},
        "Resources": {
            **write_resources(deployment),
            **dict(_tables(deployment)),
            **{
                logical_id(alarm.queue, f"{alarm.kind}Alarm"): _make_alarm(alarm)
                for alarm in find_alarms(deployment.needs)
            },
        },
        "Outputs": dict(_outputs(deployment)),
    }


def write_resources(deployment: Deployment) -> dict[str, Any]:
    """Return the queues, topics, policies and subscriptions."""
    return {
        **dict(_queues(deployment)),
        **dict(_topics(deployment)),
        **dict(_policies(deployment)),
        **dict(_subscriptions(deployment)),
    }


def _queues(deployment: Deployment) -> _Resources:
    for queue in deployment.needs.queues:
        properties: dict[str, Any] = {"QueueName": queue.name, **_properties_of(queue.attributes)}
        if queue.redrive:
            properties["RedrivePolicy"] = {
                "deadLetterTargetArn": _arn_of_queue(queue.redrive.dead_letter_queue),
                "maxReceiveCount": queue.redrive.max_receive_count,
            }
        yield _queue_id(queue.name), {"Type": "AWS::SQS::Queue", **_KEPT, "Properties": properties}


def _topics(deployment: Deployment) -> _Resources:
    for topic in _own_topics(deployment):
        properties = {"TopicName": topic.name, **_properties_of(topic.attributes)}
        yield _topic_id(topic.name), {"Type": "AWS::SNS::Topic", **_KEPT, "Properties": properties}


def _policies(deployment: Deployment) -> _Resources:
    for queue in deployment.needs.queues:
        if queue.topics:
            yield logical_id(queue.name, "QueuePolicy"), _let_send(queue, deployment)


def _let_send(queue: NeededQueue, deployment: Deployment) -> dict[str, Any]:
    arn = _arn_of_queue(queue.name)
    statements = [let_topic_send(topic, _arn_of_topic(topic, deployment), arn) for topic in queue.topics]
    properties = {"Queues": [{"Ref": _queue_id(queue.name)}], "PolicyDocument": make_policy(statements)}
    return {"Type": "AWS::SQS::QueuePolicy", "Properties": properties}


def _subscriptions(deployment: Deployment) -> _Resources:
    for each in deployment.needs.subscriptions:
        # Words alone could be those of another pair: orders and eu-shop, orders-eu and shop.
        kind = f"Subscription{hash_parts(each.queue, each.topic)[:8]}"
        yield logical_id(each.queue, logical_id(each.topic, kind)), _subscribe(each, deployment)


def _subscribe(each: NeededSubscription, deployment: Deployment) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "Protocol": "sqs",
        "TopicArn": _arn_of_topic(each.topic, deployment),
        "Endpoint": _arn_of_queue(each.queue),
        "RawMessageDelivery": True,
    }
    if each.filter_policy is not None:
        properties |= {"FilterPolicyScope": each.filter_scope, "FilterPolicy": dict(each.filter_policy)}
    # Not before the topic may send: it would not be told that it was refused.
    return {
        "Type": "AWS::SNS::Subscription",
        "DependsOn": logical_id(each.queue, "QueuePolicy"),
        "Properties": properties,
    }


def _tables(deployment: Deployment) -> _Resources:
    for table in deployment.tables:
        properties = {
            "TableName": table,
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
            "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
            "TimeToLiveSpecification": {"AttributeName": "expires_at", "Enabled": True},
        }
        yield logical_id(table, "Table"), {"Type": "AWS::DynamoDB::Table", **_KEPT, "Properties": properties}


def _make_alarm(alarm: Alarm) -> dict[str, Any]:
    told = {"Fn::If": [_TELLS, [{"Ref": _ALARM_TOPIC}], {"Ref": "AWS::NoValue"}]}
    properties = {
        "AlarmDescription": alarm.description,
        "Namespace": "AWS/SQS",
        "MetricName": alarm.metric,
        "Dimensions": [{"Name": "QueueName", "Value": {"Fn::GetAtt": [_queue_id(alarm.queue), "QueueName"]}}],
        "Statistic": "Maximum",
        "Period": PERIOD,
        "EvaluationPeriods": alarm.periods,
        "ComparisonOperator": "GreaterThanThreshold",
        "Threshold": alarm.threshold,
        "TreatMissingData": "notBreaching",
        "AlarmActions": told,
    }
    return {"Type": "AWS::CloudWatch::Alarm", "Properties": properties}


def _outputs(deployment: Deployment) -> _Resources:
    for queue in deployment.needs.queues:
        yield logical_id(queue.name, "QueueUrl"), {"Value": {"Ref": _queue_id(queue.name)}}
    for topic in _own_topics(deployment):
        yield logical_id(topic.name, "TopicArn"), {"Value": {"Ref": _topic_id(topic.name)}}


def _own_topics(deployment: Deployment) -> Iterator[NeededTopic]:
    return (topic for topic in deployment.needs.topics if topic.name not in deployment.existing_topics)


def _properties_of(attributes: Attributes) -> dict[str, Any]:
    """Return *attributes*, which are texts, as what they are."""
    return {
        name: int(text) if name in _NUMBERS else text if name in _TEXTS else text == "true"
        for name, text in attributes.items()
    }


def _queue_id(name: str) -> str:
    return logical_id(name, "Queue")


def _topic_id(name: str) -> str:
    return logical_id(name, "Topic")


def _arn_of_queue(name: str) -> dict[str, Any]:
    return {"Fn::GetAtt": [_queue_id(name), "Arn"]}


def _arn_of_topic(name: str, deployment: Deployment) -> dict[str, Any]:
    if name not in deployment.existing_topics:
        return {"Ref": _topic_id(name)}
    return {"Fn::Sub": f"arn:${{AWS::Partition}}:sns:${{AWS::Region}}:${{AWS::AccountId}}:{name}"}
