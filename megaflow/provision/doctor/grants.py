"""Grants: whether a policy lets a service of AWS do something. Where that is not certain, it is taken to do so.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

from megaflow.provision.policies import Statement, read_statements

_EVERYBODY: Final = "*"
_EQUAL: Final = "stringequals"
_LIKE: Final = ("arnequals", "arnlike", "stringlike")
_UNCERTAIN: Final = ("NotPrincipal", "NotAction", "NotResource")


def may(policy: str, service: str, action: str, *, resource: str = "*", source_arn: str = "") -> bool:
    """Tell whether *policy* lets *service* do *action* with *resource*, for what has *source_arn*.

    Raises `ValueError` for what is no policy.
    """
    concerned = [each for each in read_statements(policy) if _concerns(each, service, action, resource)]
    if any(_effect(each) == "Deny" and not _conditions(each) and not _is_uncertain(each) for each in concerned):
        return False
    return any(_effect(each) == "Allow" and _can_hold(each, source_arn) for each in concerned)


def lets_everybody(policy: str, action: str) -> bool:
    """Tell whether *policy* lets everybody do *action*, without any condition."""
    return any(
        _effect(each) == "Allow"
        and _EVERYBODY in _principals(each, "AWS")
        and not _conditions(each)
        and not _is_uncertain(each)
        and _covers(each.get("Action"), action.lower())
        for each in read_statements(policy)
    )


def _concerns(statement: Statement, service: str, action: str, resource: str) -> bool:
    names = {*_principals(statement, "Service"), *_principals(statement, "AWS")}
    return (
        ("NotPrincipal" in statement or bool(names & {service, _EVERYBODY}))
        and ("NotAction" in statement or _covers(statement.get("Action"), action.lower()))
        and ("NotResource" in statement or _covers(statement.get("Resource"), resource, lower=False))
    )


def _is_uncertain(statement: Statement) -> bool:
    return any(each in statement for each in _UNCERTAIN)


def _effect(statement: Statement) -> object:
    return statement.get("Effect")


def _conditions(statement: Statement) -> Mapping[str, Any]:
    found = statement.get("Condition")
    return found if isinstance(found, Mapping) else {}


def _principals(statement: Statement, kind: str) -> list[str]:
    found = statement.get("Principal")
    return _several(found.get(kind)) if isinstance(found, Mapping) else _several(found)


def _covers(patterns: object, value: str, *, lower: bool = True) -> bool:
    several = (each.lower() if lower else each for each in _several(patterns))
    return any(_is_like(value, each) for each in several)


def _can_hold(statement: Statement, source_arn: str) -> bool:
    """Tell whether the conditions may hold; those on the ARN and the account of the source are known."""
    account = source_arn.split(":")[4] if source_arn.count(":") > 4 else ""
    known = {"aws:sourcearn": source_arn, "aws:sourceaccount": account}
    return all(
        _holds(operator, known[key.lower()], _several(values))
        for operator, asked in _conditions(statement).items()
        for key, values in _items(asked)
        if key.lower() in known and source_arn
    )


def _holds(operator: str, value: str, wanted: list[str]) -> bool:
    name = operator.lower().rpartition(":")[2].removesuffix("ifexists")
    if name == _EQUAL:
        return value in wanted
    return name not in _LIKE or any(_is_like(value, each) for each in wanted)


def _items(asked: object) -> Iterator[tuple[str, object]]:
    return iter(asked.items()) if isinstance(asked, Mapping) else iter(())


def _several(value: object) -> list[str]:
    if value is None:
        return []
    return [str(each) for each in value] if isinstance(value, list) else [str(value)]


def _is_like(value: str, pattern: str) -> bool:
    # To fnmatch brackets mean something, and to AWS they do not.
    return fnmatchcase(value, pattern.replace("[", "[[]"))
