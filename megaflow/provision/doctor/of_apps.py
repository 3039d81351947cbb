"""Checks of an app by itself: the way to AWS, its handlers, how long it may take to stop."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from megaflow.dispatch.check import Oddity
from megaflow.provision.doctor.check import Check, Severity, Symptom
from megaflow.provision.doctor.facts import Facts

_OFF: Final = 30.0
_REFUSED: Final = 300.0
"""Seconds that a clock may be off: a signature is valid for so long.

https://docs.aws.amazon.com/IAM/latest/UserGuide/signing-elements.html
"""

_TO_GIVE_BACK: Final = 5.0
"""Seconds between the end of the handlers and SIGKILL: what is in hand is given back then."""

_SHOWN: Final = 5


def _find_what_is_in_the_way(facts: Facts) -> Iterator[Symptom]:
    return (Symptom(each.what, each.said) for each in facts.troubles if each.is_in_the_way)


def _find_what_is_unseen(facts: Facts) -> Iterator[Symptom]:
    troubles = (each for each in facts.troubles if not each.is_in_the_way)
    return (Symptom(each.what, f"could not be looked at: {each.said}") for each in troubles)


def _find_refused_clock(facts: Facts) -> Iterator[Symptom]:
    if facts.ahead is not None and abs(facts.ahead) >= _REFUSED:
        yield _describe_clock(facts.ahead)


def _find_wrong_clock(facts: Facts) -> Iterator[Symptom]:
    if facts.ahead is not None and _OFF <= abs(facts.ahead) < _REFUSED:
        yield _describe_clock(facts.ahead)


def _describe_clock(ahead: float) -> Symptom:
    return Symptom("this machine", f"its clock is {abs(ahead):,.0f} s {'ahead of' if ahead > 0 else 'behind'} AWS's")


def _find_neighbours(facts: Facts) -> Iterator[Symptom]:
    for each in facts.neighbours:
        shown = ", ".join(each.differing[:_SHOWN]) + " and others" * (len(each.differing) > _SHOWN)
        yield Symptom(facts.queue_name, f"{each.target} consumes it, too, and only one of both has {shown}")


def _find_no_handlers(facts: Facts) -> Iterator[Symptom]:
    if facts.queue_name and not facts.handlers:
        yield Symptom(facts.queue_name, "the app has this queue, and no handler is registered")


def _find_never_matching(facts: Facts) -> Iterator[Symptom]:
    return _find_odd(facts, Oddity.NEVER_MATCHES)


def _find_backtracking(facts: Facts) -> Iterator[Symptom]:
    return _find_odd(facts, Oddity.BACKTRACKS)


def _find_odd(facts: Facts, oddity: Oddity) -> Iterator[Symptom]:
    return (Symptom(each.handler.name, each.reason) for each in facts.odd if each.oddity is oddity)


def _find_short_grace(facts: Facts) -> Iterator[Symptom]:
    grace, timeout = facts.grace_period, facts.settings.shutdown_timeout
    if facts.queue_name and grace and grace.seconds < timeout + _TO_GIVE_BACK:
        who = f"{grace.source} gives, where nothing else is said," if grace.source else "there are"
        yield Symptom(
            "shutdown_timeout",
            f"{who} {grace.seconds:g} s from SIGTERM to SIGKILL, and shutdown_timeout={timeout:g} needs "
            f"{timeout + _TO_GIVE_BACK:g}",
        )


CHECKS: Final = (
    Check(
        name="no-way-to-aws",
        severity=Severity.ERROR,
        looks_at="credentials, region and connection, by the first calls",
        cost="The app meets the same, and what comes after it could not be looked at.",
        remedy="Give credentials, a region and an endpoint as the app will have them: --profile, --region.",
        page="docs/how-to/credentials.md",
        find=_find_what_is_in_the_way,
    ),
    Check(
        name="not-looked-at",
        severity=Severity.WARNING,
        looks_at="calls that AWS refuses, or that fail",
        cost="What the checks would find there is not known.",
        remedy="Let whoever runs the doctor make that call, or run it again.",
        page="docs/how-to/doctor.md",
        find=_find_what_is_unseen,
    ),
    Check(
        name="clock-refused",
        severity=Severity.ERROR,
        looks_at="the clock of this machine, by the `Date` of SQS's answers: five minutes or more",
        cost="AWS refuses what is signed five minutes too early or too late.",
        remedy="Set the clock, and keep it so: chrony, or the NTP of the host.",
        page="docs/how-to/credentials.md",
        find=_find_refused_clock,
    ),
    Check(
        name="clock-off",
        severity=Severity.WARNING,
        looks_at="the same clock: 30 seconds or more",
        cost="Ages of messages in logs and metrics are wrong by that, and at five minutes AWS refuses every call.",
        remedy="Set the clock, and keep it so: chrony, or the NTP of the host.",
        page="docs/how-to/credentials.md",
        find=_find_wrong_clock,
    ),
    Check(
        name="handlers-differ",
        severity=Severity.ERROR,
        looks_at="several TARGETs that consume one queue",
        cost="SQS gives each message to one of them, and that one deletes what only the other has a handler for.",
        remedy="Put the handlers into one app, or give each app a queue of its own and subscribe both to a topic.",
        page="docs/how-to/several-queues.md",
        find=_find_neighbours,
    ),
    Check(
        name="no-handlers",
        severity=Severity.NOTE,
        looks_at="an app with a queue and without a handler",
        cost="App.run refuses to start. An app that only publishes needs none.",
        remedy="Register handlers, or import the modules that do.",
        page="docs/how-to/split-handlers.md",
        find=_find_no_handlers,
    ),
    Check(
        name="never-matches",
        severity=Severity.WARNING,
        looks_at="handlers whose pattern contradicts itself, by `App.check`",
        cost="The handler never runs, and its messages are deleted as unmatched.",
        remedy="Mend the pattern: megaflow explain says what a message of yours fails at.",
        page="docs/how-to/odd-handlers.md",
        find=_find_never_matching,
    ),
    Check(
        name="backtracks",
        severity=Severity.WARNING,
        looks_at="regular expressions that take exponential time, by `App.check`",
        cost="One message that somebody sends can stop the consumer for hours.",
        remedy="Write the expression so that a text is read in one way only, or install the extra re2.",
        page="docs/how-to/odd-handlers.md",
        find=_find_backtracking,
    ),
    Check(
        name="short-grace-period",
        severity=Severity.WARNING,
        looks_at="`shutdown_timeout` and 5 s against `--grace-period`, or what Kubernetes and ECS give by default",
        cost="At each deployment handlers are killed at work, and their messages come again after the visibility "
        "timeout.",
        remedy="Raise the grace period (terminationGracePeriodSeconds, stopTimeout, TimeoutStopSec), or lower "
        "shutdown_timeout=.",
        page="docs/how-to/run-in-production.md",
        find=_find_short_grace,
    ),
)
