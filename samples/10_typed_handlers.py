"""Handlers that say what they take: validated models of pydantic's, dataclasses, and what the app provides."""

from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import BaseModel, PositiveInt

from megaflow import App, Message, PayloadBuilder


class ItemAdded(BaseModel):
    item_id: str
    quantity: PositiveInt


@dataclass
class Refund:
    order: str
    amount: float


class Stock:
    def reserve(self, item: str, quantity: int) -> None:
        print(f"reserving {quantity} of {item}")


def open_stock() -> Iterator[Stock]:
    print("the stock is opened, once")
    yield Stock()
    print("the stock is closed")


app = App(retry_on=ConnectionError)
app.provide(Stock, open_stock)


@app.on_event(domain="shopping_cart", name="item.added")
def reserve(attributes: ItemAdded, stock: Stock) -> None:
    stock.reserve(attributes.item_id, attributes.quantity)


@app.on_data({"kind": "refund"}, on_invalid="keep")
def refund(refund: Refund, message: Message) -> None:
    print(f"refunding {refund.amount:.2f} for {refund.order}, a {message.kind}")


if __name__ == "__main__":
    for quantity in (5, -1):
        builder = PayloadBuilder().with_event(domain="shopping_cart", name="item.added", item_id="a", quantity=quantity)
        verdict = app.process(builder.build())
        print(f"{verdict.fate.value}: {verdict.outcomes[0].error}")
    app.process({"kind": "refund", "order": "A-1", "amount": "7.5"})
    print(app.process({"kind": "refund", "order": "A-2", "amount": "much"}).fate.value)
    app.close()
