"""Addresses: a queue's URL, the ARN of a queue or topic, or a name, read into region, account and name.

Of hosts that are not AWS's nothing is believed, but for LocalStack's own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from megaflow.errors import ConfigurationError

_FIFO: Final = ".fifo"


class Host(Enum):
    """Whose host an address names."""

    NONE = "an ARN, or a name, has none"
    AWS = "AWS's, which boto3 finds by the region"
    AWS_VARIANT = "AWS's, for FIPS or dual-stack, which boto3 finds where it is told"
    AWS_VPC = "that of a VPC endpoint, which boto3 does not find"
    FOREIGN = "somebody else's: an emulator's, a proxy's"


@dataclass(frozen=True, slots=True)
class Address:
    """What an address says; what it does not say is ``""``.

    *service* is ``"sqs"``, ``"sns"``, or whatever an ARN says; *endpoint_url* is where the host is.
    """

    text: str
    name: str
    service: str = ""
    partition: str = ""
    region: str = ""
    account: str = ""
    host: Host = Host.NONE
    endpoint_url: str = ""
    fips: bool = False
    dual_stack: bool = False

    @property
    def is_name(self) -> bool:
        """Whether it is a name alone."""
        return not self.service

    @property
    def is_url(self) -> bool:
        """Whether it is a URL, and no ARN."""
        return self.host is not Host.NONE

    @property
    def is_awss(self) -> bool:
        """Whether it is a URL of AWS's."""
        return self.host not in (Host.NONE, Host.FOREIGN)


# https://docs.aws.amazon.com/general/latest/gr/sqs-service.html has the hosts, those for FIPS and dual-stack too,
# https://docs.amazonaws.cn/en_us/aws/latest/userguide/endpoints-Beijing.html those of China, and
# https://docs.aws.amazon.com/govcloud-us/latest/UserGuide/using-govcloud-endpoints.html those of GovCloud.
# The isolated partitions have no public page: they and the European sovereign cloud are in botocore's partitions.json.
_PARTITIONS: Final = (
    ("cn-", "aws-cn", "amazonaws.com.cn", "api.amazonwebservices.com.cn"),
    ("us-gov-", "aws-us-gov", "amazonaws.com", "api.aws"),
    ("eusc-", "aws-eusc", "amazonaws.eu", "api.amazonwebservices.eu"),
    ("us-iso-", "aws-iso", "c2s.ic.gov", "api.aws.ic.gov"),
    ("us-isob-", "aws-iso-b", "sc2s.sgov.gov", "api.aws.scloud"),
    ("eu-isoe-", "aws-iso-e", "cloud.adc-e.uk", "api.cloud-aws.adc-e.uk"),
    ("us-isof-", "aws-iso-f", "csp.hci.ic.gov", "api.aws.hci.ic.gov"),
    ("", "aws", "amazonaws.com", "api.aws"),
)
"""How the regions of each partition begin, its name, its domain, and that of its dual-stack hosts."""

_LEGACY_REGION: Final = "us-east-1"
"""That of queue.amazonaws.com. boto3 gave such hosts until 2022, and URLs live long.

https://github.com/boto/botocore/issues/2705
"""

_REGION: Final = r"(?P<region>[a-z]{2,5}(?:-[a-z]+)+-[0-9]{1,2})"
# https://docs.aws.amazon.com/vpc/latest/privatelink/privatelink-access-aws-services.html
_SERVICE: Final = "(?P<service>sqs|sns)"
_HOSTS: Final = (
    rf"{_SERVICE}(?P<fips>-fips)?\.{_REGION}",
    rf"(?P<vpc>vpce-[0-9a-z-]+)\.{_SERVICE}(?:-fips)?\.{_REGION}\.vpce",
    rf"(?:{_REGION}\.)?queue",
)
"""What stands before the domain. Not compiled before one is needed."""

# https://docs.localstack.cloud/aws/services/sqs/
_LOCALSTACK: Final = rf"(?:sqs\.{_REGION}|{_REGION.replace('region', 'legacy')}\.queue)\.localhost\.localstack\.cloud"
_LOCALSTACK_PATH: Final = rf"/queue/{_REGION}/[0-9]{{12}}/[^/]+"

_ARN_PARTS: Final = 6


@lru_cache(maxsize=256)
def read_address(text: str) -> Address:
    """Return what *text* says; what is neither a URL nor an ARN is taken for a name."""
    if text.startswith("arn:"):
        return _read_arn(text)
    if text.lower().startswith(("http://", "https://")):
        return _read_url(text)
    return Address(text, text)


def queue_url_of(parameter: str, address: object) -> str:
    """Return the URL of the queue at *address*, a URL or an ARN.

    Raises `ConfigurationError`, about *parameter*, for anything else.
    """
    found = read_address(address) if isinstance(address, str) else None
    # What paths an emulator or a proxy has, it knows best.
    if found is None or found.service != "sqs" or not (found.name or found.host is Host.FOREIGN):
        what = "the URL or the ARN of a queue"
        raise _refuse(parameter, address, found, what, "https://sqs.eu-west-1.amazonaws.com/123456789012/orders")
    return found.text.rstrip("/") if found.is_url else _write_url(found)


