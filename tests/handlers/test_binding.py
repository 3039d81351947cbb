"""What handlers get in parameters annotated with models, and what becomes of what does not validate."""

from __future__ import annotations

import logging
import subprocess
import sys
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, field_validator
from typing_extensions import TypedDict

from megaflow import App, ConfigurationError, InvalidPayloadError, Message, Payload, PayloadBuilder, RegistrationError


class Buyer(BaseModel):
    id: int
    email: str


class Order(BaseModel):
    buyer: Buyer
    total: Decimal
    due: date | None = None


@dataclass
class Line:
    sku: str
    quantity: int


class Notice(TypedDict):
    user: int
    texts: list[str]


class ItemAdded(BaseModel):
    item_id: str
    quantity: Annotated[int, Field(gt=0)]
    price: Decimal


class Cart(BaseModel):
    user_id: int


class Secretive(BaseModel):
    card: str

    @field_validator("card")
    @classmethod
    def refuse(cls, card: str) -> str:
        raise ValueError(f"{card} is not a card")


ORDER = {"buyer": {"id": "7", "email": "a@example.com"}, "total": "19.99", "due": "2026-12-24"}


def added() -> PayloadBuilder:
    return PayloadBuilder().with_event(name="item.added", item_id="61fcc874", quantity=5, price="19.99")


def test_a_handler_of_data_gets_a_model() -> None:
    app, got = App(), []

    @app.on_data()
    def place(order: Order) -> None:
        got.append(order)

    verdict = app.process(ORDER)

    assert verdict.deletes
    assert got == [Order(buyer=Buyer(id=7, email="a@example.com"), total=Decimal("19.99"), due=date(2026, 12, 24))]


@pytest.mark.parametrize(
    ("annotation", "data", "wanted"),
    [
        (Line, {"sku": "a", "quantity": "2"}, Line("a", 2)),
        (Notice, {"user": "7", "texts": ["hi"]}, {"user": 7, "texts": ["hi"]}),
        (Buyer | Line, {"sku": "a", "quantity": 2}, Line("a", 2)),
        (Annotated[Line, Field()], {"sku": "a", "quantity": 2}, Line("a", 2)),
        (Line | None, {"sku": "a", "quantity": 2}, Line("a", 2)),
    ],
    ids=str,
)
def test_it_gets_what_its_annotation_says(annotation: Any, data: dict[str, Any], wanted: object) -> None:
    app, got = App(), []

    def handle(data: Any, message: Message) -> None:
        got.append((data, message.kind))

    handle.__annotations__["data"] = annotation
    app.on_data()(handle)
    app.process(data)

    assert got == [(wanted, "data")]


def test_an_async_handler_gets_a_model() -> None:
    app, got = App(), []

    @app.on_data()
    async def place(order: Order) -> None:
        got.append(order.buyer.id)

    app.process(ORDER)

    assert got == [7]


def test_a_handler_of_events_gets_their_parts() -> None:
    app, got = App(), []

    @app.on_event(name="item.added")
    def add(payload: Payload, attributes: ItemAdded, current: Cart, previous: Cart | None, extra: Notice) -> None:
        got.append((payload.event.name, attributes.price, current, previous, extra["user"]))

    event = added().with_object(type="cart", current={"user_id": "7"}).with_extra(user=1, texts=[])
    verdict = app.process(event.build())

    assert verdict.deletes
    assert got == [("item.added", Decimal("19.99"), Cart(user_id=7), None, 1)]


def test_a_handler_of_events_need_not_take_the_event() -> None:
    app, got = App(), []

    @app.on_event(name="item.added")
    def add(attributes: ItemAdded, tries: int = 3) -> None:
        got.append((attributes.item_id, tries))

    app.process(added().build())

    assert got == [("61fcc874", 3)]


def test_what_does_not_validate_is_dead_lettered_with_each_path(caplog: pytest.LogCaptureFixture) -> None:
    app = App()

    @app.on_data()
    def place(order: Order) -> None:
        raise AssertionError("it must not run")

    verdict = app.process({"buyer": {"id": "s3cret"}, "total": [], "due": "2026-12-24"})

    (outcome,) = verdict.outcomes
    assert verdict.dead_letters
    assert isinstance(outcome.error, InvalidPayloadError)
    assert outcome.error.problems == (
        "buyer.id: int_parsing, found str",
        "buyer.email: missing",
        "total: decimal_type, found list",
    )
    assert "it is not what tests.handlers.test_binding" in caplog.text
    assert "buyer.id: int_parsing, found str; buyer.email: missing" in caplog.text
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize(
    ("payload", "problem"),
    [
        (added().build(), "object.current: missing"),
        (added().with_object(type="cart", current={"user_id": "?"}).build(), "object.current.user_id: int_parsing"),
    ],
)
def test_a_part_of_an_event_that_is_missing_or_wrong_is_named(payload: Payload, problem: str) -> None:
    app = App()

    @app.on_event()
    def add(current: Cart) -> None: ...

    (outcome,) = app.process(payload).outcomes

    assert str(outcome.error).startswith(problem)


