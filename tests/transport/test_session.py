"""Sessions: how AWS is reached, in which region, and that no secret shows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from megaflow.errors import ConfigurationError
from megaflow.transport.session import AwsSettings

KEYS = {"aws_access_key_id": "AKIAIOSFODNN7EXAMPLE", "aws_secret_access_key": "wJalrXUtnFEMI/K7MDENG/EXAMPLEKEY"}
ADDRESSES = {
    "sqs": "https://sqs.eu-central-1.amazonaws.com/424566909325/orders",
    "sns": "arn:aws:sns:eu-central-1:424566909325:orders",
}
TOKEN = "IQoJb3JpZ2luX2VjEXAMPLE"


@pytest.mark.parametrize("show", [repr, str, "{}".format, lambda settings: f"{settings!r}"])
def test_secrets_never_show(show: Callable[[AwsSettings], str]) -> None:
    settings = AwsSettings(**KEYS, aws_session_token=TOKEN, region_name="us-west-2")

    shown = show(settings)

    assert "us-west-2" in shown
    assert not any(secret in shown for secret in (*KEYS.values(), TOKEN))


@pytest.mark.parametrize("given_key", list(KEYS))
def test_half_a_pair_of_keys_is_refused_without_showing_it(given_key: str) -> None:
    missing = next(key for key in KEYS if key != given_key)

    with pytest.raises(ConfigurationError) as caught:
        AwsSettings(**{given_key: KEYS[given_key]})

    assert str(caught.value) == f"{given_key} was given without {missing}; give both, or neither"


def test_aws_settings_are_immutable() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        AwsSettings().region_name = "us-west-2"  # type: ignore[misc]


@pytest.fixture
def no_aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Take away what boto3 would find around here."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


@pytest.mark.usefixtures("no_aws")
@pytest.mark.parametrize("service", ["sqs", "sns"])
def test_a_client_is_made_as_it_is_told(service: str) -> None:
    settings = AwsSettings(**KEYS, region_name="eu-central-1", endpoint_url="http://127.0.0.1:4566")

    client = settings.create_client(service, ADDRESSES[service])

    assert client.meta.service_model.service_name == service
    assert client.meta.region_name == "eu-central-1"
    assert client.meta.endpoint_url == "http://127.0.0.1:4566"


@pytest.mark.usefixtures("no_aws")
def test_what_is_not_given_is_left_to_boto3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "sa-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:4566")

    client = AwsSettings().create_client("sqs", "http://127.0.0.1:4566/1/orders")

    assert client.meta.region_name == "sa-east-1"


@pytest.mark.usefixtures("no_aws")
def test_a_name_without_a_region_says_how_to_set_one() -> None:
    with pytest.raises(
        ConfigurationError, match=r"no AWS region for sqs: give region_name=, or set AWS_DEFAULT_REGION"
    ):
        AwsSettings(**KEYS).create_client("sqs", "orders")


@pytest.mark.usefixtures("no_aws")
def test_an_unknown_profile_is_named() -> None:
    settings = AwsSettings(profile_name="staging")

    with pytest.raises(ConfigurationError, match=r"^profile_name='staging': .*; see 'aws configure list-profiles'$"):
        settings.create_client("sns", ADDRESSES["sns"])


@pytest.mark.usefixtures("no_aws")
def test_what_boto3_cannot_use_is_a_configuration_error_that_keeps_the_secrets() -> None:
    settings = AwsSettings(**KEYS, aws_session_token=TOKEN, endpoint_url="nowhere")

    with pytest.raises(ConfigurationError, match="nowhere") as caught:
        settings.create_client("sqs", ADDRESSES["sqs"])

    assert not any(secret in str(caught.value) for secret in (*KEYS.values(), TOKEN))
