"""A few messages made at random; and the oracles notice what is wrong."""

from __future__ import annotations

import ast
import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from megaflow import App, Message, Verdict
from megaflow.processing.verdict import Fate
from tests.fuzz import trial
from tests.fuzz.__main__ import main
from tests.fuzz.messages import Received, make
from tests.fuzz.trial import Trials, find_faults

SEED = 17
BROKEN = '{"protocol": "mega", "version": 1, "event": {}}'


def received(body: str, **attributes: dict[str, Any]) -> Received:
    made = {"MessageId": "m-1", "ReceiptHandle": "r-1", "Body": body, "Attributes": {"ApproximateReceiveCount": "1"}}
    return {**made, "MessageAttributes": attributes}


def faults_of(raw: Received, **planted: Any) -> list[str]:
    with Trials(**planted) as trials:
        return trials.find_faults(raw)


def test_what_has_to_hold_holds_for_some_hundred_messages() -> None:
    assert find_faults(SEED, range(500)) == []


def test_the_messages_are_of_all_kinds_and_fates() -> None:
    with Trials() as trials:
        apps = trials._apps
        opened = [trial.read(make(SEED, place)) for place in range(500)]
        verdicts = [apps[0].process(message) for message in opened]

    assert {message.kind.value for message in opened} == {"mega", "data", "text", "binary"}
    assert {verdict.fate.value for verdict in verdicts} == {"deleted", "kept", "dead-lettered"}
    called = {outcome.handler.name for verdict in verdicts for outcome in verdict.outcomes}
    assert {handler.name for handler in apps[0].handlers} - called == set()


def test_a_message_can_be_made_again() -> None:
    assert [make(SEED, place) for place in range(50)] == [make(SEED, place) for place in range(50)]
    assert make(SEED, 1) != make(SEED + 1, 1)


def settle(fate: Fate) -> Callable[[App, Message], Verdict]:
    return lambda app, message: replace(app.process(message), fate=fate)


def raise_it(*_: object) -> Any:
    raise RecursionError("too deep")


def show_as_it_is(app: App, verdict: Verdict) -> None:
    print(verdict.message.id, verdict.message.body)


def show_nothing(app: App, verdict: Verdict) -> None: ...


def handle_nothing(app: App, message: Message) -> Verdict:
    return app.process(replace(message, payload={}))


def take_all_for_one(app: App, message: Message) -> Verdict:
    verdict = app.process(replace(message, id="one", body="", sqs_attributes={}))
    return replace(verdict, message=message)


def log_the_body(app: App, message: Message) -> Verdict:
    logging.getLogger("megaflow").warning("a message says %s", message.body)
    return app.process(message)


def say_nothing(app: App, message: Message) -> Verdict:
    logging.disable(logging.CRITICAL)
    try:
        return app.process(message)
    finally:
        logging.disable(logging.NOTSET)


ORDER = '{"type": "order", "status": "RETRY_LATER", "total": 7, "id": -1}'


@pytest.mark.parametrize(
    ("body", "planted", "noticed"),
    [
        (BROKEN, {"process": settle(Fate.DELETE)}, "it is deleted, though nobody wanted it and it has a problem"),
        (ORDER, {"process": settle(Fate.DELETE)}, "it is deleted after DONE, RETRY_LATER"),
        (ORDER, {"process": settle(Fate.DEAD_LETTER)}, "it is dead-lettered after DONE, RETRY_LATER"),
        (
            ORDER.replace("RETRY_LATER", "reject"),
            {"process": settle(Fate.DELETE)},
            "it is deleted after DONE, FATAL_ERROR",
        ),
        ("x", {"process": settle(Fate.KEEP)}, "it is kept after no handler"),
        ("x", {"process": say_nothing}, "nothing says that it is deleted"),
        (ORDER, {"process": handle_nothing}, "it was for "),
        (ORDER.replace("RETRY_LATER", "reject"), {"process": take_all_for_one}, "tests.fuzz.app.order was skipped"),
        (ORDER, {"process": log_the_body}, "a log line holds its body"),
        ("x", {"process": raise_it}, "it raised: "),
        ("x", {"read": raise_it}, "it raised: "),
        ("x", {"show": raise_it}, "it raised: "),
        ("x\x1b[2J", {"show": show_as_it_is}, "what is shown holds ['\\x1b']"),
        ("x\ud800", {"show": show_as_it_is}, "what is shown holds ['\\ud800']"),
        ("x", {"show": show_nothing}, "what is shown does not name it"),
    ],
)
def test_what_is_wrong_is_noticed(body: str, planted: dict[str, Any], noticed: str) -> None:
    raw = received(body)

    assert faults_of(raw) == []
    assert [fault for fault in faults_of(raw, **planted) if fault.startswith(noticed)] != []


def test_a_message_that_takes_too_long_is_noticed() -> None:
    times: Iterator[float] = iter((5.0, 6.5))

    (fault,) = faults_of(received("x"), clock=lambda: next(times))

    assert fault == "it took 1.5 s of the processor's time"
    assert Trials().clock is time.thread_time


def test_a_finding_can_be_tried_again(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(Trials, "find_faults", lambda self, raw: ["it is odd"] if raw["MessageId"] == "m-17-3" else [])

    assert main(["--messages", "5", "--seed", "17", "--processes", "1"]) == 1
    said = capsys.readouterr().out
    assert "again: python -m tests.fuzz --seed 17 --at 3" in said
    assert ast.literal_eval(said.splitlines()[2].strip()) == make(17, 3)
    assert main(["--seed", "17", "--at", "3"]) == 1
    assert main(["--seed", "17", "--at", "4"]) == 0


def test_it_runs_in_several_processes() -> None:
    command = [sys.executable, "-m", "tests.fuzz", "--messages", "520", "--seed", "17", "--processes", "2"]

    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("seed 17: 520 messages in ")
