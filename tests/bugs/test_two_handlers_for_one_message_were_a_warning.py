"""``megaflow dev`` and ``run`` warned of two handlers for one message, which is what megaflow is for."""

from __future__ import annotations

from megaflow import App
from megaflow.cli.output import name_weight
from megaflow.match.functions import gt


def test_that_a_message_reaches_several_handlers_is_a_note() -> None:
    app = App(retry_on=())

    @app.on_data({"kind": "order"})
    def confirm(order: dict[str, object]) -> None: ...

    @app.on_data({"kind": "order"})
    def charge(order: dict[str, object]) -> None: ...

    @app.on_data({"kind": "order", "total": gt(100)})
    def add_present(order: dict[str, object]) -> None: ...

    findings = app.check()

    assert {name_weight(each) for each in findings} == {"note"}
    assert {each.oddity.value for each in findings} == {"duplicate", "covered"}


def test_what_is_a_mistake_stays_a_warning() -> None:
    app = App()
    app.on_data({"total": gt(100)})(print)

    assert [name_weight(each) for each in app.check()] == ["warning"]
