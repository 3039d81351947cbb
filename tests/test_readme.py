"""README and docs tell the truth about today: their blocks run, and what they name is there."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from botocore.loaders import Loader

import megaflow
from megaflow import App
from megaflow.handlers.event_rules import EVENT_ALIASES, EVENT_RULES
from megaflow.local import Account, SqsClient
from megaflow.match import functions
from tests import guarantees

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCK = re.compile(r"(?<!file -->\n)(<!-- after: quickstart -->\n)?^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = [(bool(after), text) for after, text in BLOCK.findall(README)]
QUICKSTART = BLOCKS[0][1]
DOCS = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md"))
SHOWN = [
    pair
    for name in ["README.md", *DOCS]
    for pair in re.findall(r"(?<!-->\n)```python\n([^`]*)```\n\n```text\n([^`]*)```", (ROOT / name).read_text())
]
DOCS_BLOCKS = [text for name in DOCS for _, text in BLOCK.findall((ROOT / name).read_text())]


def run(text: str, **names: Any) -> dict[str, Any]:
    namespace: dict[str, Any] = {"__name__": "carts"} | names
    exec(compile(text, "carts.py", "exec"), namespace)
    return namespace


@pytest.fixture
def quickstart(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the first block defines, with the embedded queue in place of AWS's."""
    monkeypatch.delenv("MEGAFLOW_TOPIC_ARN", raising=False)
    sqs = SqsClient(Account())
    url = sqs.create_queue(QueueName="carts")["QueueUrl"]
    text = QUICKSTART.replace(
        'queue_url="https://sqs.eu-west-1.amazonaws.com/123456789012/carts"', "url,\n    client=sqs"
    )
    return run(text, url=url, sqs=sqs)


@pytest.mark.parametrize("text", [*(text for after, text in BLOCKS if not after), *DOCS_BLOCKS])
def test_a_block_runs(text: str) -> None:
    run(text)


def test_the_quickstart_handles_what_it_says(quickstart: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    app = quickstart["app"]
    notification = {"type": "user_notification", "user": {"id": 987650}}

    app.process(json.dumps(notification))

    assert capsys.readouterr().out == "notifying user 987650\n"


def test_the_quickstart_publishes_what_it_says(quickstart: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    text = next(text for after, text in BLOCKS if after and "app.publish(payload)" in text)

    message_id = run(text, **quickstart)["message_id"]

    (received,) = quickstart["sqs"].receive_message(QueueUrl=quickstart["url"])["Messages"]
    assert received["MessageId"] == message_id
    quickstart["app"].process(received["Body"])
    assert capsys.readouterr().out == "reserving 5 of 61fcc874\n"


def test_explain_prints_what_is_shown(quickstart: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    text = next(text for after, text in BLOCKS if after and "app.explain(" in text)
    shown = README.split("```text\n", 1)[1].split("```", 1)[0]

    run(text, **quickstart)

    assert capsys.readouterr().out.replace("carts.", "__main__.").replace("__main__.py", "carts.py") == shown


@pytest.mark.parametrize(("text", "shown"), SHOWN)
def test_a_block_prints_what_is_shown_below_it(text: str, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    run(text)

    assert capsys.readouterr().out == shown


def test_the_filter_policy_of_the_quickstart_is_what_is_shown(
    quickstart: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    text, shown = re.findall(r"```python\n(print\(app\.sns_filter[^`]*)```\n\n```text\n([^`]*)```", README)[0]

    run(text, **quickstart)

    assert capsys.readouterr().out == shown


def test_every_function_and_rule_is_in_its_table() -> None:
    patterns = README.split("## Patterns", 1)[1].split("## Handlers", 1)[0]

    assert [name for name in functions.__all__ if f"`{name}(" not in patterns] == []
    assert [rule for rule in EVENT_RULES if f"`{rule}`" not in patterns] == []
    short = [alias for rule, alias in EVENT_ALIASES.items() if rule != f"event_{alias}"]
    assert [alias for alias in short if f"`{alias}`" not in patterns] == []


def test_the_guarantee_table_is_made_from_the_marks_on_tests() -> None:
    table = README.split(guarantees.BEGIN, 1)[1].split(guarantees.END, 1)[0].strip()

    assert table == guarantees.render(guarantees.collect()), "write it anew: python -m tests.guarantees"


def test_every_parameter_of_app_is_in_the_configuration_table() -> None:
    configuration = README.split("## Configuration", 1)[1].split("## Running", 1)[0]
    annotations = set(App.__init__.__annotations__) - {"return", "aws"} | set(megaflow.AwsOptions.__annotations__)

    assert [name for name in sorted(annotations) if f"`{name}`" not in configuration] == []


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", *DOCS])
def test_every_link_and_path_leads_somewhere(name: str) -> None:
    text = (ROOT / name).read_text()
    linked = [target for target in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in target]
    named = re.findall(r"`((?:megaflow|tests|samples)/[\w/.]*)`", text)
    paths = [*((ROOT / name).parent / path for path in linked), *(ROOT / path for path in named)]

    assert [path for path in paths if not path.exists()] == []


def is_operation(service: str, name: str) -> bool:
    return name in Loader().load_service_model(service, "service-2")["operations"]


def test_the_policies_of_the_threat_model_name_actions_that_there_are() -> None:
    text = (ROOT / "docs/threat-model.md").read_text()
    policies = [json.loads(block) for block in re.findall(r"^```json\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)]
    actions = [statement["Action"] for policy in policies for statement in policy["Statement"]]
    named = {name for action in actions for name in ([action] if isinstance(action, str) else action)} - {"sqs:*"}
    named |= set(re.findall(r"`((?:sqs|sns|kms|dynamodb):\w+)`", text))

    assert len(policies) == 3
    assert {"sqs:SendMessage", "sns:Publish", "kms:Decrypt", "dynamodb:UpdateItem"} <= named
    assert [action for action in sorted(named) if not is_operation(*action.split(":"))] == []


def test_every_public_name_is_there() -> None:
    assert [name for name in megaflow.__all__ if not hasattr(megaflow, name)] == []
    assert megaflow.__all__ == sorted(megaflow.__all__, key=lambda name: (not name[0].isupper(), name))
