"""Faults on request: what took effect, what the caller saw, and that a seed or a script decides it."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import product
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError, ConnectionClosedError

from megaflow import App
from megaflow.errors import ConfigurationError
from megaflow.local import Account, Fault, FaultKind, Faults, SnsClient, SqsClient
from megaflow.local.calls import perform
from megaflow.local.fault import ERRORS
from megaflow.local.polls import Poll
from tests.local.conftest import Clock, Shop
from tests.waiting import PATIENCE

FAIL_BEFORE, FAIL_AFTER = FaultKind.FAIL_BEFORE, FaultKind.FAIL_AFTER
SLOW, LOST = FaultKind.SLOW, FaultKind.LOST
FAIL_ENTRIES, DUPLICATE, REORDER = FaultKind.FAIL_ENTRIES, FaultKind.DUPLICATE, FaultKind.REORDER


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as made:
        yield made


def strike(shop: Shop, *faults: Fault, seed: int = 0) -> None:
    shop.account.faults = Faults(faults, seed=seed)


def calm(shop: Shop) -> None:
    shop.account.faults = Faults()


def outcome(call: Callable[[], Any]) -> str:
    """Say what the caller of *call* saw."""
    try:
        call()
    except (ClientError, BotoCoreError) as error:
        return type(error).__name__
    return "answer"


# What each kind does


def test_a_fault_can_be_for_one_queue_or_topic(shop: Shop) -> None:
    orders, others = shop.queue("orders"), shop.queue("others")
    topic = shop.sns.create_topic(Name="news")["TopicArn"]
    strike(shop, Fault("*", LOST, target="orders"), Fault("*", FAIL_BEFORE, target="news"))

    seen = [outcome(partial(shop.sqs.send_message, QueueUrl=url, MessageBody="a")) for url in (orders, others)]
    published = outcome(partial(shop.sns.publish, TopicArn=topic, Message="a"))
    listed = outcome(shop.sqs.list_queues)

    assert [*seen, published, listed] == ["ConnectionClosedError", "answer", "InternalErrorException", "answer"]


def test_a_call_that_fails_before_has_no_effect(shop: Shop) -> None:
    url = shop.queue()
    strike(shop, Fault("SendMessage", FAIL_BEFORE))

    with pytest.raises(ClientError) as caught:
        shop.send(url, "a")

    said = caught.value.response
    assert (said["Error"]["Code"], said["Error"]["Type"]) == ("InternalError", "Receiver")
    assert said["ResponseMetadata"]["HTTPStatusCode"] == 500
    assert shop.counts(url) == (0, 0, 0)


def test_a_call_that_fails_after_took_effect(shop: Shop) -> None:
    url = shop.queue()
    strike(shop, Fault("SendMessage", FAIL_AFTER, error="ServiceUnavailable"))

    with pytest.raises(ClientError) as caught:
        shop.send(url, "a")

    assert caught.value.response["Error"]["Code"] == "ServiceUnavailable"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
    assert shop.bodies(url) == ["a"]


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("kind", [FAIL_BEFORE, FAIL_AFTER])
def test_every_error_has_its_code_and_status(shop: Shop, kind: FaultKind, error: str) -> None:
    strike(shop, Fault("*", kind, error=error))

    for call in (shop.sqs.list_queues, shop.sns.list_topics):
        with pytest.raises(ClientError) as caught:
            call()

        assert caught.value.response["Error"]["Code"] == error
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == ERRORS[error]


def test_throttling_is_the_clients_own_exception(shop: Shop) -> None:
    strike(
        shop,
        Fault("ListQueues", FAIL_BEFORE, error="RequestThrottled"),
        Fault("ListTopics", FAIL_BEFORE, error="Throttled"),
    )

    with pytest.raises(shop.sqs.exceptions.RequestThrottled):
        shop.sqs.list_queues()
    with pytest.raises(shop.sns.exceptions.ThrottledException):
        shop.sns.list_topics()


def test_a_lost_answer_comes_as_boto3_shows_it_and_the_call_took_effect(shop: Shop) -> None:
    url = shop.queue()
    strike(shop, Fault("SendMessage", LOST))

    with pytest.raises(ConnectionClosedError, match="Connection was closed before we received a valid response"):
        shop.send(url, "a")

    assert shop.bodies(url) == ["a"]


def test_messages_of_a_lost_answer_come_again_when_their_visibility_ends(shop: Shop) -> None:
    url = shop.queue(VisibilityTimeout="30")
    shop.send(url, "a")
    strike(shop, Fault("ReceiveMessage", LOST, times=1))

    first = outcome(lambda: shop.receive(url))
    hidden = shop.bodies(url)
    shop.advance(30)
    (again,) = shop.receive(url, MessageSystemAttributeNames=["ApproximateReceiveCount"])

    assert (first, hidden) == ("ConnectionClosedError", [])
    assert again["Attributes"] == {"ApproximateReceiveCount": "2"}


def test_a_slow_answer_holds_nobody_up_and_took_effect_at_once(shop: Shop, pool: ThreadPoolExecutor) -> None:
    url = shop.queue()
    slept: list[tuple[float, list[str]]] = []

    def sleep(seconds: float) -> None:
        slept.append((seconds, pool.submit(shop.bodies, url).result(PATIENCE)))

    strike(shop, Fault("SendMessage", SLOW, seconds=5))
    SqsClient(shop.account, sleep=sleep).send_message(QueueUrl=url, MessageBody="a")

    assert slept == [(5, ["a"])]


def test_an_error_is_late_and_lost_like_any_answer() -> None:
    account, slept = Account(), list[float]()
    sqs, sns = SqsClient(account, sleep=slept.append), SnsClient(account, sleep=slept.append)
    account.faults = Faults([Fault("*", SLOW, seconds=2), Fault("*", LOST, seconds=0.5, skip=1)])

    outcomes = [
        outcome(lambda: sqs.get_queue_url(QueueName="nowhere")),
        outcome(lambda: sqs.get_queue_url(QueueName="nowhere")),
        outcome(lambda: sns.publish(TopicArn="arn:nowhere", Message="a")),
    ]

    assert outcomes == ["QueueDoesNotExist", "ConnectionClosedError", "ConnectionClosedError"]
    assert slept == [2, 2.5, 2.5]


def test_a_call_can_get_lost_on_its_way_there(shop: Shop) -> None:
    url = shop.queue()
    strike(shop, Fault("SendMessage", FAIL_BEFORE), Fault("SendMessage", LOST))

    assert outcome(lambda: shop.send(url, "a")) == "ConnectionClosedError"

    assert shop.counts(url) == (0, 0, 0)


def test_a_publication_that_fails_after_arrives(shop: Shop) -> None:
    url, topic = shop.queue(), shop.sns.create_topic(Name="news")["TopicArn"]
    shop.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=shop.account.queue(url).queue.arn)
    strike(shop, Fault("Publish", FAIL_AFTER))

    assert outcome(lambda: shop.sns.publish(TopicArn=topic, Message="a")) == "InternalErrorException"

    assert shop.counts(url) == (1, 0, 0)


@pytest.mark.parametrize(
    ("kind", "seen"), [(LOST, "ConnectionClosedError"), (FAIL_AFTER, "ClientError"), (DUPLICATE, "answer")]
)
def test_a_poll_that_waits_is_struck_once_it_is_answered(
    shop: Shop, pool: ThreadPoolExecutor, kind: FaultKind, seen: str
) -> None:
    url, parked = shop.queue(), threading.Event()
    shop.account.watchers.add(parked.set)
    strike(shop, Fault("ReceiveMessage", kind))

    poll = pool.submit(outcome, lambda: shop.receive(url, WaitTimeSeconds=20))
    assert parked.wait(PATIENCE)
    shop.send(url, "a")

    assert poll.result(PATIENCE) == seen
    assert shop.counts(url) == (int(kind is DUPLICATE), 1, 0)


def test_a_poll_that_waits_is_struck_by_what_held_when_it_began(shop: Shop) -> None:
    url = shop.queue()
    struck = Faults([Fault("ReceiveMessage", DUPLICATE)]).strike("ReceiveMessage", {})
    polls = [
        perform(shop.account, "sqs", "ReceiveMessage", {"QueueUrl": url, "WaitTimeSeconds": 20}, each)
        for each in (struck, Faults().strike("ReceiveMessage", {}), Faults().strike("ReceiveMessage", {}))
    ]

    shop.send(url, "a")

    bodies = [
        [message["Body"] for message in poll.answer.result()["Messages"]]
        for poll in polls
        if isinstance(poll, Poll) and poll.answer.done()
    ]
    assert bodies == [["a"], ["a"]]


# Entries of batches


def batch(*ids: str, **fields: Any) -> list[dict[str, Any]]:
    return [{"Id": one, "MessageBody": one, **fields} for one in ids]


def ids(answer: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Return the ids that succeeded and those that failed."""
    succeeded, failed = ([one["Id"] for one in answer.get(name, ())] for name in ("Successful", "Failed"))
    return succeeded, failed


