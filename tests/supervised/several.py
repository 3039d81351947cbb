"""A script with two apps, each with a queue of its own: ``several.py URL ENDPOINT LEDGER PROCESSES``.

SIGUSR1 stops one of them alone, and SIGUSR2 the other.
"""

import logging
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from megaflow import App, run

URL, ENDPOINT, LEDGER, PROCESSES = sys.argv[1:5]

logging.basicConfig(level=logging.INFO, format="%(process)d %(message)s")


def note(what: str) -> None:
    """Write one line, which several processes may do at once."""
    descriptor = os.open(LEDGER, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{os.getpid()} {what}\n".encode())
    os.close(descriptor)


class NotedApp(App):
    """Notes what its parent tells it, and what it handles."""

    def __init__(self, name: str, **options: Any) -> None:
        super().__init__(f"{URL}-{name}", endpoint_url=ENDPOINT, region_name="us-east-1", retry_on=(), **options)
        self._name = name
        self.on_text()(self.handle)

    def stop(self, *, now: bool = False) -> None:
        super().stop(now=now)
        note(f"{self._name} is told to stop at once" if now else f"{self._name} is told to stop")

    def handle(self, text: str) -> None:
        note(f"{self._name} begins {text}")
        while text == "wait" and not Path(f"{LEDGER}.go").exists():
            threading.Event().wait(0.02)
        if text == "exit":
            sys.exit(3)
        if text == "stop":
            self.stop()
        note(f"{self._name} ends {text}")


# The shutdown timeout is longer than a test waits for a process that does not wait for its handlers.
OPTIONS: dict[str, Any] = {
    "aws_access_key_id": "testing",
    "aws_secret_access_key": "testing",
    "wait_time_seconds": 1,
    "visibility_timeout": 2,
    "shutdown_timeout": 600,
    "concurrency": 1,
}
orders = NotedApp("orders", **OPTIONS)
mails = NotedApp("mails", **OPTIONS)

if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, lambda number, frame: orders.stop())
    signal.signal(signal.SIGUSR2, lambda number, frame: mails.stop())
    run(orders, mails, processes=int(PROCESSES), health_port=0, health_host="127.0.0.1")
