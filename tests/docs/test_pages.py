"""README and docs tell the truth about today: their blocks run, and what they name is there."""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import opentelemetry.trace
import pytest
from botocore.loaders import Loader
from opentelemetry.util._once import Once

import megaflow
from megaflow import App
from megaflow.handlers.event_rules import EVENT_ALIASES, EVENT_RULES
from megaflow.match import functions
from tests.docs.pages import PAGES, ROOT, Block, read_blocks, run

OTHERS = ("CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")
BLOCKS = [(name, block) for name, page in PAGES.items() for block in read_blocks(page)]
TESTS = [(name, block) for name, block in BLOCKS if "\ndef test_" in block.text]


@pytest.fixture
def tracing_as_before() -> Iterator[None]:
    """Let a block set up OpenTelemetry as a program does, once."""
    before = opentelemetry.trace._TRACER_PROVIDER
    yield
    opentelemetry.trace._TRACER_PROVIDER, opentelemetry.trace._TRACER_PROVIDER_SET_ONCE = before, Once()


@pytest.mark.usefixtures("tracing_as_before")
@pytest.mark.parametrize("block", [block for _, block in BLOCKS], ids=[name for name, _ in BLOCKS])
def test_a_block_runs_and_prints_what_is_shown_below_it(block: Block, capsys: pytest.CaptureFixture[str]) -> None:
    names = run(block.before)
    capsys.readouterr()

    run(block.text, **names)

    printed = capsys.readouterr().out
    assert block.shown is None or printed == block.shown


def test_the_tests_of_the_pages_pass(tmp_path: Path) -> None:
    for number, (name, block) in enumerate(TESTS):
        (tmp_path / f"test_{Path(name).stem}_{number}.py").write_text(block.before + block.text)

    done = subprocess.run([sys.executable, "-m", "pytest", "-q", tmp_path], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert len(TESTS) > 1


def test_the_readme_is_short() -> None:
    assert len(PAGES["README.md"].splitlines()) <= 250


def test_every_function_and_rule_is_on_the_page_of_patterns() -> None:
    patterns = PAGES["docs/reference/patterns.md"]

    assert [name for name in functions.__all__ if f"`{name}(" not in patterns] == []
    assert [rule for rule in EVENT_RULES if f"`{rule}`" not in patterns] == []
    short = [alias for rule, alias in EVENT_ALIASES.items() if rule != f"event_{alias}"]
    assert [alias for alias in short if f"`{alias}`" not in patterns] == []


def test_every_parameter_of_app_is_on_the_page_of_settings() -> None:
    settings = PAGES["docs/reference/settings.md"]
    annotations = set(App.__init__.__annotations__) - {"return", "aws"} | set(megaflow.AwsOptions.__annotations__)

    assert [name for name in sorted(annotations) if f"`{name}`" not in settings] == []


def test_every_extra_is_on_the_page_of_installation() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    installation = PAGES["docs/reference/installation.md"]

    assert [
        extra for extra in set(extras) - {"dev", "docs", "newest", "test"} if f"| `{extra}` |" not in installation
    ] == []


def test_every_page_of_the_docs_is_in_the_navigation() -> None:
    navigation = (ROOT / "zensical.toml").read_text()
    pages = {name.removeprefix("docs/") for name in PAGES if name.startswith("docs/")}

    assert [page for page in pages if f'"{page}"' not in navigation] == []


@pytest.mark.parametrize("name", [*PAGES, *OTHERS])
def test_every_link_and_path_leads_somewhere(name: str) -> None:
    text = (ROOT / name).read_text()
    linked = [target for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text) if "://" not in target]
    named = re.findall(r"`((?:megaflow|tests|samples)/[\w/.]*)`", text)
    paths = [*((ROOT / name).parent / path for path in linked), *(ROOT / path for path in named)]

    assert [path for path in paths if not path.exists()] == []


@pytest.mark.parametrize("name", [*PAGES, *OTHERS])
def test_links_to_aws_are_of_its_documentation(name: str) -> None:
    links = re.findall(r"https?://[^\s)>`\"']*(?:aws|amazon)\.com[^\s)>`\"']*", (ROOT / name).read_text())
    hosts = r"https://docs\.aws\.amazon\.com/[\w/.#-]+\.html(#[\w.-]+)?|https://aws\.amazon\.com/\w+/"
    addresses = r"https://(sqs|queue|[\w-]+\.queue)\.?[\w.-]*amazonaws\.com/(\d{12}/[\w.-]+|…)"

    assert [link for link in links if not re.fullmatch(f"{hosts}|{addresses}", link)] == []


def is_operation(service: str, name: str) -> bool:
    return name in Loader().load_service_model(service, "service-2")["operations"]


def test_the_policies_of_the_threat_model_name_actions_that_there_are() -> None:
    text = PAGES["docs/explanation/threat-model.md"]
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
