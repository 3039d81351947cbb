"""An app beside an event loop, as the docs say and in a thread, run: ``consume.py URL ENDPOINT LEDGER HOW``."""

import asyncio
import logging
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import megaflow
from megaflow import App

URL, ENDPOINT, LEDGER, HOW = sys.argv[1:5]

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")


def note(what: str) -> None:
    """Write one line, which is there even if this process is killed at once."""
    descriptor = os.open(LEDGER, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{what}\n".encode())
    os.close(descriptor)


def handle(data: dict[str, Any]) -> None:
    """Take as long as the test says."""
    note("begins")
    while not Path(f"{LEDGER}.go").exists():
        threading.Event().wait(0.02)
    note("ends")


PAGE = (Path(__file__).parents[2] / "docs/how-to/event-loop.md").read_text()
page: dict[str, Any] = {"__name__": "page"}
exec(PAGE.split("```python\n", 1)[1].split("```", 1)[0], page)
app: App = page["app"]
app.on_data({"type": "order"})(handle)
second = App(f"{URL}-2", endpoint_url=ENDPOINT, retry_on=())
second.on_data({"type": "other"})(handle)


async def run_in_thread(run: Any, stop: Any) -> None:
    """Run something in a thread, and let the loop stop it."""
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    await asyncio.to_thread(run)


def stop_both() -> None:
    """Stop both apps."""
    app.stop()
    second.stop()


if __name__ == "__main__":
    with app.connected(URL, endpoint_url=ENDPOINT):
        if HOW == "as in the docs":
            asyncio.run(page["main"]())
        elif HOW == "in a thread":
            asyncio.run(run_in_thread(app.run, app.stop))
        elif HOW == "several apps":
            asyncio.run(run_in_thread(lambda: megaflow.run(app, second), stop_both))
        else:
            megaflow.run(app, second)
    note("returned")
