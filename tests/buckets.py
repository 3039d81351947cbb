"""Buckets of moto's, over HTTP."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

import boto3

from megaflow import AwsOptions
from megaflow.payloads import S3Payloads
from tests.unmocked import unmocked


@dataclass(frozen=True)
class Bucket:
    """A bucket that is empty at first."""

    name: str
    aws: AwsOptions
    client: Any

    def payloads(self, **options: Any) -> S3Payloads:
        return S3Payloads(options.pop("bucket", self.name), client=self.client, **options)

    def put(self, key: str, body: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=body)

    def keys(self) -> list[str]:
        return [each["Key"] for each in self.client.list_objects_v2(Bucket=self.name).get("Contents", ())]


def make_bucket(url: str) -> Bucket:
    """Make one on the server at *url*."""
    aws: AwsOptions = {
        "endpoint_url": url,
        "region_name": "us-east-1",
        "aws_access_key_id": "testing",
        "aws_secret_access_key": "testing",
    }
    client = unmocked(boto3.client("s3", **aws))
    name = f"bucket-{uuid.uuid4()}"
    client.create_bucket(Bucket=name)
    return Bucket(name, aws, client)
