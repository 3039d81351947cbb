"""Publishing from coroutines: nothing blocks the event loop, and each call gets what it would have got alone."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping, Sequence
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

import megaflow
from megaflow import (
    App,
    ConfigurationError,
    EncodeError,
    Outgoing,
    PublishError,
    SnsPublisher,
    SqsPublisher,
    UsageError,
)
from megaflow.aws.sqs.publish import SqsPublisher as ByReadme
from megaflow.local import Account, SnsClient, SqsClient
from megaflow.testing import TestClient
from tests.fakes import ScriptedClient, batch
from tests.publishing.queue_server import QueueServer, queue_server
from tests.waiting import PATIENCE, wait_until
from tests.wire.scripted import keep_silent, scripted

URL = "https://sqs.us-east-1.amazonaws.com/123456789012/orders"


@pytest.fixture
def server() -> Iterator[QueueServer]:
    with queue_server() as server:
        yield server


@pytest.fixture(autouse=True)
def _no_thread_is_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("megaflow.publishing.threads._LINGERS", 0.1)
    yield
    wait_until(lambda: not [each for each in threading.enumerate() if each.name == "megaflow-publisher"])


async def gather(calls: Sequence[Awaitable[str]]) -> list[Any]:
    return await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), PATIENCE)


class Counts:
    """What the metrics are told of messages that were sent."""

    def __init__(self) -> None:
        self.sent: Counter[str] = Counter()
        self.batch_sizes: list[float] = []

    def count(self, name: str, amount: float, labels: Mapping[str, str]) -> None:
        if name == "sent":
            self.sent[labels.get("error", "")] += int(amount)

    def observe(self, name: str, value: float, labels: Mapping[str, str]) -> None:
        if name == "batch_size":
            self.batch_sizes.append(value)

    def gauge(self, name: str, value: float, labels: Mapping[str, str]) -> None: ...


async def until(holds: Any) -> None:
    while not holds():
        await asyncio.sleep(0.005)


# Answers


def test_each_call_gets_its_own_message_id(server: QueueServer) -> None:
    publisher = server.publisher()

    ids = asyncio.run(gather([publisher.apublish(f"{n}") for n in range(25)]))

    assert ids == [f"id of {n}" for n in range(25)]
    assert sorted(map(len, server.requests)) == [5, 10, 10]
    assert sorted(server.bodies) == sorted(map(str, range(25)))


@pytest.mark.parametrize("make", [SqsPublisher, ByReadme])
def test_any_client_does(make: type[SqsPublisher]) -> None:
    client = ScriptedClient()
    publisher = make(queue_url=URL, client=client)

    ids = asyncio.run(gather([publisher.apublish("a"), publisher.apublish("b", delay_seconds=5)]))

    assert ids == ["id of a", "id of b"]
    ((operation, asked),) = client.calls
    assert operation == "send_message_batch"
    assert [each.get("DelaySeconds") for each in asked["Entries"]] == [None, 5]


def test_a_topic_does_too() -> None:
    account = Account()
    sns = SnsClient(account)
    topic = sns.create_topic(Name="orders")["TopicArn"]
    publisher = SnsPublisher(topic_arn=topic, client=sns)

    ids = asyncio.run(gather([publisher.apublish({"n": n}, subject="order") for n in range(12)]))

    assert len(set(ids)) == 12


def test_one_that_is_alone_waits_for_nobody(server: QueueServer) -> None:
    publisher = server.publisher()

    async def main() -> None:
        server.go_on.clear()
        first = asyncio.create_task(publisher.apublish("slow"))
        await until(lambda: server.requests)
        second = asyncio.create_task(publisher.apublish("b"))
        await until(lambda: len(server.requests) == 2)
        server.go_on.set()
        assert await gather([first, second]) == ["id of slow", "id of b"]

    asyncio.run(main())

    assert server.operations == {"SendMessage": 2}


def test_what_is_refused_before_any_call_raises_at_once() -> None:
    client = ScriptedClient()
    publisher = SqsPublisher(queue_url=URL, client=client)

    with pytest.raises(EncodeError, match="payload"):
        asyncio.run(publisher.apublish({"n": object()}))
    with pytest.raises(EncodeError, match="deduplication_id"):
        asyncio.run(publisher.apublish("x", deduplication_id="d"))
    with pytest.raises(TypeError, match=r"apublish\(\) takes no 'delay'"):
        asyncio.run(publisher.apublish("x", delay=1))  # type: ignore[call-arg]

    assert client.calls == []


def test_where_there_is_no_way_to_the_queue_every_call_hears_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    publisher = SqsPublisher(queue_url=URL)

    for _ in range(2):
        first, second = asyncio.run(gather([publisher.apublish("a"), publisher.apublish("b")]))
        assert [type(first), type(second)] == [ConfigurationError, ConfigurationError]


def test_an_app_without_a_destination_says_so() -> None:
    with pytest.raises(ConfigurationError, match="there is nowhere to publish to"):
        asyncio.run(App(retry_on=()).apublish("x"))


# Errors


def test_an_entry_that_fails_is_the_error_of_its_call_alone(server: QueueServer) -> None:
    publisher = server.publisher()
    server.fail = lambda body: "InvalidMessageContents" if body == "b" else ""

    first, second, third = asyncio.run(gather([publisher.apublish(body) for body in "abc"]))

    assert (first, third) == ("id of a", "id of c")
    assert isinstance(second, ClientError)
    assert second.response["Error"]["Code"] == "InvalidMessageContents"
    assert server.requests == [["a", "b", "c"]]


def test_an_entry_that_is_worth_it_is_tried_again(server: QueueServer) -> None:
    publisher = server.publisher(sleep=lambda seconds: None)
    server.fail = lambda body: "InternalError" if body == "b" and len(server.requests) < 3 else ""

    assert asyncio.run(gather([publisher.apublish(body) for body in "abc"])) == ["id of a", "id of b", "id of c"]
    assert server.requests == [["a", "b", "c"], ["b"], ["b"]]


def test_on_fifo_a_failed_entry_is_not_tried_again_as_it_would_come_after_later_ones(server: QueueServer) -> None:
    publisher = server.publisher("orders.fifo")
    server.fail = lambda body: "InternalError" if body == "b" else ""

    answers = asyncio.run(gather([publisher.apublish(body, group_id="g", deduplication_id=body) for body in "abc"]))

    assert [answers[0], answers[2]] == ["id of a", "id of c"]
    assert isinstance(answers[1], ClientError)
    assert server.requests == [["a", "b", "c"]]


def test_where_one_has_the_others_refused_each_goes_alone(server: QueueServer) -> None:
    counts = Counts()
    publisher = server.publisher(metrics=counts)
    server.refuse = lambda bodies: (400, "InvalidParameterValueException") if "b" in bodies else None

    first, second, third = asyncio.run(gather([publisher.apublish(body) for body in "abc"]))

    assert (first, third) == ("id of a", "id of c")
    assert isinstance(second, ClientError)
    assert server.requests == [["a", "b", "c"], ["a"], ["b"], ["c"]]
    assert counts.sent == {"": 2, "InvalidParameterValueException": 1}


def test_what_is_too_large_for_its_queue_is_said_as_by_publish() -> None:
    too_large = {"a": "InvalidParameterValue"}

    def answer(parameters: Any) -> Any:
        said = batch(failing=too_large, faulty=("a",))(parameters)  # type: ignore[operator]
        said["Failed"][0]["Message"] = "One or more parameters are invalid. Message must be shorter than 1024 bytes."
        return said

    publisher = SqsPublisher(queue_url=URL, client=ScriptedClient(answer))

    first, second = asyncio.run(gather([publisher.apublish("a"), publisher.apublish("b")]))

    assert isinstance(first, PublishError)
    assert "It has 1 bytes, and the destination takes fewer" in str(first)
    assert second == "id of b"


@pytest.mark.parametrize("count", [1, 3])
def test_a_queue_that_is_not_there_is_the_same_error_alone_and_together(count: int) -> None:
    sqs = SqsClient(Account())
    publisher = SqsPublisher(queue_url=sqs.create_queue(QueueName="orders")["QueueUrl"], client=sqs)
    sqs.delete_queue(QueueUrl=publisher.queue_url)

    errors = asyncio.run(gather([publisher.apublish("a") for _ in range(count)]))

    assert [type(error).__name__ for error in errors] == ["QueueDoesNotExist"] * count


def test_a_call_that_fails_as_a_whole_is_an_error_of_each_own(server: QueueServer) -> None:
    publisher = server.publisher()
    server.refuse = lambda bodies: (403, "AccessDeniedException")

    first, second = asyncio.run(gather([publisher.apublish("a"), publisher.apublish("b")]))

    assert [each.response["Error"]["Code"] for each in (first, second)] == ["AccessDeniedException"] * 2
    assert first is not second
    assert len(server.requests) == 1


def test_an_answer_that_does_not_speak_of_one_is_unknown_to_that_one_alone() -> None:
    publisher = SqsPublisher(queue_url=URL, client=ScriptedClient(batch(silent=("b",))))

    first, second = asyncio.run(gather([publisher.apublish("a"), publisher.apublish("b")]))

    assert first == "id of a"
    assert isinstance(second, PublishError)
    assert [(each.index, each.unknown) for each in second.failed] == [(0, True)]


def test_a_queue_that_says_nothing_is_unknown_and_what_waits_behind_it_did_not_go(server: QueueServer) -> None:
    publisher = server.publisher("orders.fifo", connect_timeout=0.3, read_timeout=0.3, max_attempts=1)
    server.go_on.clear()

    async def main() -> list[Any]:
        first = asyncio.create_task(publisher.apublish("a", group_id="g", deduplication_id="a"))
        await until(lambda: server.requests)
        publisher._gathering._patience = 0.1
        second = asyncio.create_task(publisher.apublish("b", group_id="g", deduplication_id="b"))
        return await gather([first, second])

    first, second = asyncio.run(main())

    # Both have the same time: the client, and whoever waits for it.
    assert isinstance(first, ReadTimeoutError) or first.failed[0].unknown
    assert isinstance(second, PublishError)
    assert [(each.code, each.unknown) for each in second.failed] == [("NotSent", False)]
    assert server.bodies == ["a"]


def test_one_whose_request_takes_too_long_is_unknown() -> None:
    go_on = threading.Event()

    def hang(parameters: Any) -> Any:
        go_on.wait(PATIENCE)
        return {"MessageId": "late"}

    publisher = SqsPublisher(queue_url=URL, client=ScriptedClient(hang))
    publisher._gathering._patience = 0.05
    publisher._gathering._open = lambda: (0.05, 1)

    async def main() -> None:
        with pytest.raises(PublishError) as raised:
            await publisher.apublish("a")
        assert [(each.code, each.unknown) for each in raised.value.failed] == [("NoAnswer", True)]
        go_on.set()
        await asyncio.sleep(0.05)

    asyncio.run(main(), debug=True)


def test_those_that_wait_while_the_client_is_made_have_its_patience_too() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint_url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        publisher = SqsPublisher(
            queue_url=f"{endpoint_url}/123456789012/orders.fifo",
            endpoint_url=endpoint_url,
            aws_access_key_id="any",
            aws_secret_access_key="any",
            connect_timeout=0.2,
            read_timeout=0.3,
            max_attempts=1,
            region_name="us-east-1",
        )

        async def main() -> list[Any]:
            calls = (publisher.apublish("a", group_id="g", deduplication_id=str(number)) for number in range(40))
            return await gather(list(calls))

        errors = asyncio.run(main())

    assert {type(error) for error in errors} <= {PublishError, ReadTimeoutError}, errors[0]
    assert sum("earlier calls were not answered within 0.3 s" in str(error) for error in errors) >= 10


# Sizes


def test_what_would_make_a_batch_too_large_goes_in_the_next(server: QueueServer) -> None:
    publisher = server.publisher()
    sizes = [400_000, 600_000, 100_000, 1_000_000, 1]

    asyncio.run(gather([publisher.apublish("x" * size) for size in sizes]))

    assert sorted(sorted(map(len, bodies)) for bodies in server.requests) == [
        [1, 1_000_000],
        [100_000],
        [400_000, 600_000],
    ]


def test_on_a_topic_a_batch_has_256_kib() -> None:
    client = ScriptedClient()
    publisher = SnsPublisher(topic_arn="arn:aws:sns:us-east-1:123456789012:orders", client=client)

    asyncio.run(gather([publisher.apublish("x" * 100_000) for _ in range(3)]))

    assert [operation for operation, _ in client.calls] == ["publish_batch", "publish"]


def test_on_a_topic_a_trace_header_of_one_s_own_is_not_lost_in_a_batch() -> None:
    client = ScriptedClient()
    publisher = SnsPublisher(topic_arn="arn:aws:sns:us-east-1:123456789012:orders", client=client)
    header = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"

    asyncio.run(
        gather([publisher.apublish("a", trace_header=header), publisher.apublish("b"), publisher.apublish("c")])
    )

    assert [operation for operation, _ in client.calls] == ["publish", "publish_batch"]


# Order


@pytest.mark.parametrize("seed", range(5))
def test_messages_of_a_group_arrive_in_the_order_of_their_calls(server: QueueServer, seed: int) -> None:
    publisher, chance = server.publisher("orders.fifo"), random.Random(seed)
    groups = [chance.choice("abcdef") for _ in range(120)]
    server.seconds = 0.002

    async def main() -> None:
        tasks = []
        for number, group in enumerate(groups):
            call = publisher.apublish(f"{group}{number}", group_id=group, deduplication_id=str(number))
            tasks.append(asyncio.create_task(call))
            if chance.random() < 0.2:
                await asyncio.sleep(chance.random() * 0.01)
        await asyncio.wait_for(asyncio.gather(*tasks), PATIENCE)

    asyncio.run(main())

    arrived: dict[str, list[int]] = defaultdict(list)
    for body in server.bodies:
        arrived[body[0]].append(int(body[1:]))
    assert all(numbers == sorted(numbers) for numbers in arrived.values())
    assert sum(map(len, arrived.values())) == 120
    assert server.met == set()


# Cancelling


def test_one_that_is_cancelled_before_it_was_taken_does_not_go(server: QueueServer) -> None:
    publisher = server.publisher("orders.fifo")

    async def main() -> None:
        server.go_on.clear()
        first, second, third = (
            asyncio.create_task(publisher.apublish(body, group_id="g", deduplication_id=body)) for body in "abc"
        )
        await until(lambda: server.requests)
        late = asyncio.create_task(publisher.apublish("d", group_id="g", deduplication_id="d"))
        later = asyncio.create_task(publisher.apublish("e", group_id="g", deduplication_id="e"))
        await asyncio.sleep(0.05)
        late.cancel()
        await asyncio.wait([late])
        server.go_on.set()
        assert await gather([first, second, third, later]) == [f"id of {body}" for body in "abce"]

    asyncio.run(main())

    assert server.bodies == ["a", "b", "c", "e"]


def test_one_that_is_cancelled_while_it_is_under_way_cancels_no_other(server: QueueServer) -> None:
    publisher = server.publisher()

    async def main() -> None:
        server.go_on.clear()
        tasks = [asyncio.create_task(publisher.apublish(body)) for body in "abc"]
        await until(lambda: server.requests)
        tasks[1].cancel()
        await asyncio.wait([tasks[1]])
        assert tasks[1].cancelled()
        server.go_on.set()
        assert await gather([tasks[0], tasks[2]]) == ["id of a", "id of c"]

    asyncio.run(main())

    assert server.bodies == ["a", "b", "c"]


def test_all_of_a_batch_may_be_cancelled(server: QueueServer) -> None:
    publisher = server.publisher()

    async def main() -> None:
        tasks = [asyncio.create_task(publisher.apublish(body)) for body in "ab"]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert await publisher.apublish("c") == "id of c"

    asyncio.run(main())

    assert server.bodies == ["c"]


# Event loops, threads and processes


def test_several_event_loops_use_one_publisher(server: QueueServer) -> None:
    publisher, answers = server.publisher(), {}

    def run(letter: str) -> None:
        answers[letter] = asyncio.run(gather([publisher.apublish(f"{letter}{n}") for n in range(30)]))

    threads = [threading.Thread(target=run, args=(letter,)) for letter in "abcd"]
    for each in threads:
        each.start()
    for each in threads:
        each.join(PATIENCE)

    assert answers == {letter: [f"id of {letter}{n}" for n in range(30)] for letter in "abcd"}
    assert len(server.bodies) == 120


def test_an_event_loop_that_is_closed_leaves_nothing_behind(
    server: QueueServer, caplog: pytest.LogCaptureFixture
) -> None:
    publisher = server.publisher("orders.fifo")
    server.go_on.clear()
    loop = asyncio.new_event_loop()
    tasks = [loop.create_task(publisher.apublish(body, group_id="g", deduplication_id=body)) for body in "a"]
    loop.run_until_complete(until(lambda: server.requests))
    tasks.append(loop.create_task(publisher.apublish("b", group_id="g", deduplication_id="b")))
    loop.run_until_complete(asyncio.sleep(0.01))
    loop.close()
    gc.collect()  # what other tests have left is not to be told of here

    with caplog.at_level(logging.DEBUG):
        server.go_on.set()
        answer = asyncio.run(publisher.apublish("c", group_id="g", deduplication_id="c"))
        for task in tasks:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        tasks.clear()
        gc.collect()

    assert answer == "id of c"
    assert server.bodies == ["a", "c"]
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_publishes_by_itself_and_leaves_what_waits_to_its_parent(server: QueueServer) -> None:
    publisher = server.publisher("orders.fifo")

    async def main() -> int:
        server.go_on.clear()
        tasks = [
            asyncio.create_task(publisher.apublish(body, group_id=group, deduplication_id=body))
            for body, group in (("a", "g"), ("b", "g"))
        ]
        await until(lambda: server.requests)
        tasks.append(asyncio.create_task(publisher.apublish("c", group_id="g", deduplication_id="c")))
        await asyncio.sleep(0.01)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                asyncio._set_running_loop(None)
                answer = asyncio.run(publisher.apublish("of the child", group_id="g", deduplication_id="x"))
                code = 0 if answer == "id of of the child" else 2
            finally:
                os._exit(code)
        await until(lambda: "of the child" in server.bodies)
        server.go_on.set()
        assert await gather(tasks) == ["id of a", "id of b", "id of c"]
        return child

    child = asyncio.run(main())

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert sorted(server.bodies) == ["a", "b", "c", "of the child"]


ENDS = """
import asyncio, sys
from megaflow import SnsPublisher, SqsPublisher
keys = dict(aws_access_key_id="any", aws_secret_access_key="any", region_name="us-east-1", endpoint_url=sys.argv[1])
keys |= dict(connect_timeout=100, read_timeout=100)
queue = SqsPublisher(queue_url=sys.argv[1] + "/123456789012/orders", **keys)
topic = SnsPublisher(topic_arn="arn:aws:sns:us-east-1:123456789012:orders", **keys)
async def stream(publisher):
    async for _ in publisher.apublish_stream(["a"] * 30):
        pass