def test_entries_fail_by_their_place_and_the_others_take_effect(shop: Shop) -> None:
    url = shop.queue()
    strike(shop, Fault("SendMessageBatch", FAIL_ENTRIES, entries=(0, 2, 9)))

    answer = shop.sqs.send_message_batch(QueueUrl=url, Entries=batch("a", "b", "c", "d"))

    assert ids(answer) == (["b", "d"], ["a", "c"])
    assert {(one["Code"], one["SenderFault"]) for one in answer["Failed"]} == {("InternalError", False)}
    assert shop.bodies(url) == ["b", "d"]


def test_a_batch_that_is_too_short_for_the_places_takes_effect(shop: Shop) -> None:
    url = shop.queue()
    strike(shop, Fault("SendMessageBatch", FAIL_ENTRIES, entries=(1, 2)))

    answer = shop.sqs.send_message_batch(QueueUrl=url, Entries=batch("a"))

    assert ids(answer) == (["a"], [])
    assert "Failed" not in answer


def test_entries_of_deletes_and_visibility_changes_fail_too(shop: Shop) -> None:
    url = shop.queue()
    shop.send(url, "a", "b", "c")
    handles = [{"Id": one["Body"], "ReceiptHandle": one["ReceiptHandle"]} for one in shop.receive(url)]
    strike(shop, Fault("*", FAIL_ENTRIES, entries=(1,), error="ServiceUnavailable"))

    hidden = shop.sqs.change_message_visibility_batch(
        QueueUrl=url, Entries=[{**one, "VisibilityTimeout": 0} for one in handles]
    )
    visible = shop.counts(url)
    deleted = shop.sqs.delete_message_batch(QueueUrl=url, Entries=handles)

    assert ids(hidden) == ids(deleted) == (["a", "c"], ["b"])
    assert deleted["Failed"][0]["Code"] == "ServiceUnavailable"
    assert visible == (2, 1, 0)
    assert shop.counts(url) == (0, 1, 0)


