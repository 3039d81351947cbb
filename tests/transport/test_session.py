"""Sessions: how AWS is reached, in which region, and that no secret shows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest

from megaflow.errors import ConfigurationError
from megaflow.transport.addresses import read_address
from megaflow.transport.session import AwsSettings, Clients

KEYS: dict[str, Any] = {
    "aws_access_key_id": "AKIAIOSFODNN7EXAMPLE",
    "aws_secret_access_key": "wJalrXUtnFEMI/K7MDENG/EXAMPLEKEY",
}
ADDRESSES = {
    "sqs": "https://sqs.eu-central-1.amazonaws.com/424566909325/orders",
    "sns": "arn:aws:sns:eu-central-1:424566909325:orders",
}
PARTITIONS = boto3.Session().get_available_partitions()
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


QUEUE = "/424566909325/orders"
VPC = "vpce-0a1b2c3d-ab12.sqs.us-west-2.vpce.amazonaws.com"


@pytest.mark.usefixtures("no_aws")
@pytest.mark.parametrize(
    ("address", "region", "host"),
    [
        ("https://sqs.us-west-2.amazonaws.com", "us-west-2", "sqs.us-west-2.amazonaws.com"),
        ("https://us-west-2.queue.amazonaws.com", "us-west-2", "sqs.us-west-2.amazonaws.com"),
        ("https://queue.amazonaws.com", "us-east-1", "sqs.us-east-1.amazonaws.com"),
        ("https://sqs.us-west-2.api.aws", "us-west-2", "sqs.us-west-2.api.aws"),
        ("https://sqs-fips.us-west-2.amazonaws.com", "us-west-2", "sqs-fips.us-west-2.amazonaws.com"),
        ("https://sqs-fips.us-west-2.api.aws", "us-west-2", "sqs-fips.us-west-2.api.aws"),
        (f"https://{VPC}", "us-west-2", VPC),
        ("https://sqs.cn-north-1.amazonaws.com.cn", "cn-north-1", "sqs.cn-north-1.amazonaws.com.cn"),
        pytest.param(
            *("https://sqs.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1", "sqs.eusc-de-east-1.amazonaws.eu"),
            marks=pytest.mark.skipif("aws-eusc" not in PARTITIONS, reason="this botocore does not know the partition"),
        ),
    ],
)
@pytest.mark.parametrize("ambient", [None, "sa-east-1"])
def test_the_address_says_the_region_and_which_of_awss_hosts_is_called(
    address: str, region: str, host: str, ambient: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if ambient:
        monkeypatch.setenv("AWS_DEFAULT_REGION", ambient)

    client = AwsSettings(**KEYS).create_client("sqs", f"{address}{QUEUE}")

    assert client.meta.region_name == client._request_signer.region_name == region
    assert client.meta.endpoint_url == f"https://{host}"


@pytest.mark.usefixtures("no_aws")
@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SQS", None])
@pytest.mark.parametrize("host", [VPC, "sqs-fips.us-west-2.api.aws", "us-west-2.queue.amazonaws.com"])
def test_an_endpoint_url_says_where_calls_go_and_the_address_which_region(
    host: str, variable: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = "http://127.0.0.1:4566"
    if variable:
        monkeypatch.setenv(variable, there)

    settings = AwsSettings(**KEYS, endpoint_url=None if variable else there)
    client = settings.create_client("sqs", f"https://{host}{QUEUE}")

    assert (client.meta.region_name, client.meta.endpoint_url) == ("us-west-2", there)


@pytest.mark.usefixtures("no_aws")
def test_a_vpc_endpoint_is_called_where_the_environment_wants_fips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_USE_FIPS_ENDPOINT", "true")

    assert AwsSettings(**KEYS).create_client("sqs", f"https://{VPC}{QUEUE}").meta.endpoint_url == f"https://{VPC}"


@pytest.mark.usefixtures("no_aws")
@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:4566/424566909325/orders",
        "http://sqs.us-west-2.localhost.localstack.cloud:4566/424566909325/orders",
        "https://sqs.us-west-2.amazonaws.com.evil.example/424566909325/orders",
    ],
)
def test_what_is_not_awss_is_not_looked_for_there(address: str) -> None:
    with pytest.raises(
        ConfigurationError, match=r"is no address of AWS's, and calls go to AWS: give endpoint_url='http"
    ):
        AwsSettings(**KEYS, region_name=read_address(address).region or "us-west-2").create_client("sqs", address)


@pytest.mark.usefixtures("no_aws")
@pytest.mark.parametrize(
    ("address", "region"),
    [
        ("http://127.0.0.1:4566/424566909325/orders", "us-east-1"),
        ("http://us-west-2.queue.localhost.localstack.cloud:4566/424566909325/orders", "us-west-2"),
        ("orders", "us-east-1"),
    ],
)
def test_an_emulator_needs_no_region(address: str, region: str) -> None:
    client = AwsSettings(**KEYS, endpoint_url="http://127.0.0.1:4566").create_client("sqs", address)

    assert client.meta.region_name == region


@pytest.mark.usefixtures("no_aws")
def test_there_is_one_client_for_each_region() -> None:
    clients = Clients("sqs", {"aws_access_key_id": "a", "aws_secret_access_key": "b"}, None, wire=True)
    west = clients.client_for(f"https://sqs.us-west-2.amazonaws.com{QUEUE}")

    assert clients.client_for(f"https://us-west-2.queue.amazonaws.com{QUEUE}-dead") is west
    assert clients.client_for("arn:aws:sqs:us-west-2:424566909325:orders") is west
    assert clients.client_for(f"https://sqs.eu-west-1.amazonaws.com{QUEUE}").meta.region_name == "eu-west-1"
    assert clients.client_for(f"https://{VPC}{QUEUE}") is not west


@pytest.mark.usefixtures("no_aws")
def test_a_client_that_was_given_is_for_all_addresses_of_its_region() -> None:
    given = AwsSettings(**KEYS, region_name="us-west-2").create_client("sqs", "orders")
    clients = Clients("sqs", {}, given, wire=False)

    assert clients.client_for(f"https://{VPC}{QUEUE}") is given
    assert clients.client_for("orders") is given
    with pytest.raises(ConfigurationError, match="is in us-east-1, and the client that was given is of us-west-2"):
        clients.client_for(f"https://queue.amazonaws.com{QUEUE}")
