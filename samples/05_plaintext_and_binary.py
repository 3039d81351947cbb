"""The four kinds of payload, and what travels: JSON, BSON and bytes as Base64, text as it is."""

from typing import Any

from megaflow import App, Message
from megaflow.local import Account, SqsClient

sqs = SqsClient(Account())
app = App(sqs.create_queue(QueueName="bodies")["QueueUrl"], client=sqs, concurrency=1, retry_on=ConnectionError)

payload = {
    "type": "user_notification",
    "notification_type": "email",
    "user": {"id": 987650, "email": "johndoe_86@example.com"},
}


@app.on_data()
def on_object(data: dict[str, Any], message: Message) -> None:
    print(f"{len(message.body)} characters, the same object: {data == payload}")


@app.on_text()
def on_text(text: str) -> None:
    print(f"text: {text}")


@app.on_binary()
def on_bytes(data: bytes, message: Message) -> None:
    print(f"bytes: {data!r}, sent as {message.body!r}")
    app.stop()


if __name__ == "__main__":
    app.publish(payload)
    app.publish(payload, binary_encoding=True)
    app.publish("ping")
    app.publish('{"looks": "like JSON"}')
    app.publish(b"\x00\x01\x02")
    app.run()
