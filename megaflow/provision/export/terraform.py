"""Terraform: a configuration in its JSON syntax, for the provider ``hashicorp/aws``.

https://developer.hashicorp.com/terraform/language/syntax/json
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from megaflow.provision.export.alarms import PERIOD, Alarm, find_alarms
from megaflow.provision.export.deployment import Deployment
from megaflow.provision.export.names import label
from megaflow.provision.export.text import Document
from megaflow.provision.needs import Attributes, NeededQueue, NeededSubscription, NeededTopic
from megaflow.provision.policies import let_topic_send, make_policy

_QUEUE: Final = "aws_sqs_queue"
_TOPIC: Final = "aws_sns_topic"
_ALARM_TOPIC: Final = "alarm_topic_arn"
_TOLD: Final = f"${{var.{_ALARM_TOPIC} == null ? [] : [var.{_ALARM_TOPIC}]}}"

_ARGUMENTS: Final = {
    "VisibilityTimeout": "visibility_timeout_seconds",
    "MessageRetentionPeriod": "message_retention_seconds",
    "KmsMasterKeyId": "kms_master_key_id",
    "SqsManagedSseEnabled": "sqs_managed_sse_enabled",
    "FifoQueue": "fifo_queue",
    "FifoTopic": "fifo_topic",
    "ContentBasedDeduplication": "content_based_deduplication",
}
"""What the provider calls AWS's attributes."""

_NUMBERS: Final = frozenset({"VisibilityTimeout", "MessageRetentionPeriod"})
_TEXTS: Final = frozenset({"KmsMasterKeyId"})

_Resources = Iterator[tuple[str, dict[str, Any]]]


def write_configuration(deployment: Deployment) -> Document:
    """Return the configuration."""
    resources = {
        _QUEUE: dict(_queues(deployment)),
        _TOPIC: dict(_topics(deployment)),
        "aws_sqs_queue_policy": dict(_policies(deployment)),
        "aws_sns_topic_subscription": dict(_subscriptions(deployment)),
        "aws_dynamodb_table": dict(_tables(deployment)),
        "aws_cloudwatch_metric_alarm": dict(_alarms(deployment)),
    }
    existing = {label(name): {"name": name} for name in sorted(deployment.existing_topics)}
    return {
        "terraform": {"required_providers": {"aws": {"source": "hashicorp/aws", "version": ">= 5.0"}}},
        "variable": {
            _ALARM_TOPIC: {
                "type": "string",
                "default": None,
                "description": "The topic that is told of alarms; none by default.",
            }
        },
        **({"data": {_TOPIC: existing}} if existing else {}),
        "resource": {kind: each for kind, each in resources.items() if each},
        "output": dict(_outputs(deployment)),
    }


def _queues(deployment: Deployment) -> _Resources:
    for queue in deployment.needs.queues:
        arguments: dict[str, Any] = {"name": queue.name, **_arguments_of(queue.attributes)}
        if queue.redrive:
            dead_letters = _reference(_QUEUE, queue.redrive.dead_letter_queue, "arn")
            arguments["redrive_policy"] = json.dumps(
                {"deadLetterTargetArn": dead_letters, "maxReceiveCount": queue.redrive.max_receive_count}
            )
        yield label(queue.name), {**arguments, "lifecycle": {"prevent_destroy": True}}


def _topics(deployment: Deployment) -> _Resources:
    for topic in _own_topics(deployment):
        yield label(topic.name), {"name": topic.name, **_arguments_of(topic.attributes)}


def _policies(deployment: Deployment) -> _Resources:
    for queue in deployment.needs.queues:
        if queue.topics:
            policy = json.dumps(make_policy(_statements(queue, deployment)))
            yield label(queue.name), {"queue_url": _reference(_QUEUE, queue.name, "url"), "policy": policy}


def _statements(queue: NeededQueue, deployment: Deployment) -> list[dict[str, Any]]:
    arn = _reference(_QUEUE, queue.name, "arn")
    return [let_topic_send(topic, _arn_of_topic(topic, deployment), arn) for topic in queue.topics]


def _subscriptions(deployment: Deployment) -> _Resources:
    for each in deployment.needs.subscriptions:
        yield f"{label(each.queue)}-{label(each.topic)}", _subscribe(each, deployment)


def _subscribe(each: NeededSubscription, deployment: Deployment) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "topic_arn": _arn_of_topic(each.topic, deployment),
        "protocol": "sqs",
        "endpoint": _reference(_QUEUE, each.queue, "arn"),
        "raw_message_delivery": True,
    }
    if each.filter_policy is not None:
        arguments["filter_policy_scope"] = each.filter_scope
        arguments["filter_policy"] = _literal(json.dumps(each.filter_policy))
    # Not before the topic may send: it would not be told that it was refused.
    return {**arguments, "depends_on": [f"aws_sqs_queue_policy.{label(each.queue)}"]}


def _tables(deployment: Deployment) -> _Resources:
    for table in deployment.tables:
        yield (
            label(table),
            {
                "name": table,
                "billing_mode": "PAY_PER_REQUEST",
                "hash_key": "id",
                "attribute": [{"name": "id", "type": "S"}],
                "ttl": {"attribute_name": "expires_at", "enabled": True},
                "lifecycle": {"prevent_destroy": True},
            },
        )


def _alarms(deployment: Deployment) -> _Resources:
    for alarm in find_alarms(deployment.needs):
        yield f"{label(alarm.queue)}-{alarm.kind}", _make_alarm(alarm)


def _make_alarm(alarm: Alarm) -> dict[str, Any]:
    return {
        "alarm_name": f"{alarm.queue}-{alarm.kind}",
        "alarm_description": alarm.description,
        "namespace": "AWS/SQS",
        "metric_name": alarm.metric,
        "dimensions": {"QueueName": _reference(_QUEUE, alarm.queue, "name")},
        "statistic": "Maximum",
        "period": PERIOD,
        "evaluation_periods": alarm.periods,
        "comparison_operator": "GreaterThanThreshold",
        "threshold": alarm.threshold,
        "treat_missing_data": "notBreaching",
        "alarm_actions": _TOLD,
    }


def _outputs(deployment: Deployment) -> _Resources:
    for queue in deployment.needs.queues:
        yield f"{label(queue.name)}_queue_url", {"value": _reference(_QUEUE, queue.name, "url")}
    for topic in _own_topics(deployment):
        yield f"{label(topic.name)}_topic_arn", {"value": _arn_of_topic(topic.name, deployment)}


def _own_topics(deployment: Deployment) -> Iterator[NeededTopic]:
    return (topic for topic in deployment.needs.topics if topic.name not in deployment.existing_topics)


def _arguments_of(attributes: Attributes) -> dict[str, Any]:
    """Return *attributes*, which are texts, as arguments."""
    return {
        _ARGUMENTS[name]: int(text) if name in _NUMBERS else _literal(text) if name in _TEXTS else text == "true"
        for name, text in attributes.items()
    }


def _arn_of_topic(name: str, deployment: Deployment) -> str:
    place = "data." if name in deployment.existing_topics else ""
    return _reference(f"{place}{_TOPIC}", name, "arn")


def _reference(kind: str, name: str, attribute: str) -> str:
    return f"${{{kind}.{label(name)}.{attribute}}}"


def _literal(text: str) -> str:
    """Return *text* so that Terraform takes nothing in it for an expression."""
    return text.replace("${", "$${").replace("%{", "%%{")
