"""A handler, a message, a queue: what megaflow is for, on the embedded queue.

With a queue of your own, leave the embedded one out and give its URL: ``App(queue_url="https://sqs…")``.
"""

from megaflow import App, Payload, PayloadBuilder, ProcessStatus
from megaflow.local import Account, SqsClient
from megaflow.match.functions import empty, gt, not_, one_of

sqs = SqsClient(Account())
# What is worth another try; any other exception dead-letters its message.
app = App(
    queue_url=sqs.create_queue(QueueName="carts")["QueueUrl"], client=sqs, retry_on=(ConnectionError, TimeoutError)
)


@app.on_event(
    domain="shopping_cart",
    name="item.added",
    version=one_of(1, 2),
    attributes={"item_id": not_(empty()), "quantity": gt(0)},
)
def reserve_stock(payload: Payload) -> None:
    print(f"reserving {payload.event.quantity} of {payload.event.item_id}")
    app.publish({"type": "user_notification", "user": {"id": 987650}})


@app.on_data({"type": "user_notification", "user": {"id": gt(0)}})
async def notify(payload: dict[str, dict[str, int]]) -> ProcessStatus:
    print(f"notifying user {payload['user']['id']}")
    app.stop()
    return ProcessStatus.DONE


if __name__ == "__main__":
    app.publish(
        PayloadBuilder().with_event(domain="shopping_cart", name="item.added", item_id="61fcc874", quantity=5).build()
    )
    app.run()
