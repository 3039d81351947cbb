"""Addresses: every form of AWS's is read, what botocore knows is known here, and nobody else's host names a region."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import botocore
import pytest
from botocore.endpoint_provider import EndpointProvider
from botocore.exceptions import BotoCoreError
from botocore.loaders import Loader
from hypothesis import given
from hypothesis import strategies as st

from megaflow.errors import ConfigurationError
from megaflow.transport.addresses import (
    Host,
    identify_queue,
    is_same_queue,
    name_of,
    queue_url_of,
    read_address,
    topic_arn_of,
)

ACCOUNT = "424566909325"
PATH = f"/{ACCOUNT}/orders.fifo"
VPC = "vpce-0a1b2c3d4e5f67890-ab12cd34"
US = f"https://sqs.us-west-2.amazonaws.com{PATH}"

DATA = Path(botocore.__file__).parent / "data"
PARTITIONS = json.loads((DATA / "partitions.json").read_text())["partitions"]
REGIONS = [(each["id"], region) for each in PARTITIONS for region in each["regions"] if "global" not in region]
SUFFIXES = sorted({each["outputs"][key] for each in PARTITIONS for key in ("dnsSuffix", "dualStackDnsSuffix")})


@pytest.mark.parametrize(
    ("host", "region", "kind"),
    [
        ("sqs.us-west-2.amazonaws.com", "us-west-2", Host.AWS),
        ("us-west-2.queue.amazonaws.com", "us-west-2", Host.AWS),
        ("queue.amazonaws.com", "us-east-1", Host.AWS),
        ("sqs.cn-north-1.amazonaws.com.cn", "cn-north-1", Host.AWS),
        ("cn-northwest-1.queue.amazonaws.com.cn", "cn-northwest-1", Host.AWS),
        ("sqs.us-gov-west-1.amazonaws.com", "us-gov-west-1", Host.AWS),
        ("us-gov-west-1.queue.amazonaws.com", "us-gov-west-1", Host.AWS),
        ("sqs.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1", Host.AWS),
        ("sqs.us-iso-east-1.c2s.ic.gov", "us-iso-east-1", Host.AWS),
        ("us-isob-east-1.queue.sc2s.sgov.gov", "us-isob-east-1", Host.AWS),
        ("sqs.eu-isoe-west-1.cloud.adc-e.uk", "eu-isoe-west-1", Host.AWS),
        ("sqs.us-isof-south-1.csp.hci.ic.gov", "us-isof-south-1", Host.AWS),
        ("sqs.us-west-2.api.aws", "us-west-2", Host.AWS_VARIANT),
        ("sqs.cn-north-1.api.amazonwebservices.com.cn", "cn-north-1", Host.AWS_VARIANT),
        ("sqs.eusc-de-east-1.api.amazonwebservices.eu", "eusc-de-east-1", Host.AWS_VARIANT),
        ("sqs-fips.us-west-2.amazonaws.com", "us-west-2", Host.AWS_VARIANT),
        ("sqs-fips.us-west-2.api.aws", "us-west-2", Host.AWS_VARIANT),
        (f"{VPC}.sqs.us-west-2.vpce.amazonaws.com", "us-west-2", Host.AWS_VPC),
        (f"{VPC}-us-west-2a.sqs.us-west-2.vpce.amazonaws.com", "us-west-2", Host.AWS_VPC),
        (f"{VPC}-us-west-2-lax-1a.sqs.us-west-2.vpce.amazonaws.com", "us-west-2", Host.AWS_VPC),
        (f"{VPC}.sqs-fips.us-gov-east-1.vpce.amazonaws.com", "us-gov-east-1", Host.AWS_VPC),
        (f"{VPC}-cn-north-1b.sqs.cn-north-1.vpce.amazonaws.com.cn", "cn-north-1", Host.AWS_VPC),
        # Emulators': only LocalStack's own domain names a region.
        ("localhost:4566", "", Host.FOREIGN),
        ("sqs.us-west-2.localhost.localstack.cloud:4566", "us-west-2", Host.FOREIGN),
        ("us-west-2.queue.localhost.localstack.cloud:4566", "us-west-2", Host.FOREIGN),
        ("queue.localhost.localstack.cloud:4566", "", Host.FOREIGN),
        ("[::1]:4566", "", Host.FOREIGN),
        # Who looks like AWS is not AWS.
        ("sqs.us-west-2.amazonaws.com.evil.example", "", Host.FOREIGN),
        ("sqs.us-west-2.evil-amazonaws.com", "", Host.FOREIGN),
        ("sqs.us-west-2.amazonaws.com@evil.example", "", Host.FOREIGN),
        ("evil.example:443#sqs.us-west-2.amazonaws.com", "", Host.FOREIGN),
        ("sqs.us-west-2.amazonaws.co", "", Host.FOREIGN),
        ("my-sqs.us-west-2.amazonaws.com", "", Host.FOREIGN),
        ("vpce-1.s3.us-west-2.vpce.amazonaws.com", "", Host.FOREIGN),
        ("ec2-203-0-113-25.us-west-2.compute.amazonaws.com:4566", "", Host.FOREIGN),
        ("sqs.us-west-2.localhost.localstack.cloud.evil.example", "", Host.FOREIGN),
    ],
)
def test_a_host_is_read_as_what_it_is(host: str, region: str, kind: Host) -> None:
    for url in (f"https://{host}{PATH}", f"http://{host}{PATH}"):
        address = read_address(url)

        assert (address.region, address.host) == (region, kind)


def test_a_url_says_account_and_name() -> None:
    address = read_address(US)

    assert (address.service, address.account, address.name) == ("sqs", ACCOUNT, "orders.fifo")
    assert address.endpoint_url == "https://sqs.us-west-2.amazonaws.com"


@pytest.mark.parametrize(
    "url",
    [
        f"HTTPS://SQS.US-WEST-2.AMAZONAWS.COM{PATH}",
        f"https://sqs.us-west-2.amazonaws.com:443{PATH}",
        f"https://sqs.us-west-2.amazonaws.com.{PATH}",
        f"{US}/",
    ],
)
def test_a_url_may_be_written_in_other_ways(url: str) -> None:
    address = read_address(url)

    assert (address.region, address.account, address.name) == ("us-west-2", ACCOUNT, "orders.fifo")


def test_localstacks_path_names_a_region_wherever_it_runs() -> None:
    address = read_address("http://localhost:4566/queue/us-west-2/000000000000/orders")

    assert (address.region, address.account, address.name) == ("us-west-2", "0" * 12, "orders")


@pytest.mark.parametrize("service", ["sqs", "sns"])
@pytest.mark.parametrize(("partition", "region"), REGIONS)
def test_an_arn_says_it_all(service: str, partition: str, region: str) -> None:
    address = read_address(f"arn:{partition}:{service}:{region}:{ACCOUNT}:orders")

    assert (address.service, address.partition, address.region) == (service, partition, region)
    assert (address.account, address.name, address.host) == (ACCOUNT, "orders", Host.NONE)


@cache
def rules() -> EndpointProvider:
    loader = Loader()
    ruleset = loader.load_service_model("sqs", "endpoint-rule-set-1")
    return EndpointProvider(ruleset, loader.load_data("partitions"))


def resolve(region: str, *, fips: bool, dual_stack: bool) -> str:
    """Return where botocore calls SQS; ``""`` where there is no such place."""
    try:
        said: Any = rules().resolve_endpoint(Region=region, UseFIPS=fips, UseDualStack=dual_stack)
    except BotoCoreError:
        return ""
    return str(said.url)


@pytest.mark.parametrize(("partition", "region"), REGIONS)
def test_wherever_botocore_calls_the_region_is_known(partition: str, region: str) -> None:
    assert resolve(region, fips=False, dual_stack=False)
    for fips in (False, True):
        for dual_stack in (False, True):
            url = resolve(region, fips=fips, dual_stack=dual_stack)
            if not url:  # older versions know no dual stack for isolated partitions
                continue
            address = read_address(f"{url}{PATH}")

            assert (address.region, address.partition) == (region, partition)
            assert address.dual_stack == dual_stack
            assert resolve(region, fips=address.fips, dual_stack=address.dual_stack) in (
                url,
                resolve(region, fips=False, dual_stack=dual_stack),
            )


@pytest.mark.parametrize(("partition", "region"), REGIONS)
def test_an_arn_becomes_the_url_that_botocore_calls(partition: str, region: str) -> None:
    url = queue_url_of("queue_url", f"arn:{partition}:sqs:{region}:{ACCOUNT}:orders.fifo")

    assert url == f"{resolve(region, fips=False, dual_stack=False)}{PATH}"


@pytest.mark.parametrize("partition", [each for each in PARTITIONS if each["regions"]], ids=lambda each: each["id"])
def test_legacy_hosts_and_vpc_endpoints_are_in_the_domain_of_their_partition(partition: dict[str, Any]) -> None:
    suffix = partition["outputs"]["dnsSuffix"]
    for region in (each for each in partition["regions"] if "global" not in each):
        for host in (f"{region}.queue.{suffix}", f"{VPC}.sqs.{region}.vpce.{suffix}"):
            address = read_address(f"https://{host}{PATH}")

            assert (address.region, address.partition) == (region, partition["id"])


def lookalikes() -> st.SearchStrategy[str]:
    """Hosts that hold a host of AWS's, and are none."""
    awss = st.builds(
        "{}.{}.{}".format,
        st.sampled_from(["sqs", "sqs-fips", "vpce-1-2.sqs"]),
        st.sampled_from([region for _, region in REGIONS]),
        st.sampled_from([*SUFFIXES, *(f"vpce.{each}" for each in SUFFIXES)]),
    )
    foreign = st.sampled_from(["evil.example", "evil", "localhost", "evil.example:8443", "127.0.0.1"])
    return st.one_of(
        st.builds("{}.{}".format, awss, foreign),
        st.builds("{}-{}".format, awss, foreign),
        st.builds("{}@{}".format, awss, foreign),
        st.builds("{1}/{0}".format, awss, foreign),
        st.builds("{1}?{0}".format, awss, foreign),
        st.builds("{1}#{0}".format, awss, foreign),
        st.builds(r"{1}\{0}".format, awss, foreign),
        st.builds("{1}-{0}".format, awss, st.just("evil")),
    )


