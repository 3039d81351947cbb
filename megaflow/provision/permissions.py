"""Permissions: what the roles of an app have to be allowed, each with what it is for.

Actions are those of https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsqs.html and its
neighbours. Tests record which calls megaflow makes, and compare.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final


class Role(Enum):
    """Who has to be allowed something."""

    CONSUMER = "consumer"
    """The process that consumes: a service, or a Lambda function."""

    PRODUCER = "producer"
    """Whoever publishes. A service whose handlers publish needs this beside the other one."""

    OPERATOR = "operator"
    """People, and what works for them, with the command line."""


class On(Enum):
    """What something is allowed on."""

    QUEUE = "the queue"
    DEAD_LETTERS = "the dead-letter queue"
    QUEUES = "the queue and the dead-letter queue"
    TOPIC = "the topic"
    TOPICS = "the topic, and those that the queue subscribes to"
    SUBSCRIBED = "the topics that the queue subscribes to"
    EVERYTHING = "`*`: IAM knows nothing smaller for it"
    TABLE = "the table"
    PAYLOADS = "the objects of the bucket, below its prefix"
    READ_PAYLOADS = "the objects of every bucket that is read, below its prefix"
    READ_BUCKETS = "every bucket that is read"
    KEY_OF_QUEUE = "the key of the queue"
    KEY_OF_DEAD_LETTERS = "the key of the dead-letter queue"
    KEY_OF_QUEUES = "the keys of both queues"
    KEY_OF_TOPIC = "the key of the topic"


class When(Enum):
    """In which case something is needed."""

    ALWAYS = ""
    BY_NAME = "the queue is given by name"
    WITH_DEAD_LETTERS = "there is a dead-letter queue"
    TO_QUEUE = "no topic is given"
    TO_QUEUE_BY_NAME = "no topic is given, and the queue by name"
    TO_TOPIC = "a topic is given"
    TO_TOPIC_BY_NAME = "the topic is given by name"
    WITH_TOPICS = "there is a topic"
    WITH_SUBSCRIPTIONS = "the queue subscribes to topics"
    WITH_TABLE = "a `DynamoDbStore` is used"
    WITH_PAYLOADS = "`S3Payloads` are used"
    WITH_DISCARDS = '`S3Payloads` are used, with `delete="when-done"`'


@dataclass(frozen=True, slots=True)
class Permission:
    """Actions that a role needs for one thing."""

    role: Role
    sid: str
    what_for: str
    actions: tuple[str, ...]
    on: On
    when: When = When.ALWAYS


PERMISSIONS: Final = (
    Permission(
        Role.CONSUMER,
        "Consume",
        "to receive, to delete what is done, to hide what is at work or comes again, and to read the redrive policy",
        ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", "sqs:GetQueueAttributes"),
        On.QUEUE,
    ),
    Permission(Role.CONSUMER, "FindQueue", "to look up its URL", ("sqs:GetQueueUrl",), On.QUEUE, When.BY_NAME),
    Permission(
        Role.CONSUMER,
        "DeadLetter",
        "to find the dead-letter queue, to know how large a message it takes, and to send what failed for good",
        ("sqs:GetQueueUrl", "sqs:GetQueueAttributes", "sqs:SendMessage"),
        On.DEAD_LETTERS,
        When.WITH_DEAD_LETTERS,
    ),
    Permission(
        Role.CONSUMER,
        "Remember",
        "to keep progress and idempotency keys",
        ("dynamodb:GetItem", "dynamodb:UpdateItem"),
        On.TABLE,
        When.WITH_TABLE,
    ),
    Permission(
        Role.CONSUMER, "ReadPayloads", "to read large payloads", ("s3:GetObject",), On.READ_PAYLOADS, When.WITH_PAYLOADS
    ),
    Permission(
        Role.CONSUMER,
        "MissPayloads",
        "no call, but without it S3 does not tell what is missing from what is forbidden",
        ("s3:ListBucket",),
        On.READ_BUCKETS,
        When.WITH_PAYLOADS,
    ),
    Permission(
        Role.CONSUMER,
        "DeletePayloads",
        "to delete payloads whose messages are done",
        ("s3:DeleteObject",),
        On.READ_PAYLOADS,
        When.WITH_DISCARDS,
    ),
    Permission(
        Role.PRODUCER, "WritePayloads", "to write large payloads", ("s3:PutObject",), On.PAYLOADS, When.WITH_PAYLOADS
    ),
    Permission(Role.PRODUCER, "Send", "to send", ("sqs:SendMessage",), On.QUEUE, When.TO_QUEUE),
    Permission(Role.PRODUCER, "FindQueue", "to look up its URL", ("sqs:GetQueueUrl",), On.QUEUE, When.TO_QUEUE_BY_NAME),
    Permission(Role.PRODUCER, "Publish", "to publish", ("sns:Publish",), On.TOPIC, When.TO_TOPIC),
    Permission(
        Role.PRODUCER,
        "FindTopic",
        "to look up its ARN, for which SNS can only list all topics",
        ("sns:ListTopics",),
        On.EVERYTHING,
        When.TO_TOPIC_BY_NAME,
    ),
    Permission(
        Role.OPERATOR,
        "Look",
        "`megaflow stats`, `peek` and `tail`",
        ("sqs:GetQueueUrl", "sqs:GetQueueAttributes", "sqs:ReceiveMessage", "sqs:ChangeMessageVisibility"),
        On.QUEUES,
    ),
    Permission(
        Role.OPERATOR,
        "Move",
        "`megaflow move` and `redrive`",
        ("sqs:SendMessage", "sqs:DeleteMessage"),
        On.QUEUES,
    ),
    Permission(
        Role.OPERATOR,
        "Redrive",
        "`megaflow redrive`, to find where messages go back to",
        ("sqs:ListDeadLetterSourceQueues",),
        On.DEAD_LETTERS,
        When.WITH_DEAD_LETTERS,
    ),
    Permission(Role.OPERATOR, "Purge", "`megaflow purge`", ("sqs:PurgeQueue",), On.QUEUES),
    Permission(
        Role.OPERATOR,
        "Compare",
        "`megaflow provision`, beside what `stats` needs",
        ("sns:GetTopicAttributes",),
        On.TOPICS,
        When.WITH_TOPICS,
    ),
    Permission(
        Role.OPERATOR, "FindTopics", "`megaflow provision`", ("sns:ListTopics",), On.EVERYTHING, When.WITH_TOPICS
    ),
    Permission(
        Role.OPERATOR,
        "FindSubscriptions",
        "`megaflow provision`",
        ("sns:ListSubscriptionsByTopic",),
        On.SUBSCRIBED,
        When.WITH_SUBSCRIPTIONS,
    ),
    Permission(
        Role.OPERATOR,
        "CompareSubscriptions",
        "`megaflow provision`",
        ("sns:GetSubscriptionAttributes",),
        On.EVERYTHING,
        When.WITH_SUBSCRIPTIONS,
    ),
    Permission(
        Role.OPERATOR,
        "FindSubscribed",
        "`megaflow doctor`, beside what `provision` needs",
        ("sns:ListSubscriptions", "sns:GetSubscriptionAttributes"),
        On.EVERYTHING,
    ),
    Permission(
        Role.OPERATOR,
        "MakeQueues",
        "`megaflow provision --apply`",
        ("sqs:CreateQueue", "sqs:SetQueueAttributes"),
        On.QUEUES,
    ),
    Permission(
        Role.OPERATOR,
        "MakeTopics",
        "`megaflow provision --apply`",
        ("sns:CreateTopic", "sns:SetTopicAttributes"),
        On.TOPICS,
        When.WITH_TOPICS,
    ),
    Permission(
        Role.OPERATOR,
        "Subscribe",
        "`megaflow provision --apply`",
        ("sns:Subscribe",),
        On.SUBSCRIBED,
        When.WITH_SUBSCRIPTIONS,
    ),
    Permission(
        Role.OPERATOR,
        "ChangeSubscriptions",
        "`megaflow provision --apply`",
        ("sns:SetSubscriptionAttributes",),
        On.EVERYTHING,
        When.WITH_SUBSCRIPTIONS,
    ),
    Permission(
        Role.OPERATOR,
        "MakeTable",
        "`DynamoDbStore.create_table`",
        ("dynamodb:CreateTable", "dynamodb:DescribeTable", "dynamodb:UpdateTimeToLive"),
        On.TABLE,
        When.WITH_TABLE,
    ),
)
"""What megaflow's own calls need."""

_READ: Final = ("kms:Decrypt",)
_WRITE: Final = ("kms:GenerateDataKey", "kms:Decrypt")

# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-key-management.html
# https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html
IMPLIED: Final = (
    Permission(Role.CONSUMER, "DecryptReceived", "to receive", _READ, On.KEY_OF_QUEUE),
    Permission(
        Role.CONSUMER, "EncryptDeadLetters", "to dead-letter; it is kept otherwise", _WRITE, On.KEY_OF_DEAD_LETTERS
    ),
    Permission(Role.PRODUCER, "EncryptSent", "to send", _WRITE, On.KEY_OF_QUEUE, When.TO_QUEUE),
    Permission(Role.PRODUCER, "EncryptPublished", "to publish", _WRITE, On.KEY_OF_TOPIC, When.TO_TOPIC),
    Permission(Role.OPERATOR, "ReadAndMoveEncrypted", "to receive, and to send", _WRITE, On.KEY_OF_QUEUES),
)
"""What SQS and SNS do on behalf of a role, where a key of your own encrypts: no call of megaflow's."""
