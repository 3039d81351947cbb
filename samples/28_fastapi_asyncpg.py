"""FastAPI with asyncpg: routes and handlers share an engine, and what a handler does is there exactly once."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from megaflow import App
from megaflow.local import Account, SqsClient
from megaflow.sql import Inbox

engine = create_async_engine(os.environ["DATABASE_URL"])  # postgresql+asyncpg://…
inbox = Inbox(engine)

sqs = SqsClient(Account())  # leave client= out for a queue of AWS's
app = App(sqs.create_queue(QueueName="orders")["QueueUrl"], client=sqs, retry_on=ConnectionError)
app.provide(AsyncSession, inbox)


@asynccontextmanager
async def lifespan(server: FastAPI) -> AsyncIterator[None]:
    await inbox.acreate_tables()
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE IF NOT EXISTS charges (id integer)"))
    async with app.running():
        yield
    await engine.dispose()


server = FastAPI(lifespan=lifespan)


@app.on_data({"kind": "order"}, idempotency_key=lambda order: order["id"])
async def charge(order: dict[str, int], session: AsyncSession) -> None:
    print(f"charging {order['id']}")
    await session.execute(text("INSERT INTO charges VALUES (:id)"), {"id": order["id"]})


@server.post("/orders", status_code=202)
async def place_order(order: dict[str, int]) -> dict[str, str]:
    return {"message_id": await app.apublish({"kind": "order"} | order)}


async def order_twice() -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(server), base_url="http://a") as web, lifespan(server):
        await asyncio.gather(*(web.post("/orders", json={"id": 7}) for _ in range(2)))
        while app.metrics.snapshot().get("deleted", 0) < 2:
            await asyncio.sleep(0.01)
        async with engine.connect() as connection:
            print("charged:", (await connection.scalars(text("SELECT id FROM charges"))).all())


if __name__ == "__main__":
    asyncio.run(order_twice())