def test_entries_of_publications_fail_too(shop: Shop) -> None:
    url, topic = shop.queue(), shop.sns.create_topic(Name="news")["TopicArn"]
    shop.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=shop.account.queue(url).queue.arn)
    entries = [{"Id": one, "Message": one} for one in "abc"]
    first = Fault("PublishBatch", FAIL_ENTRIES, entries=(0,), times=1)
    strike(shop, first, Fault("PublishBatch", FAIL_ENTRIES, entries=(0, 1, 2), skip=1))

    some = shop.sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=entries)
    none = shop.sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=entries)

    assert ids(some) == (["b", "c"], ["a"])
    assert (none["Successful"], [one["Id"] for one in none["Failed"]]) == ([], ["a", "b", "c"])
    assert shop.counts(url) == (2, 0, 0)


def test_all_entries_may_fail_and_nothing_takes_effect(shop: Shop) -> None:
    url = shop.queue()
    strike(shop, Fault("*", FAIL_ENTRIES, entries=(0, 1)))

    answer = shop.sqs.send_message_batch(QueueUrl=url, Entries=batch("a", "b"))

    assert ids(answer) == ([], ["a", "b"])
    assert "Successful" not in answer
    assert shop.counts(url) == (0, 0, 0)


def test_what_the_caller_did_wrong_is_said_beside_what_fails_on_request(shop: Shop) -> None:
    url = shop.queue()
    strike(shop, Fault("*", FAIL_ENTRIES, entries=(0,)))

    entries = [*batch("a", "b"), *batch("c", DelaySeconds=901)]
    answer = shop.sqs.send_message_batch(QueueUrl=url, Entries=entries)

    assert {one["Id"]: one["SenderFault"] for one in answer["Failed"]} == {"c": True, "a": False}
    assert shop.bodies(url) == ["b"]


