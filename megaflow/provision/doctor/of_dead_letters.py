"""Checks of dead-letter queues: that there is one, that it takes everything, keeps it long enough, and is looked at."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

from megaflow import limits
from megaflow.provision.doctor.check import Check, Severity, Symptom
from megaflow.provision.doctor.facts import DeadLetters, Facts, number_of
from megaflow.provision.found import FoundQueue
from megaflow.transport.addresses import is_fifo
from megaflow.transport.numbers import read_whole

_FEW_RECEIVES: Final = 3


def _find_none(facts: Facts) -> Iterator[Symptom]:
    is_meant = facts.declared is not None and facts.declared.dead_letter_queue is None
    if facts.queue and not facts.dead_letters and not is_meant:
        yield Symptom(facts.queue_name, "it has no redrive policy, and dead_letter_queue_url= names no queue")


def _find_no_redrive(facts: Facts) -> Iterator[Symptom]:
    if facts.queue and facts.dead_letters and not facts.queue.redrive:
        yield Symptom(facts.queue_name, "it has no redrive policy, only what dead_letter_queue_url= says")


def _find_missing(facts: Facts) -> Iterator[Symptom]:
    return (Symptom(each.name, _describe_missing(each)) for each in facts.dead_letters if each.is_missing)


def _describe_missing(dead: DeadLetters) -> str:
    who = "the redrive policy names it" if dead.is_of_redrive else "dead_letter_queue_url= names it"
    return f"{who}, and it is not there"


def _find_refusing(facts: Facts) -> Iterator[Symptom]:
    for dead, queue in _found(facts):
        if facts.queue and dead.is_of_redrive and not _allows(queue, facts.queue.arn):
            yield Symptom(dead.name, f"its redrive allow policy does not let {facts.queue_name} use it")


def _allows(dead: FoundQueue, source_arn: str) -> bool:
    """Tell whether a dead-letter queue lets a queue use it.

    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SetQueueAttributes.html
    """
    policy: Any = {}
    with suppress(ValueError):
        policy = json.loads(dead.attributes.get("RedriveAllowPolicy") or "{}")
    permission = policy.get("redrivePermission", "allowAll") if isinstance(policy, Mapping) else "allowAll"
    return permission == "allowAll" or (permission == "byQueue" and source_arn in (policy.get("sourceQueueArns") or ()))


def _find_other_kind(facts: Facts) -> Iterator[Symptom]:
    for dead in facts.dead_letters:
        if facts.queue and is_fifo(dead.name) != is_fifo(facts.queue_name):
            kinds = "FIFO, and the queue is not" if is_fifo(dead.name) else "standard, and the queue is FIFO"
            yield Symptom(dead.name, f"it is {kinds}")


def _find_few_receives(facts: Facts) -> Iterator[Symptom]:
    redrive = facts.queue.redrive if facts.queue else {}
    count = read_whole(redrive.get("maxReceiveCount"), _FEW_RECEIVES)
    if count < _FEW_RECEIVES:
        yield Symptom(facts.queue_name, f"its maxReceiveCount is {count}")


def _find_short_retention(facts: Facts) -> Iterator[Symptom]:
    source = number_of(facts.queue, "MessageRetentionPeriod")
    for dead, queue in _found(facts):
        kept = number_of(queue, "MessageRetentionPeriod")
        if facts.queue and dead.is_of_redrive and kept <= source and kept < limits.LONGEST_RETENTION:
            yield Symptom(dead.name, f"it keeps messages for {kept:,} s, and {facts.queue_name} for {source:,} s")


def _find_small(facts: Facts) -> Iterator[Symptom]:
    source = number_of(facts.queue, "MaximumMessageSize")
    for dead, queue in _found(facts):
        taken = number_of(queue, "MaximumMessageSize")
        if facts.queue and taken < source:
            yield Symptom(dead.name, f"it takes {taken:,} bytes, and {facts.queue_name} {source:,}")


def _find_waiting(facts: Facts) -> Iterator[Symptom]:
    for dead in facts.dead_letters:
        if dead.waiting:
            count = f"{dead.waiting:,} {'message' if dead.waiting == 1 else 'messages'}"
            yield Symptom(dead.name, f"it holds about {count}, the oldest {_describe_age(dead.oldest)}")


def _describe_age(seconds: float | None) -> str:
    if seconds is None:
        return "of an age that SQS does not tell (CloudWatch does: --ask cloudwatch)"
    return f"about {seconds:,.0f} s old"


def _found(facts: Facts) -> Iterator[tuple[DeadLetters, FoundQueue]]:
    return ((each, each.queue) for each in facts.dead_letters if each.queue)


_PAGE: Final = "docs/explanation/dead-letters.md"

CHECKS: Final = (
    Check(
        name="no-dead-letter-queue",
        severity=Severity.ERROR,
        looks_at="the redrive policy and `dead_letter_queue_url=`; `dead_letter_queue=None` says that none is meant",
        cost="A message that fails for good is deleted, and with it whatever was in it.",
        remedy="Declare the queue by name, and megaflow provision --apply makes one; or set a redrive policy.",
        page=_PAGE,
        find=_find_none,
    ),
    Check(
        name="no-redrive-policy",
        severity=Severity.WARNING,
        looks_at="a queue whose dead-letter queue is that of `dead_letter_queue_url=` alone",
        cost="A message that kills its process, or is too large for the dead-letter queue, comes again for ever.",
        remedy="Give the queue a redrive policy with the same dead-letter queue.",
        page=_PAGE,
        find=_find_no_redrive,
    ),
    Check(
        name="dead-letter-queue-missing",
        severity=Severity.ERROR,
        looks_at="dead-letter queues that are named and not there",
        cost="Messages that fail for good stay in the queue and are tried again and again, until they expire.",
        remedy="Make it: megaflow provision --apply does, where the queue is declared.",
        page=_PAGE,
        find=_find_missing,
    ),
    Check(
        name="dead-letter-queue-refuses",
        severity=Severity.ERROR,
        looks_at="the redrive allow policy of the dead-letter queue",
        cost="SQS moves nothing there.",
        remedy="Let RedriveAllowPolicy name the queue, or allow all.",
        page=_PAGE,
        find=_find_refusing,
    ),
    Check(
        name="dead-letter-queue-of-other-kind",
        severity=Severity.ERROR,
        looks_at="a FIFO queue with a standard dead-letter queue, or the other way round",
        cost="SQS moves nothing there, and what megaflow sends there loses its order.",
        remedy="Use a dead-letter queue of the same kind: its name ends with .fifo where the queue's does.",
        page="docs/explanation/fifo.md",
        find=_find_other_kind,
    ),
    Check(
        name="few-receives",
        severity=Severity.WARNING,
        looks_at="`maxReceiveCount` below 3",
        cost="What is given back unhandled, as at each deployment, counts as received: SQS dead-letters what never "
        "failed.",
        remedy="Set maxReceiveCount to 3 or more: DeadLetterQueue(max_receive_count=5).",
        page="docs/how-to/run-in-production.md",
        find=_find_few_receives,
    ),
    Check(
        name="short-dead-letter-retention",
        severity=Severity.WARNING,
        looks_at="how long the dead-letter queue keeps messages, against the queue",
        cost="SQS counts from when a message was first sent: one that fails late is gone before anybody looks.",
        remedy="Let the dead-letter queue keep them longer; 14 days is the most.",
        page=_PAGE,
        find=_find_short_retention,
    ),
    Check(
        name="small-dead-letters",
        severity=Severity.WARNING,
        looks_at="the size limit of the dead-letter queue, against the queue's",
        cost="A larger message is kept and tried again, until the redrive policy moves it without saying why it "
        "failed.",
        remedy="Set MaximumMessageSize of the dead-letter queue to that of the queue.",
        page=_PAGE,
        find=_find_small,
    ),
    Check(
        name="dead-letters-waiting",
        severity=Severity.WARNING,
        looks_at="how many messages dead-letter queues hold; with `--ask cloudwatch` how old the oldest is",
        cost="They expire one day, unhandled.",
        remedy="megaflow peek shows them, each with why it failed, and megaflow redrive sends them back.",
        page="docs/how-to/dead-letters.md",
        find=_find_waiting,
    ),
)
