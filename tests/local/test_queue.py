from __future__ import annotations

import json

import pytest
from botocore.exceptions import ClientError

from tests.local.conftest import Shop


def redrive(name: str, count: int = 1) -> str:
    arn = f"arn:aws:sqs:us-east-1:000000000000:{name}"
    return json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": count})


def test_a_timeout_ends_to_the_second(shop: Shop) -> None:
    url = shop.queue()
    shop.send(url, "a")
    shop.receive(url)

    shop.advance(29.999)
    before = shop.counts(url)
    shop.advance(0.001)

    assert before == (0, 1, 0)
    assert shop.counts(url) == (1, 0, 0)


def test_a_standard_queue_puts_what_comes_back_last(shop: Shop) -> None:
    url = shop.queue()
    shop.send(url, "a", "b")
    (first,) = shop.receive(url, 1)

    shop.hide(url, first, 0)

    assert shop.bodies(url) == ["b", "a"]


def test_twelve_hours_from_receiving_is_just_allowed(shop: Shop) -> None:
    url = shop.queue()
    shop.send(url, "a")
    (message,) = shop.receive(url, VisibilityTimeout=43_200)
    shop.advance(3_200)

    shop.hide(url, message, 40_000)
    with pytest.raises(ClientError, match="beyond the limit"):
        shop.hide(url, message, 40_001)

    shop.advance(40_000)
    assert shop.counts(url) == (1, 0, 0)


def test_a_handle_of_an_earlier_receive_cannot_hide_on_a_fifo_queue(shop: Shop) -> None:
    url = shop.fifo_queue()
    shop.send(url, "a", MessageGroupId="g")
    (stale,) = shop.receive(url, VisibilityTimeout=0)
    shop.receive(url)

    with pytest.raises(ClientError, match="not available for visibility timeout change"):
        shop.hide(url, stale, 10)


def test_what_is_hidden_again_is_in_flight(shop: Shop) -> None:
    url = shop.queue()
    for body in "abc":
        shop.send(url, body, MessageGroupId="g")
    first, *_ = shop.receive(url, 3, VisibilityTimeout=5)
    shop.advance(5)

    shop.hide(url, first, 10)

    assert shop.counts(url) == (2, 1, 0)
    assert shop.bodies(url) == ["b", "c"]
    shop.advance(10)
    assert shop.bodies(url) == ["a"]


def test_retention_ends_messages_in_every_state(shop: Shop) -> None:
    url = shop.queue(MessageRetentionPeriod="60")
    shop.send(url, "in flight")
    (message,) = shop.receive(url, VisibilityTimeout=900)
    shop.send(url, "visible")
    shop.send(url, "delayed", DelaySeconds=900)
    before = shop.counts(url)

    shop.advance(60)

    assert before == (1, 1, 1)
    assert shop.counts(url) == (0, 0, 0)
    shop.delete(url, message)


def test_retention_counts_from_sending_however_it_is_changed(shop: Shop) -> None:
    url = shop.queue()
    shop.send(url, "old")
    shop.advance(100)
    shop.send(url, "new")

    shop.sqs.set_queue_attributes(QueueUrl=url, Attributes={"MessageRetentionPeriod": "100"})

    assert shop.bodies(url) == ["new"]


def test_a_group_goes_on_when_its_held_message_expires(shop: Shop) -> None:
    url = shop.fifo_queue(MessageRetentionPeriod="60")
    shop.send(url, "old", MessageGroupId="g")
    shop.receive(url, VisibilityTimeout=900)
    shop.advance(30)
    shop.send(url, "new", MessageGroupId="g")

    shop.advance(30)

    assert shop.bodies(url) == ["new"]


def test_a_group_loses_its_expired_head(shop: Shop) -> None:
    url = shop.fifo_queue(MessageRetentionPeriod="60")
    shop.send(url, "old", MessageGroupId="g")
    shop.advance(30)
    shop.send(url, "new", MessageGroupId="g")

    shop.advance(30)

    assert shop.bodies(url) == ["new"]


def test_a_new_delay_does_not_hold_for_what_a_standard_queue_has(shop: Shop) -> None:
    url = shop.queue(DelaySeconds="100")
    shop.send(url, "a")

    shop.sqs.set_queue_attributes(QueueUrl=url, Attributes={"DelaySeconds": "0"})
    before = shop.bodies(url)
    shop.advance(100)

    assert before == []
    assert shop.bodies(url) == ["a"]


def test_a_new_delay_holds_for_what_a_fifo_queue_has(shop: Shop) -> None:
    url = shop.fifo_queue(DelaySeconds="100")
    shop.send(url, "a", "b", MessageGroupId="g")
    shop.advance(20)

    shop.sqs.set_queue_attributes(QueueUrl=url, Attributes={"DelaySeconds": "30"})
    before = shop.bodies(url)
    shop.advance(10)

    assert before == []
    assert shop.bodies(url) == ["a", "b"]


