"""A decorator without its parentheses took the handler for a pattern: nothing was registered, messages were lost."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from megaflow import App, PatternError, RegistrationError
from megaflow.cli.main import main
from megaflow.handlers.router import Router
from megaflow.testing import TestClient

Use = Callable[[App], object]


def save_order(order):  # type: ignore[no-untyped-def]
    """Save what has come; as most people write it, without an annotation."""


def is_order(order):  # type: ignore[no-untyped-def]
    return order.get("type") == "order"


def run(app: App) -> None:
    app.stop()
    app.run()


def explain(app: App) -> object:
    return app.explain({"type": "order"})


def start_test_client(app: App) -> object:
    with TestClient(app) as client:
        return client


def invoke(app: App) -> object:
    record = {
        "messageId": "m",
        "body": "{}",
        "receiptHandle": "r",
        "attributes": {},
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:eu-west-1:123456789012:orders",
    }
    return app.lambda_handler()({"Records": [record]})


USES = [run, App.check, explain, App.sns_filter_policy, start_test_client, invoke, lambda app: app.process("{}")]


def make_app() -> App:
    return App(queue_url="https://sqs.eu-west-1.amazonaws.com/123456789012/orders", region_name="eu-west-1")


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("method", ["on_data", "on_text", "on_message"])
def test_it_is_refused_at_the_start(use: Use, method: str) -> None:
    app = make_app()
    app.on_binary()(save_order)
    getattr(app, method)(save_order)

    with pytest.raises(RegistrationError) as caught:
        use(app)

    said = str(caught.value)
    assert f"{Path(__file__)}:" in said
    assert f"{method} has got save_order as its pattern" in said
    assert f"are the parentheses missing? write @app.{method}()" in said


def test_the_line_is_that_of_the_decorator() -> None:
    app = make_app()

    @app.on_data
    def store(order):  # type: ignore[no-untyped-def]
        pass

    with pytest.raises(RegistrationError) as caught:
        app.check()

    line = int(str(caught.value).removeprefix(f"{__file__}:").partition(":")[0])
    assert "@app.on_data" in Path(__file__).read_text().splitlines()[line - 1]


def test_one_of_a_router_is_refused_by_the_app_that_includes_it() -> None:
    router = Router()
    router.on_data(save_order)

    with pytest.raises(RegistrationError, match="are the parentheses missing"):
        make_app().include(router).check()


@pytest.mark.parametrize("pattern", [{"type": "order"}, None, lambda order: True], ids=["dict", "None", "lambda"])
def test_a_decorator_without_its_at_sign_is_refused_too(pattern: Any) -> None:
    app = make_app()
    app.on_data(pattern)

    with pytest.raises(RegistrationError, match=r"on_data\(\) has got no handler: write it with an @ above a function"):
        app.check()


def test_an_app_that_has_processed_something_is_refused_at_the_start() -> None:
    app = make_app()
    app.on_text()(lambda text: None)
    app.process("ping")
    app.on_data({"type": "order"})

    with pytest.raises(RegistrationError, match=r"on_data\(\) has got no handler"):
        app.run()


def test_one_that_another_thread_is_about_to_apply_is_none_of_the_askers() -> None:
    app = make_app()
    app.on_text()(lambda text: None)
    with ThreadPoolExecutor(1) as other:
        decorator = other.submit(app.on_data, {"type": "order"}).result()

    assert app.handlers_for({"type": "order"}) == ()

    with pytest.raises(RegistrationError, match=r"on_data\(\) has got no handler"):
        app.run()

    decorator(save_order)

    assert len(app.handlers_for({"type": "order"})) == 1


def test_a_function_stays_a_pattern() -> None:
    app = make_app()
    decorator = app.on_data(is_order)
    decorator(save_order)
    decorator(save_order)

    app.check()

    assert len(app.handlers_for({"type": "order"})) == 2
    assert not app.handlers_for({"type": "refund"})


def test_a_handler_that_was_refused_has_had_its_error() -> None:
    app = make_app()
    with pytest.raises(RegistrationError):
        app.on_data({"type": "order"})(lambda: None)

    app.check()


@pytest.mark.parametrize("method", ["on_event", "on_binary"])
def test_where_no_pattern_is_taken_it_is_refused_at_once(method: str) -> None:
    with pytest.raises(PatternError) as caught:
        getattr(make_app(), method)(save_order)

    assert f"{method} has got save_order" in str(caught.value)
    assert f"are the parentheses missing? write @app.{method}()" in str(caught.value)


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("on_event", r"the rules of on_event\(\) have names, .* of type dict: write on_event\(domain=\.\.\.\)"),
        ("on_binary", r"on_binary\(\) takes no pattern"),
    ],
)
def test_a_pattern_is_refused_there_with_what_to_write(method: str, said: str) -> None:
    with pytest.raises(PatternError, match=said):
        getattr(make_app(), method)({"domain": "shop"})


def test_the_command_says_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bare_shop.py"
    path.write_text("from megaflow import App\n\napp = App()\n\n\n@app.on_data\ndef save(order):\n    pass\n")

    code = main(["handlers", str(path)])

    assert code
    assert "bare_shop.py:6: on_data has got save" in capsys.readouterr().err
