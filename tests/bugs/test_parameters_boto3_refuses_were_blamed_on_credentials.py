"""A call that boto3 does not take, as an old one does not take a new parameter, told people to give credentials."""

from __future__ import annotations

from botocore.exceptions import ParamValidationError

from megaflow.transport.errors import as_configuration_error


def test_the_remedy_speaks_of_the_call() -> None:
    error = ParamValidationError(report='Unknown parameter in input: "MessageSystemAttributeNames"')

    said = str(as_configuration_error(error, "https://sqs.us-east-1.amazonaws.com/0/orders"))

    assert "credentials" not in said
    assert "boto3 is up to date" in said
    assert "MessageSystemAttributeNames" in said
