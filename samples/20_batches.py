"""Batches: page views are stored many at a time, and one that is wrong spoils no other."""

from pydantic import BaseModel

from megaflow import App, Message, PartialFailure, ProcessStatus
from megaflow.testing import TestClient

app = App("https://sqs.eu-west-1.amazonaws.com/123456789012/views", retry_on=ConnectionError)
stored: list[str] = []


class View(BaseModel):
    url: str
    seconds: float


@app.on_data({"type": "page_view"}, batch_size=500, batch_seconds=2.0, handler_name="store")
def store(views: list[View], messages: list[Message]) -> None:
    stored.extend(view.url for view in views)
    late = {place: ProcessStatus.RETRY_LATER for place, view in enumerate(views) if view.seconds < 0}
    print(f"{len(views)} views at once, {len(late)} of them to come again")
    if late and messages[0].receive_count == 1:
        raise PartialFailure(late)


if __name__ == "__main__":
    with TestClient(app) as client:
        views = [{"type": "page_view", "url": f"/{number}", "seconds": number - 1} for number in range(4)]
        client.publish_batch([*views, {"type": "page_view", "url": "/nowhere"}])
        client.advance(2.0)
        print(len(client.deleted), "deleted,", len(client.kept), "kept,", len(client.dead_lettered), "dead-lettered")
