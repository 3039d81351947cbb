"""Clients of other makers, called alike: each in a process that it is alone in, but boto3."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Protocol

import boto3
from botocore import xform_name
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.foreign.environments import AWS_CLI, AWS_CLI_OF_OLD, NODE, PYTHON
from tests.unmocked import unmocked

DRIVERS: Final = Path(__file__).with_name("drivers")


class Refused(Exception):
    """An error as users of a client see it.

    Args:
        code: The code that they compare.
        kind: The class that they catch; none with the AWS CLI.
    """

    def __init__(self, code: str, message: str, kind: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.message, self.kind = code, message, kind


@dataclass(frozen=True, slots=True)
class Call:
    service: str
    operation: str
    parameters: Mapping[str, Any]
    url: str
    region: str
    key: str


class Maker(Protocol):
    """Someone's client: makes a call, and returns the answer or raises `Refused`."""

    def __call__(self, call: Call) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Caller:
    """A client that is set up for one server, region and key."""

    maker: Maker
    name: str
    url: str
    region: str = "us-east-1"
    key: str = "any"

    def in_region(self, region: str) -> Caller:
        return replace(self, region=region)

    def with_key(self, key: str) -> Caller:
        return replace(self, key=key)

    def sqs(self, operation: str, **parameters: Any) -> dict[str, Any]:
        return self.maker(Call("sqs", operation, parameters, self.url, self.region, self.key))

    def sns(self, operation: str, **parameters: Any) -> dict[str, Any]:
        return self.maker(Call("sns", operation, parameters, self.url, self.region, self.key))


@dataclass
class Driven:
    """A client in a process of its own, which is told each call by a line of JSON."""

    process: subprocess.Popen[str]

    def __call__(self, call: Call) -> dict[str, Any]:
        asked = {name: getattr(call, name) for name in Call.__slots__}
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(asked, default=_encode) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, "the client has ended; what it said is on stderr"
        told: dict[str, Any] = json.loads(line, object_hook=_decode)
        if "error" in told:
            raise Refused(**told["error"])
        answer: dict[str, Any] = told["answer"]
        return answer


@dataclass
class Boto3:
    clients: dict[tuple[str, ...], Any] = field(default_factory=dict)

    def __call__(self, call: Call) -> dict[str, Any]:
        where = (call.service, call.url, call.region, call.key)
        if where not in self.clients:
            self.clients[where] = _connect(*where)
        try:
            answer: dict[str, Any] = getattr(self.clients[where], xform_name(call.operation))(**call.parameters)
        except ClientError as error:
            told = error.response["Error"]
            raise Refused(told["Code"], told["Message"], type(error).__name__) from error
        return answer

    def close(self) -> None:
        for each in self.clients.values():
            each.close()


def _connect(service: str, url: str, region: str, key: str) -> Any:
    config = Config(retries={"total_max_attempts": 1}, proxies={})
    secret = {"aws_access_key_id": key, "aws_secret_access_key": "any"}
    return unmocked(boto3.client(service, endpoint_url=url, region_name=region, config=config, **secret))


def _encode(value: bytes) -> dict[str, str]:
    return {"base64": base64.b64encode(value).decode()}


def _decode(found: dict[str, Any]) -> Any:
    return base64.b64decode(found["base64"]) if set(found) == {"base64"} else found


DRIVEN: Final = {
    "aiobotocore": (PYTHON, "python", "async_botocore.py"),
    "aws-cli": (AWS_CLI, "python", "aws_cli.py"),
    "aws-cli-of-old": (AWS_CLI_OF_OLD, "python", "aws_cli.py"),
    "node": (NODE, "node", "node.mjs"),
}
MAKERS: Final = ("boto3", *DRIVEN)


@contextmanager
def maker(name: str) -> Iterator[Maker]:
    """Give a client by its name; skip the test where it cannot be had."""
    if name == "boto3":
        boto = Boto3()
        yield boto
        boto.close()
        return
    environment, program, driver = DRIVEN[name]
    with running([environment.program(program), str(DRIVERS / driver)]) as process:
        yield Driven(process)


@contextmanager
def running(command: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        command, env=without_settings(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        yield process
        process.stdin.close()  # which ends it


def without_settings() -> dict[str, str]:
    """Return the environment without what would lead a client elsewhere, or to our own packages."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTHON"))}
    return kept | NODE.variables | {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
