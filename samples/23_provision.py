"""Declared queues: an app says what its queue and its topic are to be, and `megaflow provision` makes them.

Run by itself, it does so on SQS and SNS of this machine. Without AWS_ENDPOINT_URL it would be your account:

    megaflow provision 23_provision.py          shows what is otherwise there
    megaflow provision 23_provision.py --apply  makes it so
"""

from typing import Any

from megaflow import App
from megaflow.provision import DeadLetterQueue, Queue, Topic

shop = Topic("shop", json_only=True)
app = App(
    queue=Queue("orders", dead_letter_queue=DeadLetterQueue(max_receive_count=3), subscribe=[shop]),
    topic=shop,
    retry_on=ConnectionError,
)


@app.on_data({"kind": "order"})
def ship(order: dict[str, Any]) -> None:
    print(f"shipping {order['id']}")
    app.stop()


if __name__ == "__main__":
    import os
    import subprocess
    import sys

    from megaflow.local.server import Server

    with Server() as server:
        os.environ |= {"AWS_ENDPOINT_URL": server.url, "AWS_DEFAULT_REGION": "us-east-1"}
        os.environ |= {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}
        for options in ((), ("--apply",), ()):
            print("$ megaflow provision 23_provision.py", *options, flush=True)
            subprocess.run([sys.executable, "-m", "megaflow", "provision", __file__, *options], check=False)
        app.publish({"kind": "newsletter"})  # the filter of the subscription keeps it away
        app.publish({"kind": "order", "id": 7})
        app.run()
