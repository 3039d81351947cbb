"""An app for the command line. From the folder of this file, in one terminal:

    megaflow dev 13_command_line.py

and in another one:

    export AWS_ENDPOINT_URL=http://127.0.0.1:4566
    echo '{"kind": "refund", "order": "A-1", "amount": 7}' | megaflow publish --queue 13_command_line -
    echo '{"kind": "refund", "order": "A-2", "amount": 700}' | megaflow publish --queue 13_command_line -
    megaflow peek 13_command_line-dead
    megaflow redrive 13_command_line-dead

Run by itself, it shows what the commands say that need no queue.
"""

from typing import Any

from megaflow import App, Reject
from megaflow.match.functions import gt

app = App(retry_on=ConnectionError)


@app.on_data({"kind": "refund", "amount": gt(0)})
def refund(data: dict[str, Any]) -> None:
    if data["amount"] > 100:
        raise Reject("more than we may refund")
    print(f"refunded {data['amount']} for {data['order']}")


if __name__ == "__main__":
    import subprocess
    import sys

    for command, body in (("handlers", ""), ("explain", '{"kind": "refund", "order": "A-3", "amount": 0}')):
        print(f"$ megaflow {command} 13_command_line.py", flush=True)
        arguments = [sys.executable, "-m", "megaflow", command, __file__, *(["-"] if body else [])]
        subprocess.run(arguments, input=body, text=True, check=False)
