"""Charge once: a handler runs in a transaction that says it ran, so that what comes again changes nothing."""

from sqlalchemy import StaticPool, create_engine, func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from megaflow import App
from megaflow.local import Account, SqsClient
from megaflow.sql import Inbox


class Base(DeclarativeBase):
    pass


class Charge(Base):
    __tablename__ = "charges"
    id: Mapped[int] = mapped_column(primary_key=True)
    order: Mapped[str]
    amount: Mapped[int]


# In memory; for a real one, create_engine("postgresql+psycopg://…").
engine = create_engine("sqlite://", poolclass=StaticPool)
sessions = sessionmaker(engine)
inbox = Inbox(sessions)

sqs = SqsClient(Account())  # leave client= out for a queue of AWS's
app = App(sqs.create_queue(QueueName="orders")["QueueUrl"], client=sqs, retry_on=ConnectionError)
app.provide(Session, inbox)


@app.on_data({"kind": "order"}, idempotency_key=lambda order: order["order"])
def charge(order: dict[str, str | int], session: Session) -> None:
    print(f"charging {order['order']}")
    session.add(Charge(order=order["order"], amount=order["amount"]))
    # No commit() here: to return commits, with the row that says so, and to raise rolls both back.
    if order["amount"] == 0:
        raise ValueError("nothing to charge")


if __name__ == "__main__":
    Base.metadata.create_all(engine)
    inbox.create_tables()  # or Alembic: target_metadata = [Base.metadata, megaflow.sql.metadata]
    for amount in (5, 5, 0):
        order = {"kind": "order", "order": "A-1" if amount else "A-2", "amount": amount}
        print(app.process(order))
    with sessions() as session:
        print("charged:", session.execute(select(func.count(), func.sum(Charge.amount))).one())
