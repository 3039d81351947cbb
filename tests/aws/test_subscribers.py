from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import UTC, datetime
from typing import Any, ClassVar

import pytest

from megaflow import App
from megaflow.aws.sqs.subscribe import DataSubscriber, EventSubscriber, MessageSubscriber, ProcessStatus, SqsListener
from megaflow.errors import ConfigurationError, PatternError, RegistrationError
from megaflow.event import Event, Payload
from megaflow.handlers.event_rules import EVENT_ALIASES
from megaflow.match.functions import absent, gt, one_of
from megaflow.messages.message import Message
from tests.handlers.test_router import EVENT, MATCHING
from tests.matching import show

RULES = {rule: pattern for rule, pattern in MATCHING.items() if rule != "extra"}


def reaches(subscriber: type[MessageSubscriber], payload: object) -> bool:
    listener = SqsListener()
    listener.register_subscriber(subscriber)
    return bool(listener.app.handlers_for(payload))


def declare(base: Any = EventSubscriber, /, **attributes: Any) -> type[MessageSubscriber]:
    """Return a subscriber class with those attributes."""

    def process(self: Any, payload: Any) -> None: ...

    return type("Subscriber", (base,), {"process": process, **attributes})


def test_there_are_twelve_rules() -> None:
    assert len(RULES) == 12


@pytest.mark.parametrize("rule", RULES)
def test_every_attribute_of_the_readme_is_a_rule(rule: str) -> None:
    assert reaches(declare(EventSubscriber, **{rule: RULES[rule]}), EVENT)
    assert not reaches(declare(EventSubscriber, **{rule: "something else"}), EVENT)


@pytest.mark.parametrize(("rule", "alias"), EVENT_ALIASES.items())
def test_every_alias_of_the_readme_is_a_rule(rule: str, alias: str) -> None:
    assert reaches(declare(EventSubscriber, **{alias: RULES[rule]}), EVENT)
    assert not reaches(declare(EventSubscriber, **{alias: "something else"}), EVENT)


@pytest.mark.parametrize(("rule", "alias"), EVENT_ALIASES.items())
def test_the_alias_is_ignored_where_the_attribute_is_declared_too(rule: str, alias: str) -> None:
    assert reaches(declare(EventSubscriber, **{alias: "something else", rule: RULES[rule]}), EVENT)
    assert not reaches(declare(EventSubscriber, **{alias: RULES[rule], rule: "something else"}), EVENT)


def test_all_rules_have_to_hold() -> None:
    assert reaches(declare(EventSubscriber, **RULES), EVENT)
    assert not reaches(declare(EventSubscriber, **{**RULES, "object_id": "other"}), EVENT)


def test_what_is_no_rule_is_an_ordinary_attribute() -> None:
    assert reaches(declare(extra={"a": 5}, queue="orders", domain="shopping_cart"), EVENT)


def test_a_subscriber_without_rules_matches_every_event() -> None:
    assert reaches(declare(), EVENT)
    assert not reaches(declare(), {"event": {"name": "item.added"}})


def test_rules_are_inherited() -> None:
    class CartSubscriber(EventSubscriber):
        domain = "shopping_cart"

        def process(self, payload: Payload) -> None: ...

    class ItemAdded(CartSubscriber):
        name = "item.added"

    class ItemRemoved(CartSubscriber):
        name = "item.removed"

    assert reaches(ItemAdded, EVENT)
    assert not reaches(ItemRemoved, EVENT)
    assert not reaches(ItemAdded, Payload(event=Event(name="item.added", domain="other")))


@pytest.mark.parametrize(("inherited", "own"), [("name", "event_name"), ("event_name", "name"), ("name", "name")])
def test_the_nearest_declaration_counts(inherited: str, own: str) -> None:
    base = declare(EventSubscriber, **{inherited: "something else"})

    assert reaches(declare(base, **{own: "item.added"}), EVENT)


def test_rules_come_from_mixins_too() -> None:
    class InCart:
        domain = "something else"

    class Subscriber(InCart, EventSubscriber):
        def process(self, payload: Payload) -> None: ...

    assert not reaches(Subscriber, EVENT)


def test_a_lambda_is_a_rule_and_not_a_method() -> None:
    class Subscriber(EventSubscriber):
        name = lambda name: name.startswith("item.")  # noqa: E731
        attributes: ClassVar = {"quantity": lambda quantity: quantity > 0}

        def process(self, payload: Payload) -> None: ...

    assert reaches(Subscriber, EVENT)
    assert not reaches(Subscriber, Payload(event=Event(name="checkout", attributes={"quantity": 1})))


