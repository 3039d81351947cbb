"""Checks of the queue: that it is there, its times and limits, who may send, encryption, Lambda functions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from megaflow import limits
from megaflow.provision.doctor.check import Check, Severity, Symptom
from megaflow.provision.doctor.facts import Facts, Function, number_of
from megaflow.provision.doctor.grants import lets_everybody
from megaflow.transport.addresses import is_fifo, name_of

_OF_LAMBDA: Final = 6
"""So many timeouts of the function the visibility timeout should have.

https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
"""

_SHORT_RETENTION: Final = 86_400
_MUCH: Final = 0.8


def _find_missing(facts: Facts) -> Iterator[Symptom]:
    return (Symptom(each, "is not there") for each in facts.missing)


def _find_short_visibility(facts: Facts) -> Iterator[Symptom]:
    has, needed = number_of(facts.queue, "VisibilityTimeout"), facts.longest_handling
    if facts.queue and needed is not None and has < min(needed, limits.VISIBILITY_TIMEOUT):
        yield Symptom(facts.queue_name, f"its visibility timeout is {has:,} s, and a handler may take {needed:,g} s")


def _find_visibility_below_lambda(facts: Facts) -> Iterator[Symptom]:
    has = number_of(facts.queue, "VisibilityTimeout")
    for each in _functions(facts):
        if facts.queue and has < each.timeout:
            yield _compare_with_lambda(facts, has, each)


def _find_visibility_below_six(facts: Facts) -> Iterator[Symptom]:
    has = number_of(facts.queue, "VisibilityTimeout")
    for each in _functions(facts):
        if facts.queue and each.timeout <= has < _OF_LAMBDA * each.timeout + each.batching_window:
            yield _compare_with_lambda(facts, has, each)


def _compare_with_lambda(facts: Facts, has: int, function: Function) -> Symptom:
    window = f" and its batching window of {function.batching_window:,g} s" if function.batching_window else ""
    wanted = _OF_LAMBDA * function.timeout + function.batching_window
    return Symptom(
        facts.queue_name,
        f"its visibility timeout is {has:,} s, and {function.name} may take {function.timeout:,g} s: "
        f"six of that{window} are {wanted:,g} s",
    )


def _find_slow_handlers(facts: Facts) -> Iterator[Symptom]:
    for each in _functions(facts):
        if facts.longest_handling is not None and facts.longest_handling >= each.timeout:
            yield Symptom(
                each.name, f"it ends after {each.timeout:,g} s, and a handler may take {facts.longest_handling:,g} s"
            )


def _find_unreported(facts: Facts) -> Iterator[Symptom]:
    text = "its event source mapping is without ReportBatchItemFailures"
    return (Symptom(each.name, text) for each in facts.functions if not each.reports_failures)


def _find_disabled(facts: Facts) -> Iterator[Symptom]:
    return (Symptom(each.name, "its event source mapping is off") for each in facts.functions if not each.is_enabled)


def _functions(facts: Facts) -> tuple[Function, ...]:
    if facts.lambda_timeout is None:
        return facts.functions
    return (Function("the Lambda function", facts.lambda_timeout), *facts.functions)


def _find_short_retention(facts: Facts) -> Iterator[Symptom]:
    has, is_meant = number_of(facts.queue, "MessageRetentionPeriod"), facts.declared and facts.declared.retention
    if facts.queue and not is_meant and has < _SHORT_RETENTION:
        yield Symptom(facts.queue_name, f"it keeps messages for {has:,} s")


def _find_many_in_flight(facts: Facts) -> Iterator[Symptom]:
    most = limits.FIFO_IN_FLIGHT if is_fifo(facts.queue_name) else limits.IN_FLIGHT
    has = number_of(facts.queue, "ApproximateNumberOfMessagesNotVisible")
    if has >= _MUCH * most:
        yield Symptom(facts.queue_name, f"{has:,} messages are in flight, and SQS allows {most:,}")


def _find_small_messages(facts: Facts) -> Iterator[Symptom]:
    has = number_of(facts.queue, "MaximumMessageSize")
    if facts.queue and facts.subscriptions and has < limits.SNS_MESSAGE_SIZE:
        yield Symptom(facts.queue_name, f"it takes {has:,} bytes, and topics {limits.SNS_MESSAGE_SIZE:,}")


def _find_open_queues(facts: Facts) -> Iterator[Symptom]:
    for queue in facts.queues:
        for action, what in (("sqs:SendMessage", "send to it"), ("sqs:ReceiveMessage", "receive from it")):
            if lets_everybody(queue.policy, action):
                yield Symptom(name_of(queue.arn), f"its policy lets everybody {what}, without a condition")


def _find_unencrypted(facts: Facts) -> Iterator[Symptom]:
    for queue in facts.queues:
        shown = queue.attributes
        if not shown.get("KmsMasterKeyId") and shown.get("SqsManagedSseEnabled", "false").lower() != "true":
            yield Symptom(name_of(queue.arn), "its messages are not encrypted where they are kept")


_SIX: Final = "Set the visibility timeout to six times the function's timeout, and its batching window: "

CHECKS: Final = (
    Check(
        name="missing",
        severity=Severity.ERROR,
        looks_at="queues and topics that the app names",
        cost="The app cannot start, or cannot publish.",
        remedy="megaflow provision --apply makes what is declared; or look whether region and account are right.",
        page="docs/reference/addresses.md",
        find=_find_missing,
    ),
    Check(
        name="short-visibility",
        severity=Severity.WARNING,
        looks_at="the queue's visibility timeout against the slowest handler's `timeout=` and `batch_seconds=`",
        cost="Whoever receives without saying so, as Lambda and scripts do, gets a message that is still handled.",
        remedy="Raise the queue's visibility timeout, or lower the handler's timeout=.",
        page="docs/how-to/time-limits.md",
        find=_find_short_visibility,
    ),
    Check(
        name="visibility-below-lambda",
        severity=Severity.ERROR,
        looks_at="the visibility timeout against a Lambda function's timeout (`--lambda-timeout`, `--ask lambda`)",
        cost="Messages come again while the function still has them. Lambda refuses such an event source.",
        remedy=f"{_SIX}Queue(visibility_timeout=…).",
        page="docs/how-to/lambda.md",
        find=_find_visibility_below_lambda,
    ),
    Check(
        name="visibility-below-six-lambdas",
        severity=Severity.WARNING,
        looks_at="the same, against six times that timeout, and the batching window",
        cost="Where Lambda is throttled it has no time to try a batch again, and messages are received too often.",
        remedy=f"{_SIX}Queue(visibility_timeout=…).",
        page="docs/how-to/lambda.md",
        find=_find_visibility_below_six,
    ),
    Check(
        name="handler-slower-than-lambda",
        severity=Severity.WARNING,
        looks_at="the slowest handler's `timeout=` against a Lambda function's timeout",
        cost="Lambda ends the function before the handler's own limit, and the whole batch comes again.",
        remedy="Raise the function's timeout, or lower the handler's timeout=.",
        page="docs/how-to/lambda.md",
        find=_find_slow_handlers,
    ),
    Check(
        name="lambda-reports-nothing",
        severity=Severity.ERROR,
        looks_at="event source mappings without `ReportBatchItemFailures` (`--ask lambda`)",
        cost="Lambda deletes the whole batch, with the messages that were to come again: they are lost.",
        remedy="Set FunctionResponseTypes: [ReportBatchItemFailures] in the event source mapping.",
        page="docs/how-to/lambda.md",
        find=_find_unreported,
    ),
    Check(
        name="lambda-off",
        severity=Severity.WARNING,
        looks_at="event source mappings that are disabled (`--ask lambda`)",
        cost="The function gets no messages.",
        remedy="Enable the event source mapping, or delete it.",
        page="docs/how-to/lambda.md",
        find=_find_disabled,
    ),
    Check(
        name="short-retention",
        severity=Severity.NOTE,
        looks_at="a queue that keeps messages for less than a day, where `retention=` does not say so",
        cost="An outage over a night loses messages.",
        remedy="Raise it to four days or more, or say that it is meant: Queue(retention=…).",
        page="docs/how-to/run-in-production.md",
        find=_find_short_retention,
    ),
    Check(
        name="many-in-flight",
        severity=Severity.WARNING,
        looks_at="messages in flight against SQS's limit: four fifths or more",
        cost="At the limit the queue gives out nothing more.",
        remedy="Find who receives and does not delete; a standard queue's limit can be raised by AWS.",
        page="docs/how-to/alerts.md",
        find=_find_many_in_flight,
    ),
    Check(
        name="small-messages",
        severity=Severity.WARNING,
        looks_at="the size limit of a queue with topics against that of SNS",
        cost="What is larger is lost on its way from the topic, without a word to whoever published it.",
        remedy=f"Set MaximumMessageSize to {limits.SNS_MESSAGE_SIZE:,} or more.",
        page="docs/how-to/fan-out.md",
        find=_find_small_messages,
    ),
    Check(
        name="open-to-everybody",
        severity=Severity.WARNING,
        looks_at="policies of queues that let everybody send or receive",
        cost="Anybody with an account of AWS can have your handlers run, or read your messages.",
        remedy="Name who may, or add a condition: aws:SourceArn, aws:PrincipalOrgID.",
        page="docs/explanation/threat-model.md",
        find=_find_open_queues,
    ),
    Check(
        name="unencrypted",
        severity=Severity.WARNING,
        looks_at="encryption of the queue and its dead-letter queues",
        cost="Bodies are kept as they are.",
        remedy='Queue(encryption="sqs"), which costs nothing, or a key of KMS.',
        page="docs/explanation/threat-model.md",
        find=_find_unencrypted,
    ),
)
