"""``message_age`` counts messages that no handler matches, too, and its description spoke of a handler's start."""

from __future__ import annotations

from megaflow.telemetry.instruments import INSTRUMENTS
from tests.consuming import Queues, running
from tests.telemetry.kept import KeptMetrics
from tests.waiting import wait_until


def test_the_age_of_each_delivery_is_measured_and_it_says_so() -> None:
    queues, kept = Queues(), KeptMetrics()
    app = queues.app(metrics=kept, retry_on=())
    app.on_data({"type": "order"})(print)
    app.publish({"type": "nobody's"})

    with running(app):
        wait_until(lambda: kept.counted("unmatched"))

    assert len(kept.observed("message_age")) == 1
    assert "whether or not a handler matches" in INSTRUMENTS["message_age"].meaning
