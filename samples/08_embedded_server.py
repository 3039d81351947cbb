"""Develop and test against SQS and SNS on this machine: real boto3 over HTTP, and half a minute passes at your word.

The server lives in this process and ends with the ``with``; ``python -m megaflow.local`` runs it as a program.
"""

import time

import boto3

from megaflow import App, Message, Payload, PayloadBuilder
from megaflow.local import Account
from megaflow.local.server import Server


class Clock:
    now = time.time()

    def __call__(self) -> float:
        return self.now


def main() -> None:
    clock = Clock()
    with Server(Account(clock=clock)) as server:
        credentials = {"aws_access_key_id": "any", "aws_secret_access_key": "any", "region_name": "us-east-1"}
        sqs = boto3.client("sqs", endpoint_url=server.url, **credentials)
        queue_url = sqs.create_queue(QueueName="carts", Attributes={"VisibilityTimeout": "30"})["QueueUrl"]
        app = App(queue_url, client=sqs, retry_on=ConnectionError)

        @app.on_event(domain="shopping_cart", name="item.added")
        def reserve_stock(payload: Payload, message: Message) -> None:
            print(f"reserving {payload.event.quantity} of {payload.event.item_id}, receive {message.receive_count}")
            app.stop()

        event = PayloadBuilder().with_event(domain="shopping_cart", name="item.added", item_id="61fcc874", quantity=5)
        app.publish(event.build())
        # Somebody takes the message and is never heard of again; so it is hidden until its visibility timeout is over.
        taken = sqs.receive_message(QueueUrl=queue_url)["Messages"]
        hidden = "Messages" not in sqs.receive_message(QueueUrl=queue_url)
        print(f"taken: {len(taken)}, hidden from all others: {hidden}")
        clock.now += 30
        app.run()


if __name__ == "__main__":
    main()