@pytest.mark.parametrize(
    ("name", "entries", "refused"),
    [
        ("orders", batch("a", "a"), "BatchEntryIdsNotDistinct"),
        ("orders", [], "EmptyBatchRequest"),
        ("nowhere", batch("a"), "QueueDoesNotExist"),
    ],
)
def test_a_batch_that_is_wrong_is_refused_all_the_same(
    shop: Shop, name: str, entries: list[dict[str, Any]], refused: str
) -> None:
    url = shop.queue().replace("orders", name)
    strike(shop, Fault("*", FAIL_ENTRIES, entries=(0,)))

    assert outcome(lambda: shop.sqs.send_message_batch(QueueUrl=url, Entries=entries)) == refused


def test_without_places_some_entries_fail_at_random_by_seed(shop: Shop) -> None:
    url = shop.queue()

    def failed_by(seed: int) -> list[list[str]]:
        strike(shop, Fault("SendMessageBatch", FAIL_ENTRIES), seed=seed)
        return [ids(shop.sqs.send_message_batch(QueueUrl=url, Entries=batch(*"abcdefghij")))[1] for _ in range(10)]

    failed = failed_by(1)

    assert failed == failed_by(1)
    assert failed != failed_by(2)
    assert all(1 <= len(one) <= 10 for one in failed)
    assert len({len(one) for one in failed}) > 2


# Duplicates and order


def test_a_duplicate_comes_again_although_the_first_was_deleted(shop: Shop) -> None:
    url = shop.queue()
    shop.send(url, "a", "b")
    strike(shop, Fault("ReceiveMessage", DUPLICATE, times=1))

    first = shop.receive(url, MessageSystemAttributeNames=["All"])
    for message in first:
        shop.delete(url, message)
    again = shop.receive(url, MessageSystemAttributeNames=["All"])
    for message in again:
        shop.delete(url, message)

    assert [one["MessageId"] for one in again] == [one["MessageId"] for one in first]
    assert {one["ReceiptHandle"] for one in again}.isdisjoint({one["ReceiptHandle"] for one in first})
    assert [one["Attributes"] for one in again] == [one["Attributes"] for one in first]
    assert shop.counts(url) == (0, 0, 0)


def test_a_duplicate_knows_of_the_receives_before(shop: Shop) -> None:
    url = shop.queue()
    shop.send(url, "a")
    names = ["ApproximateReceiveCount", "ApproximateFirstReceiveTimestamp"]
    shop.receive(url, VisibilityTimeout=0)
    shop.advance(7)
    strike(shop, Fault("ReceiveMessage", DUPLICATE, times=1))

    seen = [shop.receive(url, MessageSystemAttributeNames=names)[0]["Attributes"] for _ in range(2)]

    assert seen == [{"ApproximateReceiveCount": "2", "ApproximateFirstReceiveTimestamp": "1000000000"}] * 2


def test_a_duplicate_ends_with_its_retention(shop: Shop) -> None:
    url = shop.queue(MessageRetentionPeriod="60")
    shop.send(url, "a")
    shop.advance(50)
    strike(shop, Fault("ReceiveMessage", DUPLICATE))

    shop.receive(url)
    shop.advance(10)

    assert shop.counts(url) == (0, 0, 0)


def test_reordering_hands_out_what_is_there_in_another_order_by_seed(shop: Shop) -> None:
    sent = [str(number) for number in range(10)]

    def received(seed: int) -> list[str]:
        url = shop.queue(f"orders-{seed}")
        shop.send(url, *sent)
        strike(shop, Fault("ReceiveMessage", REORDER), seed=seed)
        bodies = shop.bodies(url, VisibilityTimeout=0)
        shop.advance(1)
        return bodies

    orders = [received(seed) for seed in range(3)]

    assert all(sorted(order) == sent for order in orders)
    assert sent not in orders
    assert orders[0] != orders[1]


