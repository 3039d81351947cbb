"""SNS filter policies: where in a message the values are found, and what a policy may ask of them.

https://docs.aws.amazon.com/sns/latest/dg/sns-subscription-filter-policies.html
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, Literal, Protocol, TypeAlias, get_args, overload

from megaflow.errors import PatternError
from megaflow.match.conditions import Condition
from megaflow.match.dialect import SNS, Value
from megaflow.match.eventbridge import from_eventbridge
from megaflow.match.filter_tree import Every, Field, Found, finder, load_json, read_json, read_tree
from megaflow.match.json_filter import JsonFilter
from megaflow.match.operators import only_item, split_wildcard

__all__ = ["from_eventbridge", "from_sns_filter_policy"]

Scope: TypeAlias = Literal["MessageAttributes", "MessageBody"]
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)

Attributes: TypeAlias = Mapping[str, tuple[str, str | bytes]]
"""The message attributes by name, each with its data type and its value."""

FilterPolicy: TypeAlias = Callable[[str, Attributes], bool]
"""Tells of a body and its attributes whether a message is accepted. Never raises."""


class Typed(Protocol):
    """An attribute as it was received, with its data type."""

    @property
    def type(self) -> str: ...
    @property
    def value(self) -> str | bytes: ...


class Received(Protocol):
    """What a filter policy asks of a received message, such as `megaflow.messages.message.Message`."""

    @property
    def attributes(self) -> Mapping[str, str | int | Decimal | bytes]: ...
    @property
    def sqs_attributes(self) -> Mapping[str, Typed]: ...
    @property
    def sns(self) -> object: ...


# https://docs.aws.amazon.com/sns/latest/dg/subscription-filter-policy-constraints.html
NESTED: Final = "Filter policy scope MessageAttributes does not support nested filter policy"
"""What SNS says of objects within a policy for attributes, other than those in an ``$or``."""

_SIZE: Final = 262_144
_KEYS: Final = 5
_COMBINATIONS: Final = 150
_WILDCARDS: Final = 3
_WILDCARD_POINTS: Final = 100


@overload
def from_sns_filter_policy(
    policy: str | dict[str, Any], *, scope: Literal["MessageBody"] = "MessageBody"
) -> Condition: ...
@overload
def from_sns_filter_policy(
    policy: str | dict[str, Any], *, scope: Literal["MessageAttributes"]
) -> Callable[[Received], bool]: ...
def from_sns_filter_policy(
    policy: str | dict[str, Any], *, scope: Scope = "MessageBody"
) -> Condition | Callable[[Received], bool]:
    """Return a pattern that matches what the SNS filter *policy* lets through: JSON text, or the dict.

    A policy for bodies gives a `megaflow.Condition`, for `App.on_data` or inside a pattern; it matches objects only. A
    policy for attributes gives a function of the message, for `App.on_message`. Both compare as SNS does.

    The SNS envelope keeps no types of attributes. There, text that is a JSON array counts as a ``String.Array``, other
    text as a ``String``. With raw message delivery the types are kept.

    Args:
        policy: The value of ``FilterPolicy``.
        scope: The value of ``FilterPolicyScope``: ``"MessageBody"`` or ``"MessageAttributes"``.

    Raises:
        PatternError: SNS would refuse the policy.

    Example:
        ``@app.on_message(from_sns_filter_policy({"store": ["example_corp"]}, scope="MessageAttributes"))``
    """
    if scope not in SCOPES:
        raise PatternError(f"a filter policy has the scope {' or '.join(SCOPES)}, not {scope!r}")
    tree = _read_policy(policy, scope)
    return _as_condition(read_json(policy), tree) if scope == "MessageBody" else AttributesFilter(tree)


def _as_condition(policy: dict[str, object], tree: Every) -> Condition:
    accepts = _on_objects(tree)
    return JsonFilter(
        f"from_sns_filter_policy({policy!r})",
        lambda left: isinstance(left, dict) and accepts(left),
        tree,
        SNS,
        # Dots in keys are not told from objects in objects, so that nothing has to be below the top.
        {
            (each.name,): each.only
            for each in tree.parts
            if isinstance(each, Field) and each.only and "." not in each.name
        },
    )


class AttributesFilter:
    """The function of a message that tells whether a policy for attributes accepts it; *tree* is what that asks."""

    def __init__(self, tree: Every) -> None:
        # As a function has them: that is how it is shown.
        self.__name__ = self.__qualname__ = "from_sns_filter_policy"
        self.tree: Final = tree
        self._accepts = _on_attributes(tree)

    def __call__(self, message: Received) -> bool:
        """Tell whether the policy accepts *message*."""
        types = {} if message.sns else message.sqs_attributes
        attributes = message.attributes.items()
        return self._accepts("", {name: _restore(value, types.get(name)) for name, value in attributes})


def _restore(value: str | int | Decimal | bytes, received: Typed | None) -> tuple[str, str | bytes]:
    """Return the data type and the value of an attribute of which only the plain *value* may be left."""
    if received is not None:
        return received.type, received.value
    if isinstance(value, bytes):
        return "Binary", value
    if isinstance(value, str):
        # One that is no array is read as a text all the same; only parsing it is saved here.
        return "String.Array" if value.lstrip().startswith("[") else "String", value
    return "Number", str(value)


def read_filter_policy(policy: str | dict[str, Any], scope: Scope = "MessageAttributes") -> FilterPolicy:
    """Return the function that tells which messages *policy*, as JSON or as the dict, accepts.

    Values in a message that is no JSON are found nowhere, so that no policy for bodies accepts it.

    Raises:
        PatternError: the policy is not one that SNS takes, in the words of SNS where they are known.
    """
    tree = _read_policy(policy, scope)
    return _on_bodies(tree) if scope == "MessageBody" else _on_attributes(tree)


def _read_policy(policy: str | dict[str, Any], scope: Scope) -> Every:
    try:
        read = read_json(policy)
        _check_size(policy)
        tree = read_tree(read, SNS)
        if scope == "MessageAttributes":
            _check_flat(tree)
        _check_limits(tree)
    except RecursionError:
        raise PatternError("Filter policy is too complex") from None
    return tree


def _check_size(policy: str | dict[str, Any]) -> None:
    text = policy if isinstance(policy, str) else json.dumps(policy)
    if len(text.encode(errors="surrogatepass")) > _SIZE:
        raise PatternError(f"Filter policy can not have more than {_SIZE} bytes")


def _check_flat(tree: Every) -> None:
    for field in tree.fields():
        if field.depth > 1:
            raise PatternError(NESTED, field.name.rpartition(".")[0])


def _check_limits(part: Every) -> None:
    """Refuse what SNS finds too much.

    https://docs.aws.amazon.com/sns/latest/dg/subscription-filter-policy-constraints.html
    """
    if len({field.name for field in part.fields()}) > _KEYS:
        raise PatternError(f"Filter policy can not have more than {_KEYS} keys")
    if part.combinations() > _COMBINATIONS:
        raise PatternError("Filter policy is too complex")
    _check_wildcards(part)


def _check_wildcards(part: Every) -> None:
    fields = list(part.fields())
    stars = [[_count_wildcards(each, field.name) for each in field.written] for field in fields]
    most = max(map(max, stars))
    if most > _WILDCARDS:
        raise PatternError(f"Wildcard pattern can not have more than {_WILDCARDS} wildcards")
    if most and sum(map(_wildcard_points, fields, stars)) > _WILDCARD_POINTS:
        raise PatternError("Filter policy is too complex")


def _count_wildcards(alternative: Any, path: str) -> int:
    if not isinstance(alternative, dict):
        return 0
    name, operand = only_item(alternative, path)
    if name == "anything-but":
        return _count_wildcards(operand, path)
    return len(split_wildcard(operand, path)) - 1 if name == "wildcard" else 0


def _wildcard_points(field: Field, stars: Sequence[int]) -> int:
    """Return the points of all patterns of *field*, times the number of these.

    A wildcard is one point, several together are three; ``anything-but`` is another one.
    """
    wildcards = (3 if count > 1 else count for count in stars)
    denials = (isinstance(each, dict) and "anything-but" in each for each in field.written)
    points = [sum(each) for each in zip(wildcards, denials, strict=True)]
    return sum(points) * (len(points) - points.count(0))


def _on_attributes(tree: Every) -> Callable[[str, Attributes], bool]:
    names = frozenset(field.name for field in tree.fields())

    def accepts(body: str, attributes: Attributes) -> bool:
        # To SNS, binary attributes are not there; and without any attribute not even "exists": false holds.
        texts = {name: (kind, value) for name, (kind, value) in attributes.items() if isinstance(value, str)}
        return bool(texts) and tree.holds({name: _read_attribute(*texts[name]) for name in names & texts.keys()})

    return accepts


def _read_attribute(data_type: str, value: str) -> Sequence[Value]:
    kind, _, label = data_type.partition(".")
    if label == "Array":
        return _read_array(value)
    return [_read_number(value) if kind == "Number" else _escaped(value)]


def _read_array(text: str) -> Sequence[Value]:
    """Return the items of a ``String.Array``; what is no array is a text."""
    try:
        items = load_json(text)
    except (ValueError, RecursionError):
        items = None
    if not isinstance(items, list):
        return [_escaped(text)]
    return [_escaped(each) if isinstance(each, str) else each for each in _find_items({"": items}).get("", ())]


def _read_number(text: str) -> Value:
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            pass
    return text


def _escaped(text: str) -> str:
    r"""Return *text* as policies for attributes have to write it, where ``"`` and ``\`` are escaped twice.

    https://docs.aws.amazon.com/sns/latest/dg/subscription-filter-policy-constraints.html
    """
    return text.replace("\\", r"\\").replace('"', r"\"")


def _on_bodies(tree: Every) -> FilterPolicy:
    accepts_object = _on_objects(tree)

    def accepts(body: str, attributes: Attributes) -> bool:
        try:
            read = load_json(body)
        except (ValueError, RecursionError):
            return False
        return isinstance(read, dict) and accepts_object(read)

    return accepts


def _on_objects(tree: Every) -> Callable[[object], bool]:
    find = _value_finder(field.name for field in tree.fields())
    return lambda body: tree.holds(find(body))


def _value_finder(names: Iterable[str]) -> Callable[[object], Found]:
    """Return the function that finds the values under *names*: SNS does not care in which elements of a list."""
    find = finder(names)
    return lambda body: {name: [each.value for each in found] for name, found in find(body).items()}


_find_items: Final = _value_finder([""])
