"""Everything that lives during a run: PostgreSQL, the server with its queues, and the workers."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sqlalchemy import Engine, NullPool, create_engine, func, select

from megaflow.sql import Inbox
from megaflow.sql.tables import outbox
from tests.postgresql import Postgresql
from tests.torture.processes import Server
from tests.torture.settings import (
    ACCOUNT,
    CONCURRENCIES,
    EXIT_GRACE,
    SHUTDOWN_TIMEOUT,
    VISIBILITY_TIMEOUTS,
    make_client,
)
from tests.torture_sql import tables
from tests.torture_sql.brief import Brief, Role
from tests.torture_sql.chaos import Act, Blow
from tests.torture_sql.plants import Plant
from tests.torture_sql.workers import Worker

NAMES: Final = {"standard": "shop", "fifo": "shop.fifo"}
_DEAD_NAMES: Final = {"standard": "shop-dead", "fifo": "shop-dead.fifo"}

_WORKERS: Final = {Role.WRITER: 1, Role.RELAY: 2, Role.CONSUMER: 2}
"""Of each queue."""

_MAX_RECEIVE_COUNT: Final = 1000
_ENOUGH: Final = 20
"""Violations."""

_COUNTS: Final = ("", "NotVisible", "Delayed")


class Yard:
    """Starts all of it in *folder*, strikes it, and puts others in the place of what has ended.

    What must not be is in *violations*, what was done is counted in *done*. For one thread.
    """

    def __init__(
        self, folder: Path, database: Postgresql, seed: int, say: Callable[[str], None], plant: Plant = Plant.NONE
    ) -> None:
        self._folder = folder
        self._database = database
        self._url = database.url(database.create_database())
        self.engine: Final[Engine] = create_engine(self._url, poolclass=NullPool)
        self._seed = seed
        self._luck = random.Random(f"{seed} yard")
        self._say = say
        self._plant = plant
        self._server = Server(folder)
        self._client = make_client(self._server.url)
        self._server_back_at = self._database_back_at = 0.0
        self._is_closing = False
        self._workers: list[Worker] = []
        self._started = 0
        self.violations: list[str] = []
        self.done: Counter[str] = Counter()

    def start(self) -> None:
        """Start the server, make queues and tables, and start the workers."""
        self._server.start()
        with self.engine.begin() as connection:
            tables.create(connection, tuple(NAMES))
            outbox.create(connection)
        Inbox(self.engine).create_tables()
        for queue in NAMES:
            self._create_queues(queue)
            for role, count in _WORKERS.items():
                for _ in range(count):
                    self._start_worker(role, queue)

    @property
    def notes(self) -> Path:
        return self._folder / "notes"

    @property
    def is_up(self) -> bool:
        """Whether database and server can be asked."""
        return self._server.is_up and self._database.process is not None

    @property
    def is_hopeless(self) -> bool:
        """Whether so much went wrong that there is no use in going on."""
        return len(self.violations) >= _ENOUGH

    def are_ready(self) -> bool:
        return all(worker.is_ready for worker in self._workers)

    def are_most_ready(self) -> bool:
        """Tell whether enough workers are at work to strike one of them."""
        return sum(worker.is_ready for worker in self._workers) > 0.7 * len(self._workers)

    def hold_writers(self, *, held: bool) -> None:
        """Let writers wait, or go on."""
        if held:
            self._hold.touch()
        else:
            self._hold.unlink(missing_ok=True)

    def strike(self, blow: Blow) -> None:
        """Carry out one act, if that can be done now."""
        if self._try_to_strike(blow):
            self.done[blow.act.value] += 1

    def tick(self) -> None:
        """Look after those who have ended, and those who do not end."""
        if self._server.has_died():
            self.violations.append(f"the server ended by itself: see {self._folder / 'server.log'}")
            self._server.kill()
        now = time.monotonic()
        if not self._server.is_up and now >= self._server_back_at:
            self._server.start()
        if self._database.process is None and now >= self._database_back_at:
            self._database.start()
        for worker in tuple(self._workers):
            worker.go_on()
            self._look_after(worker)

    def calm(self) -> None:
        """End every fault."""
        self._server_back_at = self._database_back_at = 0.0
        for worker in self._workers:
            worker.go_on(now=True)
        self.tick()

    def count_sent(self, queue: str) -> int:
        """Return how many messages are left in a queue, visible or not."""
        return self._count(NAMES[queue])

    def count_dead(self, queue: str) -> int:
        return self._count(_DEAD_NAMES[queue])

    def count_unsent(self) -> int:
        """Return how many rows are left in the outboxes."""
        with self.engine.connect() as connection:
            return connection.execute(select(func.count()).select_from(outbox)).scalar_one()

    def stop_workers(self, *roles: Role) -> None:
        """Ask all workers of these *roles* to stop, and wait until they have."""
        self._is_closing = True
        leaving = [worker for worker in self._workers if worker.brief.role in roles]
        deadline = time.monotonic() + SHUTDOWN_TIMEOUT + EXIT_GRACE + 1.0
        pause = threading.Event()
        while any(worker in self._workers for worker in leaving) and time.monotonic() < deadline:
            for worker in leaving:
                if worker.is_ready and not worker.leaves:
                    worker.stop()
            self.tick()
            pause.wait(0.05)

    def close(self) -> None:
        """Kill what is left, whatever happened before."""
        for worker in self._workers:
            worker.kill()
        self._server.kill()
        self._client.close()

    @property
    def _hold(self) -> Path:
        return self._folder / "hold"

    def _count(self, name: str) -> int:
        names = [f"ApproximateNumberOfMessages{suffix}" for suffix in _COUNTS]
        url = f"{self._server.url}/{ACCOUNT}/{name}"
        attributes = self._client.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        return sum(int(attributes[each]) for each in names)

    def _create_queues(self, queue: str) -> None:
        fifo = {"FifoQueue": "true"} if queue == "fifo" else {}
        url = self._client.create_queue(QueueName=_DEAD_NAMES[queue], Attributes=fifo)["QueueUrl"]
        arn = self._client.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": str(_MAX_RECEIVE_COUNT)})
        self._client.create_queue(QueueName=NAMES[queue], Attributes=fifo | {"RedrivePolicy": policy})

    def _start_worker(self, role: Role, queue: str) -> None:
        self._started += 1
        label = f"{role}-{queue}-{self._started}"
        brief = Brief(
            role=role,
            queue=queue,
            queue_url=f"{self._server.url}/{ACCOUNT}/{NAMES[queue]}",
            endpoint=self._server.url,
            database=self._url,
            notes=str(self.notes),
            ready=str(self._folder / f"{label}.ready"),
            hold=str(self._hold),
            luck=f"{self._seed} {label}",
            is_async=self._luck.choice([True, False]),
            relays=self._luck.choice([True, False, False]),
            concurrency=self._luck.choice(CONCURRENCIES),
            visibility_timeout=self._luck.choice(VISIBILITY_TIMEOUTS),
            wire=self._luck.choice([True, False]),
            plant=self._plant,
        )
        self._workers.append(Worker(brief, self._folder / f"{label}.log"))

    def _try_to_strike(self, blow: Blow) -> bool:
        ready = [worker for worker in self._workers if worker.is_ready]
        worker = ready[int(blow.pick * len(ready))]
        match blow.act:
            case Act.KILL:
                self._say(f"kill -9 of {worker}")
                worker.kill()
                self._replace(worker)
            case Act.STOP | Act.PAUSE if worker.is_paused or worker.leaves:
                return False
            case Act.STOP:
                self._say(f"SIGTERM to {worker}")
                worker.stop()
            case Act.PAUSE:
                self._say(f"SIGSTOP to {worker}, for {blow.seconds:.1f} s")
                worker.pause(blow.seconds)
            case _ if not self.is_up:
                return False
            case _:
                self._say(f"{blow.act.value}, back in {blow.seconds:.1f} s")
                self._end_for_a_while(blow)
        return True

    def _end_for_a_while(self, blow: Blow) -> None:
        back_at = time.monotonic() + blow.seconds
        if blow.act is Act.KILL_SERVER:
            self._server.kill()
            self._server_back_at = back_at
            return
        self._database_back_at = back_at
        if blow.act is Act.KILL_DATABASE:
            self._database.kill()
        else:
            self._database.stop()

    def _look_after(self, worker: Worker) -> None:
        code = worker.exit_code()
        if code is None:
            if worker.is_overdue():
                verb = "stop" if worker.leaves else "start"
                self.violations.append(f"{worker} did not {verb} in time: {worker.last_words()}")
                worker.kill()
                self._replace(worker)
            return
        if code or not worker.leaves:
            asked = "asked to" if worker.leaves else "unasked"
            self.violations.append(f"{worker} exited {asked}, with code {code}: {worker.last_words()}")
        self._replace(worker)

    def _replace(self, worker: Worker) -> None:
        """Put another one in the place of a worker that has ended."""
        self._workers.remove(worker)
        if not self._is_closing:
            self.done["workers restarted"] += 1
            self._start_worker(worker.brief.role, worker.brief.queue)
