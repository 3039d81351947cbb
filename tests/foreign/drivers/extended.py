"""AWS's extended client for SQS or SNS, called by the lines on its stdin: ``extended.py SERVICE S3 BUCKET LEGACY``."""

import importlib
import os
import sys
from functools import cache

import boto3
from botocore import xform_name
from botocore.exceptions import ClientError
from driven import read, refused, write

SERVICE, S3, BUCKET, LEGACY = sys.argv[1:]


def main():
    os.environ.update(
        AWS_ACCESS_KEY_ID="testing",
        AWS_SECRET_ACCESS_KEY="testing",
        AWS_DEFAULT_REGION="us-east-1",
        AWS_ENDPOINT_URL_S3=S3,
        NO_PROXY="*",
    )
    importlib.import_module(f"{SERVICE}_extended_client")  # it takes the place of boto3's session
    for asked in read():
        try:
            write({"answer": getattr(connect(asked["url"]), xform_name(asked["operation"]))(**asked["parameters"])})
        except ClientError as error:
            write(refused(error))


@cache
def connect(url):
    client = boto3.client(SERVICE, endpoint_url=url)
    client.large_payload_support = BUCKET
    client.use_legacy_attribute = LEGACY == "legacy"
    return client


main()
