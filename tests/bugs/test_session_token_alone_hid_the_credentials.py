"""A session token without keys was taken, and put None in the place of the keys that boto3 would have found."""

from __future__ import annotations

import pytest

from megaflow.errors import ConfigurationError
from megaflow.transport.session import AwsSettings


def test_a_session_token_needs_the_keys_it_belongs_to() -> None:
    with pytest.raises(ConfigurationError) as caught:
        AwsSettings(aws_session_token="IQoJb3JpZ2luX2VjEXAMPLE")

    assert str(caught.value) == (
        "aws_session_token was given without aws_access_key_id and aws_secret_access_key; give all, or none"
    )
