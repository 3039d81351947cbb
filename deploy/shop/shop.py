"""An app with all that it needs to run: each file beside it runs it somewhere."""

from typing import Any

from megaflow import App
from megaflow.provision import Queue

app = App(queue=Queue("orders"), retry_on=(ConnectionError, TimeoutError), shutdown_timeout=25)


@app.on_data({"kind": "order"})
def ship(order: dict[str, Any]) -> None:
    print("shipping", order["id"], flush=True)


handler = app.lambda_handler()  # for AWS Lambda alone
