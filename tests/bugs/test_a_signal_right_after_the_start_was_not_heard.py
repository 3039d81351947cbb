"""The consumer said that it consumes before it listened for signals, so a SIGTERM then ended the process."""

import logging
import signal
import threading
from collections.abc import Iterator

import pytest

from megaflow import App
from megaflow.local import Account, SqsClient
from tests.waiting import PATIENCE


class Impatient(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage().startswith("consuming"):
            signal.raise_signal(signal.SIGTERM)


@pytest.fixture
def unheard() -> Iterator[list[int]]:
    """The signals that the consumer did not take."""
    signals: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: signals.append(number))
    yield signals
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def impatient() -> Iterator[None]:
    log, handler = logging.getLogger("megaflow"), Impatient(logging.INFO)
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    yield
    log.removeHandler(handler)
    log.setLevel(level)


@pytest.mark.usefixtures("impatient")
def test_a_signal_at_the_first_log_line_stops_the_consumer(unheard: list[int]) -> None:
    sqs = SqsClient(Account())
    app = App(sqs.create_queue(QueueName="orders")["QueueUrl"], client=sqs)
    app.on_data()(lambda data: None)
    rescue = threading.Timer(PATIENCE, app.stop)
    rescue.start()

    app.run()

    rescue.cancel()
    assert unheard == []
