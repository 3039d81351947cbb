"""Queues, a topic and a subscription that a file declares, there when the server starts; boto3 sees them."""

import tempfile
from pathlib import Path

import boto3

from megaflow.local.server import Server

CONFIG = """
[queues.orders]
visibility_timeout = 60
dead_letter_queue = { max_receive_count = 3 }
subscribe = [{ topic = "shop", raw_delivery = true, filter_policy = { kind = ["order"] } }]
tags = { team = "shop" }

[topics.shop]
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "local.toml")  # for the command line: megaflow local --config local.toml
        file.write_text(CONFIG)

        with Server(config=file) as server:
            aws = {"region_name": "us-east-1", "aws_access_key_id": "any", "aws_secret_access_key": "any"}
            sqs = boto3.client("sqs", endpoint_url=server.url, **aws)
            sns = boto3.client("sns", endpoint_url=server.url, **aws)
            for url in sqs.list_queues()["QueueUrls"]:
                shown = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout"])["Attributes"]
                print(url.rpartition("/")[2], shown["VisibilityTimeout"])

            (topic,) = sns.list_topics()["Topics"]
            for kind in ("order", "note"):
                attributes = {"kind": {"DataType": "String", "StringValue": kind}}
                sns.publish(TopicArn=topic["TopicArn"], Message=f"one {kind}", MessageAttributes=attributes)
            for message in sqs.receive_message(QueueUrl="orders", MaxNumberOfMessages=10)["Messages"]:
                print("received:", message["Body"])


if __name__ == "__main__":
    main()