def test_none_is_the_pattern_null() -> None:
    assert not reaches(declare(domain=None), EVENT)
    assert not reaches(declare(domain=None), Payload(event=Event(name="a")))
    assert reaches(declare(domain=absent()), Payload(event=Event(name="a")))


def test_the_subscriber_of_the_readme_matches() -> None:
    class ShoppingCartItemAdded(EventSubscriber):
        domain = "shopping_cart"
        name = "item.added"
        version = one_of(1, 2)
        attributes: ClassVar = {"quantity": gt(0)}

        def process(self, payload: Payload) -> ProcessStatus:
            return ProcessStatus.DONE

    assert reaches(ShoppingCartItemAdded, EVENT)


def test_a_data_subscriber_takes_what_matches_its_pattern() -> None:
    subscriber = declare(DataSubscriber, pattern={"user": {"id": gt(0)}})

    assert reaches(subscriber, {"user": {"id": 5, "name": "john"}})
    assert not reaches(subscriber, {"user": {"id": 0}})
    assert not reaches(subscriber, EVENT)


def test_a_data_subscriber_without_a_pattern_takes_every_object() -> None:
    subscriber = declare(DataSubscriber)

    assert reaches(subscriber, {})
    assert not reaches(subscriber, "text")


def test_the_pattern_of_a_data_subscriber_can_be_a_function() -> None:
    class Subscriber(DataSubscriber):
        pattern = lambda data: "a" in data  # noqa: E731

        def process(self, payload: dict[str, Any]) -> None: ...

    assert reaches(Subscriber, {"a": 1})
    assert not reaches(Subscriber, {"b": 1})


def test_the_pattern_of_a_data_subscriber_is_inherited() -> None:
    assert not reaches(declare(declare(DataSubscriber, pattern={"a": 1})), {"a": 2})


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        (None, "Subscriber.pattern is None, and a data object never is; leave it out"),
        ("text", "a pattern for data objects is a dict, not str"),
        ({"a": [int]}, r"a\[\]: the class int is no matcher"),
    ],
)
def test_a_wrong_pattern_is_refused_at_registration(pattern: object, said: str) -> None:
    with pytest.raises(PatternError, match=said):
        SqsListener().register_subscriber(declare(DataSubscriber, pattern=pattern))


def test_a_wrong_rule_is_refused_with_its_path() -> None:
    with pytest.raises(PatternError) as caught:
        SqsListener().register_subscriber(declare(attributes={"quantity": object()}))

    assert caught.value.path == "event.attributes.quantity"


@pytest.mark.parametrize("payload", [EVENT, {"a": 1}, "text", b"bytes"], ids=lambda payload: type(payload).__name__)
def test_a_message_subscriber_gets_the_message_of_every_kind(payload: Any) -> None:
    received: list[Any] = []

    class Everything(MessageSubscriber):
        def process(self, payload: Message) -> None:
            received.append(payload)

    listener = SqsListener()
    listener.register_subscriber(Everything)
    verdict = listener.app.process(payload)

    assert verdict.deletes
    assert [type(each) for each in received] == [Message]
    assert received[0].payload == payload


@pytest.mark.parametrize(("base", "payload"), [(EventSubscriber, EVENT), (DataSubscriber, {"a": 1})])
def test_the_others_get_the_payload_and_the_message_where_they_ask_for_it(base: Any, payload: Any) -> None:
    received: list[Any] = []

    def process(self: Any, payload: Any, message: Message) -> None:
        received.extend((payload, message.payload))

    listener = SqsListener()
    listener.register_subscriber(declare(base, process=process))
    listener.app.process(payload)

    assert received == [payload, payload]


def test_one_instance_processes_every_message() -> None:
    made: list[Any] = []

    class Counting(DataSubscriber):
        def __init__(self) -> None:
            made.append(self)

        def process(self, payload: Any) -> None:
            assert self is made[0]

    listener = SqsListener()
    listener.register_subscriber(Counting)
    verdicts = [listener.app.process({"n": n}) for n in range(2)]

    assert all(verdict.deletes for verdict in verdicts)
    assert len(made) == 1


def test_an_async_process_runs() -> None:
    class Subscriber(DataSubscriber):
        async def process(self, payload: Any) -> ProcessStatus:
            return ProcessStatus.RETRY_LATER

    listener = SqsListener()
    listener.register_subscriber(Subscriber)

    assert listener.app.handlers[0].is_async
    assert listener.app.process({}).keeps


