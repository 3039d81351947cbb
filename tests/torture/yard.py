"""Everything that lives during a run: the server, the proxy before it, and the consumers and stores of two queues."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tests.torture.chaos import STORE_ACTS, Act, Blow
from tests.torture.consumer_script import Orders, Plant
from tests.torture.ledger import Key, Ledger, What
from tests.torture.processes import Consumer, Server
from tests.torture.proxy import Proxy
from tests.torture.settings import (
    ACCOUNT,
    BUSY_TIMEOUTS,
    CANNOT_START,
    CONCURRENCIES,
    CONSUMERS_PER_QUEUE,
    EXIT_GRACE,
    MAX_CONCURRENCIES,
    RATES,
    SHUTDOWN_TIMEOUT,
    VISIBILITY_TIMEOUTS,
    make_client,
)
from tests.torture.stores import StoreFaults
from tests.torture.table import TableFaults

NAMES: Final = {"standard": "torture", "fifo": "torture.fifo"}
DEAD_NAMES: Final = {"standard": "torture-dead", "fifo": "torture-dead.fifo"}

_MAX_RECEIVE_COUNT: Final = 1000
_DELAY: Final = 0.3
_ENOUGH: Final = 20
"""Violations."""

_COUNTS: Final = ("", "NotVisible", "Delayed")


class Yard:
    """Starts all of it in *folder*, strikes it, and puts others in the place of what has ended.

    What must not be is in *violations*, what was done is counted in *done*. For one thread, but for the proxy's own.
    """

    def __init__(
        self, folder: Path, seed: int, ledger: Ledger, say: Callable[[str], None], plant: Plant = Plant.NONE
    ) -> None:
        self._folder = folder
        self._plant = plant
        self._seed = seed
        self._luck = random.Random(f"{seed} yard")
        self._ledger = ledger
        self._say = say
        self._server_back_at = 0.0
        self._closing = False
        self._consumers: list[Consumer] = []
        self._started = 0
        self.server = Server(folder)
        self.proxy = Proxy(self.server.port, seed)
        self._direct = make_client(self.server.url)
        # The order of groups is tried with both kinds of stores: each seed has its own.
        kinds = {"standard": StoreFaults, "fifo": self._luck.choice((StoreFaults, TableFaults))}
        self._stores = {queue: kinds[queue](folder / "stores" / queue, queue, ledger) for queue in NAMES}
        self.violations: list[str] = []
        self.done: Counter[str] = Counter()

    def start(self) -> None:
        """Start the server, make the queues, and start the consumers. The proxy has to run by now."""
        self.server.start()
        for queue in NAMES:
            self._create_queues(queue)
            self._stores[queue].make()
            for _ in range(self._luck.choice(CONSUMERS_PER_QUEUE)):
                self._start_consumer(queue)

    @property
    def endpoint(self) -> str:
        """Where everybody finds the server, through the proxy."""
        return f"http://127.0.0.1:{self.proxy.port}"

    def queue_url(self, queue: str) -> str:
        return f"{self.endpoint}/{ACCOUNT}/{NAMES[queue]}"

    def are_ready(self) -> bool:
        return all(consumer.is_ready for consumer in self._consumers)

    def are_well(self) -> bool:
        """Tell whether all consumers have found their store well, and can be signalled."""
        return self.are_ready() and all(consumer.is_well for consumer in self._consumers)

    @property
    def is_hopeless(self) -> bool:
        """Whether so much went wrong that there is no use in going on."""
        return len(self.violations) >= _ENOUGH

    def strike(self, blow: Blow) -> None:
        """Carry out one act."""
        queue = sorted(NAMES)[int(blow.pick * len(NAMES))]
        match blow.act:
            case Act.KILL_CONSUMER:
                self._kill_consumer(self._consumers[int(blow.pick * len(self._consumers))])
            case Act.STOP_CONSUMERS:
                self._stop_consumers(queue)
            case Act.KILL_SERVER:
                self._kill_server(blow.seconds)
            case act if act in STORE_ACTS:
                if not self._harm_store(queue, blow):
                    return
            case _:
                self._harm_network(blow)
        self.done[blow.act.value] += 1

    def tick(self) -> None:
        """Look after those who have ended, and those who do not end."""
        if self.server.has_died():
            self.violations.append(f"the server ended by itself: see {self._folder / 'server.log'}")
            self._kill_server(0.0)
        if not self.server.is_up and time.monotonic() >= self._server_back_at:
            self.server.start()
            self._ledger.note(What.FAULT, text="the server was away until now")
        for store in self._stores.values():
            store.tick()
        for consumer in tuple(self._consumers):
            self._look_after(consumer)

    def calm(self) -> None:
        """End every fault."""
        self.proxy.calm()
        for store in self._stores.values():
            store.heal()
        self._server_back_at = 0.0
        self.tick()

    def count(self, queue: str) -> int:
        """Return how many messages are left, visible or not; asked past the proxy."""
        names = [f"ApproximateNumberOfMessages{suffix}" for suffix in _COUNTS]
        url = f"{self.server.url}/{ACCOUNT}/{NAMES[queue]}"
        attributes = self._direct.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        return sum(int(attributes[name]) for name in names)

    def drain_dead(self, queue: str) -> Counter[Key]:
        """Take out what the dead-letter queue holds, and return how often each message was there."""
        url = f"{self.server.url}/{ACCOUNT}/{DEAD_NAMES[queue]}"
        found: Counter[Key] = Counter()
        while messages := self._direct.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                data = json.loads(message["Body"])
                found[Key(data["group"], data["number"])] += 1
                self._direct.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return found

    def stop_consumers(self) -> None:
        """Ask all consumers to stop, and wait until they have."""
        self._closing = True
        for queue in NAMES:
            self._stop_consumers(queue)
        deadline = time.monotonic() + SHUTDOWN_TIMEOUT + EXIT_GRACE + 1.0
        pause = threading.Event()
        while self._consumers and time.monotonic() < deadline:
            self.tick()
            pause.wait(0.05)

    def close(self) -> None:
        """Kill what is left, whatever happened before."""
        for consumer in self._consumers:
            consumer.kill()
        for store in self._stores.values():
            store.close()
        self.server.kill()
        self._direct.close()

    def _create_queues(self, queue: str) -> None:
        fifo = {"FifoQueue": "true"} if queue == "fifo" else {}
        url = self._create(DEAD_NAMES[queue], fifo)
        arn = self._direct.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": str(_MAX_RECEIVE_COUNT)})
        self._create(NAMES[queue], fifo | {"RedrivePolicy": policy})

    def _create(self, name: str, attributes: dict[str, str]) -> Any:
        return self._direct.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]

    def _start_consumer(self, queue: str) -> None:
        self._started += 1
        label = f"{queue}-{self._started}"
        orders = Orders(
            queue=queue,
            queue_url=self.queue_url(queue),
            endpoint=self.endpoint,
            ledger=str(self._folder / "ledger"),
            ready=str(self._folder / f"{label}.ready"),
            unwell=str(self._folder / f"{label}.unwell"),
            parent=os.getpid(),
            seed=self._seed,
            concurrency=self._luck.choice(CONCURRENCIES),
            max_concurrency=self._luck.choice(MAX_CONCURRENCIES),
            rate=self._luck.choice(RATES),
            visibility_timeout=self._luck.choice(VISIBILITY_TIMEOUTS),
            wire=self._luck.choice([True, False]),
            beside_loop=self._luck.choice([True, False]),
            store=self._stores[queue].address,
            busy_timeout=self._luck.choice(BUSY_TIMEOUTS),
            plant=self._plant,
        )
        self._consumers.append(Consumer(orders, self._folder / f"{label}.log"))

    def _kill_consumer(self, consumer: Consumer) -> None:
        self._say(f"kill -9 of consumer {consumer.pid} ({consumer.queue})")
        consumer.kill()
        self._replace(consumer)

    def _stop_consumers(self, queue: str) -> None:
        reached = [each for each in self._consumers if each.queue == queue and each.is_ready]
        self._say(f"SIGTERM to consumers {', '.join(str(each.pid) for each in reached)} ({queue})")
        for consumer in reached:
            self._ledger.note(What.STOP, queue=queue, pid=consumer.pid)
            consumer.stop()
            self.done["SIGTERMs"] += 1

    def _kill_server(self, seconds: float) -> None:
        self._say(f"kill -9 of the server, back in {seconds:.1f} s")
        self._ledger.note(What.FAULT, seconds=seconds + 1.0, text="server")
        self.server.kill()
        self._server_back_at = time.monotonic() + seconds

    def _harm_network(self, blow: Blow) -> None:
        self._say(f"{blow.act.value}, for {blow.seconds:.1f} s")
        self._ledger.note(What.FAULT, seconds=blow.seconds, text=blow.act.value)
        match blow.act:
            case Act.STALL:
                self.proxy.stall(blow.seconds)
            case Act.DELAY:
                self.proxy.delay(blow.seconds, _DELAY)
            case Act.CUT:
                self.proxy.cut(blow.seconds)
            case _:
                self.proxy.reset()

    def _harm_store(self, queue: str, blow: Blow) -> bool:
        pids = [each.pid for each in self._consumers if each.queue == queue]
        if is_harmed := self._stores[queue].harm(blow.act, blow.seconds, pids):
            self._say(f"{self._stores[queue].tell(blow.act)} ({queue}), for {blow.seconds:.1f} s")
        return is_harmed

    def _could_not_start(self, consumer: Consumer, code: int) -> bool:
        """Tell whether a consumer has ended since its store was out of reach as it started."""
        store = self._stores[consumer.queue]
        return code == CANNOT_START and (store.is_harmed or store.healed_at >= consumer.started_at)

    def _look_after(self, consumer: Consumer) -> None:
        code = consumer.exit_code()
        if code is None:
            if consumer.is_overdue():
                verb = "stop" if consumer.leaves else "start"
                self.violations.append(f"consumer {consumer.pid} did not {verb} in time: {consumer.last_words()}")
                self._kill_consumer(consumer)
            return
        if self._could_not_start(consumer, code):
            self.done["consumers without a store at their start"] += 1
        elif code or not consumer.leaves:
            asked = "asked to" if consumer.leaves else "unasked"
            self.violations.append(f"consumer {consumer.pid} exited {asked}, with code {code}: {consumer.last_words()}")
        self._replace(consumer)

    def _replace(self, consumer: Consumer) -> None:
        """Put another one in the place of a consumer that has ended."""
        self._consumers.remove(consumer)
        self._ledger.note(What.GONE, pid=consumer.pid)
        if not self._closing:
            self.done["consumers restarted"] += 1
            self._start_consumer(consumer.queue)