async def main():
    tasks = [asyncio.create_task(each) for publisher in (queue, topic) for each in
             (publisher.apublish("a"), publisher.apublish_batch(["a"] * 30), stream(publisher))]
    await asyncio.sleep(float(sys.argv[2]))
    assert not any(task.done() for task in tasks), tasks
asyncio.run(main())
print("over")
"""


def test_no_process_waits_for_what_is_not_answered() -> None:
    began = time.monotonic()

    with scripted(*[keep_silent] * 20) as server:
        ended = subprocess.run(
            [sys.executable, "-c", ENDS, server.url, "1.0"], capture_output=True, text=True, timeout=90, check=False
        )

    assert (ended.stdout, ended.returncode) == ("over\n", 0), ended.stderr
    assert time.monotonic() - began < 90


async def measure(publisher: SqsPublisher, count: int) -> tuple[float, float]:
    """Return how long so many calls take that wait at once, and how late the loop came to something else at most."""
    lags, pause = [0.0], 0.002

    async def watch() -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(pause)
            lags.append(time.perf_counter() - before - pause)

    watching = asyncio.create_task(watch())
    await asyncio.sleep(0)
    began = time.perf_counter()
    tasks = [asyncio.create_task(publisher.apublish({"n": n})) for n in range(count)]
    assert len(set(await asyncio.gather(*tasks))) == count
    took = time.perf_counter() - began
    watching.cancel()
    return took, max(lags)


@pytest.mark.parametrize("wire", [True, False])
def test_a_queue_that_answers_late_does_not_block_the_event_loop(server: QueueServer, wire: bool) -> None:
    """Other things on this machine may; a call that does would do so in every round."""
    publisher = server.publisher(wire=wire)
    asyncio.run(publisher.apublish("first"))
    server.seconds = 0.5

    rounds = (asyncio.run(measure(publisher, 200)) for _ in range(20))

    assert any(took < 2.0 and lag < 0.1 for took, lag in rounds)
    rounds = (asyncio.run(measure(publisher, 20)) for _ in range(20))
    assert any(lag < 0.02 for _, lag in rounds)


def test_many_more_than_can_go_at_once_go_one_after_another(server: QueueServer) -> None:
    publisher = server.publisher()

    async def main() -> None:
        tasks = [asyncio.create_task(publisher.apublish(f"{n}")) for n in range(1_000)]
        await asyncio.sleep(0)
        for task in tasks[500:900]:
            task.cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert answers[:500] == [f"id of {n}" for n in range(500)]
        assert answers[900:] == [f"id of {n}" for n in range(900, 1_000)]

    asyncio.run(main())

    assert len(set(server.bodies)) == len(server.bodies) >= 600
    assert max(map(len, server.requests)) == 10


# What goes along


def test_attributes_are_those_of_the_context_of_each_call() -> None:
    client = ScriptedClient()
    publisher = SqsPublisher(queue_url=URL, client=client)
    publisher.propagate("request")

    async def call(number: int) -> None:
        with megaflow.context({"request": f"r{number}"}):
            await publisher.apublish(f"{number}")

    async def stream() -> None:
        with megaflow.context({"request": "s"}):
            sent = publisher.apublish_stream(["s"])
        assert [each.failure async for each in sent] == [None]

    async def main() -> None:
        await asyncio.gather(call(1), call(2))
        with megaflow.context({"request": "b"}):
            await publisher.apublish_batch(["b"])
        await stream()

    asyncio.run(main())

    entries = [entry for _, parameters in client.calls for entry in parameters["Entries"]]
    said = {each["MessageBody"]: each["MessageAttributes"]["request"]["StringValue"] for each in entries}
    assert said == {"1": "r1", "2": "r2", "b": "b", "s": "s"}


def test_what_is_sent_is_counted(server: QueueServer) -> None:
    counts = Counts()
    publisher = server.publisher(metrics=counts)
    server.fail = lambda body: "InvalidMessageContents" if body == "b" else ""

    asyncio.run(gather([publisher.apublish(body) for body in "abc"]))
    asyncio.run(publisher.apublish("d"))
    asyncio.run(publisher.apublish_batch(["e", "f"]))

    assert counts.sent == {"": 5, "InvalidMessageContents": 1}
    assert counts.batch_sizes == [3, 1, 2]


# In handlers


def test_a_handler_publishes_in_a_test_client() -> None:
    app = App(retry_on=())

    @app.on_data({"kind": "order"})
    async def order(payload: dict[str, Any]) -> None:
        await asyncio.gather(*[app.apublish({"kind": "line", "n": n}) for n in range(3)])
        await app.apublish_batch([{"kind": "line", "n": 3}, {"kind": "line", "n": 4}])
        assert [each.failure async for each in app.apublish_stream([{"kind": "line", "n": 5}])] == [None]

    @app.on_data({"kind": "line"})
    def line(payload: dict[str, Any]) -> None: ...

    with TestClient(app) as client:
        before = client.now
        client.publish({"kind": "order"})

        assert sorted(each["n"] for each in client.handled_by(line)) == [0, 1, 2, 3, 4, 5]
        assert client.now - before < 10


def test_an_app_publishes_by_a_client_of_the_embedded_queue() -> None:
    sqs = SqsClient(Account())
    app = App(sqs.create_queue(QueueName="q")["QueueUrl"], client=sqs, retry_on=())

    async def main() -> None:
        assert await app.apublish({"n": 1})
        assert len(await app.apublish_batch([{"n": 2}, {"n": 3}])) == 2
        assert [each.index async for each in app.apublish_stream([{"n": 4}])] == [0]

    asyncio.run(main())

    assert len(sqs.receive_message(QueueUrl=app.queue_url, MaxNumberOfMessages=10)["Messages"]) == 4


# Batches


def test_a_batch_says_exactly_what_did_not_go(server: QueueServer) -> None:
    publisher = server.publisher()
    server.fail = lambda body: "InvalidMessageContents" if body == "b" else ""

    with pytest.raises(PublishError) as raised:
        asyncio.run(publisher.apublish_batch(iter("abc")))

    assert [each.payload for each in raised.value.failed] == ["b"]
    assert raised.value.message_ids == ("id of a", "", "id of c")


def test_batches_are_under_way_beside_each_other(server: QueueServer) -> None:
    publisher = server.publisher()

    async def main() -> None:
        server.go_on.clear()
        tasks = [asyncio.create_task(publisher.apublish_batch([f"{n}"])) for n in range(5)]
        await until(lambda: len(server.requests) == 5)
        server.go_on.set()
        assert await asyncio.gather(*tasks) == [[f"id of {n}"] for n in range(5)]

    asyncio.run(main())


def test_a_batch_that_is_cancelled_before_it_was_begun_does_not_go() -> None:
    go_on, began = threading.Event(), threading.Event()

    def hang(parameters: Any) -> Any:
        began.set()
        go_on.wait(PATIENCE)
        return {"Successful": [{"Id": "0", "MessageId": "m"}]}

    client = ScriptedClient(hang)
    publisher = SqsPublisher(queue_url=URL, client=client)

    async def main() -> None:
        first = asyncio.create_task(publisher.apublish_batch(["a"]))
        await asyncio.to_thread(began.wait, PATIENCE)
        second = asyncio.create_task(publisher.apublish_batch(["b"]))
        await asyncio.sleep(0.01)
        second.cancel()
        await asyncio.wait([second])
        go_on.set()
        assert await first == ["m"]
        assert await publisher.apublish_batch(["c"]) == ["id of c"]

    asyncio.run(main())

    assert client.batches == [["a"], ["c"]]


def test_a_batch_is_checked_before_any_call() -> None:
    client = ScriptedClient()
    publisher = SqsPublisher(queue_url=URL, client=client)

    with pytest.raises(UsageError, match="takes several payloads"):
        asyncio.run(publisher.apublish_batch("abc"))
    with pytest.raises(EncodeError, match="entry 1"):
        asyncio.run(publisher.apublish_batch(["a", object()]))
    with pytest.raises(TypeError, match=r"apublish_batch\(\) takes no 'delay'"):
        asyncio.run(publisher.apublish_batch(["a"], delay=1))  # type: ignore[call-arg]

    assert client.calls == []


# Streams


def test_a_stream_tells_of_each_in_order(server: QueueServer) -> None:
    publisher = server.publisher()

    async def items() -> AsyncIterator[Any]:
        for number in range(34):
            yield Outgoing(f"{number}") if number != 20 else {"n": object()}
            await asyncio.sleep(0)

    async def main() -> None:
        for given in (items(), [f"{n}" if n != 20 else {"n": object()} for n in range(34)]):
            sent = [each async for each in publisher.apublish_stream(given)]

            assert [each.index for each in sent] == list(range(34))
            assert [each.message_id for each in sent if each.index != 20] == [
                f"id of {n}" for n in range(34) if n != 20
            ]
            assert [(each.index, each.failure.code) for each in sent if each.failure] == [(20, "EncodeError")]

    asyncio.run(main())


def test_a_stream_is_taken_only_as_it_can_be_sent(server: QueueServer) -> None:
    publisher, taken = server.publisher(), 0

    def items() -> Iterator[str]:
        nonlocal taken
        for number in range(1_000):
            taken += 1
            yield str(number)

    async def main() -> None:
        server.go_on.clear()
        stream = publisher.apublish_stream(items(), in_flight=2)
        first = asyncio.ensure_future(anext(stream))
        await until(lambda: len(server.requests) == 2)
        await asyncio.sleep(0.02)
        assert taken == 20
        assert len(server.requests) == 2
        server.go_on.set()
        assert (await first).message_id == "id of 0"
        assert [each.index async for each in stream] == list(range(1, 1_000))

    asyncio.run(main())


def test_on_fifo_a_stream_has_one_batch_under_way(server: QueueServer) -> None:
    publisher = server.publisher("orders.fifo")
    items = [Outgoing(f"{n}", group_id="g", deduplication_id=str(n)) for n in range(45)]

    async def main() -> list[str]:
        return [each.message_id async for each in publisher.apublish_stream(items)]

    assert asyncio.run(main()) == [f"id of {n}" for n in range(45)]
    assert server.bodies == list(map(str, range(45)))
    assert server.met == set()


def test_an_error_of_the_items_comes_after_what_was_taken(server: QueueServer) -> None:
    publisher, sent = server.publisher(), []

    def items() -> Iterator[str]:
        yield from map(str, range(13))
        raise LookupError("no more")

    async def main() -> None:
        async for each in publisher.apublish_stream(items()):
            sent.append(each.message_id)

    with pytest.raises(LookupError, match="no more"):
        asyncio.run(main())

    assert sent == [f"id of {n}" for n in range(13)]


def test_a_stream_that_is_left_early_sends_no_more(server: QueueServer) -> None:
    publisher = server.publisher()

    async def main() -> None:
        stream = publisher.apublish_stream((str(n) for n in range(1_000)), in_flight=2)
        async for _ in stream:
            break
        await stream.aclose()  # type: ignore[attr-defined]

    asyncio.run(main())

    assert len(server.bodies) <= 40


def test_a_stream_refuses_what_cannot_be_where_it_is_called() -> None:
    publisher = SqsPublisher(queue_url=URL, client=ScriptedClient())

    with pytest.raises(ConfigurationError, match="in_flight=0"):
        publisher.apublish_stream([], in_flight=0)
    with pytest.raises(UsageError, match="takes several payloads"):
        publisher.apublish_stream("abc")
    with pytest.raises(TypeError, match=r"apublish_stream\(\) takes no 'delay'"):
        publisher.apublish_stream([], delay=1)  # type: ignore[call-arg]


def test_raw_texts_go_as_they_are() -> None:
    client = ScriptedClient()
    publisher = SqsPublisher(queue_url=URL, client=client)

    async def main() -> list[str]:
        return [each.message_id async for each in publisher.apublish_stream(['{"a":1}'], raw=True)]

    assert asyncio.run(main()) == ['id of {"a":1}']


def test_after_a_call_that_failed_as_a_whole_a_stream_sends_no_more(server: QueueServer) -> None:
    publisher = server.publisher("orders.fifo")
    server.refuse = lambda bodies: (403, "AccessDeniedException")
    items = [Outgoing(f"{n}", group_id="g", deduplication_id=str(n)) for n in range(25)]

    async def main() -> list[Any]:
        return [each.failure async for each in publisher.apublish_stream(items)]

    failures = asyncio.run(main())

    assert [each.code for each in failures] == ["AccessDeniedException"] * 10 + ["NotSent"] * 15
    assert len(server.requests) == 1
