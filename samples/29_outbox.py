"""Publish in the transaction that stores an order: the message goes if that is committed, and never if it is not."""

import tempfile
from pathlib import Path

from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session, sessionmaker

from megaflow import App
from megaflow.local import Account, SqsClient
from megaflow.sql import Inbox, Outbox

sqs = SqsClient(Account())  # leave client= out for queues of AWS's
url = sqs.create_queue(QueueName="orders.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
app = App(url, client=sqs, retry_on=(ConnectionError,))
folder = tempfile.TemporaryDirectory()
engine = create_engine(f"sqlite:///{Path(folder.name, 'shop.db')}")  # or postgresql+psycopg://…
make_session = sessionmaker(engine)
outbox, inbox = Outbox(app, engine), Inbox(make_session)
app.provide(Session, inbox)


def place_order(number: int, *, has_stock: bool) -> None:
    with make_session.begin() as session:
        session.execute(text("INSERT INTO orders VALUES (:id, 'placed')"), {"id": number})
        outbox.publish(session, {"type": "order.placed", "id": number}, group_id=f"order-{number}")
        if not has_stock:
            raise LookupError(f"nothing left for order {number}")


@app.on_data({"type": "order.placed"})
def charge(order: dict[str, object], session: Session) -> None:
    session.execute(text("UPDATE orders SET state = 'charged' WHERE id = :id"), {"id": order["id"]})
    outbox.publish(session, {"type": "order.charged", "id": order["id"]}, group_id=f"order-{order['id']}")


@app.on_data({"type": "order.charged"})
def thank(order: dict[str, object]) -> None:
    print(f"order {order['id']} is charged, thank you")
    app.stop()


if __name__ == "__main__":
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE orders (id INTEGER PRIMARY KEY, state TEXT)"))
    outbox.create_tables()
    inbox.create_tables()
    place_order(7, has_stock=True)
    try:
        place_order(8, has_stock=False)
    except LookupError as error:
        print(error)
    app.run(relay=outbox)  # or, in a process of its own: megaflow relay shop:outbox
    with make_session() as session:
        print(session.execute(text("SELECT * FROM orders")).all())
    engine.dispose()
    folder.cleanup()