@given(lookalikes())
def test_a_foreign_host_names_no_region_whatever_else_it_says(host: str) -> None:
    address = read_address(f"https://{host}{PATH}")

    assert address.region == ""
    assert not address.is_awss


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    for each in (text, f"https://{text}", f"arn:{text}"):
        assert read_address(each).text == each


@pytest.mark.parametrize("name", ["orders", "httpd-logs", "https", "arn", "queue.fifo", "sqs.us-west-2.amazonaws.com"])
def test_what_is_neither_url_nor_arn_is_a_name(name: str) -> None:
    assert read_address(name).is_name
    assert name_of(name) == name


def test_a_queue_url_is_its_own_and_an_arn_becomes_one() -> None:
    assert queue_url_of("queue_url", US) == US
    assert queue_url_of("queue_url", f"{US}/") == US
    assert queue_url_of("queue_url", f"arn:aws:sqs:us-west-2:{ACCOUNT}:orders.fifo") == US


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        ("orders", r"queue_url='orders' is not .*, but a name, which says neither region nor account: give https://"),
        ("arn:aws:sns:us-west-2:424566909325:orders", r"but that of a topic: give its ARN as topic_arn="),
        ("arn:aws:s3:::orders", r"is not the URL or the ARN of a queue, as in https://sqs\."),
        ("arn:aws:sqs:us-west-2:424566909325", r"is not the URL or the ARN of a queue, as in"),
        ("https://sqs.us-west-2.amazonaws.com/", r"is not the URL or the ARN of a queue, as in"),
        ("https://[", r"is not the URL or the ARN of a queue, as in"),
        (7, r"queue_url=7 is not the URL or the ARN of a queue, as in"),
        ("", r"queue_url='' is not the URL or the ARN of a queue, as in"),
    ],
)
def test_what_is_no_address_of_a_queue_is_refused_with_what_to_do(given_: object, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        queue_url_of("queue_url", given_)


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        ("orders", r"topic_arn='orders' is not the ARN of a topic, but a name"),
        (US, r"but that of a queue: give it as queue_url="),
        ("arn:aws:sns:us-west-2:424566909325:orders:0a1b2c3d", r"is not the ARN of a topic, as in arn:aws:sns:"),
    ],
)
def test_what_is_no_arn_of_a_topic_is_refused_with_what_to_do(given_: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        topic_arn_of("topic_arn", given_)


@pytest.mark.parametrize(
    "other",
    [
        f"https://us-west-2.queue.amazonaws.com{PATH}",
        f"https://sqs.us-west-2.api.aws{PATH}",
        f"arn:aws:sqs:us-west-2:{ACCOUNT}:orders.fifo",
        f"http://localhost:4566{PATH}",
    ],
)
def test_a_queue_is_the_same_by_whatever_address(other: str) -> None:
    assert is_same_queue(US, other)


@pytest.mark.parametrize(
    "other",
    [
        US.replace("us-west-2", "eu-west-1"),
        US.replace(ACCOUNT, "123456789012"),
        US.replace("orders.fifo", "orders"),
        f"arn:aws:sqs:eu-west-1:{ACCOUNT}:orders.fifo",
    ],
)
def test_a_queue_of_the_same_name_elsewhere_is_another_one(other: str) -> None:
    assert not is_same_queue(US, other)


def test_what_identifies_a_queue_is_in_all_of_its_addresses_and_in_no_other() -> None:
    identity = ("us-west-2", ACCOUNT, "orders.fifo")

    for same in (US, f"https://us-west-2.queue.amazonaws.com{PATH}", f"arn:aws:sqs:us-west-2:{ACCOUNT}:orders.fifo"):
        assert identify_queue(same) == identity
    for other in (US.replace("us-west-2", "eu-west-1"), US.replace(ACCOUNT, "123456789012"), US[:-5]):
        assert identify_queue(other) != identity


def test_what_is_no_address_identifies_itself() -> None:
    texts = ["", "orders", "https://queue", "http://[", "arn:", "\ud800"]

    assert len({identify_queue(text) for text in texts}) == len(texts)