def topic_arn_of(parameter: str, address: object) -> str:
    """Return *address* where it is a topic's ARN; raise `ConfigurationError`, about *parameter*, where it is none."""
    found = read_address(address) if isinstance(address, str) else None
    if found is None or found.service != "sns" or not found.name:
        raise _refuse(parameter, address, found, "the ARN of a topic", "arn:aws:sns:eu-west-1:123456789012:orders")
    return found.text


def write_arn(service: str, region: str, account: str, name: str) -> str:
    """Return the ARN of what has this name in a *service*, in the partition of the *region*."""
    partition = next(partition for start, partition, *_ in _PARTITIONS if region.startswith(start))
    return f"arn:{partition}:{service}:{region}:{account}:{name}"


def is_fifo(address: str) -> bool:
    """Tell whether the queue of this URL, or the topic of this ARN, is a FIFO one."""
    return address.endswith(_FIFO)


def with_kind(name: str, *, fifo: bool) -> str:
    """Return *name* as that of a FIFO queue or topic, which ends with ``.fifo``, or as that of a standard one."""
    return name.removesuffix(_FIFO) + (_FIFO if fifo else "")


def name_dead_letters(name: str) -> str:
    """Return the name that megaflow gives to the dead-letter queue of the queue of this *name*."""
    return with_kind(f"{with_kind(name, fifo=False)}-dead", fifo=is_fifo(name))


def name_of(address: str) -> str:
    """Return the name of the queue or topic at *address*."""
    return read_address(address).name


def is_same_queue(one: str, other: str) -> bool:
    """Tell whether two addresses are those of one queue, as far as they say: only one may name a region."""
    first, second = read_address(one), read_address(other)
    is_in_one_region = first.region == second.region or not (first.region and second.region)
    return (first.account, first.name) == (second.account, second.name) and is_in_one_region


def identify_queue(address: str) -> tuple[str, str, str]:
    """Return what all addresses of a queue have in common: region, account and name, as far as they say."""
    found = read_address(address)
    return found.region, found.account, found.name or address


def _read_arn(text: str) -> Address:
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html
    parts = text.split(":")
    if len(parts) != _ARN_PARTS or not all(parts):
        return Address(text, "", service="?")
    _, partition, service, region, account, name = parts
    return Address(text, name, service, partition, region, account)


def _read_url(text: str) -> Address:
    try:
        split = urlsplit(text)
        host, port = (split.hostname or "").rstrip("."), split.port
    except ValueError:
        return Address(text, "", service="?")
    *_, account, name = ["", "", *filter(None, split.path.split("/"))]
    netloc = f"[{host}]" if ":" in host else host
    endpoint_url = f"{split.scheme}://{netloc}:{port}" if port else f"{split.scheme}://{netloc}"
    found = _match_aws(host)
    if found is None:
        region = _read_foreign_region(host, split.path)
        return Address(text, name, "sqs", "", region, account, Host.FOREIGN, endpoint_url)
    said, partition, is_dual_stack = found
    is_fips = bool(said.get("fips"))
    kind = Host.AWS_VPC if said.get("vpc") else Host.AWS_VARIANT if is_fips or is_dual_stack else Host.AWS
    region = said["region"] or _LEGACY_REGION
    service = said.get("service", "sqs")
    return Address(text, name, service, partition, region, account, kind, endpoint_url, is_fips, is_dual_stack)


def _match_aws(host: str) -> tuple[dict[str, str], str, bool] | None:
    """Return what *host* says, its partition, and whether it is a dual-stack one; None where it is not AWS's."""
    for start, partition, domain, dual_stack_domain in _PARTITIONS:
        for suffix in (domain, dual_stack_domain):
            if not host.endswith(f".{suffix}"):
                continue
            for pattern in _HOSTS:
                found = re.fullmatch(pattern, host.removesuffix(f".{suffix}"))
                if found and (found["region"] or partition == "aws") and (found["region"] or "").startswith(start):
                    return found.groupdict(), partition, suffix == dual_stack_domain
    return None


def _read_foreign_region(host: str, path: str) -> str:
    found = re.fullmatch(_LOCALSTACK, host)
    if found:
        return found["region"] or found["legacy"]
    found = re.fullmatch(_LOCALSTACK_PATH, path)
    return found["region"] if found else ""


def _write_url(arn: Address) -> str:
    domain = next((domain for _, partition, domain, _ in _PARTITIONS if partition == arn.partition), "amazonaws.com")
    return f"https://sqs.{arn.region}.{domain}/{arn.account}/{arn.name}"


def _refuse(parameter: str, given: object, found: Address | None, what: str, example: str) -> ConfigurationError:
    problem = f"{parameter}={given!r} is not {what}"
    if found is None or found.service not in ("", "sqs", "sns") or not found.name:
        return ConfigurationError(f"{problem}, as in {example}")
    if found.is_name:
        return ConfigurationError(f"{problem}, but a name, which says neither region nor account: give {example}")
    other = "a topic: give its ARN as topic_arn=" if found.service == "sns" else "a queue: give it as queue_url="
    return ConfigurationError(f"{problem}, but that of {other}")
