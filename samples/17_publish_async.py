"""Publishing from coroutines: a hundred calls at once, to a queue that answers late, and the event loop stays free."""

import asyncio
import time

from megaflow import App, AwsOptions
from megaflow.local import Account, Fault, FaultKind, Faults, SqsClient
from megaflow.local.server import Server


async def tick(ticks: list[float]) -> None:
    """Be what else the event loop has to do."""
    while True:
        ticks.append(time.perf_counter())
        await asyncio.sleep(0.01)


async def main(app: App) -> None:
    await app.apublish({"type": "order", "number": 0})

    ticks: list[float] = []
    ticking = asyncio.create_task(tick(ticks))
    began = time.perf_counter()
    ids = await asyncio.gather(*[app.apublish({"type": "order", "number": number}) for number in range(1, 101)])
    seconds = time.perf_counter() - began
    ticking.cancel()

    print(len(set(ids)), "orders are sent")
    print("one after another they would have taken 50 s; it was less than a tenth of it:", seconds < 5)
    print("the event loop went on meanwhile:", len(ticks) > 10)


if __name__ == "__main__":
    account = Account()
    queue_url = SqsClient(account).create_queue(QueueName="orders")["QueueUrl"]
    account.faults = Faults([Fault("SendMessageBatch", FaultKind.SLOW, seconds=0.5)])
    aws: AwsOptions = {"aws_access_key_id": "any", "aws_secret_access_key": "any", "region_name": "us-east-1"}
    with Server(account) as server:
        aws["endpoint_url"] = server.url
        asyncio.run(main(App(queue_url, retry_on=ConnectionError, **aws)))
