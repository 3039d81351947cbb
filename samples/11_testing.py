"""An app and its tests: no AWS, no waiting. `pytest samples/11_testing.py` runs them, and so does this file."""

from megaflow import App, RetryLater
from megaflow.testing import TestClient

app = App(max_receives=3, retry_on=ConnectionError)
paid: set[str] = set()


@app.on_data({"kind": "refund"})
def refund(data: dict[str, str]) -> None:
    if data["order"] not in paid:
        raise RetryLater(after=60)
    print(f"refunded {data['order']}")


def test_a_refund_waits_for_the_payment() -> None:
    with TestClient(app) as client:
        client.publish({"kind": "refund", "order": "A-1"})
        assert len(client.kept) == 1

        paid.add("A-1")
        client.advance(60)

        client.assert_handled(refund, times=2)
        assert len(client.deleted) == 1


def test_it_does_not_wait_for_ever() -> None:
    with TestClient(app) as client:
        client.publish({"kind": "refund", "order": "A-2"})
        client.advance(3600)

        assert [message.payload["order"] for message in client.dead_lettered] == ["A-2"]


def test_other_messages_are_not_its_business() -> None:
    with TestClient(app) as client:
        client.publish({"kind": "refnd", "order": "A-3"})

        client.assert_not_handled(refund)
        print(client.explain())


if __name__ == "__main__":
    test_a_refund_waits_for_the_payment()
    test_it_does_not_wait_for_ever()
    test_other_messages_are_not_its_business()
    print("all is as it should be")
