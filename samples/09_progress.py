"""Progress: what comes again goes to the handlers that have not finished it; and one payment per order, not two."""

from typing import Any

from megaflow import App, MemoryStore, Message, RetryLater
from megaflow.local import Account, SqsClient
from megaflow.match.functions import any_

sqs = SqsClient(Account())
app = App(
    sqs.create_queue(QueueName="orders")["QueueUrl"],
    client=sqs,
    retry_on=ConnectionError,
    # MemoryStore is for one process: SqliteStore("progress.db") is for one machine, DynamoDbStore("progress") for all.
    progress=MemoryStore(),
)


@app.on_data({"order": any_()}, idempotency_key=lambda data: data["order"], timeout=30)
def charge(data: dict[str, Any]) -> None:
    print(f"charging {data['order']}")


@app.on_data({"order": any_()})
def pack(data: dict[str, Any], message: Message) -> None:
    if message.receive_count == 1:
        print(f"no boxes for {data['order']} yet")
        raise RetryLater(after=0)
    print(f"packing {data['order']}")
    app.stop()


if __name__ == "__main__":
    app.publish({"order": "A-1"})
    app.run()
    # The shop sends it once more, as another message.
    verdict = app.process({"order": "A-1"})
    print(f"the second message is {verdict}")