def test_a_duplicate_is_news_after_five_minutes(shop: Shop) -> None:
    url = shop.fifo_queue()
    shop.send(url, "a", MessageGroupId="g")

    shop.advance(299.9)
    shop.send(url, "a", MessageGroupId="g")
    shop.advance(0.1)
    shop.send(url, "a", MessageGroupId="g")

    assert shop.bodies(url) == ["a", "a"]


def test_a_purge_forgets_what_was_sent(shop: Shop) -> None:
    url = shop.fifo_queue()
    shop.send(url, "a", MessageGroupId="g")

    shop.sqs.purge_queue(QueueUrl=url)
    shop.send(url, "a", MessageGroupId="g")

    assert shop.bodies(url) == ["a"]


def test_a_duplicate_is_answered_with_its_own_sum(shop: Shop) -> None:
    url = shop.fifo_queue()
    sent = {"QueueUrl": url, "MessageGroupId": "g", "MessageDeduplicationId": "1"}

    first = shop.sqs.send_message(**sent, MessageBody="a")
    second = shop.sqs.send_message(**sent, MessageBody="b")

    same = ("MessageId", "SequenceNumber")
    assert [first[name] for name in same] == [second[name] for name in same]
    assert second["MD5OfMessageBody"] == "92eb5ffee6ae2fec3ad71c777531578f"


def test_handles_of_a_purged_queue_still_delete(shop: Shop) -> None:
    url = shop.queue()
    shop.send(url, "a")
    (message,) = shop.receive(url)

    shop.sqs.purge_queue(QueueUrl=url)
    shop.delete(url, message)

    assert shop.counts(url) == (0, 0, 0)


def test_a_handle_of_a_queue_that_was_deleted_is_not_valid_for_its_successor(shop: Shop) -> None:
    url = shop.queue()
    shop.send(url, "a")
    (message,) = shop.receive(url)
    shop.sqs.delete_queue(QueueUrl=url)
    shop.advance(60)
    shop.queue()
    shop.send(url, "b")

    with pytest.raises(shop.sqs.exceptions.ReceiptHandleIsInvalid, match="not valid for this queue"):
        shop.delete(url, message)


def test_deleting_a_fifo_message_twice_succeeds(shop: Shop) -> None:
    url = shop.fifo_queue()
    shop.send(url, "a", MessageGroupId="g")
    (message,) = shop.receive(url)

    shop.delete(url, message)
    shop.delete(url, message)

    assert shop.counts(url) == (0, 0, 0)


def test_a_stale_handle_of_a_fifo_message_in_flight_is_refused(shop: Shop) -> None:
    url = shop.fifo_queue()
    shop.send(url, "a", MessageGroupId="g")
    (stale,) = shop.receive(url, VisibilityTimeout=0)
    shop.receive(url)

    with pytest.raises(ClientError, match="The receipt handle has expired"):
        shop.delete(url, stale)


