"""Publish and consume in one FastAPI application: handlers share its event loop, and what is in it, with routes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI, Response

from megaflow import App
from megaflow.local import Account, SqsClient

sqs = SqsClient(Account())  # leave client= out for a queue of AWS's
app = App(sqs.create_queue(QueueName="orders")["QueueUrl"], client=sqs, retry_on=ConnectionError)


@asynccontextmanager
async def lifespan(server: FastAPI) -> AsyncIterator[None]:
    server.state.shipped = asyncio.Queue[int]()
    async with app.running():
        yield
    print("nothing is received any more, and what was in hand is settled")


server = FastAPI(lifespan=lifespan)


@app.on_data({"kind": "order"})
async def ship(order: dict[str, int]) -> None:
    print(f"shipping {order['id']}")
    await server.state.shipped.put(order["id"])


@server.post("/orders", status_code=202)
async def place_order(order: dict[str, int]) -> dict[str, str]:
    return {"message_id": await asyncio.to_thread(app.publish, {"kind": "order"} | order)}


@server.get("/shipped")
async def wait_for_shipment() -> dict[str, int]:
    return {"id": await server.state.shipped.get()}


@server.get("/ready")
def ready(response: Response) -> dict[str, object]:
    response.status_code = 200 if app.health().ready else 503
    return app.health().as_dict()


async def order_one() -> None:
    web = httpx.AsyncClient(transport=httpx.ASGITransport(server), base_url="http://shop")
    async with web, lifespan(server):
        await web.post("/orders", json={"id": 7})
        print("shipped:", (await web.get("/shipped")).json())


if __name__ == "__main__":
    asyncio.run(order_one())
