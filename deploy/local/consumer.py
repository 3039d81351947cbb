"""A consumer in Python: it ships orders, and sends what it has shipped to the queue "shipped"."""

import json
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError

from megaflow import App

sqs = boto3.client("sqs")
orders, shipped = (sqs.create_queue(QueueName=name)["QueueUrl"] for name in ("orders", "shipped"))
app = App(orders, retry_on=BotoCoreError)


@app.on_data({"kind": "order"})
def ship(order: dict[str, Any]) -> None:
    print(f"shipped order {order['id']}", flush=True)
    sqs.send_message(QueueUrl=shipped, MessageBody=json.dumps({"order": order["id"]}))


if __name__ == "__main__":
    app.run()
