"""The console's "redrive to source" fails for what megaflow dead-lettered itself, and the docs did not say so."""

from __future__ import annotations

from pathlib import Path

import pytest

from megaflow import App, Reject
from megaflow.testing import TestClient

DOCS = (Path(__file__).parents[2] / "docs" / "reference" / "command-line.md").read_text()


@pytest.mark.parametrize(("is_told", "status"), [(False, "FAILED"), (True, "COMPLETED")])
def test_it_knows_no_source_of_it_and_goes_where_it_is_told(is_told: bool, status: str) -> None:
    app = App(retry_on=())

    @app.on_text()
    def refuse(text: str) -> None:
        raise Reject("never")

    with TestClient(app) as client:
        client.publish("ping")
        dead, source = (
            client.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
            for url in (client.dead_letter_queue_url, client.queue_url)
        )
        client.sqs.start_message_move_task(SourceArn=dead, **({"DestinationArn": source} if is_told else {}))

        client.advance(60)
        (task,) = client.sqs.list_message_move_tasks(SourceArn=dead)["Results"]

        assert task["Status"] == status
        assert task.get("FailureReason") == (None if is_told else "CouldNotDetermineMessageSource")


def test_the_docs_say_so_and_what_to_do() -> None:
    said = " ".join(DOCS.split())

    assert '"redrive to source" ends at the first of these with `CouldNotDetermineMessageSource`' in said
    assert "Use `megaflow redrive`" in said
