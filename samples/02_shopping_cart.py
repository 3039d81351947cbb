"""The shopping cart of the sqs-mega README, as plain functions; why a message reaches one and not another."""

from megaflow import App, Payload, PayloadBuilder, RetryLater
from megaflow.local import Account, SqsClient
from megaflow.match.functions import empty, gt, not_, one_of

sqs = SqsClient(Account())
app = App(sqs.create_queue(QueueName="carts")["QueueUrl"], client=sqs, concurrency=1, retry_on=ConnectionError)
locked = {"18a3f92e"}


@app.on_event(
    domain="shopping_cart",
    name="item.added",
    version=one_of(1, 2),
    attributes={"item_id": not_(empty()), "quantity": gt(0)},
)
def item_added(payload: Payload) -> None:
    print(f"added {payload.event.quantity} x {payload.event.item_id}")


@app.on_event(domain="shopping_cart", name="item.removed")
def item_removed(payload: Payload) -> None:
    print(f"removed {payload.event.item_id}")


@app.on_event(domain="shopping_cart", name="checkout")
def checkout(payload: Payload) -> None:
    cart = payload.object.id if payload.object else None
    if cart in locked:
        locked.discard(cart)
        print(f"cart {cart} is locked, later")
        raise RetryLater(after=0)
    print(f"checked out {cart}")
    app.stop()


def event(name: str, **attributes: object) -> Payload:
    builder = PayloadBuilder().with_event(domain="shopping_cart", name=name, **attributes)
    return builder.with_object(type="shopping_cart", id="18a3f92e").build()


if __name__ == "__main__":
    print(app.explain(event("item.added", item_id="61fcc874", quantity=0)))
    app.publish(event("item.added", item_id="61fcc874", quantity=5))
    app.publish(event("item.removed", item_id="3c7f8798"))
    app.publish(event("checkout"))
    app.run()
