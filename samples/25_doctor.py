"""The doctor: what is wrong with an app's queues and topics, what it costs, and what to do.

Run by itself, it breaks what was provisioned on SQS and SNS of this machine. For your account, which stays as it is:

    megaflow doctor 25_doctor.py
"""

from typing import Any

from megaflow import App
from megaflow.provision import Queue, Topic

shop = Topic("shop", json_only=True)
app = App(queue=Queue("orders", subscribe=[shop]), topic=shop, retry_on=ConnectionError)


@app.on_data({"kind": "order"})
def ship(order: dict[str, Any]) -> None:
    print(f"shipping {order['id']}")


if __name__ == "__main__":
    import os
    import subprocess
    import sys

    import boto3

    from megaflow.local.server import Server

    def megaflow(*command: str) -> None:
        print("$ megaflow", command[0], "25_doctor.py", *command[1:], flush=True)
        subprocess.run([sys.executable, "-m", "megaflow", command[0], __file__, *command[1:]], check=False)

    with Server() as server:
        os.environ |= {"AWS_ENDPOINT_URL": server.url, "AWS_DEFAULT_REGION": "us-east-1"}
        os.environ |= {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}
        megaflow("provision", "--apply")
        sqs, sns = boto3.client("sqs"), boto3.client("sns")
        orders = sqs.get_queue_url(QueueName="orders")["QueueUrl"]
        sqs.set_queue_attributes(QueueUrl=orders, Attributes={"Policy": ""})
        (subscription,) = sns.list_subscriptions()["Subscriptions"]
        filter_policy = {"AttributeName": "FilterPolicy", "AttributeValue": '{"kind": ["invoice"]}'}
        sns.set_subscription_attributes(SubscriptionArn=subscription["SubscriptionArn"], **filter_policy)
        megaflow("doctor")
        megaflow("provision", "--apply")
        megaflow("doctor")