def test_a_handler_has_the_name_of_its_class() -> None:
    listener = SqsListener()
    listener.register_subscriber(Plain)

    assert listener.app.handlers[0].name == f"{__name__}.Plain"
    assert listener.app.handlers[0].where == f"{__file__}:{Plain.process.__code__.co_firstlineno}"


class Plain(EventSubscriber):
    def process(self, payload: Payload) -> None: ...


class Derived(Plain):
    pass


def test_a_class_is_registered_once() -> None:
    listener = SqsListener()
    listener.register_subscriber(Plain)

    with pytest.raises(RegistrationError, match="Plain is registered already"):
        listener.register_subscriber(Plain)
    assert len(listener.app.handlers) == 1


def test_a_class_is_registered_once_with_each_listener() -> None:
    for listener in (SqsListener(), SqsListener()):
        listener.register_subscriber(Plain)

        assert len(listener.app.handlers) == 1


def test_a_class_that_was_refused_can_be_registered_once_it_is_right() -> None:
    listener = SqsListener()
    subscriber: Any = declare(DataSubscriber, pattern=None)

    with pytest.raises(PatternError):
        listener.register_subscriber(subscriber)
    subscriber.pattern = {}
    listener.register_subscriber(subscriber)

    assert len(listener.app.handlers) == 1


def test_a_class_and_its_base_are_two() -> None:
    listener = SqsListener()
    listener.register_subscriber(Plain)
    listener.register_subscriber(Derived)

    assert len(listener.app.handlers) == 2


def test_subscribers_are_asked_in_order_of_registration() -> None:
    listener = SqsListener()
    for subscriber in (Derived, Plain):
        listener.register_subscriber(subscriber)

    assert [handler.name for handler in listener.app.handlers_for(EVENT)] == [
        f"{__name__}.Derived",
        f"{__name__}.Plain",
    ]


class Unrelated:
    def process(self, payload: Any) -> None: ...


@pytest.mark.parametrize("wrong", [Plain(), Unrelated, Unrelated(), print, None, "Plain", App], ids=show)
def test_only_subscriber_classes_are_registered(wrong: Any) -> None:
    with pytest.raises(RegistrationError, match="is no subscriber class: register the class itself, a subclass of"):
        SqsListener().register_subscriber(wrong)


@pytest.mark.parametrize(
    "base", [MessageSubscriber, EventSubscriber, DataSubscriber, type("Empty", (DataSubscriber,), {})]
)
def test_a_class_without_process_is_refused(base: type[MessageSubscriber]) -> None:
    with pytest.raises(RegistrationError, match=f"{base.__name__} has no process method: write def process"):
        SqsListener().register_subscriber(base)


def test_process_of_the_base_is_not_implemented() -> None:
    with pytest.raises(NotImplementedError):
        MessageSubscriber().process({})


def test_a_constructor_with_parameters_is_refused() -> None:
    class Subscriber(DataSubscriber):
        def __init__(self, db: Any) -> None: ...

        def process(self, payload: Any) -> None: ...

    with pytest.raises(RegistrationError, match=r"cannot be made without arguments, .*: .*'db'"):
        SqsListener().register_subscriber(Subscriber)


def test_an_abstract_class_is_refused() -> None:
    class Subscriber(DataSubscriber, ABC):
        @abstractmethod
        def template(self) -> str: ...

        def process(self, payload: Any) -> None: ...

    with pytest.raises(RegistrationError, match=r"Subscriber is abstract, so it cannot be made"):
        SqsListener().register_subscriber(Subscriber)


def without_self(payload: Any) -> None: ...


def without_anything() -> None: ...


def with_self_alone(self: Any) -> None: ...


def by_keyword_alone(*, payload: Any) -> None: ...


@pytest.mark.parametrize("process", [without_self, without_anything, with_self_alone, by_keyword_alone])
def test_process_without_self_or_payload_is_refused_with_a_hint(process: Any) -> None:
    with pytest.raises(RegistrationError, match=r"write def process\(self, payload\)"):
        SqsListener().register_subscriber(declare(process=process))


def test_process_with_a_parameter_nobody_can_fill_is_refused() -> None:
    def process(self: Any, payload: Any, db: Any) -> None: ...

    with pytest.raises(RegistrationError, match="nobody can fill the parameter 'db'"):
        SqsListener().register_subscriber(declare(process=process))


@pytest.mark.parametrize(
    "process",
    [
        lambda self, payload: None,
        lambda this, data: None,
        lambda *args: None,
        lambda self, *args: None,
        lambda self, payload, retries=3: None,
        staticmethod(without_self),
        classmethod(lambda cls, payload: None),
    ],
)
def test_process_can_be_written_in_these_ways(process: Any) -> None:
    listener = SqsListener()
    listener.register_subscriber(declare(process=process))

    assert listener.app.process(EVENT).deletes