def test_a_fifo_queue_hands_out_nothing_twice_and_all_in_order(shop: Shop) -> None:
    url = shop.fifo_queue()
    sent = [str(number) for number in range(10)]
    shop.send(url, *sent, MessageGroupId="g")
    strike(shop, Fault("ReceiveMessage", DUPLICATE), Fault("ReceiveMessage", REORDER))

    received = [body for _ in range(2) for body in shop.bodies(url)]

    assert received == sent


@pytest.mark.parametrize("seed", range(5))
def test_each_group_of_a_fifo_queue_stays_in_order_whatever_fails(shop: Shop, seed: int) -> None:
    url = shop.fifo_queue(VisibilityTimeout="30")
    shop.account.faults = Faults.by_seed(seed, dict.fromkeys([kind for kind in FaultKind if kind is not SLOW], 0.3))
    handled: dict[str, list[str]] = {"a": [], "b": []}

    for number, group in product(range(20), handled):
        # The same deduplication id each time: what was sent and failed after is not sent again.
        ids = {"MessageGroupId": group, "MessageDeduplicationId": f"{group}{number}"}
        until_answered(partial(shop.send, url, str(number), **ids))
    while sum(map(len, handled.values())) < 40:
        for message in until_answered(partial(shop.receive, url, 3, MessageSystemAttributeNames=["MessageGroupId"])):
            handled[message["Attributes"]["MessageGroupId"]].append(message["Body"])
            until_answered(partial(shop.delete, url, message))
        shop.advance(30)

    calm(shop)
    expected = [str(number) for number in range(20)]
    assert handled == {"a": expected, "b": expected}
    assert shop.counts(url) == (0, 0, 0)


def until_answered(call: Callable[[], Any]) -> Any:
    while True:
        try:
            return call()
        except (ClientError, BotoCoreError):
            pass


# Which calls are struck


def outcomes(shop: Shop, url: str, count: int) -> list[str]:
    return [outcome(lambda: shop.send(url, "a")) for _ in range(count)]


def test_a_fault_lets_calls_pass_and_then_strikes_so_many(shop: Shop) -> None:
    url = shop.queue()
    strike(shop, Fault("SendMessage", FAIL_BEFORE, skip=1, times=2), Fault("SendMessage", LOST, skip=4, times=1))

    seen = outcomes(shop, url, 6)

    assert seen == ["answer", "ClientError", "ClientError", "answer", "ConnectionClosedError", "answer"]
    assert shop.account.faults.struck == (2, 1)


def test_a_fault_counts_the_calls_of_its_operation_only(shop: Shop) -> None:
    url = shop.queue()
    strike(shop, Fault("SendMessage", LOST, skip=1, times=1), Fault("*", DUPLICATE, skip=1, times=1))

    first = outcomes(shop, url, 1)
    for _ in range(2):
        shop.receive(url, VisibilityTimeout=0)
    second = outcomes(shop, url, 1)

    assert (first, second) == (["answer"], ["ConnectionClosedError"])
    assert shop.account.faults.struck == (1, 1)
    assert shop.counts(url) == (3, 0, 0)


def test_faults_hold_from_when_they_are_set_until_they_are_replaced(shop: Shop) -> None:
    url = shop.queue()
    before = outcomes(shop, url, 1)
    strike(shop, Fault("*", FAIL_BEFORE))
    during = outcomes(shop, url, 2)
    calm(shop)
    after = outcomes(shop, url, 1)

    assert (before, during, after) == (["answer"], ["ClientError"] * 2, ["answer"])


def test_parameters_that_boto3_refuses_are_no_call(shop: Shop) -> None:
    strike(shop, Fault("*", LOST))

    assert outcome(lambda: shop.sqs.send_message(QueueUrl=1)) == "ParamValidationError"

    assert shop.account.faults.struck == (0,)


def struck_by(faults: Faults, *operations: str) -> list[list[FaultKind]]:
    return [[fault.kind for fault in faults.strike(operation, {}).faults] for operation in operations]


RATES = {FAIL_BEFORE: 0.1, LOST: 0.1, SLOW: 0.05}


def test_a_seed_strikes_the_same_calls_each_time() -> None:
    calls = ["SendMessage"] * 300

    first, second, other = (struck_by(Faults.by_seed(seed, RATES), *calls) for seed in (7, 7, 8))

    assert first == second
    assert first != other


