"""Checks of topics: that the queue is subscribed and may be sent to, raw delivery, encryption and its keys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from megaflow.provision.doctor.check import Check, Severity, Symptom
from megaflow.provision.doctor.facts import Facts, key_of
from megaflow.provision.doctor.grants import may
from megaflow.transport.addresses import name_of

_SNS: Final = "sns.amazonaws.com"
_AWSS_OWN: Final = "alias/aws/sqs"
_USABLE: Final = ("Enabled", "Updating")
_FOR_TOPICS: Final = ("kms:GenerateDataKey", "kms:Decrypt")


def _find_unsubscribed(facts: Facts) -> Iterator[Symptom]:
    text = f"{facts.queue_name} is declared to be subscribed to it, and is not"
    return (Symptom(each, text) for each in facts.unsubscribed)


def _find_unconfirmed(facts: Facts) -> Iterator[Symptom]:
    text = f"the subscription of {facts.queue_name} waits to be confirmed"
    return (Symptom(each.name, text) for each in facts.subscriptions if not each.found.is_confirmed)


def _find_not_raw(facts: Facts) -> Iterator[Symptom]:
    for each in facts.subscriptions:
        if each.is_shown and each.found.attributes.get("RawMessageDelivery", "").lower() != "true":
            yield Symptom(each.name, f"{facts.queue_name} gets its messages in an envelope")


def _find_refused_topics(facts: Facts) -> Iterator[Symptom]:
    queue = facts.queue
    for each in facts.subscriptions if queue else ():
        if queue and not may(queue.policy, _SNS, "sqs:SendMessage", resource=queue.arn, source_arn=each.topic_arn):
            yield Symptom(each.name, f"the policy of {facts.queue_name} does not let it send")


def _find_unencrypted(facts: Facts) -> Iterator[Symptom]:
    if facts.queue and key_of(facts.queue):
        text = f"it is not encrypted, and {facts.queue_name} is, by a key of KMS"
        yield from (Symptom(name_of(each.arn), text) for each in facts.topics if not key_of(each))


def _find_unusable_keys(facts: Facts) -> Iterator[Symptom]:
    for name, key in (facts.keys or {}).items():
        if key.state not in _USABLE:
            yield Symptom(name, f"its state is {key.state}")


def _find_keys_closed_to_topics(facts: Facts) -> Iterator[Symptom]:
    used = key_of(facts.queue) if facts.queue and facts.subscriptions else ""
    if used.endswith(_AWSS_OWN):
        yield Symptom(facts.queue_name, f"it is encrypted by {_AWSS_OWN}, which no topic can be let use")
    policy = facts.keys[used].policy if facts.keys and used in facts.keys else ""
    refused = [action for action in _FOR_TOPICS if policy and not may(policy, _SNS, action)]
    if refused:
        yield Symptom(used, f"its policy does not let {_SNS} do {' and '.join(refused)}, for {facts.queue_name}")


def _find_refused_keys(facts: Facts) -> Iterator[Symptom]:
    keys = (facts.keys or {}).items()
    return (Symptom(name, f"KMS says to these credentials: {key.refusal}") for name, key in keys if key.refusal)


def _find_unknown_keys(facts: Facts) -> Iterator[Symptom]:
    if facts.keys is None:
        own = (each for each in facts.key_ids if not each.endswith(("alias/aws/sqs", "alias/aws/sns")))
        yield from (Symptom(each, "KMS was not asked about it") for each in own)


_FAN_OUT: Final = "docs/how-to/fan-out.md"
_SECURITY: Final = "docs/explanation/threat-model.md"

CHECKS: Final = (
    Check(
        name="not-subscribed",
        severity=Severity.ERROR,
        looks_at="topics of `Queue(subscribe=…)` to which the queue is not subscribed",
        cost="Nothing that is published there reaches the app.",
        remedy="megaflow provision --apply subscribes it.",
        page=_FAN_OUT,
        find=_find_unsubscribed,
    ),
    Check(
        name="not-confirmed",
        severity=Severity.ERROR,
        looks_at="subscriptions that wait to be confirmed",
        cost="SNS sends nothing until whoever owns the queue has confirmed it.",
        remedy="Confirm it with the SubscribeURL that was sent to the queue, or subscribe as the queue's account.",
        page=_FAN_OUT,
        find=_find_unconfirmed,
    ),
    Check(
        name="not-raw",
        severity=Severity.NOTE,
        looks_at="subscriptions without raw message delivery",
        cost="megaflow opens the envelope, but it keeps no types of attributes, and takes room.",
        remedy="Set RawMessageDelivery of the subscription; megaflow provision --apply does.",
        page=_FAN_OUT,
        find=_find_not_raw,
    ),
    Check(
        name="topic-may-not-send",
        severity=Severity.ERROR,
        looks_at="the queue's policy, for each topic that it is subscribed to",
        cost="SNS cannot deliver, tries for a while, and drops the messages.",
        remedy="Let sns.amazonaws.com do sqs:SendMessage where aws:SourceArn is the topic; megaflow provision --apply "
        "does.",
        page=_FAN_OUT,
        find=_find_refused_topics,
    ),
    Check(
        name="topic-unencrypted",
        severity=Severity.NOTE,
        looks_at="topics without a key, where the queue has one",
        cost="SNS keeps the same messages unencrypted.",
        remedy="Topic(encryption=…), with a key that the publishers may use.",
        page=_SECURITY,
        find=_find_unencrypted,
    ),
    Check(
        name="key-unusable",
        severity=Severity.ERROR,
        looks_at="the state of keys of KMS (`--ask kms`)",
        cost="Nothing can be sent or received, until the key is enabled; if it is deleted, the messages are lost.",
        remedy="Enable the key, or cancel its deletion.",
        page=_SECURITY,
        find=_find_unusable_keys,
    ),
    Check(
        name="key-closed-to-topics",
        severity=Severity.ERROR,
        looks_at="the key of a queue with topics: AWS's own, or one whose policy leaves SNS out (`--ask kms`)",
        cost="SNS cannot encrypt for the queue, and drops the messages.",
        remedy="Use a key of your own, whose policy lets sns.amazonaws.com do kms:GenerateDataKey* and kms:Decrypt.",
        page=_SECURITY,
        find=_find_keys_closed_to_topics,
    ),
    Check(
        name="key-refused",
        severity=Severity.WARNING,
        looks_at="whether these credentials may use the keys, by a dry run (`--ask kms`)",
        cost="Whoever has these credentials can neither send nor receive; unless they may use the key through SQS "
        "alone (kms:ViaService).",
        remedy="Let the role do kms:GenerateDataKey and kms:Decrypt with the key.",
        page=_SECURITY,
        find=_find_refused_keys,
    ),
    Check(
        name="key-not-known",
        severity=Severity.NOTE,
        looks_at="keys of KMS, where KMS was not asked",
        cost="Whether the key can be used, and whether SNS may use it, is not known.",
        remedy="Run the doctor with --ask kms, and let it do kms:DescribeKey, kms:GetKeyPolicy and "
        "kms:GenerateDataKey.",
        page=_SECURITY,
        find=_find_unknown_keys,
    ),
)
