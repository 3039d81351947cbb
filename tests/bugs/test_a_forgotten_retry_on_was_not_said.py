"""An app without `retry_on` dead-lettered 185 of 300 messages during an outage, and nothing had said that it would.

The rule is that of the sqs-mega README. What forgets it is told by the log at the start, by `App.check` and by the
command line; ``retry_on=()`` says that it is meant.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from megaflow import App, Oddity
from megaflow.aws.sqs.subscribe import EventSubscriber, SqsListener
from megaflow.cli.main import main
from megaflow.local import Account, SqsClient
from megaflow.testing import TestClient
from tests.docs.pages import PAGES

SAID = "no handler retries anything: an exception dead-letters its message"


def handle(payload: object) -> None: ...


def other(payload: object) -> None: ...


class Subscriber(EventSubscriber):
    def process(self, payload: Any) -> None:
        raise ConnectionError


class Decided(Subscriber):
    retry_on = ()


def app_with(*options: dict[str, Any], **of_app: Any) -> App:
    app = App(**of_app)
    for each, function in zip(options, (handle, other), strict=False):
        app.on_text(each.pop("pattern", None), **each)(function)
    return app


def listener(subscriber: type[EventSubscriber], **options: Any) -> App:
    listener = SqsListener(**options)
    listener.register_subscriber(subscriber)
    return listener.app


FORGETFUL: dict[str, Callable[[], App]] = {
    "one": lambda: app_with({}),
    "two": lambda: app_with({"pattern": "a"}, {"pattern": "b"}),
    "None": lambda: app_with({"retry_on": None}, retry_on=None),
    "a subscriber": lambda: listener(Subscriber),
}
DECIDED: dict[str, Callable[[], App]] = {
    "the app": lambda: app_with({}, retry_on=ConnectionError),
    "the app, for none": lambda: app_with({}, retry_on=()),
    "a decorator": lambda: app_with({"retry_on": ConnectionError}),
    "a decorator, for none": lambda: app_with({"retry_on": ()}),
    "a subscriber": lambda: listener(Decided),
    "a listener": lambda: listener(Subscriber, retry_on=ConnectionError),
    "a listener, for none": lambda: listener(Subscriber, retry_on=()),
    "one of two": lambda: app_with({"pattern": "a"}, {"pattern": "b", "retry_on": ()}),
}


def run(app: App) -> None:
    sqs = SqsClient(Account())
    with app.connected(sqs.create_queue(QueueName="q")["QueueUrl"], client=sqs):
        app.stop()
        app.run()


def call_lambda(app: App) -> None:
    function = app.lambda_handler()
    record = {"messageId": "a", "body": "ping", "receiptHandle": "a", "attributes": {}, "messageAttributes": {}}
    arn = "arn:aws:sqs:eu-west-1:123456789012:q"
    for _ in range(2):
        function({"Records": [record | {"eventSource": "aws:sqs", "eventSourceARN": arn}]})


STARTS = {"run": run, "lambda": call_lambda}


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("make", FORGETFUL)
def test_the_log_warns_once_at_the_start(make: str, start: str, caplog: pytest.LogCaptureFixture) -> None:
    STARTS[start](FORGETFUL[make]())

    (said,) = [record for record in caplog.records if SAID in record.getMessage()]
    assert said.levelno == logging.WARNING
    assert "App(retry_on=(ConnectionError, TimeoutError))" in said.getMessage()
    assert said.getMessage().endswith("or retry_on=() where nothing is")


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("make", DECIDED)
def test_the_log_says_nothing_where_it_is_decided(make: str, start: str, caplog: pytest.LogCaptureFixture) -> None:
    STARTS[start](DECIDED[make]())

    assert SAID not in caplog.text


def test_check_tells_once_where_no_handler_says_it() -> None:
    (finding,) = FORGETFUL["two"]().check()

    assert (finding.oddity, finding.handler.function) == (Oddity.UNDECIDED, handle)
    assert str(finding).endswith(
        "retries nothing, nor does any other handler: an exception dead-letters its message, or deletes it; say "
        "retry_on=, or retry_on=() where that is meant"
    )


def test_check_tells_of_each_where_others_say_it() -> None:
    (finding,) = DECIDED["one of two"]().check()

    assert (finding.oddity, finding.handler.function) == (Oddity.UNDECIDED, handle)
    assert " retries nothing: an exception dead-letters its message" in str(finding)


@pytest.mark.parametrize("make", [each for each in DECIDED if each != "one of two"])
def test_check_says_nothing_of_what_is_decided(make: str) -> None:
    assert Oddity.UNDECIDED not in {finding.oddity for finding in DECIDED[make]().check()}


def test_the_command_line_shows_it(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "forgetful.py"
    path.write_text("from megaflow import App\napp = App()\n@app.on_text('a')\ndef a(text): ...\n")

    code = main(["handlers", str(path)])

    assert code == 0
    assert "forgetful.a (" in (said := capsys.readouterr().out)
    assert "retries nothing: " in " ".join(said.split())


@pytest.mark.parametrize(("options", "became"), [({}, "dead_lettered"), ({"retry_on": ConnectionError}, "kept")])
def test_the_rule_is_what_it_was(options: dict[str, Any], became: str) -> None:
    app = App(**options)

    @app.on_text()
    def fail(text: str) -> None:
        raise ConnectionError("the database is away")

    with TestClient(app) as client:
        client.publish("ping")

        assert len(getattr(client, became)) == 1


@pytest.mark.parametrize("name", [name for name, page in PAGES.items() if "= App(" in page])
def test_the_first_program_of_a_page_says_it(name: str) -> None:
    programs = re.findall(r"^```python.*?\n(.*?)```", PAGES[name], re.MULTILINE | re.DOTALL)

    # What a breaker is for is worth another try.
    assert re.search(r"(retry_on|breaker)=", next(program for program in programs if "= App(" in program))