def test_a_seed_strikes_about_as_many_calls_as_its_rates_say() -> None:
    faults = Faults.by_seed(7, RATES)

    counted = Counter(kind for kinds in struck_by(faults, *["SendMessage"] * 2000) for kind in kinds)

    assert 150 < counted[FAIL_BEFORE] < 250
    assert 150 < counted[LOST] < 250
    assert 60 < counted[SLOW] < 140
    assert faults.struck == (counted[FAIL_BEFORE], counted[LOST], counted[SLOW])


def test_what_strikes_an_operation_depends_on_no_other() -> None:
    alone, mixed = Faults.by_seed(7, RATES), Faults.by_seed(7, RATES)

    sends = [struck_by(mixed, "ReceiveMessage", "SendMessage", "ReceiveMessage")[1] for _ in range(200)]

    assert sends == struck_by(alone, *["SendMessage"] * 200)


def test_one_rate_leaves_the_others_where_they_strike() -> None:
    calls = ["SendMessage"] * 200
    some, more = Faults.by_seed(7, {LOST: 0.1}), Faults.by_seed(7, {FAIL_BEFORE: 0.5, LOST: 0.1})

    lost = [LOST in kinds for kinds in struck_by(some, *calls)]

    assert lost == [LOST in kinds for kinds in struck_by(more, *calls)]
    assert any(lost)


def test_a_script_and_a_seed_go_together() -> None:
    script = [Fault("SendMessage", FAIL_AFTER, skip=2, times=1)]
    faults = Faults.by_seed(7, {LOST: 1.0, SLOW: 0.0}, seconds=0.2, script=script)

    assert struck_by(faults, *["SendMessage"] * 4) == [[LOST], [LOST], [LOST, FAIL_AFTER], [LOST]]


def test_many_threads_are_struck_as_often_as_a_script_says(pool: ThreadPoolExecutor) -> None:
    faults = Faults([Fault("SendMessage", LOST, skip=100, times=50)])
    barrier = threading.Barrier(2)

    def call() -> int:
        barrier.wait(PATIENCE)
        return sum(map(len, struck_by(faults, *["SendMessage"] * 500)))

    counted = [future.result(PATIENCE) for future in [pool.submit(call), pool.submit(call)]]

    assert sum(counted) == 50
    assert faults.struck == (50,)


# As a document


SCRIPT = Faults(
    [
        Fault("SendMessageBatch", FAIL_ENTRIES, entries=(0, 2), times=1, error="ServiceUnavailable"),
        Fault("ReceiveMessage", SLOW, seconds=0.2, skip=2),
        Fault("*", LOST, chance=0.01),
    ],
    seed=7,
)


def test_a_document_says_what_is_unusual() -> None:
    assert SCRIPT.to_json() == {
        "seed": 7,
        "faults": [
            {
                "operation": "SendMessageBatch",
                "kind": "fail_entries",
                "times": 1,
                "error": "ServiceUnavailable",
                "entries": [0, 2],
            },
            {"operation": "ReceiveMessage", "kind": "slow", "skip": 2, "seconds": 0.2},
            {"operation": "*", "kind": "lost", "chance": 0.01},
        ],
    }


@pytest.mark.parametrize("faults", [SCRIPT, Faults(), Faults.by_seed(3, dict.fromkeys(FaultKind, 0.5))])
def test_a_document_comes_back_as_the_same_faults(faults: Faults) -> None:
    again = Faults.from_json(json.loads(json.dumps(faults.to_json())))

    assert (again.faults, again.seed) == (faults.faults, faults.seed)


def test_an_empty_document_is_no_faults() -> None:
    assert Faults.from_json({}).to_json() == {"seed": 0, "faults": []}


