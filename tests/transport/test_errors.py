"""The errors of SQS's calls: which someone has to mend, and how."""

from __future__ import annotations

import pytest
from botocore.exceptions import (
    CredentialRetrievalError,
    EndpointConnectionError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ReadTimeoutError,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
)

from megaflow.transport.errors import as_configuration_error, is_refusal, read_code
from tests.fakes import client_error

URL = "https://sqs.us-east-1.amazonaws.com/000000000000/orders"


NO_QUEUE = "there is no such queue; check its URL, its account and the region"
NO_ACCESS = "access is refused; check the credentials, and that they allow sqs:ReceiveMessage and sqs:DeleteMessage"
NO_CREDENTIALS = "there are no usable credentials; give aws_access_key_id=, a profile_name=, or a role"
NO_CALL = "the call is not one that boto3 takes; check the URL, and that boto3 is up to date"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        *[
            (client_error(code), NO_QUEUE)
            for code in ("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist", "InvalidAddress")
        ],
        *[
            (client_error(code, status=403), NO_ACCESS)
            for code in (
                "AccessDenied",
                "AccessDeniedException",
                "ExpiredToken",
                "InvalidClientTokenId",
                "KMS.AccessDeniedException",
                "KmsAccessDenied",
                "SignatureDoesNotMatch",
            )
        ],
        (NoCredentialsError(), NO_CREDENTIALS),
        (PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"), NO_CREDENTIALS),
        (CredentialRetrievalError(provider="role", error_msg="no"), NO_CREDENTIALS),
        (UnauthorizedSSOTokenError(), NO_CREDENTIALS),
        (TokenRetrievalError(provider="sso", error_msg="log in"), NO_CREDENTIALS),
        (ParamValidationError(report="QueueUrl is no text"), NO_CALL),
    ],
    ids=repr,
)
def test_what_someone_has_to_mend_is_a_refusal_and_says_how(error: Exception, said: str) -> None:
    refused = as_configuration_error(error, URL)

    assert is_refusal(error)
    assert str(refused) == f"queue_url={URL!r}: {said} ({error})"


@pytest.mark.parametrize(
    "error",
    [
        client_error("RequestThrottled"),
        client_error("OverLimit", status=403),
        client_error("InternalError", status=500),
        client_error("ServiceUnavailable", status=503),
        EndpointConnectionError(endpoint_url=URL),
        ReadTimeoutError(endpoint_url=URL),
        OSError("gone"),
    ],
    ids=repr,
)
def test_what_may_mend_itself_is_no_refusal(error: Exception) -> None:
    assert not is_refusal(error)


@pytest.mark.parametrize(
    ("error", "code"),
    [(client_error("Busy"), "Busy"), (NoCredentialsError(), "NoCredentialsError"), (OSError(), "OSError")],
)
def test_an_error_has_awss_code_or_the_name_of_its_type(error: Exception, code: str) -> None:
    assert read_code(error) == code
