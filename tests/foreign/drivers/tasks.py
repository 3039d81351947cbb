"""Tasks of celery, which note each run of theirs in a file.

``python tasks.py NUMBER`` asks for so many; ``python -m celery --app tasks worker`` runs them.
"""

import json
import os
import sys
import time
from pathlib import Path

from celery import Celery

NOTES = Path(os.environ["NOTES"])

app = Celery("tasks", broker=os.environ["BROKER"])
app.conf.update(
    broker_transport_options=json.loads(os.environ["TRANSPORT"]),
    broker_connection_retry_on_startup=True,
    task_default_queue=os.environ.get("QUEUE", "celery"),
    worker_prefetch_multiplier=1,
)


def note(words):
    with NOTES.open("a") as notes:
        notes.write(f"{words}\n")


@app.task
def add(number):
    note(f"added {number}")


@app.task(bind=True, max_retries=3)
def fail_once(self, number):
    note(f"tried {number} for the {self.request.retries + 1}. time")
    if self.request.retries == 0:
        raise self.retry(countdown=0)


@app.task(acks_late=True)
def hang_once(number):
    first = "hung" not in NOTES.read_text() if NOTES.exists() else True
    note("hung" if first else f"finished {number}")
    while first:
        time.sleep(0.1)


if __name__ == "__main__":
    task, count = sys.argv[1:]
    for each in range(int(count)):
        app.send_task(f"tasks.{task}", (each,))
