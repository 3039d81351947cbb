"""One topic, two queues, two applications: the envelope that SNS puts around a message makes no difference."""

import json

from megaflow import App, Message, Payload, PayloadBuilder, SnsPublisher
from megaflow.local import Account, SnsClient, SqsClient

account = Account()
sqs, sns = SqsClient(account), SnsClient(account)
topic_arn = sns.create_topic(Name="users")["TopicArn"]


def subscribed_queue(name: str, raw: bool) -> str:
    url: str = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    topics = {"Principal": {"Service": "sns.amazonaws.com"}, "Condition": {"ArnEquals": {"aws:SourceArn": topic_arn}}}
    policy = {"Statement": [{"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": arn, **topics}]}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})
    delivery = {"RawMessageDelivery": "true" if raw else "false"}
    sns.subscribe(TopicArn=topic_arn, Protocol="sqs", Endpoint=arn, Attributes=delivery)
    return url


mail = App(subscribed_queue("mail", raw=True), client=sqs, retry_on=ConnectionError)
audit = App(subscribed_queue("audit", raw=False), client=sqs, retry_on=ConnectionError)


@mail.on_event(name="user.created")
def welcome(payload: Payload) -> None:
    print(f"mail: welcome, {payload.event.email}")
    mail.stop()


@audit.on_event()
def record(payload: Payload, message: Message) -> None:
    subject = message.sns.subject if message.sns else ""
    print(f"audit: {payload.event.name} of {payload.event.subject}, subject {subject!r}")
    audit.stop()


if __name__ == "__main__":
    payload = PayloadBuilder().with_event(name="user.created", subject="987650", email="johndoe_86@example.com").build()
    SnsPublisher(topic_arn=topic_arn, client=sns).publish(payload, subject="A new user")
    mail.run()
    audit.run()
