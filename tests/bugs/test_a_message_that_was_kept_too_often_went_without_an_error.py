"""A message kept at its last delivery went to the dead letters, or was deleted, without an error in the log.

Its line said that it would be tried again. One that failed for good without a dead-letter queue had two errors; and one
with a failure that was remembered had it as an error once more at each delivery. Whoever is told of errors, as by
Sentry, is to hear of each final failure once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from megaflow import App, MemoryStore, ProcessStatus
from tests.consuming import Queues

Drive = Callable[[App, Queues], None]


def consume(app: App, queues: Queues) -> None:
    left = [2]

    def stop_at_the_end(verdict: Any) -> None:
        left[0] -= 1
        if not left[0] or not verdict.keeps:
            app.stop()

    app.on_verdict(stop_at_the_end)
    app.run()


def invoke(app: App, queues: Queues) -> None:
    """Do what Lambda does: invoke the function twice, as long as there is something."""
    handler = app.lambda_handler()
    for _ in range(2):
        received = queues.sqs.receive_message(
            QueueUrl=queues.url, MessageSystemAttributeNames=["All"], WaitTimeSeconds=1
        )
        records = [
            {
                "messageId": each["MessageId"],
                "body": each["Body"],
                "receiptHandle": each["ReceiptHandle"],
                "attributes": each["Attributes"],
                "eventSource": "aws:sqs",
                "eventSourceARN": queues.arn(queues.url),
            }
            for each in received.get("Messages", [])
        ]
        said = handler({"Records": records}) if records else {"batchItemFailures": []}
        failed = {each["itemIdentifier"] for each in said["batchItemFailures"]}
        for record in records:
            if record["messageId"] not in failed:
                queues.sqs.delete_message(QueueUrl=queues.url, ReceiptHandle=record["receiptHandle"])


DRIVERS = pytest.mark.parametrize("drive", [consume, invoke])


def errors_of(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str, str]]:
    """Return text, error and handler of each error in the log."""
    found = []
    for record in caplog.records:
        if record.levelno >= logging.ERROR:
            error = record.exc_info[1] if record.exc_info else None
            text = record.getMessage().removeprefix(f"message {vars(record)['message_id']}").lstrip(": ")
            found.append((text, repr(error), vars(record).get("handler", "")))
    return found


def make(queues: Queues, *, dead_letters: bool, **options: Any) -> App:
    if not dead_letters:
        queues.sqs.set_queue_attributes(QueueUrl=queues.url, Attributes={"RedrivePolicy": ""})
    return queues.app(
        retry_on=(ConnectionError,),
        backoff=lambda count: 0.0,
        wait_time_seconds=1,
        dead_letter_queue_url=queues.dead_letters if dead_letters else None,
        **options,
    )


@DRIVERS
@pytest.mark.parametrize("dead_letters", [True, False])
@pytest.mark.parametrize("error", [ConnectionError("no bank"), None], ids=repr)
def test_the_last_delivery_of_one_that_is_kept_ends_with_one_error(
    drive: Drive, dead_letters: bool, error: Exception | None, caplog: pytest.LogCaptureFixture
) -> None:
    queues = Queues()
    app = make(queues, dead_letters=dead_letters, max_receives=2)

    @app.on_text(handler_name="shop.charge")
    def charge(text: str) -> ProcessStatus:
        if error:
            raise error
        return ProcessStatus.RETRY_LATER

    app.publish("ping")
    drive(app, queues)

    text = "goes to the dead-letter queue" if dead_letters else "no dead-letter queue, so it is deleted"
    said = (f"{text}: kept at delivery 2, and max_receives is 2", repr(error), "shop.charge")
    assert errors_of(caplog) == [said]
    assert len(queues.receive_dead_letters()) == dead_letters


@DRIVERS
@pytest.mark.parametrize("dead_letters", [True, False])
def test_so_does_one_that_failed_for_good(drive: Drive, dead_letters: bool, caplog: pytest.LogCaptureFixture) -> None:
    queues = Queues()
    app = make(queues, dead_letters=dead_letters)
    error = ValueError("no stock")

    @app.on_text(handler_name="shop.charge")
    def charge(text: str) -> None:
        raise error

    app.publish("ping")
    drive(app, queues)

    assert errors_of(caplog) == [("shop.charge failed for good", repr(error), "shop.charge")]


@DRIVERS
@pytest.mark.parametrize("dead_letters", [True, False])
def test_a_failure_that_is_remembered_is_no_error_again(
    drive: Drive, dead_letters: bool, caplog: pytest.LogCaptureFixture
) -> None:
    queues, counts = Queues(), []
    app = make(queues, dead_letters=dead_letters, progress=MemoryStore())

    @app.on_text(handler_name="shop.charge")
    def charge(text: str) -> None:
        raise ValueError("no stock")

    @app.on_text(handler_name="shop.pack")
    def pack(text: str) -> ProcessStatus:
        counts.append(text)
        return ProcessStatus.RETRY_LATER if len(counts) == 1 else ProcessStatus.DONE

    app.publish("ping")
    drive(app, queues)

    assert [text for text, _, _ in errors_of(caplog)] == ["shop.charge failed for good"]
    assert len(counts) == 2


@DRIVERS
def test_what_nobody_wanted_and_is_deleted_as_it_has_nowhere_to_go_is_an_error(
    drive: Drive, caplog: pytest.LogCaptureFixture
) -> None:
    queues = Queues()
    app = make(queues, dead_letters=False, unmatched="dead_letter")
    app.on_text("pong")(lambda text: None)

    app.publish("ping")
    drive(app, queues)

    said = "no dead-letter queue, so it is deleted: dead-lettered (no handler matched)"
    assert errors_of(caplog) == [(said, "None", "")]
