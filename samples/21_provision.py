"""Declared queues: an app says what its queue and its topic are to be, and they are made as it says.

From a terminal, `megaflow provision shop.py` shows what your account has otherwise, and `--apply` makes it so.
"""

from typing import Any

from megaflow import App
from megaflow.local import Account, SnsClient, SqsClient
from megaflow.provision import DeadLetterQueue, Queue, Topic
from megaflow.provision.making import Provisioner
from megaflow.provision.needs import needs_of

account = Account()  # AWS in this process
sqs, sns = SqsClient(account), SnsClient(account)

shop = Topic("shop", json_only=True)
app = App(
    queue=Queue("orders", dead_letter_queue=DeadLetterQueue(max_receive_count=3), subscribe=[shop]),
    topic=shop,
    client=sqs,
    sns_client=sns,
    retry_on=ConnectionError,
)


@app.on_data({"kind": "order"})
def ship(order: dict[str, Any]) -> None:
    print(f"shipping {order['id']}")
    app.stop()


if __name__ == "__main__":
    for made in Provisioner(sqs, sns, apply=True).provision(needs_of(app)):
        print(f"{made.state.value}: {made.resource} {made.name} {made.attribute}".rstrip())
    app.publish({"kind": "newsletter"})  # the filter of the subscription keeps it away
    app.publish({"kind": "order", "id": 7})
    app.run()
