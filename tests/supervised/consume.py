"""A script that consumes with several processes: ``consume.py URL ENDPOINT LEDGER HOW``."""

import logging
import os
import sys
import threading
from pathlib import Path

URL, ENDPOINT, LEDGER, HOW = sys.argv[1:5]

# Before all else: on a busy machine the imports alone could take longer than a life that counts as short.
if HOW == "dies at once" and __name__ == "__mp_main__":
    os._exit(3)

from megaflow import App  # noqa: E402

logging.basicConfig(level=logging.INFO, format="%(process)d %(message)s")


def note(what: str) -> None:
    """Write one line, which several processes may do at once."""
    descriptor = os.open(LEDGER, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{os.getpid()} {what}\n".encode())
    os.close(descriptor)


class NotedApp(App):
    """Notes what its parent tells it."""

    def stop(self, *, now: bool = False) -> None:
        super().stop(now=now)
        note("is told to stop at once" if now else "is told to stop")


app = NotedApp(
    URL,
    endpoint_url=ENDPOINT,
    region_name="us-east-1",
    aws_access_key_id="testing",
    aws_secret_access_key="testing",
    wait_time_seconds=1,
    visibility_timeout=2 if HOW == "short leases" else 30,
    # Longer than a test waits for a process that does not wait for its handlers.
    shutdown_timeout=600,
    concurrency=1,
)


def handle(text: str) -> None:
    note(f"begins {text}")
    if text == "wait":
        while not Path(f"{LEDGER}.go").exists():
            threading.Event().wait(0.02)
    if text == "die":
        os._exit(3)
    note(f"ends {text}")


# Handlers, or the app itself, below the guard: a child has none.
if HOW != "handlers below the guard" or __name__ == "__main__":
    app.on_text()(handle)
if HOW == "app below the guard" and __name__ == "__mp_main__":
    del app

if __name__ == "__main__" or HOW == "unguarded":
    app.run(
        processes=2, health_port=0 if HOW == "scraped" else None, health_host="127.0.0.1" if HOW == "scraped" else None
    )
