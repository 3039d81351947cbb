"""Sentry, as the docs say how: its own SDK, and a transport that collects the events."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

import pytest

from tests import forked
from tests.docs.pages import PAGES, ROOT
from tests.waiting import PATIENCE

pytest.importorskip("sentry_sdk")

(RECIPE,) = re.findall(r"^```python\n(.*?)^```$", PAGES["docs/how-to/sentry.md"], re.MULTILINE | re.DOTALL)
PAYLOAD = "4111111111111111"

# In a process of its own: what Sentry wraps stays wrapped.
PROGRAM = """
import asyncio, json, logging, sys
from functools import partial

import boto3
import sentry_sdk
from sentry_sdk.transport import Transport

from megaflow import Reject, RetryLater
from megaflow.wire.fallback import why_aside
from tests.consuming import Queues

recipe, payload, is_async, has_dead_letters = json.loads(sys.argv.pop())  # Sentry notes the arguments
events = []


class Collecting(Transport):
    def capture_envelope(self, envelope):
        events.extend(item.payload.json for item in envelope.items if item.type == "event")


sentry_sdk.init = partial(sentry_sdk.init, dsn="http://key@127.0.0.1:1/1", transport=Collecting)
logging.basicConfig(level=logging.INFO, stream=sys.stderr)
queues = Queues()
options = {
    "backoff": lambda count: 0.0,
    "wait_time_seconds": 1,
    "client": queues.sqs,
    "queue_url": queues.url,
    "dead_letter_queue_url": queues.dead_letters if has_dead_letters else None,
}
names = {"__name__": "orders", "options": options}
exec(compile(recipe.replace("max_receives=3", "max_receives=3, **options"), "orders.py", "exec"), names)
app, tried = names["app"], []


def fail(data):
    logging.getLogger("shop").info("card %s", "*" * 16)
    match data["do"]:
        case "fatal":
            raise ValueError("no stock")
        case "reject":
            raise Reject("never")
        case "retry":
            tried.append(data["card"])
            raise ConnectionError("no bank")
        case "recover":
            tried.append(data["card"])
            if tried.count(data["card"]) == 1:
                raise ConnectionError("no bank")
        case "later":
            tried.append(data["card"])
            if tried.count(data["card"]) == 1:
                raise RetryLater(after=0)
        case "own":
            logging.getLogger("shop").error("the printer is out of paper")


async def fail_later(data):
    await asyncio.sleep(0)
    fail(data)


app.on_data({"do": lambda do: True}, handler_name="shop.charge")(fail_later if is_async else fail)
if not has_dead_letters:
    queues.sqs.set_queue_attributes(QueueUrl=queues.url, Attributes={"RedrivePolicy": ""})
deeds = ["fatal", "reject", "retry", "recover", "later", "own"]
ids = {do: app.publish({"do": do, "card": f"{payload}-{do}"}) for do in deeds}
left = set(ids)


def stop_at_the_end(verdict):
    if not verdict.keeps or verdict.message.receive_count == 3:
        left.discard(verdict.message.payload["do"])
    if not left:
        app.stop()


app.on_verdict(stop_at_the_end)
app.run()
sentry_sdk.flush()
client = boto3.client("sqs", region_name="eu-west-1", aws_access_key_id="any", aws_secret_access_key="any")
print(json.dumps([events, ids, queues.url, why_aside(client)]))
"""


@cache
def run(
    recipe: str, *, is_async: bool, dead_letters: bool = True
) -> tuple[list[dict[str, Any]], dict[str, str], str, str]:
    given = json.dumps([recipe, PAYLOAD, is_async, dead_letters])
    done = forked.run("-c", PROGRAM, given, cwd=ROOT, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    events, ids, queue, aside = json.loads(done.stdout.splitlines()[-1])
    return events, ids, queue, aside


def describe(event: dict[str, Any]) -> str:
    """Return what an event is about: the error, or else the text."""
    errors = event.get("exception", {}).get("values", [])
    text = event["logentry"]["message"] % tuple(event["logentry"]["params"])
    return f"{errors[-1]['type']}: {errors[-1]['value']}" if errors else re.sub(r"message \S+: ", "", text)


FINAL = [
    "ConnectionError: no bank",
    "ValueError: no stock",
    "shop.charge rejects it: never",
    "the printer is out of paper",
]


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("dead_letters", [True, False])
def test_each_final_failure_is_one_event_and_no_retry_is(is_async: bool, dead_letters: bool) -> None:
    events, ids, queue, _ = run(RECIPE, is_async=is_async, dead_letters=dead_letters)

    assert sorted(map(describe, events)) == FINAL
    told = {describe(event): event["tags"] for event in events}
    for text, do in zip(FINAL, ("retry", "fatal", "reject", "own"), strict=True):
        assert told[text] == {"queue": queue, "handler": "shop.charge", "message_id": ids[do]}


@pytest.mark.parametrize("is_async", [False, True])
def test_retries_are_events_where_that_is_asked_for(is_async: bool) -> None:
    events, _, _, _ = run(RECIPE.replace("logging.ERROR", "logging.WARNING"), is_async=is_async)

    # Three for the one that comes too often, and one for the one that recovers.
    assert [describe(each) for each in events if each["level"] == "warning"] == ["ConnectionError: no bank"] * (3 + 1)


@pytest.mark.parametrize("is_async", [False, True])
def test_no_event_has_anything_of_a_payload(is_async: bool) -> None:
    events, _, _, _ = run(RECIPE, is_async=is_async)

    assert PAYLOAD not in json.dumps(events)
    assert any(event["breadcrumbs"]["values"] for event in events)


def test_without_the_recipe_it_would_be_in_the_variables_of_frames() -> None:
    """So the test above would see it."""
    events, _, _, _ = run(RECIPE.replace("    include_local_variables=False,\n", ""), is_async=False)

    assert PAYLOAD in json.dumps(events)


def test_breadcrumbs_are_those_of_one_message() -> None:
    events, _, _, _ = run(RECIPE, is_async=False)

    (fatal,) = [event for event in events if describe(event) == "ValueError: no stock"]
    said = [each["message"] for each in fatal["breadcrumbs"]["values"]]
    assert said.count(f"card {'*' * 16}") == 1


def test_the_wire_stays_on() -> None:
    assert run(RECIPE, is_async=False)[3] == ""
