"""One message that could not be shown ended ``peek`` and ``tail``, and hid the others for half a minute."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from megaflow.cli import queues
from megaflow.messages.attributes import Attribute
from megaflow.messages.message import open_message
from megaflow.messages.origin import ORIGIN_ATTRIBUTE
from tests import forked
from tests.cli.bad_messages import BAD_BODIES, BAD_ORIGINS, envelope, send, send_bad_messages
from tests.cli.conftest import Run, _alone, orders, run, server, sqs, take_all
from tests.strategies import json_objects
from tests.waiting import PATIENCE

__all__ = ["_alone", "orders", "run", "server", "sqs"]


@pytest.mark.parametrize("options", [(), ("--full",), ("--json",)])
def test_whatever_one_message_is_the_others_are_shown_and_given_back(
    run: Run, sqs: Any, orders: str, options: tuple[str, ...]
) -> None:
    count = send_bad_messages(sqs, orders)
    send(sqs, orders, "the last one")

    ran = run("peek", "orders", "--count", "100", *options)

    shown = [line for line in ran.out.splitlines() if line.startswith("{") or "received once" in line]
    assert ran.code == 0
    assert len(shown) == count + 1
    assert "the last one" in ran.out
    assert len(take_all(sqs, orders)) == len(shown)


PEEK = """
import sys
from megaflow.__main__ import main
sys.stdout.reconfigure(encoding=sys.argv.pop(1))
sys.argv[1:1] = ["peek", "orders"]
sys.exit(main())
"""


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8", "utf-16"])
@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_terminal_without_the_letters_is_shown_their_numbers(
    sqs: Any, server: Any, orders: str, encoding: str, options: tuple[str, ...]
) -> None:
    send(sqs, orders, "世界 🎉 Grüße")

    ran = forked.run("-c", PEEK, encoding, *options, timeout=PATIENCE)

    shown = ran.stdout.encode("utf-8", "surrogateescape").decode(encoding)
    assert ran.returncode == 0, ran.stderr
    assert "Gr" in shown
    assert ("世界" in shown) == (encoding.startswith("utf") and not options)


def test_what_was_received_is_given_back_where_it_cannot_be_written(
    run: Run, sqs: Any, orders: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        send(sqs, orders, f"number {number}")
    monkeypatch.setattr(queues, "show", lambda *line, **style: 1 // 0)

    assert run("peek", "orders").code == 1
    assert len(take_all(sqs, orders)) == 3


anything = st.text(st.characters()) | st.sampled_from(list(BAD_BODIES.values()))
odd_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
envelopes = st.dictionaries(
    st.sampled_from(["Type", "MessageId", "TopicArn", "Timestamp", "Message", "Subject", "MessageAttributes"]), odd_json
).map(lambda said: json.dumps(envelope(**{key: value for key, value in said.items() if isinstance(value, str)}) | said))
origins = st.dictionaries(st.sampled_from(["message_id", "queue", "failed", "problem"]), odd_json).map(json.dumps)
attributes = st.dictionaries(
    st.sampled_from(["megaflow-kind", "count", "ContentType"]),
    st.builds(
        Attribute,
        st.sampled_from(["String", "Number", "Binary", "Number.x", ""]),
        st.text(st.characters()) | st.binary() | st.sampled_from(["NaN", "1e400000", "9" * 5_000, "text", "binary"]),
    ),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    body=anything | envelopes | json_objects.map(json.dumps),
    attributes=attributes,
    origin=origins | st.text(st.characters()) | st.binary() | st.sampled_from(BAD_ORIGINS),
    full=st.booleans(),
    as_json=st.booleans(),
)
def test_every_message_can_be_shown(
    capsys: pytest.CaptureFixture[str],
    body: str,
    attributes: dict[str, Attribute],
    origin: str | bytes,
    full: bool,
    as_json: bool,
) -> None:
    carried = attributes | {ORIGIN_ATTRIBUTE: Attribute("String", origin)}
    message = open_message(body, id="m", sqs_attributes=carried)

    queues._show(message, full, as_json)

    shown = capsys.readouterr().out
    assert shown.encode("utf-8")
    assert all(char.isprintable() or char in "\n\t" or char.isspace() for char in shown)