def test_too_many_in_flight_is_over_limit_on_a_standard_queue(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("megaflow.local.queue.IN_FLIGHT", 3)
    url = shop.queue()
    shop.send(url, "a", "b", "c", "d")

    received = shop.bodies(url)
    with pytest.raises(shop.sqs.exceptions.OverLimit):
        shop.receive(url)

    assert received == ["a", "b", "c"]


def test_too_many_in_flight_is_silence_on_a_fifo_queue(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("megaflow.local.queue.IN_FLIGHT", 3)
    url = shop.fifo_queue()
    for body in "abcd":
        shop.send(url, body, MessageGroupId=body)

    assert shop.bodies(url) == ["a", "b", "c"]
    assert shop.bodies(url) == []


def test_receive_counts_go_on_in_the_dead_letter_queue(shop: Shop) -> None:
    dead_letters = shop.queue("dead")
    url = shop.queue(RedrivePolicy=redrive("dead", 2))
    shop.send(url, "a")
    for _ in range(3):
        shop.receive(url, VisibilityTimeout=0)

    (dead,) = shop.receive(dead_letters, AttributeNames=["All"])

    assert dead["Attributes"]["ApproximateReceiveCount"] == "3"


def test_a_dead_letter_queue_counts_its_own_receives_for_its_own_policy(shop: Shop) -> None:
    last = shop.queue("last")
    dead_letters = shop.queue("dead", RedrivePolicy=redrive("last", 2))
    url = shop.queue(RedrivePolicy=redrive("dead", 2))
    shop.send(url, "a")
    for _ in range(3):
        shop.receive(url, VisibilityTimeout=0)

    received = [shop.bodies(dead_letters, VisibilityTimeout=0) for _ in range(3)]

    assert received == [["a"], ["a"], []]
    assert shop.bodies(last) == ["a"]


def test_a_standard_dead_letter_keeps_its_age(shop: Shop) -> None:
    dead_letters = shop.queue("dead", MessageRetentionPeriod="100")
    url = shop.queue(RedrivePolicy=redrive("dead"))
    shop.send(url, "a")
    shop.advance(60)
    for _ in range(2):
        shop.receive(url, VisibilityTimeout=0)
    before = shop.counts(dead_letters)

    shop.advance(40)

    assert before == (1, 0, 0)
    assert shop.counts(dead_letters) == (0, 0, 0)


def test_a_fifo_dead_letter_starts_its_age_anew_and_keeps_its_time(shop: Shop) -> None:
    dead_letters = shop.fifo_queue("dead.fifo", MessageRetentionPeriod="100")
    url = shop.fifo_queue(RedrivePolicy=redrive("dead.fifo"))
    shop.send(url, "a", MessageGroupId="g")
    shop.advance(60)
    for _ in range(2):
        shop.receive(url, VisibilityTimeout=0)

    shop.advance(99)
    (dead,) = shop.receive(dead_letters, AttributeNames=["All"], VisibilityTimeout=0)
    shop.advance(1)

    assert dead["Attributes"]["SentTimestamp"] == "1000000000"
    assert dead["Attributes"]["MessageGroupId"] == "g"
    assert shop.counts(dead_letters) == (0, 0, 0)


def test_without_its_dead_letter_queue_a_queue_keeps_what_it_has(shop: Shop) -> None:
    dead_letters = shop.queue("dead")
    url = shop.queue(RedrivePolicy=redrive("dead"))
    shop.send(url, "a")

    shop.sqs.delete_queue(QueueUrl=dead_letters)

    assert [shop.bodies(url, VisibilityTimeout=0) for _ in range(3)] == [["a"]] * 3


def test_a_repeated_attempt_hides_its_messages_anew(shop: Shop) -> None:
    url = shop.fifo_queue()
    shop.send(url, "a", MessageGroupId="g")
    shop.receive(url, ReceiveRequestAttemptId="1")
    shop.advance(20)

    again = shop.receive(url, ReceiveRequestAttemptId="1", AttributeNames=["ApproximateReceiveCount"])
    shop.advance(20)

    assert again[0]["Attributes"]["ApproximateReceiveCount"] == "1"
    assert shop.counts(url) == (0, 1, 0)


def test_an_attempt_starts_anew_once_one_of_its_messages_was_changed(shop: Shop) -> None:
    url = shop.fifo_queue()
    shop.send(url, "a", "b", MessageGroupId="g")
    first, _ = shop.receive(url, ReceiveRequestAttemptId="1")
    shop.hide(url, first, 60)

    assert shop.receive(url, ReceiveRequestAttemptId="1") == []


def test_an_attempt_starts_anew_once_one_of_its_messages_is_gone(shop: Shop) -> None:
    url = shop.fifo_queue()
    for body in "ab":
        shop.send(url, body, MessageGroupId=body)
    (first,) = shop.receive(url, 1, ReceiveRequestAttemptId="1")
    shop.delete(url, first)

    assert shop.bodies(url, 1, ReceiveRequestAttemptId="1") == ["b"]


def test_a_standard_queue_knows_no_attempts(shop: Shop) -> None:
    url = shop.queue()
    shop.send(url, "a")

    assert shop.bodies(url, ReceiveRequestAttemptId="1") == ["a"]
    assert shop.bodies(url, ReceiveRequestAttemptId="1") == []


def test_first_received_is_kept_from_the_very_first_second(shop: Shop) -> None:
    shop.clock.now = 0.0
    url = shop.queue()
    shop.send(url, "a")
    shop.receive(url, VisibilityTimeout=0)
    shop.advance(5)

    (again,) = shop.receive(url, AttributeNames=["All"])

    assert again["Attributes"]["ApproximateFirstReceiveTimestamp"] == "0"
    assert again["Attributes"]["SentTimestamp"] == "0"


def test_a_message_larger_than_a_queue_takes_fails_alone_in_a_batch(shop: Shop) -> None:
    url = shop.queue(MaximumMessageSize="1024")

    answer = shop.sqs.send_message_batch(
        QueueUrl=url, Entries=[{"Id": "a", "MessageBody": "x"}, {"Id": "b", "MessageBody": "x" * 1025}]
    )

    assert [one["Id"] for one in answer["Successful"]] == ["a"]
    assert [(one["Id"], one["Code"]) for one in answer["Failed"]] == [("b", "InvalidParameterValue")]


@pytest.mark.parametrize("kind", ["standard", "fifo"])
def test_nothing_is_left_of_what_was_deleted(shop: Shop, kind: str) -> None:
    url = shop.fifo_queue() if kind == "fifo" else shop.queue()
    for number in range(1000):
        shop.send(url, str(number), MessageGroupId=f"group-{number % 7}")
        (message,) = shop.receive(url, VisibilityTimeout=40_000)
        shop.hide(url, message, 30_000)
        shop.delete(url, message)
    shop.advance(300)
    shop.send(url, "last", MessageGroupId="g")

    queue = shop.account.queue(url).queue

    messages = queue.messages
    assert len(messages._messages) == 1
    assert max(len(timers._heap) for timers in (messages._in_flight, messages._ages, messages._delayed)) < 100
    assert len(queue.sent) <= 1
