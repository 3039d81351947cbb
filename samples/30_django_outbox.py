"""Publish in Django's transaction.atomic(): by its own connection, and a relay with SQLAlchemy's engine sends it."""

import tempfile
import threading
from pathlib import Path

import django
from django.conf import settings
from sqlalchemy import create_engine

from megaflow import SqsPublisher
from megaflow.local import Account, SqsClient
from megaflow.sql import Outbox

folder = tempfile.TemporaryDirectory()
path = Path(folder.name, "shop.db")
settings.configure(DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": path}})
django.setup()

from django.db import connection, transaction  # noqa: E402 - Django is set up first

sqs = SqsClient(Account())  # leave client= out for queues of AWS's
url = sqs.create_queue(QueueName="orders")["QueueUrl"]
outbox = Outbox(SqsPublisher(queue_url=url, client=sqs), create_engine(f"sqlite:///{path}"))


def place_order(number: int, *, has_stock: bool) -> None:
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO orders VALUES (%s)", [number])
        outbox.publish(connection, {"type": "order.placed", "id": number})
        if not has_stock:
            raise LookupError(f"nothing left for order {number}")


def receive() -> str:
    (message,) = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20)["Messages"]
    return str(message["Body"])


if __name__ == "__main__":
    outbox.create_tables(connection)
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
    try:
        place_order(8, has_stock=False)
    except LookupError as error:
        print(error)
    place_order(7, has_stock=True)
    relay = threading.Thread(target=outbox.relay)  # or, in a process of its own: megaflow relay shop:outbox
    relay.start()
    print("received", receive())
    outbox.stop()
    relay.join()
    connection.close()
    folder.cleanup()
