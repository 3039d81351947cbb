"""Several queues in one worker: each app has its own queue and handlers, and they start, stop and fail together.

In production `run(billing, mail, processes=4, health_port=8080)`, or without a line of code
`megaflow run shop.billing:app shop.mail:app --processes 4 --health-port 8080`.
"""

import json

from megaflow import App, run
from megaflow.local import Account, SnsClient, SqsClient

account = Account()
sqs, sns = SqsClient(account), SnsClient(account)
topic_arn: str = sns.create_topic(Name="shop")["TopicArn"]


def subscribed_queue(name: str, kind: str) -> str:
    """Return the URL of a queue that gets what is of this kind of the topic."""
    url: str = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    topics = {"Principal": {"Service": "sns.amazonaws.com"}, "Condition": {"ArnEquals": {"aws:SourceArn": topic_arn}}}
    let_in = {"Statement": [{"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": arn, **topics}]}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(let_in)})
    policy = {"FilterPolicyScope": "MessageBody", "FilterPolicy": f'{{"kind": ["{kind}"]}}'}
    sns.subscribe(TopicArn=topic_arn, Protocol="sqs", Endpoint=arn, Attributes=policy)
    return url


billing = App(subscribed_queue("billing", "order"), topic_arn, client=sqs, sns_client=sns, retry_on=ConnectionError)
mail = App(subscribed_queue("mail", "invoice"), topic_arn, client=sqs, sns_client=sns, retry_on=ConnectionError)


@billing.on_data({"kind": "order"})
def bill(order: dict[str, str]) -> None:
    print(f"billing: an invoice for {order['id']}")
    billing.publish({"kind": "invoice", "id": order["id"]})


@mail.on_data({"kind": "invoice"})
def send(invoice: dict[str, str]) -> None:
    print(f"mail: the invoice for {invoice['id']} is on its way")
    for app in (billing, mail):
        app.stop()


if __name__ == "__main__":
    billing.publish({"kind": "order", "id": "A-1"})
    run(billing, mail)