@pytest.mark.parametrize(
    ("on_invalid", "fate"), [("dead_letter", "dead_letters"), ("keep", "keeps"), ("delete", "deletes")]
)
@pytest.mark.parametrize("whose", ["app", "handler"])
def test_what_becomes_of_what_does_not_validate_can_be_said(on_invalid: Any, fate: str, whose: str) -> None:
    app = App(on_invalid=on_invalid if whose == "app" else "keep", retry_on=InvalidPayloadError)
    options: Any = {} if whose == "app" else {"on_invalid": on_invalid}
    app.on_data(**options)(_place)

    verdict = app.process({"total": 1})

    assert getattr(verdict, fate)


def _place(order: Order) -> None: ...


def test_a_message_that_is_deleted_for_what_it_is_leaves_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    app = App(on_invalid="delete")
    app.on_data()(_place)

    app.process({})

    (record,) = [each for each in caplog.records if each.levelno >= logging.WARNING]
    assert (
        "it is not what tests.handlers.test_binding._place takes: buyer: missing; total: missing" in record.getMessage()
    )


@pytest.mark.parametrize("make", [lambda: App(on_invalid="drop"), lambda: App().on_data(on_invalid="drop")])  # type: ignore[arg-type]
def test_another_choice_is_refused(make: Any) -> None:
    with pytest.raises(ConfigurationError, match="on_invalid='drop' must be one of 'dead_letter', 'keep', 'delete'"):
        make()


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inside: (
        st.lists(inside, max_size=3) | st.dictionaries(st.sampled_from(["id", "card", "x"]), inside, max_size=3)
    ),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(["card", "buyer", "total", "due", "x"]), ANYTHING, max_size=4))
def test_no_error_shows_a_value(data: dict[str, Any]) -> None:
    app = App()
    app.on_data(handler_name="place")(_place)
    secret = "s3cret"

    verdict = app.process(_hide(data, secret))

    for outcome in verdict.outcomes:
        seen = f"{outcome.error!r} {outcome.error.__cause__!r} {outcome.error.__context__!r}" if outcome.error else ""
        assert secret not in seen


def _hide(value: Any, secret: str) -> Any:
    """Put *secret* in the place of every text."""
    if isinstance(value, dict):
        return {key: _hide(each, secret) for key, each in value.items()}
    if isinstance(value, list):
        return [_hide(each, secret) for each in value]
    return secret if isinstance(value, str) else value


def test_what_a_validator_of_the_users_says_is_not_shown_either() -> None:
    app = App()

    @app.on_data()
    def pay(payment: Secretive) -> None: ...

    (outcome,) = app.process({"card": "4111"}).outcomes

    assert str(outcome.error) == "card: value_error, found str"


def test_megaflows_own_types_are_no_models() -> None:
    app, got = App(), []

    @app.on_event()
    def handle(payload: Payload) -> None:
        got.append(payload)

    event = added().build()
    app.process(event)

    assert got == [event]


def test_a_model_where_it_makes_no_sense_is_refused() -> None:
    app = App()

    def handle(order: Order) -> None: ...
    def two(order: Order, line: Line) -> None: ...

    for decorate in (app.on_text(), app.on_binary()):
        with pytest.raises(RegistrationError, match="only handlers of data and events get validated objects"):
            decorate(handle)
    with pytest.raises(RegistrationError, match="named attributes, current, previous, extra"):
        app.on_event()(handle)
    with pytest.raises(
        RegistrationError, match="'line' with a model: the first parameter gets the data, and only that"
    ):
        app.on_data()(two)


def test_a_model_that_pydantic_cannot_read_is_refused() -> None:
    app = App()

    class Odd:
        pass

    @dataclass
    class Holder:
        odd: Odd

    def handle(data: Any) -> None: ...

    handle.__annotations__["data"] = Holder

    with pytest.raises(RegistrationError, match="pydantic cannot validate"):
        app.on_data()(handle)


def test_without_pydantic_the_error_names_the_extra() -> None:
    program = """
import sys
sys.modules["pydantic"] = None
from dataclasses import dataclass
from megaflow import App, RegistrationError

@dataclass
class Line:
    sku: str

def handle(line: Line): ...

app = App()
app.on_text()(lambda text: None)
try:
    app.on_data()(handle)
except RegistrationError as error:
    print(error)
"""

    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert said.stdout.startswith("a parameter annotated Line needs the extra pydantic")
    assert "pip install 'megaflow-sqs[pydantic]'" in said.stdout
