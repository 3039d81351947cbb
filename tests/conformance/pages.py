"""The pages of AWS that settle where moto differs."""

from __future__ import annotations

import pytest

_API = "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference"
_GUIDE = "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide"

SEND = f"{_API}/API_SendMessage.html"
RECEIVE = f"{_API}/API_ReceiveMessage.html"
DELETE = f"{_API}/API_DeleteMessage.html"
VISIBILITY = f"{_API}/API_ChangeMessageVisibility.html"
CREATE = f"{_API}/API_CreateQueue.html"
ADD_PERMISSION = f"{_API}/API_AddPermission.html"
START_MOVING = f"{_API}/API_StartMessageMoveTask.html"
ATTRIBUTES = f"{_API}/API_SetQueueAttributes.html"
METADATA = f"{_GUIDE}/sqs-message-metadata.html"
ORDER = f"{_GUIDE}/FIFO-queues-understanding-logic.html"
ONCE = f"{_GUIDE}/FIFO-queues-exactly-once-processing.html"
DEAD_LETTERS = f"{_GUIDE}/sqs-dead-letter-queues.html"
REDRIVE = f"{_GUIDE}/sqs-configure-dead-letter-queue-redrive.html"
DELAY = f"{_GUIDE}/sqs-delay-queues.html"
ENCRYPTION = f"{_GUIDE}/sqs-server-side-encryption.html"
PUBLISH = "https://docs.aws.amazon.com/sns/latest/api/API_Publish.html"
SUBSCRIBE = "https://docs.aws.amazon.com/sns/latest/api/API_Subscribe.html"
UNSUBSCRIBE = "https://docs.aws.amazon.com/sns/latest/api/API_Unsubscribe.html"
CREATE_TOPIC = "https://docs.aws.amazon.com/sns/latest/api/API_CreateTopic.html"
TOPIC_ATTRIBUTES = "https://docs.aws.amazon.com/sns/latest/api/API_SetTopicAttributes.html"
SUBSCRIPTION_ATTRIBUTES = "https://docs.aws.amazon.com/sns/latest/api/API_SetSubscriptionAttributes.html"
PUBLISH_BATCH = "https://docs.aws.amazon.com/sns/latest/api/API_PublishBatch.html"
SNS_ATTRIBUTES = "https://docs.aws.amazon.com/sns/latest/dg/sns-message-attributes.html"
ENVELOPE = "https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html"
ADD_TOPIC_PERMISSION = "https://docs.aws.amazon.com/sns/latest/api/API_AddPermission.html"
REMOVE_TOPIC_PERMISSION = "https://docs.aws.amazon.com/sns/latest/api/API_RemovePermission.html"
CONFIRM = "https://docs.aws.amazon.com/sns/latest/api/API_ConfirmSubscription.html"
DELIVERY_POLICY = "https://docs.aws.amazon.com/sns/latest/dg/sns-message-delivery-retries.html"
TAGS = "https://docs.aws.amazon.com/sns/latest/dg/sns-tags.html"
RAW = "https://docs.aws.amazon.com/sns/latest/dg/sns-large-payload-raw-message-delivery.html"
FILTERS = "https://docs.aws.amazon.com/sns/latest/dg/sns-subscription-filter-policies.html"
STRING_MATCHING = "https://docs.aws.amazon.com/sns/latest/dg/string-value-matching.html"
KEY_MATCHING = "https://docs.aws.amazon.com/sns/latest/dg/attribute-key-matching.html"
FILTER_OR = "https://docs.aws.amazon.com/sns/latest/dg/and-or-logic.html"
CONSTRAINTS = "https://docs.aws.amazon.com/sns/latest/dg/subscription-filter-policy-constraints.html"
REMOVE_FILTER = "https://docs.aws.amazon.com/sns/latest/dg/message-filtering-policy-remove.html"
TOPIC_DEAD_LETTERS = "https://docs.aws.amazon.com/sns/latest/dg/sns-dead-letter-queues.html"
TOPIC_GROUPS = "https://docs.aws.amazon.com/sns/latest/dg/fifo-message-grouping.html"


def moto_differs(reason: str, page: str) -> pytest.MarkDecorator:
    """Expect a case to fail against moto; *page* is what AWS says."""
    return pytest.mark.moto_differs(reason, page)
