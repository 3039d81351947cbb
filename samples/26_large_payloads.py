"""Large payloads: a report of two megabytes goes to a folder, as it would to S3, and its message is a pointer to it."""

from tempfile import TemporaryDirectory
from typing import Any

from megaflow import App, Message
from megaflow.local import Account, SqsClient
from megaflow.payloads import DirectoryPayloads

folder = TemporaryDirectory()
sqs = SqsClient(Account())
app = App(
    sqs.create_queue(QueueName="reports")["QueueUrl"],
    client=sqs,
    retry_on=ConnectionError,
    # In production: S3Payloads("my-bucket", prefix="reports/", delete="when-done")
    large_payloads=DirectoryPayloads(folder.name, deletes_when_done=True),
)


@app.on_data({"type": "report"})
def archive(report: dict[str, Any], message: Message) -> None:
    where = "outside of the message" if message.pointer else "within the message"
    print(f"{len(report['rows']):,} rows, which lay {where}, whose body has {len(message.body):,} bytes")
    if message.pointer:
        app.stop()


if __name__ == "__main__":
    app.publish({"type": "report", "rows": [1, 2, 3]})
    app.publish({"type": "report", "rows": list(range(300_000))})
    app.run()
    folder.cleanup()
