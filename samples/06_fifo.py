"""A FIFO queue: the messages of a group are handled one after another, also when one of them has to wait."""

from typing import Any

from megaflow import App, Message, Outgoing, RetryLater
from megaflow.local import Account, SqsClient

sqs = SqsClient(Account())
queue = sqs.create_queue(QueueName="orders.fifo", Attributes={"FifoQueue": "true", "ContentBasedDeduplication": "true"})
app = App(queue["QueueUrl"], client=sqs, retry_on=ConnectionError)
orders: dict[str, list[str]] = {"a": [], "b": []}


@app.on_data({"step": ["pay", "pack", "ship"]})
def on_step(order: dict[str, Any], message: Message) -> None:
    done = orders[message.group_id]
    if order["step"] == "pack" and message.receive_count == 1:
        raise RetryLater("no boxes yet", after=0)
    done.append(order["step"])
    if all(len(steps) == 3 for steps in orders.values()):
        app.stop()


if __name__ == "__main__":
    steps = [{"order": order, "step": step} for step in ("pay", "pack", "ship") for order in ("a", "b")]
    app.publish_batch(Outgoing(step, group_id=step["order"]) for step in steps)
    # A second message with the same content within five minutes is not delivered.
    app.publish(steps[0], group_id="a")
    app.run()
    for order, done in orders.items():
        print(f"order {order}: {', '.join(done)}")
