"""Access policies: whether one lets a caller in. Nobody is kept out by them here; there are warnings instead.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple

_VERSION: Final = "2012-10-17"


class Caller(NamedTuple):
    """Whom a policy lets in or not."""

    kind: Literal["Service", "AWS"]
    """A service of AWS, or somebody of an account."""

    name: str
    """The host of a service, or the number of an account; nothing for somebody who has not signed."""

    says: tuple[tuple[str, str | None], ...] = ()
    """What is known of the call, by the keys of conditions in small letters; None is that the call has no such key."""


def topic_as_caller(arn: str) -> Caller:
    """Return SNS as the caller that delivers for the topic of this ARN."""
    number = arn.split(":")[4]
    says = (
        ("aws:sourcearn", arn),
        ("aws:sourceaccount", number),
        ("aws:sourceowner", number),
        ("aws:securetransport", "true"),
    )
    return Caller("Service", "sns.amazonaws.com", says)


def account_as_caller(number: str) -> Caller:
    """Return somebody of the account of this *number* as a caller; without one, somebody who has not signed."""
    says = (
        ("aws:sourcearn", None),
        ("aws:sourceaccount", None),
        ("aws:sourceowner", number),
        ("aws:principalaccount", number or None),
        ("aws:securetransport", "true"),
    )
    return Caller("AWS", number, says)


def with_topic_allowed(policy: str, queue_arn: str, topic_arn: str) -> str:
    """Return the *policy* of a queue, with one statement more where it says nothing of a topic that is to send."""
    wanted = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue_arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": topic_arn}},
    }
    there = _statements(policy)
    if wanted in there or allows(policy, topic_as_caller(topic_arn), "sqs:SendMessage", queue_arn):
        return policy
    whole = {"Version": _VERSION, **(json.loads(policy) if policy else {})}
    return json.dumps({**whole, "Statement": [*there, wanted]})


@lru_cache(maxsize=1024)
def allows(policy: str, caller: Caller, action: str, resource: str) -> bool:
    """Tell whether *policy* lets *caller* do *action* with *resource*.

    What refuses wins. Where a condition asks what is not known here, the caller has the benefit of the doubt.
    """
    asked = [each for each in _statements(policy) if _is_meant(each, caller, action, resource)]
    refused = any(each.get("Effect") == "Deny" and _holds(each, caller) is True for each in asked)
    return not refused and any(each.get("Effect") == "Allow" and _holds(each, caller) is not False for each in asked)


def _statements(policy: str) -> list[dict[str, Any]]:
    try:
        document = json.loads(policy)
    except (ValueError, RecursionError):
        return []
    found = document.get("Statement", []) if isinstance(document, dict) else []
    return [each for each in (found if isinstance(found, list) else [found]) if isinstance(each, dict)]


def _is_meant(statement: Mapping[str, Any], caller: Caller, action: str, resource: str) -> bool:
    return (
        _names(statement, "Principal", lambda given: _is_principal(given, caller))
        and _names(statement, "Action", lambda given: _is_like_one_of(given, action.lower(), str.lower))
        and _names(statement, "Resource", lambda given: _is_like_one_of(given, resource))
    )


def _names(statement: Mapping[str, Any], element: str, is_named: Callable[[Any], bool]) -> bool:
    """Tell whether an element of a statement names what is asked, or its opposite does not."""
    if element in statement:
        return is_named(statement[element])
    return f"Not{element}" in statement and not is_named(statement[f"Not{element}"])


def _is_principal(given: Any, caller: Caller) -> bool:
    if not isinstance(given, dict):
        return given in ("*", ["*"])
    accounts, named = set(_texts(given.get("AWS"))), set(_texts(given.get(caller.kind)))
    if "*" in accounts or "*" in named or caller.name in named:
        return True
    if caller.kind == "Service":
        service, _, host = caller.name.partition(".")
        return any(name.startswith(f"{service}.") and name.endswith(f".{host}") for name in named)
    # Which user or role of the account called, nobody can tell here.
    return bool(caller.name) and any(f"::{caller.name}:" in name for name in named)


def _holds(statement: Mapping[str, Any], caller: Caller) -> bool | None:
    """Tell whether the conditions of a statement hold; None where that is not known."""
    conditions = statement.get("Condition") or {}
    if not isinstance(conditions, dict):
        return None
    says = dict(caller.says)
    found = [
        _holds_one(operator, wanted, key.lower(), says)
        for operator, keys in conditions.items()
        for key, wanted in (keys.items() if isinstance(keys, dict) else (("", None),))
    ]
    return False if False in found else None if None in found else True


def _holds_one(operator: str, wanted: Any, key: str, says: Mapping[str, str | None]) -> bool | None:
    name = re.sub("^for(any|all)value(s)?:", "", operator.lower())
    base = name.removesuffix("ifexists")
    positive = base.replace("not", "", 1)
    if positive not in _TESTS or key not in says:
        return None
    value = says[key]
    if value is None:
        return name != base or positive != base
    return _TESTS[positive](wanted, value) == (positive == base)


def _is_like_one_of(patterns: Any, text: str, change: Callable[[str], str] = str) -> bool:
    return any(_pattern(change(pattern)).fullmatch(text) for pattern in _texts(patterns))


@lru_cache(maxsize=1024)
def _pattern(text: str) -> re.Pattern[str]:
    """Return what *text* stands for, where a star is any characters and a question mark is one."""
    return re.compile(re.escape(text).replace(r"\*", ".*").replace(r"\?", "."), re.DOTALL)


def _is_one_of(values: Any, text: str) -> bool:
    return text in _texts(values)


def _is_one_of_in_small(values: Any, text: str) -> bool:
    return text.lower() in map(str.lower, _texts(values))


def _texts(values: Any) -> Iterable[str]:
    given = values if isinstance(values, list) else [values]
    return ["true" if each is True else "false" if each is False else each for each in given if _is_text(each)]


def _is_text(value: object) -> bool:
    return isinstance(value, str | bool)


_TESTS: Final[Mapping[str, Callable[[Any, str], bool]]] = {
    "arnequals": _is_like_one_of,
    "arnlike": _is_like_one_of,
    "bool": _is_one_of_in_small,
    "stringequals": _is_one_of,
    "stringequalsignorecase": _is_one_of_in_small,
    "stringlike": _is_like_one_of,
}
"""The operators of conditions; each has an opposite with ``Not`` in its name.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
"""
