"""An app as an AWS Lambda function: the queue's trigger needs `ReportBatchItemFailures`, and names `handler`."""

from typing import Any

from megaflow import App, RetryLater
from megaflow.local import Account, SqsClient
from megaflow.match.functions import any_

app = App(retry_on=ConnectionError)


@app.on_data({"order": any_()})
def ship(data: dict[str, str]) -> None:
    if data["order"] == "A-2":
        raise RetryLater(after=60)
    print(f"shipping {data['order']}")


handler = app.lambda_handler()


def run_as_lambda_does(numbers: list[int]) -> None:
    """Send orders to a queue of this machine, and hand over what is received as Lambda does."""
    sqs = SqsClient(Account(account_id="123456789012", region="eu-west-1"))
    url = sqs.create_queue(QueueName="orders")["QueueUrl"]
    with app.connected(url, client=sqs):
        app.publish_batch([{"order": f"A-{number}"} for number in numbers])
        received = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, MessageSystemAttributeNames=["All"])
        print(handler({"Records": [make_record(each) for each in received["Messages"]]}, None))


def make_record(message: dict[str, Any]) -> dict[str, Any]:
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message["Attributes"],
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:eu-west-1:123456789012:orders",
    }


if __name__ == "__main__":
    run_as_lambda_does([1, 2, 3])
