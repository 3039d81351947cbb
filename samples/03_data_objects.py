"""Any JSON object can be matched, and every handler that matches gets the message: here one gets three, another one."""

from typing import Any

from megaflow import App, Message
from megaflow.local import Account, SqsClient
from megaflow.match.functions import any_, gt, match, not_, one_of

sqs = SqsClient(Account())
app = App(sqs.create_queue(QueueName="notifications")["QueueUrl"], client=sqs, concurrency=1, retry_on=ConnectionError)
templates = {"password_changed", "welcome"}


@app.on_data(
    {
        "type": match(r"user:notification:(.*)"),
        "notification_type": one_of("email", "sms", "push"),
        "user": {
            "id": gt(0),
            "email": not_(match(r"test@(.*)")),
            "template": lambda template: template in templates,
        },
    }
)
def notify(payload: dict[str, Any]) -> None:
    print(f"to {payload['user']['email']}: {payload['user']['template']}")


@app.on_data({"user": any_()})
def archive(payload: dict[str, Any], message: Message) -> None:
    print(f"archived {payload['user']['email']}")
    if message.attributes.get("last") == "yes":
        app.stop()


def notification(email: str, template: str) -> dict[str, Any]:
    user = {"id": 987650, "email": email, "template": template}
    return {"type": "user:notification:email", "notification_type": "email", "user": user}


if __name__ == "__main__":
    app.publish(notification("johndoe_86@example.com", "password_changed"))
    print(app.process(notification("test@example.com", "welcome")))
    print(app.process(notification("jane@example.com", "no_such_template")))
    app.publish(notification("jane@example.com", "no_such_template"), attributes={"last": "yes"})
    app.run()
