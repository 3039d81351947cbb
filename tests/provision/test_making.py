"""Provisioning: from an empty account to what apps declare, and back to it whatever was changed by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from megaflow import App
from megaflow.provision import DeadLetterQueue, Queue, Topic
from megaflow.provision.differences import Difference, State
from megaflow.provision.making import Provisioner
from megaflow.provision.needs import Needs, join_needs, needs_of
from tests.provision.conftest import Failing, Place, refusal

DELETES = ("Delete", "Unsubscribe", "Remove", "Purge", "Untag")


def make_app(prefix: str = "", *, fifo: bool = False, pattern: Any = None, **options: Any) -> App:
    topic = Topic(f"{prefix}shop", fifo=fifo, json_only=True)
    queue = Queue(f"{prefix}orders", fifo=fifo, **{"retention": 86_400, "subscribe": [topic], **options})
    app = App(queue=queue, topic=topic)

    @app.on_data({"type": "order"} if pattern is None else pattern, timeout=45)
    def order(data: dict[str, Any]) -> None: ...

    return app


def tell(differences: list[Difference]) -> list[tuple[str, str, str]]:
    return [(each.resource, each.name, each.attribute) for each in differences]


@pytest.mark.parametrize("fifo", [False, True])
def test_an_empty_account_gets_all_of_it_in_order_and_is_the_same_then(place: Place, fifo: bool) -> None:
    needs, end, p = needs_of(make_app(place.prefix, fifo=fifo)), ".fifo" if fifo else "", place.prefix
    expected = [
        ("queue", f"{p}orders-dead{end}", ""),
        ("queue", f"{p}orders{end}", ""),
        ("queue", f"{p}orders{end}", "RedrivePolicy"),
        ("topic", f"{p}shop{end}", ""),
        ("queue policy", f"{p}orders{end}", f"topic {p}shop{end}"),
        ("subscription", f"{p}orders{end} to {p}shop{end}", ""),
    ]

    assert tell(place.compare(needs)) == expected
    assert place.writes() == set()
    made = place.apply(needs)
    assert tell(made) == expected
    assert {each.state for each in made} == {State.MADE}
    place.writes()
    assert place.compare(needs) == []
    assert place.apply(needs) == []
    assert place.writes() == set()


def test_what_was_made_is_as_it_is_declared(place: Place) -> None:
    p = place.prefix
    place.apply(needs_of(make_app(p, encryption="alias/orders")))

    queue, dead = place.attributes(f"{p}orders"), place.attributes(f"{p}orders-dead")
    subscribed, topic_arn = place.subscribed(f"{p}shop", f"{p}orders"), place.topic(f"{p}shop")

    assert (queue["VisibilityTimeout"], queue["MessageRetentionPeriod"]) == ("45", "86400")
    assert (dead["MessageRetentionPeriod"], dead["KmsMasterKeyId"]) == ("1209600", "alias/orders")
    redrive = json.loads(queue["RedrivePolicy"])
    assert (redrive["deadLetterTargetArn"], int(redrive["maxReceiveCount"])) == (dead["QueueArn"], 5)
    (statement,) = json.loads(queue["Policy"])["Statement"]
    assert statement["Condition"] == {"ArnEquals": {"aws:SourceArn": topic_arn}}
    assert (statement["Principal"], statement["Resource"]) == ({"Service": "sns.amazonaws.com"}, queue["QueueArn"])
    assert subscribed["RawMessageDelivery"] == "true"
    assert (json.loads(subscribed["FilterPolicy"]), subscribed["FilterPolicyScope"]) == (
        {"type": ["order"]},
        "MessageBody",
    )


def _use_other_dead_letters(place: Place) -> None:
    place.sqs.create_queue(QueueName=f"{place.prefix}elsewhere")
    arn = place.attributes(f"{place.prefix}elsewhere")["QueueArn"]
    place.set(f"{place.prefix}orders", RedrivePolicy={"deadLetterTargetArn": arn, "maxReceiveCount": 5})


def _receive_twice(place: Place) -> None:
    arn = place.attributes(f"{place.prefix}orders-dead")["QueueArn"]
    place.set(f"{place.prefix}orders", RedrivePolicy={"deadLetterTargetArn": arn, "maxReceiveCount": 2})


def _let_another_topic_send(place: Place) -> None:
    policy = json.loads(place.attributes(f"{place.prefix}orders")["Policy"])
    policy["Statement"][0]["Condition"]["ArnEquals"]["aws:SourceArn"] += "-not"
    place.set(f"{place.prefix}orders", Policy=policy)


def _unsubscribe(place: Place) -> None:
    place.sns.unsubscribe(SubscriptionArn=place.subscription(f"{place.prefix}shop", f"{place.prefix}orders"))


def _subscribe_with(**attributes: str) -> Callable[[Place], None]:
    return lambda place: place.subscribe(f"{place.prefix}shop", f"{place.prefix}orders", **attributes)


def _set(queue: str, **attributes: str) -> Callable[[Place], None]:
    return lambda place: place.set(f"{place.prefix}{queue}", **attributes)


BROKEN: dict[str, tuple[Callable[[Place], None], list[tuple[str, str, str]]]] = {
    "the visibility timeout is shorter": (
        _set("orders", VisibilityTimeout="10"),
        [("queue", "orders", "VisibilityTimeout")],
    ),
    "messages are kept for an hour": (
        _set("orders", MessageRetentionPeriod="3600"),
        [("queue", "orders", "MessageRetentionPeriod")],
    ),
    "dead letters are kept for an hour": (
        _set("orders-dead", MessageRetentionPeriod="3600"),
        [("queue", "orders-dead", "MessageRetentionPeriod")],
    ),
    "there is another key": (
        _set("orders", KmsMasterKeyId="alias/theirs"),
        [("queue", "orders", "KmsMasterKeyId")],
    ),
    "two receives are enough": (_receive_twice, [("queue", "orders", "RedrivePolicy")]),
    "dead letters go elsewhere": (_use_other_dead_letters, [("queue", "orders", "RedrivePolicy")]),
    "dead letters go nowhere": (_set("orders", RedrivePolicy=""), [("queue", "orders", "RedrivePolicy")]),
    "the queue is gone": (
        lambda place: place.sqs.delete_queue(QueueUrl=place.url(f"{place.prefix}orders")),
        [
            ("queue", "orders", ""),
            ("queue", "orders", "RedrivePolicy"),
            ("queue policy", "orders", "topic shop"),
            ("subscription", "orders to shop", ""),
        ],
    ),
    "the dead-letter queue is gone": (
        lambda place: place.sqs.delete_queue(QueueUrl=place.url(f"{place.prefix}orders-dead")),
        [("queue", "orders-dead", "")],
    ),
    "the topic is gone": (
        lambda place: place.sns.delete_topic(TopicArn=place.topic(f"{place.prefix}shop")),
        [("topic", "shop", ""), ("subscription", "orders to shop", "")],
    ),
    "nobody may send": (_set("orders", Policy=""), [("queue policy", "orders", "topic shop")]),
    "another topic may send": (_let_another_topic_send, [("queue policy", "orders", "topic shop")]),
    "the subscription is gone": (_unsubscribe, [("subscription", "orders to shop", "")]),
    "messages come in an envelope": (
        _subscribe_with(RawMessageDelivery="false"),
        [("subscription", "orders to shop", "RawMessageDelivery")],
    ),
    "the filter lets nothing of it through": (
        _subscribe_with(FilterPolicy='{"type": ["invoice"]}'),
        [("subscription", "orders to shop", "FilterPolicy")],
    ),
    "there is no filter": (
        _subscribe_with(FilterPolicy="{}"),
        [("subscription", "orders to shop", "FilterPolicy")],
    ),
    "the filter is for attributes": (
        _subscribe_with(FilterPolicyScope="MessageAttributes"),
        [("subscription", "orders to shop", "FilterPolicy")],
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_was_broken_by_hand_is_shown_and_mended(place: Place, what: str) -> None:
    break_, expected = BROKEN[what]
    needs = needs_of(make_app(place.prefix, encryption="alias/orders"))
    place.apply(needs)

    break_(place)

    found = [tuple(part.replace(place.prefix, "") for part in each) for each in tell(place.compare(needs))]
    assert found == expected
    if "queue is gone" not in what:  # that takes 60 seconds
        place.apply(needs, narrow=True)
        assert place.compare(needs) == []


def test_a_queue_that_was_just_deleted_is_made_later(embedded: Place) -> None:
    needs = needs_of(make_app())
    embedded.apply(needs)
    embedded.sqs.delete_queue(QueueUrl=embedded.url("orders"))

    failed = embedded.compare(needs, apply=True)

    assert failed[0].state is State.FAILED
    assert "less than 60 seconds ago" in failed[0].reason


def test_fifo_deduplication_is_compared(place: Place) -> None:
    needs = needs_of(make_app(place.prefix, fifo=True))
    place.apply(needs)
    place.set(f"{place.prefix}orders.fifo", ContentBasedDeduplication="false")
    place.sns.set_topic_attributes(
        TopicArn=place.topic(f"{place.prefix}shop.fifo"),
        AttributeName="ContentBasedDeduplication",
        AttributeValue="false",
    )

    assert [each.attribute for each in place.compare(needs)] == ["ContentBasedDeduplication"] * 2
    place.apply(needs)
    assert place.compare(needs) == []


def test_what_is_not_declared_stays(embedded: Place) -> None:
    needs = needs_of(make_app())
    embedded.apply(needs)
    audit = {"Sid": "audit", "Effect": "Allow", "Principal": "*", "Action": "sqs:ReceiveMessage", "Resource": "*"}
    audit["Resource"] = embedded.attributes("orders")["QueueArn"]
    embedded.set("orders", DelaySeconds="7", MaximumMessageSize="2048", VisibilityTimeout="3", Policy={
        "Version": "2012-10-17", "Id": "theirs", "Statement": [audit]
    })  # fmt: skip
    embedded.sns.set_topic_attributes(
        TopicArn=embedded.topic("shop"), AttributeName="DisplayName", AttributeValue="The shop"
    )
    dead = {"deadLetterTargetArn": embedded.attributes("orders-dead")["QueueArn"]}
    embedded.subscribe("shop", "orders", RedrivePolicy=json.dumps(dead), RawMessageDelivery="false")
    embedded.writes()

    embedded.apply(needs)

    queue = embedded.attributes("orders")
    assert (queue["DelaySeconds"], queue["MaximumMessageSize"], queue["VisibilityTimeout"]) == ("7", "2048", "45")
    policy = json.loads(queue["Policy"])
    assert (policy["Id"], policy["Statement"][0], len(policy["Statement"])) == ("theirs", audit, 2)
    topic = embedded.sns.get_topic_attributes(TopicArn=embedded.topic("shop"))["Attributes"]
    assert topic["DisplayName"] == "The shop"
    assert json.loads(embedded.subscribed("shop", "orders")["RedrivePolicy"]) == dead
    assert not [name for name in embedded.writes() if name.startswith(DELETES)]
    assert embedded.compare(needs) == []


def test_a_queue_that_declares_no_dead_letters_keeps_those_that_it_has(embedded: Place) -> None:
    embedded.apply(needs_of(make_app()))

    assert embedded.apply(needs_of(make_app(dead_letter_queue=None))) == []

    assert "RedrivePolicy" in embedded.attributes("orders")


def test_the_same_statement_by_another_name_will_do(embedded: Place) -> None:
    needs = needs_of(make_app())
    embedded.apply(needs)
    policy = json.loads(embedded.attributes("orders")["Policy"])
    policy["Statement"][0] |= {"Sid": "by-hand", "Action": ["SQS:SendMessage"]}
    embedded.set("orders", Policy=policy)

    assert embedded.compare(needs) == []


def test_several_apps_keep_what_is_theirs_of_a_topic(place: Place) -> None:
    p = place.prefix
    mails = App(queue=Queue(f"{p}mails", subscribe=[Topic(f"{p}shop", json_only=True)]))

    @mails.on_data({"type": "mail"})
    def mail(data: dict[str, Any]) -> None: ...

    orders, both = make_app(p), Topic(f"{p}more")
    place.apply(needs_of(orders))
    place.apply(needs_of(mails))
    assert place.compare(needs_of(orders)) == []
    whole = join_needs({"orders": needs_of(orders), "mails": needs_of(mails)})
    assert place.compare(whole) == []

    # One queue with two topics, made one after the other.
    place.apply(needs_of(make_app(p, subscribe=[both])))

    statements = json.loads(place.attributes(f"{p}orders")["Policy"])["Statement"]
    assert len(statements) == 2
    assert place.compare(whole) == []


# Filters


def filter_of(place: Place) -> Any:
    return json.loads(place.subscribed(f"{place.prefix}shop", f"{place.prefix}orders").get("FilterPolicy") or "{}")


def test_a_filter_is_widened(place: Place) -> None:
    place.apply(needs_of(make_app(place.prefix)))
    wider = needs_of(make_app(place.prefix, pattern={"type": ["order", "invoice"]}))

    (made,) = place.apply(wider)

    assert made.attribute == "FilterPolicy"
    assert filter_of(place) == {"type": ["order", "invoice"]}
    assert place.compare(wider) == []


def test_a_filter_is_narrowed_only_where_that_is_asked_for(place: Place) -> None:
    place.apply(needs_of(make_app(place.prefix, pattern={"type": ["order", "invoice"]})))
    narrower = needs_of(make_app(place.prefix))

    (left,) = place.apply(narrower)

    assert left.state is State.NARROWER
    assert "--narrow" in left.reason
    assert filter_of(place) == {"type": ["order", "invoice"]}
    assert [each.state for each in place.compare(narrower)] == [State.NARROWER]

    place.apply(narrower, narrow=True)

    assert filter_of(place) == {"type": ["order"]}
    assert place.compare(narrower) == []


def test_while_old_processes_run_both_are_let_through(place: Place) -> None:
    place.apply(needs_of(make_app(place.prefix)))
    other = needs_of(make_app(place.prefix, pattern={"kind": "invoice"}))

    (made,) = place.apply(other)

    assert made.state is State.MADE
    assert filter_of(place) == {"$or": [{"type": ["order"]}, {"kind": ["invoice"]}]}
    assert [each.state for each in place.apply(other)] == [State.NARROWER]
    place.apply(other, narrow=True)
    assert filter_of(place) == {"kind": ["invoice"]}


def test_where_both_do_not_fit_the_filter_is_left(embedded: Place) -> None:
    embedded.apply(needs_of(make_app(pattern=dict.fromkeys("abcd", "x"))))
    other = needs_of(make_app(pattern=dict.fromkeys("efgh", "x")))

    (left,) = embedded.apply(other)

    assert left.state is State.NARROWER
    assert "both together do not fit" in left.reason


def test_a_filter_gives_way_to_none_where_handlers_want_everything(place: Place) -> None:
    place.apply(needs_of(make_app(place.prefix)))
    everything = needs_of(make_app(place.prefix, pattern={}))

    (made,) = place.apply(everything)

    assert made.declared is None
    assert filter_of(place) == {}
    assert place.compare(everything) == []


def test_the_first_filter_of_a_subscription_narrows(embedded: Place) -> None:
    embedded.apply(needs_of(make_app(pattern={})))

    (left,) = embedded.apply(needs_of(make_app()))

    assert left.state is State.NARROWER
    assert filter_of(embedded) == {}


def test_another_scope_is_never_narrower_meanwhile(embedded: Place) -> None:
    needs = needs_of(make_app())
    embedded.apply(needs)
    embedded.subscribe("shop", "orders", FilterPolicyScope="MessageAttributes", FilterPolicy='{"tenant": ["acme"]}')
    sent: list[tuple[str, str]] = []
    embedded.sns.meta.events.register(
        "provide-client-params.sns.SetSubscriptionAttributes",
        lambda params, **_: sent.append((params["AttributeName"], params["AttributeValue"])),
    )

    (left,) = embedded.apply(needs)
    assert left.state is State.NARROWER
    embedded.apply(needs, narrow=True)

    assert sent == [
        ("FilterPolicy", "{}"),
        ("FilterPolicyScope", "MessageBody"),
        ("FilterPolicy", '{"type": ["order"]}'),
    ]


# What cannot be, and what goes wrong


def test_what_is_of_the_other_kind_is_said_and_left(embedded: Place) -> None:
    embedded.apply(needs_of(make_app()))

    made = embedded.apply(needs_of(make_app(fifo=True)))

    reasons = {each.name: each.reason for each in made if each.resource in ("queue", "topic") and not each.attribute}
    assert reasons["orders.fifo"].startswith("orders is there, and is standard, which no queue can cease to be")
    assert reasons["shop.fifo"].startswith("shop is there, and is standard, which no topic can cease to be")
    assert embedded.attributes("orders")["QueueArn"]


def test_an_attribute_that_is_fixed_is_said_to_be(embedded: Place) -> None:
    needs = needs_of(make_app(fifo=True))
    embedded.apply(needs)

    class Emulator(Failing):
        """One that lets a queue of such a name be a standard one."""

        def get_queue_attributes(self, **parameters: Any) -> Any:
            answer = self._client.get_queue_attributes(**parameters)
            answer["Attributes"].pop("FifoQueue")
            return answer

    found = list(Provisioner(Emulator(embedded.sqs), embedded.sns, apply=True).provision(needs))

    assert {(each.attribute, each.state) for each in found} == {("FifoQueue", State.FIXED)}
    assert "under another name" in found[0].reason


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (refusal("AccessDenied", "CreateQueue", "not yours"), "let the role do sqs:CreateQueue (not yours)"),
        (refusal("RequestThrottled", "CreateQueue"), "AWS gets too many calls, and refused CreateQueue: try again"),
        (refusal("ThrottlingException", "CreateQueue"), "AWS gets too many calls"),
        (refusal("AWS.SimpleQueueService.QueueDeletedRecently", "CreateQueue"), "deleted less than 60 seconds ago"),
        (refusal("InvalidAttributeValue", "CreateQueue", "odd"), "InvalidAttributeValue: odd (CreateQueue)"),
    ],
)
def test_what_is_refused_of_one_is_said_and_the_rest_goes_on(embedded: Place, error: Exception, said: str) -> None:
    needs = needs_of(make_app())
    # boto3 tries again what is throttled; what comes here was tried then.
    sqs = Failing(embedded.sqs, create_queue=[error])

    made = list(Provisioner(sqs, embedded.sns, apply=True, sleep=lambda _: None).provision(needs))

    states = {(each.resource, each.name, each.attribute): each for each in made}
    first = states["queue", "orders-dead", ""]
    assert first.state is State.FAILED
    assert said in first.reason
    assert states["queue", "orders", "RedrivePolicy"].state is State.FAILED
    assert "the queue orders-dead failed" in states["queue", "orders", "RedrivePolicy"].reason
    assert {each.state for each in made if each not in (first, states["queue", "orders", "RedrivePolicy"])} == {
        State.MADE
    }
    embedded.apply(needs)
    assert embedded.compare(needs) == []


def test_what_may_not_be_looked_at_has_failed(embedded: Place) -> None:
    needs = needs_of(make_app())
    embedded.apply(needs)
    sns = Failing(embedded.sns, list_topics=[refusal("AuthorizationError", "ListTopics")])

    failed = list(Provisioner(embedded.sqs, sns).provision(needs))

    assert {each.state for each in failed} == {State.FAILED}
    assert [each.resource for each in failed] == ["topic", "queue policy", "subscription"]
    assert "let the role do sns:ListTopics" in failed[0].reason


def test_a_role_that_may_not_look_for_the_other_kind_makes_what_it_may(embedded: Place) -> None:
    missing = [refusal("AWS.SimpleQueueService.NonExistentQueue", "GetQueueUrl")]
    sqs = Failing(embedded.sqs, get_queue_url=[*missing, refusal("AccessDenied", "GetQueueUrl")])
    needs = needs_of(App(queue=Queue("orders", dead_letter_queue=None)))

    (made,) = Provisioner(sqs, embedded.sns, apply=True).provision(needs)

    assert made.state is State.MADE


def test_what_was_just_made_is_waited_for(embedded: Place) -> None:
    unseen = [refusal("AWS.SimpleQueueService.NonExistentQueue", "GetQueueAttributes") for _ in range(3)]
    no_target = [refusal("InvalidParameterValue", "SetQueueAttributes", "Dead letter target does not exist.")]
    sqs = Failing(embedded.sqs, get_queue_attributes=unseen, set_queue_attributes=no_target)
    slept: list[float] = []
    needs = needs_of(make_app())

    made = list(Provisioner(sqs, embedded.sns, apply=True, sleep=slept.append).provision(needs))

    assert {each.state for each in made} == {State.MADE}
    assert slept == [0.5] * 4
    assert embedded.compare(needs) == []


def test_what_never_comes_is_given_up(embedded: Place) -> None:
    unseen = [refusal("AWS.SimpleQueueService.NonExistentQueue", "GetQueueAttributes", "not here") for _ in range(99)]
    sqs = Failing(embedded.sqs, get_queue_attributes=unseen)
    slept: list[float] = []
    needs = needs_of(App(queue=Queue("orders", dead_letter_queue=None)))

    (failed,) = Provisioner(sqs, embedded.sns, apply=True, sleep=slept.append).provision(needs)

    assert failed.state is State.FAILED
    assert "not here" in failed.reason
    assert len(slept) == 11


def test_a_queue_that_somebody_makes_meanwhile_is_changed(embedded: Place) -> None:
    embedded.sqs.create_queue(QueueName="orders", Attributes={"VisibilityTimeout": "1"})
    unseen = [refusal("AWS.SimpleQueueService.NonExistentQueue", "GetQueueUrl") for _ in range(2)]
    sqs = Failing(embedded.sqs, get_queue_url=unseen)
    needs = needs_of(App(queue=Queue("orders", dead_letter_queue=None)))

    (made,) = Provisioner(sqs, embedded.sns, apply=True).provision(needs)

    assert made.state is State.MADE
    assert embedded.compare(needs) == []


def test_a_subscription_that_is_not_listed_yet_is_changed(embedded: Place) -> None:
    needs = needs_of(make_app())
    embedded.apply(needs)
    embedded.subscribe("shop", "orders", RawMessageDelivery="false")

    class Late(Failing):
        """One that lists nothing at first."""

        lists = 0

        def list_subscriptions_by_topic(self, **parameters: Any) -> Any:
            self.lists += 1
            answer = self._client.list_subscriptions_by_topic(**parameters)
            return answer if self.lists > 1 else {"Subscriptions": []}

    (made,) = Provisioner(embedded.sqs, Late(embedded.sns), apply=True).provision(needs)

    assert (made.resource, made.state) == ("subscription", State.MADE)
    assert embedded.compare(needs) == []


def test_a_subscription_that_waits_to_be_confirmed_is_nobodys_to_change(embedded: Place) -> None:
    needs = needs_of(make_app())
    embedded.apply(needs)

    class Unconfirmed(Failing):
        """One of which the queue is in another account."""

        def list_subscriptions_by_topic(self, **parameters: Any) -> Any:
            answer = self._client.list_subscriptions_by_topic(**parameters)
            return {"Subscriptions": [each | {"SubscriptionArn": "PendingConfirmation"} for each in answer["Subscriptions"]]}  # fmt: skip  # noqa: E501

    (fixed,) = Provisioner(embedded.sqs, Unconfirmed(embedded.sns)).provision(needs)

    assert (fixed.resource, fixed.state) == ("subscription", State.FIXED)


def test_a_policy_that_is_none_is_said(embedded: Place) -> None:
    needs = needs_of(make_app())
    embedded.apply(needs)

    class Odd(Failing):
        """One that shows something else for a policy."""

        def get_queue_attributes(self, **parameters: Any) -> Any:
            answer = self._client.get_queue_attributes(**parameters)
            answer["Attributes"] |= {"Policy": "[]"}
            return answer

    (failed,) = Provisioner(Odd(embedded.sqs), embedded.sns).provision(needs)

    assert (failed.resource, failed.state) == ("queue policy", State.FAILED)
    assert "no object with a list of statements" in failed.reason


def test_more_topics_and_subscriptions_than_a_page_has_are_found(embedded: Place) -> None:
    needs = needs_of(make_app("zz-"))
    for number in range(101):
        arn = embedded.sns.create_topic(Name=f"aa-{number}")["TopicArn"]
    embedded.apply(needs)
    arn = embedded.topic("aa-100")
    for number in range(101):
        queue = f"arn:aws:sqs:eu-west-1:000000000000:q{number}"
        embedded.sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue)
    late = needs_of(make_app("zz-", subscribe=[Topic("aa-100")]))

    made = embedded.apply(late)

    assert [each.resource for each in made] == ["queue policy", "subscription"]
    assert embedded.compare(late) == []


def test_needs_without_anything_are_there(embedded: Place) -> None:
    assert embedded.compare(Needs()) == []
    assert embedded.compare(needs_of(App(queue=Queue("q", dead_letter_queue=DeadLetterQueue(name="d")))))
