"""What matching costs: one event against N handlers, beside parsing its JSON in the same run.

``make bench``, or ``python benchmarks/dispatch.py``. Absolute times drift on shared machines: read the ratios.
"""

import json
import time
from collections.abc import Callable
from statistics import median
from typing import Any

from megaflow import App, Payload, PayloadBuilder
from megaflow.event import deserialize_payload, serialize_payload
from megaflow.match.functions import gt, not_, one_of

ROUNDS = 7
SECONDS_PER_ROUND = 0.05


def build_event() -> Payload:
    """Return an event of about 570 bytes and 20 leaves."""
    cart = {
        "id": "18a3f92e-1fbf-45eb-8769-d836d0a1be55",
        "user_id": 987650,
        "currency": "USD",
        "value": "377.37",
        "discount": "20.19",
        "subtotal": "357.18",
    }
    return (
        PayloadBuilder()
        .with_event(
            domain="domain-3", name="event-3", subject="987650", publisher="cart", item_id="61fcc874", quantity=5
        )
        .with_object(type="cart", id="18a3f92e", version=2, current=cart)
        .with_extra(channel="web/desktop", user_ip_address="177.182.205.103")
        .build()
    )


def build_app(count: int) -> App:
    """Return an app with *count* handlers, keyed by domain and name, of which one or two match the event."""
    app = App()
    for number in range(count):
        app.on_event(
            domain=f"domain-{number // 2 % 100 + 3}",
            name=f"event-{number // 2 + 3}",
            version=one_of(1, 2),
            attributes={"quantity": gt(0), "item_id": not_("")},
        )(lambda payload: None)
    return app


def time_call(call: Callable[[], object]) -> float:
    """Return the median µs of one call."""
    rounds = []
    for _ in range(ROUNDS):
        calls, start = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - start) < SECONDS_PER_ROUND:
            call()
            calls += 1
        rounds.append(elapsed / calls * 1e6)
    return median(rounds)


def main() -> None:
    event = build_event()
    body = json.dumps(serialize_payload(event))
    document: dict[str, Any] = json.loads(body)
    parse = time_call(lambda: json.loads(body))
    read = time_call(lambda: deserialize_payload(document))
    print(f"an event of {len(body)} bytes: json.loads takes {parse:.1f} µs, object to Payload {read:.1f} µs\n")
    print(f"{'handlers':>8}  {'matching':>8}  {'µs':>9}  {'json.loads':>12}")
    for count in (1, 10, 100, 1_000, 10_000):
        app = build_app(count)
        matching = len(app.handlers_for(event))
        took = time_call(lambda app=app: app.handlers_for(event))  # type: ignore[misc]
        print(f"{count:>8,}  {matching:>8}  {took:>9.1f}  {took / parse:>11.2f}x")


if __name__ == "__main__":
    main()
