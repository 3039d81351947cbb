"""The doctor on the embedded account: what was provisioned has no findings, and what is broken by hand is found."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from megaflow import App, Router
from megaflow.match.functions import gt, lt, one_of, search
from megaflow.provision import DeadLetterQueue, Queue, Topic
from megaflow.provision.doctor.check import Severity
from megaflow.provision.doctor.checks import CHECKS
from megaflow.provision.doctor.facts import GracePeriod, find_platform
from megaflow.provision.doctor.reading import Told
from megaflow.provision.needs import needs_of
from tests.docs.pages import PAGES
from tests.provision.conftest import Place
from tests.provision.doctors import examine, examine_all, make_app, names

READS = ("Get", "List")


def provision(place: Place, *apps: App) -> None:
    for app in apps:
        place.apply(needs_of(app))
    place.calls.clear()


@pytest.mark.parametrize("fifo", [False, True])
def test_what_was_provisioned_has_no_findings(place: Place, fifo: bool) -> None:
    app = make_app(place, fifo=fifo)
    provision(place, app)

    assert examine(app) == []


def test_nothing_is_changed_and_nothing_received(embedded: Place) -> None:
    app = make_app(embedded)
    provision(embedded, app)
    embedded.sqs.send_message(QueueUrl=embedded.url("orders"), MessageBody="{}")
    before = embedded.attributes("orders")
    embedded.calls.clear()

    examine(app)

    assert embedded.calls
    assert [name for name in embedded.calls if not name.startswith(READS)] == []
    assert embedded.attributes("orders") == before


def test_an_app_with_a_url_is_examined_as_well(embedded: Place) -> None:
    provision(embedded, make_app(embedded))
    urls = App(embedded.url("orders"), embedded.topic("shop"), client=embedded.sqs, sns_client=embedded.sns)

    @urls.on_data({"type": "order"})
    def order(data: dict[str, Any]) -> None: ...

    assert examine(urls) == []
    embedded.set("orders", Policy="", RedrivePolicy="")
    assert names(examine(urls)) == ["no-dead-letter-queue", "topic-may-not-send"]


def test_an_app_with_an_arn_is_examined_as_well(embedded: Place) -> None:
    provision(embedded, make_app(embedded))
    by_arn = App(embedded.attributes("orders")["QueueArn"], client=embedded.sqs, sns_client=embedded.sns)

    @by_arn.on_data({"type": "order"})
    def order(data: dict[str, Any]) -> None: ...

    assert examine(by_arn) == []


def test_an_app_that_only_publishes_is_examined_by_its_topic(embedded: Place) -> None:
    embedded.sns.create_topic(Name="shop")

    assert examine(App(topic="shop", sns_client=embedded.sns)) == []
    assert names(examine(App(topic="mall", sns_client=embedded.sns))) == ["missing"]
    assert names(examine(App(topic_arn=f"{embedded.topic('shop')}s", sns_client=embedded.sns))) == ["missing"]


# What is broken by hand


def _set(queue: str, **attributes: Any) -> Callable[[Place], None]:
    return lambda place: place.set(queue, **attributes)


def _subscribe(**attributes: str) -> Callable[[Place], None]:
    return lambda place: place.subscribe("shop", "orders", **attributes)


def _change_statement(**changes: Any) -> Callable[[Place], None]:
    def change(place: Place) -> None:
        policy = json.loads(place.attributes("orders")["Policy"])
        policy["Statement"][0] |= changes
        place.set("orders", Policy=policy)

    return change


def _deny(place: Place) -> None:
    policy = json.loads(place.attributes("orders")["Policy"])
    policy["Statement"].append({"Effect": "Deny", "Principal": "*", "Action": "sqs:*", "Resource": "*"})
    place.set("orders", Policy=policy)


def _let_everybody_send(place: Place) -> None:
    policy = json.loads(place.attributes("orders")["Policy"])
    queue = place.attributes("orders")["QueueArn"]
    policy["Statement"].append({"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": queue})
    place.set("orders", Policy=policy)


def _leave_a_dead_letter(place: Place) -> None:
    place.sqs.send_message(QueueUrl=place.url("orders-dead"), MessageBody="{}")


def _subscribe_to_another_topic(place: Place) -> None:
    topic = place.sns.create_topic(Name="mall")["TopicArn"]
    queue = place.attributes("orders")["QueueArn"]
    raw = {"RawMessageDelivery": "true"}
    place.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue, Attributes=raw)


def _send_dead_letters_to_a_few(place: Place) -> None:
    arn = place.attributes("orders-dead")["QueueArn"]
    place.set("orders", RedrivePolicy={"deadLetterTargetArn": arn, "maxReceiveCount": 1})


def _delete(queue: str) -> Callable[[Place], None]:
    return lambda place: place.sqs.delete_queue(QueueUrl=place.url(queue))


def _delete_topic(place: Place) -> None:
    place.sns.delete_topic(TopicArn=place.topic("shop"))


def _unsubscribe(place: Place) -> None:
    place.sns.unsubscribe(SubscriptionArn=place.subscription("shop", "orders"))


BROKEN: dict[str, tuple[Callable[[Place], None], list[str]]] = {
    # Ten and more that provision does not look for.
    "dead letters may be smaller": (_set("orders-dead", MaximumMessageSize="1024"), ["small-dead-letters"]),
    "messages may be small alone": (_set("orders", MaximumMessageSize="2048"), ["small-messages"]),
    "the queue is not encrypted": (_set("orders", SqsManagedSseEnabled="false"), ["unencrypted"]),
    "dead letters are not encrypted": (_set("orders-dead", SqsManagedSseEnabled="false"), ["unencrypted"]),
    "the key is AWS's own": (
        _set("orders", KmsMasterKeyId="alias/aws/sqs"),
        ["topic-unencrypted", "key-closed-to-topics"],
    ),
    "the key is nobody's": (_set("orders", KmsMasterKeyId="alias/mine"), ["topic-unencrypted", "key-not-known"]),
    "the key of dead letters is unknown": (_set("orders-dead", KmsMasterKeyId="alias/mine"), ["key-not-known"]),
    "everybody may send": (_let_everybody_send, ["open-to-everybody"]),
    "nobody may do anything": (_deny, ["topic-may-not-send"]),
    "the statement is for another queue": (
        _change_statement(Resource="arn:aws:sqs:eu-west-1:000000000000:others"),
        ["topic-may-not-send"],
    ),
    "the statement is for another service": (
        _change_statement(Principal={"Service": "events.amazonaws.com"}),
        ["topic-may-not-send"],
    ),
    "the dead-letter queue refuses all queues": (
        _set("orders-dead", RedriveAllowPolicy={"redrivePermission": "denyAll"}),
        ["dead-letter-queue-refuses"],
    ),
    "the dead-letter queue allows others": (
        _set(
            "orders-dead",
            RedriveAllowPolicy={
                "redrivePermission": "byQueue",
                "sourceQueueArns": ["arn:aws:sqs:eu-west-1:000000000000:others"],
            },
        ),
        ["dead-letter-queue-refuses"],
    ),
    "a dead letter waits": (_leave_a_dead_letter, ["dead-letters-waiting"]),
    "messages are kept for an hour": (_set("orders", MessageRetentionPeriod="3600"), ["short-retention"]),
    "an undeclared topic is subscribed to": (_subscribe_to_another_topic, ["topic-may-not-send"]),
    "one receive is enough": (_send_dead_letters_to_a_few, ["few-receives"]),
    "the filter lets more through": (
        _subscribe(FilterPolicy='{"type": ["order", "invoice"]}'),
        ["filter-lets-through"],
    ),
    "the filter asks for more": (
        _subscribe(FilterPolicy='{"type": ["order"], "country": ["DE"]}'),
        ["filter-cuts-off"],
    ),
    # And what provision finds, too.
    "the visibility timeout is short": (_set("orders", VisibilityTimeout="10"), ["short-visibility"]),
    "dead letters go nowhere": (_set("orders", RedrivePolicy=""), ["no-dead-letter-queue"]),
    "dead letters are kept for an hour": (
        _set("orders-dead", MessageRetentionPeriod="3600"),
        ["short-dead-letter-retention"],
    ),
    "the dead-letter queue is gone": (_delete("orders-dead"), ["dead-letter-queue-missing"]),
    "the queue is gone": (_delete("orders"), ["missing"]),
    "the topic is gone": (_delete_topic, ["missing", "not-subscribed"]),
    "nobody may send": (_set("orders", Policy=""), ["topic-may-not-send"]),
    "the subscription is gone": (_unsubscribe, ["not-subscribed"]),
    "messages come in an envelope": (_subscribe(RawMessageDelivery="false"), ["not-raw"]),
    "there is no filter": (_subscribe(FilterPolicy="{}"), ["filter-lets-through"]),
    "the filter keeps all away": (
        _subscribe(FilterPolicy='{"type": ["invoice"]}'),
        ["filter-cuts-off", "filter-lets-through"],
    ),
    "the filter is for attributes": (
        _subscribe(FilterPolicyScope="MessageAttributes"),
        ["filter-may-cut-off", "filter-lets-through"],
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_was_broken_by_hand_is_found(embedded: Place, what: str) -> None:
    break_, expected = BROKEN[what]
    app = make_app(embedded)
    provision(embedded, app)

    break_(embedded)

    assert names(examine(app)) == expected


def test_what_is_found_is_said_with_what_it_costs_and_what_to_do(embedded: Place) -> None:
    app = make_app(embedded)
    provision(embedded, app)
    for _ in range(3):
        _leave_a_dead_letter(embedded)

    (finding,) = examine(app)

    assert finding.as_dict() == {
        "target": "app",
        "check": "dead-letters-waiting",
        "severity": "warning",
        "name": "orders-dead",
        "found": "it holds about 3 messages, the oldest of an age that SQS does not tell "
        "(CloudWatch does: --ask cloudwatch)",
        "cost": "They expire one day, unhandled.",
        "remedy": "megaflow peek shows them, each with why it failed, and megaflow redrive sends them back.",
        "page": "docs/how-to/dead-letters.md",
    }


def test_what_is_meant_is_no_finding(embedded: Place) -> None:
    app = make_app(embedded, dead_letter_queue=None, retention=3_600)
    provision(embedded, app)

    assert examine(app) == []


# What the app itself says


def test_the_longest_retention_of_both_cannot_be_helped(embedded: Place) -> None:
    app = make_app(embedded, retention=1_209_600)
    provision(embedded, app)

    assert examine(app) == []


def test_as_long_as_the_queue_is_not_long_enough_for_dead_letters(embedded: Place) -> None:
    app = make_app(embedded, retention=90_000, dead_letter_queue=DeadLetterQueue(retention=90_000))
    provision(embedded, app)

    assert names(examine(app)) == ["short-dead-letter-retention"]


def test_a_dead_letter_queue_of_the_apps_own_is_looked_at(embedded: Place) -> None:
    provision(embedded, make_app(embedded))
    fifo = embedded.sqs.create_queue(QueueName="lost.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    both, other = embedded.url("orders-dead"), make_app(embedded, dead_letter_queue_url=fifo)

    assert examine(make_app(embedded, dead_letter_queue_url=both)) == []
    assert names(examine(other)) == ["dead-letter-queue-of-other-kind"]

    embedded.set("orders", RedrivePolicy="")

    assert names(examine(make_app(embedded, dead_letter_queue_url=both))) == ["no-redrive-policy"]
    gone = make_app(embedded, dead_letter_queue_url=f"{both}-not")
    assert names(examine(gone)) == ["no-redrive-policy", "dead-letter-queue-missing"]


def test_the_visibility_timeout_is_compared_with_lambdas(embedded: Place) -> None:
    app = make_app(embedded)
    provision(embedded, app)
    embedded.set("orders", VisibilityTimeout="600")

    found = {
        seconds: names(examine(app, Told(lambda_timeout=seconds))) for seconds in (30.0, 100.0, 100.5, 600.0, 601.0)
    }

    assert found == {
        30.0: ["handler-slower-than-lambda"],
        100.0: [],
        100.5: ["visibility-below-six-lambdas"],
        600.0: ["visibility-below-six-lambdas"],
        601.0: ["visibility-below-lambda"],
    }


def test_the_grace_period_is_longer_than_the_shutdown(embedded: Place) -> None:
    app = make_app(embedded, shutdown_timeout=40)
    provision(embedded, app)

    found = [examine(app, Told(grace_period=GracePeriod(seconds))) for seconds in (44, 45)]
    (on_kubernetes,) = examine(app, Told(grace_period=find_platform({"KUBERNETES_SERVICE_HOST": "10.0.0.1"})))

    assert list(map(names, found)) == [["short-grace-period"], []]
    assert on_kubernetes.symptom.said == (
        "Kubernetes gives, where nothing else is said, 30 s from SIGTERM to SIGKILL, and shutdown_timeout=40 needs 45"
    )
    assert find_platform({"PATH": "/bin"}) is None


def test_handlers_that_cannot_work_as_meant_are_found(embedded: Place) -> None:
    app = make_app(embedded)
    provision(embedded, app)

    @app.on_data({"type": "order", "total": gt(5) & lt(3)})
    def never(data: dict[str, Any]) -> None: ...

    @app.on_data({"type": "order", "mail": one_of("a", "b")})
    def fine(data: dict[str, Any]) -> None: ...

    (finding,) = examine(app)

    assert finding.check.name == "never-matches"
    assert finding.symptom.name.endswith("never")


def test_an_expression_that_backtracks_is_found(embedded: Place) -> None:
    app = make_app(embedded, pattern={"type": "order", "mail": search("(x+x+)+y")})
    provision(embedded, app)

    (finding,) = examine(app)

    assert finding.check.name == "backtracks"
    assert "search('(x+x+)+y') at mail" in finding.symptom.said


def test_a_queue_without_handlers_is_a_note(embedded: Place) -> None:
    app = App(queue="orders", client=embedded.sqs, sns_client=embedded.sns)
    provision(embedded, app)

    (finding,) = examine(app)

    assert (finding.check.name, finding.check.severity) == ("no-handlers", Severity.NOTE)


def test_several_apps_with_other_handlers_on_one_queue_are_found(embedded: Place) -> None:
    shared = Router()

    @shared.on_data({"type": "order"})
    def both(data: dict[str, Any]) -> None: ...

    one, other, twin = (App(queue="orders", client=embedded.sqs, sns_client=embedded.sns) for _ in range(3))
    for app in (one, other, twin):
        app.include(shared)
    provision(embedded, one)

    assert examine_all({"one": one, "other": other}) == []

    @other.on_data({"type": "invoice"})
    def invoice(data: dict[str, Any]) -> None: ...

    (finding,) = examine_all({"one": one, "twin": twin, "elsewhere": make_url_app(embedded, other)})[:1]

    assert finding.target == "elsewhere"
    assert finding.check.name == "handlers-differ"
    assert finding.symptom.said.startswith("one consumes it, too, and only one of both has tests.")
    assert finding.symptom.said.endswith("invoice")


def make_url_app(place: Place, like: App) -> App:
    """Return an app with the same handlers, which has the queue by its URL."""
    app = App(place.url("orders"), client=place.sqs, sns_client=place.sns)
    for handler in like.handlers:
        app.register(handler)
    return app


def test_two_apps_on_one_topic_are_fine(embedded: Place) -> None:
    topic = Topic("shop", fifo=True)
    here = {"client": embedded.sqs, "sns_client": embedded.sns}
    orders = App(queue=Queue("orders", fifo=True, subscribe=[topic]), topic=topic, **here)
    mails = App(queue=Queue("mails", fifo=True, subscribe=[topic]), **here)

    @orders.on_data({"type": "order"})
    @mails.on_data({"type": "mail"})
    def show(data: dict[str, Any]) -> None: ...

    provision(embedded, orders, mails)

    assert examine_all({"orders": orders, "mails": mails}) == []


# Filters


def test_a_filter_that_keeps_text_and_bson_away_is_found(embedded: Place) -> None:
    app = make_app(embedded)
    provision(embedded, app)
    embedded.subscribe("shop", "orders", FilterPolicy='{"type": ["order"]}')

    @app.on_text()
    def text(body: str) -> None: ...

    (for_text,) = examine(app)
    (for_bson,) = examine(make_app(embedded, json_only=False))

    assert for_text.check.name == "filter-cuts-off"
    assert "takes text, and the filter is for bodies" in for_text.symptom.said
    assert for_bson.check.name == "filter-may-cut-off"
    assert "BSON" in for_bson.symptom.said


def test_a_filter_that_drifted_from_the_handlers_is_found(embedded: Place) -> None:
    provision(embedded, make_app(embedded, pattern={"type": one_of("order", "invoice")}))

    wider = examine(make_app(embedded, pattern={"type": one_of("order", "invoice", "refund")}))
    narrower = examine(make_app(embedded))
    everything = examine(make_app(embedded, pattern={}))

    assert names(wider) == ["filter-cuts-off"]
    assert '{"type": "refund"}' in wider[0].symptom.said
    assert names(narrower) == ["filter-lets-through"]
    assert names(everything) == ["filter-cuts-off"]


def test_of_many_handlers_ten_are_named(embedded: Place) -> None:
    provision(embedded, make_app(embedded))
    app = make_app(embedded)
    for number in range(12):
        app.on_data({"type": f"invoice-{number}"})(lambda data: None)

    found = examine(app)

    assert names(found) == ["filter-cuts-off"] * 11
    assert found[-1].symptom.said == "so it is with 2 handlers more"


def test_where_no_example_is_found_it_may_cut_off(embedded: Place) -> None:
    provision(embedded, make_app(embedded))
    app = make_app(embedded, pattern={"type": lambda value: value == "invoice"})

    (finding,) = examine(app)

    assert finding.check.name == "filter-may-cut-off"
    assert "takes what no filter can say" in finding.symptom.said


def test_an_app_that_wants_what_nobody_handles_has_no_filter(embedded: Place) -> None:
    provision(embedded, make_app(embedded))

    found = examine(make_app(embedded, unmatched="dead_letter"))

    assert names(found) == ["filter-may-cut-off"]


def test_each_check_has_a_page_and_a_name_of_its_own() -> None:
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    assert len({check.find for check in CHECKS}) == len(CHECKS)


def test_the_page_names_the_actions_that_are_needed(embedded: Place) -> None:
    app = make_app(embedded)
    provision(embedded, app)
    page = PAGES["docs/how-to/doctor.md"].partition("## What the role needs")[2]

    examine(app)

    assert set(embedded.calls) == set(re.findall(r"`s[qn]s:(\w+)`", page))
