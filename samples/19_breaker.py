"""A circuit breaker: a database goes away for a while, and no message is dead-lettered, or received over and over.

The test client has a clock of its own: minutes pass at once.
"""

from typing import Any

from megaflow import App, CircuitBreaker
from megaflow.testing import TestClient

app = App(breaker=CircuitBreaker(failures=3, seconds=30, on=(ConnectionError,)))


class Database:
    """Holds orders, where it is there."""

    def __init__(self) -> None:
        self.is_away = False
        self.orders: list[int] = []

    def store(self, order: int) -> None:
        if self.is_away:
            raise ConnectionError("the database does not answer")
        self.orders.append(order)


database = Database()


@app.on_data({"kind": "order"})
def store(order: dict[str, Any]) -> None:
    database.store(order["id"])


if __name__ == "__main__":
    with TestClient(app) as client:
        client.publish_batch([{"kind": "order", "id": number} for number in range(10)])
        print(len(database.orders), "orders are stored")

        database.is_away = True
        client.publish_batch([{"kind": "order", "id": number} for number in range(10, 100)])
        client.advance(3600)
        print(f"an hour without it: {len(client.handled) - 10} calls, {len(client.dead_lettered)} dead letters")

        database.is_away = False
        client.advance(60)
        print(len(database.orders), "orders are stored")
        print("received", max(each.receive_count for each in client.deleted), "times at most")
