"""Errors of SQS's calls: a queue that does not exist, access denied, or too many messages in flight."""

from __future__ import annotations

from typing import Final

from megaflow.errors import ConfigurationError

_MISSING_QUEUE: Final = frozenset({"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist", "InvalidAddress"})
_INVALID: Final = frozenset(
    {
        "BatchRequestTooLong",
        "InvalidMessageContents",
        "InvalidParameter",
        "InvalidParameterValue",
        "InvalidParameterValueException",
    }
)
"""What SQS and SNS say of a message that is too large, among other things."""

_DENIED: Final = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "AuthFailure",
        "AuthorizationError",
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidClientTokenId",
        "InvalidSecurity",
        "KMS.AccessDeniedException",
        "KmsAccessDenied",
        "MissingAuthenticationToken",
        "NotAuthorized",
        "OptInRequired",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)


def is_missing_queue(error: BaseException) -> bool:
    """Tell whether *error* says that there is no such queue."""
    return read_code(error) in _MISSING_QUEUE


def is_denied(error: BaseException) -> bool:
    """Tell whether *error* says that the caller may not, or is not known."""
    return read_code(error) in _DENIED


def is_refusal(error: BaseException) -> bool:
    """Tell whether *error* says that this will not work until someone changes something: no queue, no access."""
    from botocore.exceptions import (
        ClientError,
        CredentialRetrievalError,
        NoCredentialsError,
        ParamValidationError,
        PartialCredentialsError,
        SSOError,
        TokenRetrievalError,
    )

    if isinstance(error, ClientError):
        return is_missing_queue(error) or is_denied(error)
    no_credentials = (
        CredentialRetrievalError,
        NoCredentialsError,
        PartialCredentialsError,
        SSOError,
        TokenRetrievalError,
    )
    return isinstance(error, (ParamValidationError, *no_credentials))


def is_over_limit(error: BaseException) -> bool:
    """Tell whether *error* says that too many messages of the queue are in flight."""
    return read_code(error) in ("OverLimit", "AWS.SimpleQueueService.OverLimit")


def is_too_large(error: BaseException) -> bool:
    """Tell whether *error* says that a message is larger than its destination takes.

    SQS has no code for it: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
    """
    response = getattr(error, "response", None)
    if not isinstance(response, dict):
        return False
    if response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 413:
        return True
    text = str(response.get("Error", {}).get("Message", "")).lower()
    return read_code(error) in _INVALID and any(each in text for each in ("shorter than", "too long", "too large"))


def is_refused_message(error: BaseException) -> bool:
    """Tell whether *error* says that the message itself is refused: it is too large, or something in it is wrong."""
    return is_too_large(error) or read_code(error) in _INVALID


def as_configuration_error(error: BaseException, queue_url: str) -> ConfigurationError:
    """Return *error*, for which `is_refusal` holds, in the words of someone who has to mend it."""
    if is_missing_queue(error):
        remedy = "there is no such queue; check its URL, its account and the region"
    elif is_denied(error):
        remedy = (
            "access is refused; check the credentials, and that they allow sqs:ReceiveMessage and sqs:DeleteMessage"
        )
    elif read_code(error) == "ParamValidationError":
        remedy = "the call is not one that boto3 takes; check the URL, and that boto3 is up to date"
    else:
        remedy = "there are no usable credentials; give aws_access_key_id=, a profile_name=, or a role"
    return ConfigurationError(f"queue_url={queue_url!r}: {remedy} ({error})")


def is_of_account(code: str) -> bool:
    """Tell whether *code* of a refused entry is about who sends, or the queue and its key, and not about the entry."""
    return code in _MISSING_QUEUE or code in _DENIED or "Throttl" in code or code.startswith(("KMS", "Kms"))


def read_code(error: BaseException) -> str:
    """Return AWS's code for *error*, or the name of its type."""
    response = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else type(error).__name__
