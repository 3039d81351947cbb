"""A small config took for ever: what YAML's aliases, functions and conditions stand for doubled with each line.

https://en.wikipedia.org/wiki/Billion_laughs_attack
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from megaflow.errors import ConfigurationError
from megaflow.local import Account, declare

LAUGHS = "a0: &a0 {x: y}\n" + "".join(
    f"a{number}: &a{number} {{x: *a{number - 1}, y: *a{number - 1}}}\n" for number in range(1, 60)
)


def queue(name: object) -> dict[str, Any]:
    return {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": name}}


def doubled() -> dict[str, Any]:
    """Queues each of which is called by twice the name of the one before."""
    names = {f"Q{number}": queue({"Fn::Sub": f"${{Q{number - 1}.QueueName}}" * 2}) for number in range(1, 60)}
    return {"Resources": {"Q0": queue("x"), **names}}


def joined() -> dict[str, Any]:
    name: object = "x"
    for _ in range(60):
        name = {"Fn::Join": ["", [name, name]]}
    return {"Resources": {"Q": queue(name)}}


def failing(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        declare(Account(), folder / name)
    return str(caught.value).removeprefix(f"{folder}/")


@pytest.mark.parametrize("ending", ["yaml", "template"])
@pytest.mark.parametrize("used", ["Resources: {Q: {Type: AWS::SQS::Queue, Properties: *a59}}", "queues: *a59", ""])
def test_aliases_of_aliases_are_refused(tmp_path: Path, ending: str, used: str) -> None:
    said = failing(tmp_path, f"local.{ending}", LAUGHS + used)

    assert said == f"local.{ending}: it has more than 1000000 parts, once what stands for others is written out"


def test_so_are_dicts_that_have_each_other_twice() -> None:
    with pytest.raises(ConfigurationError, match="it has more than 1000000 parts"):
        declare(Account(), joined())


def test_an_alias_or_a_merge_here_and_there_is_fine(tmp_path: Path) -> None:
    (tmp_path / "local.yaml").write_text("queues: {a: &a {delay: 1}, b: *a, c: {<<: *a, retention: 60}}")
    declare(account := Account(), tmp_path / "local.yaml")

    assert {name: hosted.queue.settings.delay for name, hosted in account.queues.items()} == {"a": 1, "b": 1, "c": 1}


def test_a_text_that_doubles_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"QueueName: it becomes longer than 1000000 characters"):
        declare(Account(), doubled())


@pytest.mark.parametrize("function", ["Fn::And", "Fn::Or"])
def test_a_condition_is_worked_out_once(function: str) -> None:
    value = "a" if function == "Fn::And" else "b"
    conditions: dict[str, Any] = {"C0": {"Fn::Equals": ["a", value]}}
    for number in range(1, 100):
        conditions[f"C{number}"] = {function: [{"Condition": f"C{number - 1}"}] * 2}
    resources = {"Q": {**queue("orders"), "Condition": "C99"}}
    declare(account := Account(), {"Conditions": conditions, "Resources": resources})

    assert list(account.queues) == (["orders"] if function == "Fn::And" else [])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("local.toml", f"queues.a.delay = {'9' * 5000}"),
        ("local.toml", f"queues.a.delay = 0x{'f' * 5000}"),
        ("local.json", f'{{"queues": {{"a": {{"delay": {"9" * 5000}}}}}}}'),
        ("local.json", f'{{"queues": {{"a": {{"delay": {"9" * 4000}}}}}}}'),
        ("local.yaml", f"queues: {{a: {{delay: {'9' * 5000}}}}}"),
        ("local.yaml", json.dumps({"Resources": {"Q": queue({"Fn::Select": ["9" * 5000, ["a"]]})}})),
    ],
)
def test_a_number_of_thousands_of_digits_is_refused_in_a_line(tmp_path: Path, name: str, text: str) -> None:
    said = failing(tmp_path, name, text)

    assert said.startswith(f"{name}: ")
    assert len(said) < 300


@pytest.mark.parametrize(
    ("name", "text"), [("a.json", '{"queues": {"a": {}}}'), ("a.toml", "[queues.a]"), ("a.yaml", "queues: {a: {}}")]
)
def test_a_mark_of_the_encoding_is_passed_over(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8-sig")
    declare(account := Account(), tmp_path / name)

    assert list(account.queues) == ["a"]
