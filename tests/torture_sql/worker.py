"""One worker, in a process of its own."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.torture.settings import without_aws
from tests.torture_sql.brief import Brief, Role, make_app, make_engine, make_outbox
from tests.torture_sql.consumer import make_consumer
from tests.torture_sql.notes import Notes
from tests.torture_sql.plants import plant
from tests.torture_sql.writer import Writer

Do = Callable[[], object]


def make(brief: Brief, notes: Notes) -> tuple[Do, Do]:
    """Return what a worker does, and what ends it."""
    if brief.role is Role.WRITER:
        writer = Writer(brief, notes)
        return writer.run, writer.stop
    if brief.role is Role.RELAY:
        outbox = make_outbox(brief, make_app(brief), make_engine(brief))
        return outbox.relay, outbox.stop
    app, outbox = make_consumer(brief, notes)
    return partial(app.run, relay=outbox if brief.relays else None), app.stop


def leave_with(parent: int) -> None:
    """Do not live on when the one who started this is gone."""
    while os.getppid() == parent:
        threading.Event().wait(0.5)
    os._exit(1)


def work(brief: Brief, log: Path) -> None:
    """Do what *brief* says, until SIGTERM; what is said goes into *log*."""
    threading.Thread(target=leave_with, args=(os.getppid(),), daemon=True).start()
    for name in os.environ.keys() - without_aws().keys():
        del os.environ[name]
    with log.open("w") as stream:
        for number in (1, 2):
            os.dup2(stream.fileno(), number)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(relativeCreated)d %(levelname)s %(message)s")
    plant(brief.plant)
    run, stop = make(brief, Notes(Path(brief.notes)))
    # A signal may come before `run` listens to it, and after.
    signal.signal(signal.SIGTERM, lambda *_: stop())
    Path(brief.ready).touch()
    run()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