def one(**fields: object) -> dict[str, object]:
    return {"faults": [{"operation": "*", "kind": "lost"}, {"operation": "SendMessage", "kind": "lost", **fields}]}


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ([], "the document is []: give an object"),
        ({"rates": {}}, "the document has 'rates', which means nothing: give any of seed, faults"),
        ({"seed": "7"}, "seed='7' is not allowed: give a whole number"),
        ({"seed": True}, "seed=True is not allowed"),
        ({"faults": {}}, "faults={} is not allowed: give a list"),
        ({"faults": [7]}, "faults[0] is 7: give an object"),
        ({"faults": [{"kind": "lost"}]}, "faults[0] lacks operation"),
        ({"faults": [{"operation": "*"}]}, "faults[0] lacks kind"),
        (one(after=3), "faults[1] has 'after', which means nothing: give any of operation, target, kind, skip"),
        (one(kind="losst"), "faults[1]: kind='losst' is not allowed: give a FaultKind (in JSON, one of fail_before, "),
        (one(kind=["lost"]), "faults[1]: kind=['lost'] is not allowed"),
        (one(operation="send_message"), "operation='send_message' is not allowed: give an operation of SQS or SNS"),
        (one(operation=None), "operation=None is not allowed"),
        (one(skip=-1), "faults[1]: skip=-1 is not allowed: give a whole number of calls, 0 or more"),
        (one(times=0), "times=0 is not allowed: give a whole number of calls, 1 or more, or leave it out for no end"),
        (one(times=1.5), "times=1.5 is not allowed"),
        (one(chance=1.1), "chance=1.1 is not allowed: give a number from 0 to 1"),
        (one(seconds=float("nan")), "seconds=nan is not allowed: give a number of seconds, from 0 to 86400"),
        (one(error="Oops"), "error='Oops' is not allowed: give one of InternalError, InternalFailure"),
        (one(error="Throttled"), "error='Throttled' has no meaning for lost: give it to one of fail_after"),
        (one(entries=[1]), "entries=(1,) has no meaning for lost: give it to fail_entries"),
        (one(entries="1"), "entries='1' is not allowed: give places in the batch, from 0"),
        (one(kind="slow"), "slow needs seconds"),
        (one(kind="duplicate"), "operation='SendMessage' cannot have a fault duplicate, which is for ReceiveMessage"),
        (
            one(kind="fail_entries"),
            "which is for ChangeMessageVisibilityBatch, DeleteMessageBatch, PublishBatch, SendMessageBatch",
        ),
    ],
)
def test_a_wrong_document_says_what_is_wrong_with_it(document: object, why: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Faults.from_json(document)

    assert why in str(caught.value)


# A real consumer in a storm


class Hurried(Clock):
    """A clock that moves a little whenever somebody looks at it."""

    def __call__(self) -> float:
        self.now += 0.01
        return self.now


STORM = [
    # The consumer pauses for real after what fails, so not everything does.
    Fault("ReceiveMessage", LOST, times=1),
    Fault("ReceiveMessage", FAIL_AFTER, skip=2, times=1),
    Fault("ReceiveMessage", DUPLICATE, chance=0.3, times=20),
    Fault("ReceiveMessage", REORDER, chance=0.5),
    Fault("DeleteMessageBatch", FAIL_BEFORE, chance=0.4, times=2),
    Fault("DeleteMessageBatch", FAIL_AFTER, chance=0.4, times=2),
    Fault("DeleteMessageBatch", LOST, chance=0.4, times=2),
    Fault("DeleteMessageBatch", FAIL_ENTRIES, chance=0.4, times=4),
    Fault("DeleteMessageBatch", SLOW, chance=0.4, seconds=60),
]


def test_in_a_storm_a_consumer_handles_and_deletes_every_message() -> None:
    account = Account(clock=Hurried())
    sqs = SqsClient(account, sleep=lambda seconds: None)
    url = sqs.create_queue(QueueName="orders")["QueueUrl"]
    sent = {str(number) for number in range(100)}
    for body in sent:
        sqs.send_message(QueueUrl=url, MessageBody=body)
    handled: Counter[str] = Counter()
    app = App(url, client=sqs, wait_time_seconds=0)
    app.on_text()(lambda text: handled.update([text]))
    account.faults = Faults(STORM, seed=7)
    queue = account.queue(url).queue

    consumer = threading.Thread(target=app.run, daemon=True)
    consumer.start()
    with account.lock:
        assert account.changed.wait_for(lambda: not any(queue.counts().values()), PATIENCE)
    app.stop()
    consumer.join(PATIENCE)

    assert set(handled) == sent
    assert app.metrics.snapshot()["duplicates"] > 0
    assert all(account.faults.struck)
