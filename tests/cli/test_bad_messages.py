"""``megaflow tail`` and ``stats`` of queues whose messages nobody sends who means well; ``peek`` is in `tests.bugs`."""

from __future__ import annotations

import json
import re
import signal
from typing import Any

import pytest

from megaflow.cli import queues
from megaflow.cli.main import main
from megaflow.local import Account, SqsClient
from tests.cli.bad_messages import BAD_ATTRIBUTES, BAD_BODIES, EVIL, is_harmless, send, send_bad_messages
from tests.cli.conftest import Run, take_all
from tests.cli.processes import Process, running


def wait_for_messages(process: Process, count: int) -> list[str]:
    """Return what stands above so many messages, or is all of them as JSON."""
    return [process.wait_for(r"received once|^\{") for _ in range(count)]


@pytest.mark.parametrize("options", [(), ("--full",)])
def test_tail_shows_every_message_and_does_nothing_to_the_terminal(
    sqs: Any, orders: str, options: tuple[str, ...]
) -> None:
    count = send_bad_messages(sqs, orders)
    with running("tail", "orders", *options) as process:
        shown = wait_for_messages(process, count)
        send(sqs, orders, "the last one")
        process.wait_for("the last one")

        assert process.end(signal.SIGINT) == 0

    said = "\n".join(process.said)
    assert is_harmless(said)
    assert len({line.split()[0] for line in shown}) == count
    assert r"was \x1b]52;c;cm0gLXJm\x07" in said


def test_tail_gives_every_message_back(sqs: Any, orders: str) -> None:
    count = send_bad_messages(sqs, orders)
    with running("tail", "orders") as process:
        wait_for_messages(process, count)

        assert process.end(signal.SIGINT) == 0

    left = take_all(sqs, orders)
    assert sorted(each["Attributes"]["ApproximateReceiveCount"] for each in left) == ["2"] * count


def test_tail_tells_programs_what_every_message_is(sqs: Any, orders: str) -> None:
    count = send_bad_messages(sqs, orders)
    with running("tail", "orders", "--json") as process:
        told = [json.loads(line) for line in wait_for_messages(process, count)]

        assert process.end(signal.SIGINT) == 0

    bodies = [each["body"] for each in told]
    attributes = [each["attributes"]["count"] for each in told if "count" in each["attributes"]]
    assert set(BAD_BODIES.values()) <= set(bodies)
    assert sorted((each["type"], each["value"]) for each in attributes) == sorted(BAD_ATTRIBUTES)
    assert len(take_all(sqs, orders)) == count


class Ends(SqsClient):
    """Ctrl-C comes with the second poll."""

    polls = 0

    def receive_message(self, **parameters: Any) -> Any:
        self.polls += 1
        if self.polls == 2:
            raise KeyboardInterrupt
        return super().receive_message(**parameters | {"WaitTimeSeconds": 0})

    def close(self) -> None: ...


def test_tail_gives_back_what_it_could_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Ends(Account())
    url = client.create_queue(QueueName="orders")["QueueUrl"]
    for number in range(3):
        client.send_message(QueueUrl=url, MessageBody=f"number {number}")
    monkeypatch.setattr(queues, "connect", lambda queue, aws: (client, url))

    with monkeypatch.context() as patch:
        patch.setattr(queues, "show", lambda *line, **style: 1 // 0)
        assert main(["tail", "orders"]) == 1

    assert len(SqsClient.receive_message(client, QueueUrl=url, MaxNumberOfMessages=10)["Messages"]) == 3


def test_tail_shows_what_sqs_itself_would_refuse(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Other servers take any character, any name and any number."""
    client = Ends(Account())
    url = client.create_queue(QueueName="orders")["QueueUrl"]
    client.send_message(QueueUrl=url, MessageBody="a")
    receive = client.receive_message

    def receive_odd(**parameters: Any) -> Any:
        answer = receive(**parameters)
        for each in answer.get("Messages", ()):
            each["Body"] = f"{EVIL}\ud800"
            each["MessageAttributes"] = {EVIL: {"DataType": "Number", "StringValue": "NaN"}}
            each["Attributes"] |= {"MessageGroupId": EVIL, "SentTimestamp": "NaN"}
        return answer

    monkeypatch.setattr(client, "receive_message", receive_odd)
    monkeypatch.setattr(queues, "connect", lambda queue, aws: (client, url))

    assert main(["tail", "orders"]) == 0

    out, err = capfd.readouterr()
    assert is_harmless(out + err)
    assert r"group \x1b]52" in out
    assert r"\ud800" in out


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_stats_count_messages_without_touching_them(run: Run, sqs: Any, orders: str, options: tuple[str, ...]) -> None:
    count = send_bad_messages(sqs, orders)
    hidden = sqs.receive_message(QueueUrl=orders, MaxNumberOfMessages=1)["Messages"][0]

    ran = run("stats", "orders", "orders-dead", *options)

    assert ran.code == 0
    assert is_harmless(ran.out + ran.err)
    depths = [(each["visible"], each["in_flight"]) for each in ran.json] if options else _read_depths(ran.out)
    assert depths == [(count - 1, 1), (0, 0)]
    sqs.change_message_visibility(QueueUrl=orders, ReceiptHandle=hidden["ReceiptHandle"], VisibilityTimeout=0)
    counts = [each["Attributes"]["ApproximateReceiveCount"] for each in take_all(sqs, orders)]
    assert sorted(counts) == ["1"] * (count - 1) + ["2"]


def _read_depths(out: str) -> list[tuple[int, int]]:
    said = [line.split() for line in out.splitlines()]
    visible, in_flight = ([int(words[-1]) for words in said if words[:1] == [name]] for name in ("visible", "in"))
    return list(zip(visible, in_flight, strict=True))


def test_stats_do_nothing_to_the_terminal_whatever_a_queue_is_called(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    client = SqsClient(Account())
    url = client.create_queue(QueueName="orders")["QueueUrl"]
    answer = client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
    answer["Attributes"]["RedrivePolicy"] = json.dumps({"deadLetterTargetArn": f"arn:aws:sqs:x:1:{EVIL}"})
    monkeypatch.setattr(client, "get_queue_attributes", lambda **parameters: answer)
    monkeypatch.setattr(queues, "connect", lambda queue, aws: (client, f"https://sqs.x.amazonaws.com/1/{EVIL}"))

    assert main(["stats", "orders"]) == 0

    out, err = capfd.readouterr()
    assert is_harmless(out + err)
    assert r"\x1b]52" in out
    assert not any(line.startswith("message 4711") for line in out.splitlines())


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_stats_say_of_each_queue_what_is_wrong_with_it_and_go_on(
    run: Run, sqs: Any, orders: str, options: tuple[str, ...]
) -> None:
    ran = run("stats", f"nowhere{EVIL}", "orders", "gone", "orders-dead", *options)

    assert ran.code == 2
    assert len(re.findall("visibility.timeout", ran.out)) == 2
    said = ran.err.splitlines()
    assert len(said) == 2
    assert r"nowhere\x1b]52" in said[0]
    assert said[1].startswith("megaflow: there is no queue gone at ")
    assert is_harmless(ran.out + ran.err)