@pytest.mark.parametrize(
    ("retry_on", "expected"), [(ConnectionError, (ConnectionError,)), ((OSError, ValueError), (OSError, ValueError))]
)
def test_retry_on_stands_on_the_class(retry_on: Any, expected: object) -> None:
    listener = SqsListener()
    listener.register_subscriber(declare(retry_on=retry_on))

    assert listener.app.handlers[0].options.retry_on == expected


def test_what_retry_on_names_keeps_the_message() -> None:
    def process(self: Any, payload: Any) -> None:
        raise ConnectionResetError

    listener, other = SqsListener(), SqsListener(retry_on=ConnectionError)
    listener.register_subscriber(declare(DataSubscriber, process=process, retry_on=ConnectionError))
    other.register_subscriber(declare(DataSubscriber, process=process))

    assert listener.app.process({}).keeps
    assert other.app.process({}).keeps


def test_a_wrong_retry_on_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="must hold exception types"):
        SqsListener().register_subscriber(declare(retry_on="ConnectionError"))


def test_a_listener_has_the_defaults_of_the_readme() -> None:
    settings = SqsListener().app._settings

    assert settings.max_number_of_messages == 1
    assert settings.wait_time_seconds == 20
    assert settings.visibility_timeout == 30
    assert settings.concurrency == 1
    assert settings.unmatched == "delete"


def test_a_listener_takes_what_an_app_takes() -> None:
    listener = SqsListener(
        queue_url="https://sqs.us-east-2.amazonaws.com/424566909325/sqs-mega-test",
        max_number_of_messages=5,
        concurrency=3,
        shutdown_timeout=1.5,
        backoff=lambda receive_count: 7.0,
        unmatched="keep",
        dead_letter_queue_url="https://sqs.us-east-2.amazonaws.com/424566909325/dead",
        aws_access_key_id="AKIAIOSFODNN7EXAMPLE",
        aws_secret_access_key="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        region_name="us-west-2",
    )

    settings = listener.app._settings

    assert (settings.max_number_of_messages, settings.concurrency, settings.shutdown_timeout) == (5, 3, 1.5)
    assert settings.backoff(1) == 7.0
    assert listener.app.process("nobody wants it").keeps


@pytest.mark.parametrize("wrong", [0, 11])
def test_a_value_out_of_range_is_refused(wrong: int) -> None:
    with pytest.raises(ConfigurationError, match=f"max_number_of_messages={wrong}"):
        SqsListener(max_number_of_messages=wrong)


@pytest.mark.parametrize("unknown", ["topic_arn", "queue", "progress"])
def test_an_unknown_option_is_a_type_error_that_says_what_a_listener_takes(unknown: str) -> None:
    options: Any = {unknown: "orders"}

    with pytest.raises(TypeError, match=rf"SqsListener\(\) takes no '{unknown}'.* It takes queue_url, .*, config$"):
        SqsListener(**options)


def test_to_listen_is_to_run_the_app_and_to_stop_it_is_to_stop_it(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []
    listener = SqsListener()
    monkeypatch.setattr(listener.app, "run", lambda: called.append("run"))
    monkeypatch.setattr(listener.app, "stop", lambda: called.append("stop"))

    listener.listen()
    listener.stop()

    assert called == ["run", "stop"]


def test_to_listen_without_a_queue_says_what_would_set_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MEGAFLOW_QUEUE_URL", raising=False)
    listener = SqsListener()
    listener.register_subscriber(Plain)

    with pytest.raises(ConfigurationError, match="queue_url is not set: give queue_url=, or set MEGAFLOW_QUEUE_URL"):
        listener.listen()


def test_a_time_in_a_rule_is_compared_as_a_time() -> None:
    assert reaches(declare(timestamp=gt(datetime(2020, 5, 4, 15, 52, tzinfo=UTC))), EVENT)


def test_a_misspelt_rule_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    class Misspelt(EventSubscriber):
        domain = "d"
        nmae = "n"

        def process(self, payload: Payload) -> None: ...

    class AlsoMisspelt(DataSubscriber):
        patern = {"a": 1}  # noqa: RUF012

        def process(self, payload: dict[str, Any]) -> None: ...

    listener = SqsListener(queue_url="http://q")
    listener.register_subscriber(Misspelt)
    listener.register_subscriber(AlsoMisspelt)

    assert "Misspelt.nmae is no rule and is not asked: did you mean name?" in caplog.text
    assert "AlsoMisspelt.patern is no rule and is not asked: did you mean pattern?" in caplog.text
