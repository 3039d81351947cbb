"""The numbers and characters of SQS and SNS, each with the page of AWS that sets it, and our own limits of bodies.

Sizes are in bytes, times in seconds.
"""

from __future__ import annotations

import re
from typing import Final

# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
SQS_MESSAGE_SIZE: Final = 1_048_576
"""Body and attributes together, and the sum over a batch."""

MESSAGE_ATTRIBUTES: Final = 10
BATCH_ENTRIES: Final = 10
DELAY: Final = 900
VISIBILITY_TIMEOUT: Final = 43_200
"""Counted from when the message was received, extensions included."""

SHORTEST_RETENTION: Final = 60
LONGEST_RETENTION: Final = 1_209_600
"""How long a queue may keep a message: 14 days at most."""

IN_FLIGHT: Final = 120_000
"""Messages of one queue that may be received and not deleted at a time.

More is ``OverLimit`` on a standard queue, and an empty answer on a FIFO one.
"""

FIFO_IN_FLIGHT: Final = 20_000
"""The same of a FIFO queue, as far as every one allows it: not all have been raised to more."""

# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html
WAIT_TIME: Final = 20
RECEIVED_MESSAGES: Final = 10

# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SetQueueAttributes.html
RECEIVES: Final = 1_000
"""After how many receives at most a redrive policy moves a message."""

# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_CreateQueue.html
QUEUE_NAME_LENGTH: Final = 80
# https://docs.aws.amazon.com/sns/latest/api/API_CreateTopic.html
TOPIC_NAME_LENGTH: Final = 256

# https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
SNS_MESSAGE_SIZE: Final = 262_144
SNS_SUBJECT_LENGTH: Final = 100

# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
GROUP_ID_LENGTH: Final = 128
"""Of a message group id, and of a deduplication id."""

# https://www.mongodb.com/docs/manual/reference/limits/#mongodb-limit-Nested-Depth-for-BSON-Documents
NESTING: Final = 100
"""Levels of objects and lists within each other, the outermost counted."""

# https://docs.python.org/3/library/stdtypes.html#integer-string-conversion-length-limitation
DIGITS: Final = 4_300
"""Of a whole number."""

_REFUSED_CHARACTER: Final = "[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
"""Compiled when it is first needed, which takes a while."""

_GROUP_ID: Final = re.compile(r"[\x21-\x7e]{1,128}")

# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html
_ATTRIBUTE_NAME: Final = re.compile(r"(?!(?i:aws|amazon)\.)(?!.*\.\.)(?!\.)[A-Za-z0-9_.-]{1,256}(?<!\.)")


def refused_character(text: str) -> str | None:
    """Return the first character of *text* that SQS refuses, or None where it takes them all."""
    # All that can be printed is taken, which is quicker to know.
    found = None if text.isprintable() else re.search(_REFUSED_CHARACTER, text)
    return found.group() if found else None


def allows_attribute_name(name: str) -> bool:
    """Tell whether SQS and SNS take *name* as the name of a message attribute."""
    return _ATTRIBUTE_NAME.fullmatch(name) is not None


def allows_group_id(value: str) -> bool:
    """Tell whether *value* can be a message group id or a deduplication id."""
    return _GROUP_ID.fullmatch(value) is not None
