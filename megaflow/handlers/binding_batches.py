"""Binding of a batch handler: lists of what each message has, one in each parameter that is annotated as a list."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, get_args, get_origin

from megaflow.errors import RegistrationError, UsageError
from megaflow.handlers.annotations import Unresolved, members
from megaflow.handlers.binding import Binding, Fills, Take, take_message
from megaflow.handlers.parameters import VARIADIC, is_positional_only, read_parameters
from megaflow.handlers.providers import Providers, name_of
from megaflow.messages.codec import Kind
from megaflow.messages.message import Message

_LISTS: Final = (list, Sequence)
_EMPTY: Final = inspect.Parameter.empty


def bind_batch(function: Callable[..., Any], name: str, kind: Kind, providers: Providers) -> Binding:
    """Return how *function*, a batch handler called *name*, is called; raise `RegistrationError` where it cannot be."""
    try:
        parameters = read_parameters(function)
    except ValueError:  # a built-in function does not tell
        take: Take = (lambda message: message) if kind is Kind.ANY else (lambda message: message.payload)
        return Binding(lambda batch: function(batch.payload), take=lambda message: {"": take(message)})
    for each in parameters:
        if _holds_items(each.annotation) and not (_is_list(each.annotation) or _is_provided(each, providers)):
            _refuse(name, each)
    fills = Fills(name, kind, providers)
    fills.read(tuple(each if _is_provided(each, providers) else _as_one(each) for each in parameters))
    for each in parameters:
        if each.name in fills.takes and not _is_list(each.annotation):
            _refuse(name, each)
        if each.name in fills.needs and fills.needs[each.name].type != each.annotation:
            raise RegistrationError(
                f"{name}: nobody can fill the parameter {each.name!r}: a batch handler gets lists of payloads, models "
                "or Messages, and what app.provide() provides"
            )
    if not fills.takes:
        raise RegistrationError(
            f"{name} has no parameter for its batch: write def {name.split('.')[-1]}(payloads: list[dict])"
        )
    takes = _with_payload_first([each.name for each in parameters if each.name in fills.takes], fills.takes)
    return Binding(_make_call(function, parameters, takes), fills.needs, _make_take(takes))


def _with_payload_first(names: Sequence[str], takes: Mapping[str, Take]) -> dict[str, Take]:
    """Return *takes* by *names*, those of payloads before those of messages."""
    return {name: takes[name] for name in sorted(names, key=lambda name: takes[name] is take_message)}


def _is_provided(parameter: inspect.Parameter, providers: Providers) -> bool:
    return parameter.annotation in providers


def _as_one(parameter: inspect.Parameter) -> inspect.Parameter:
    """Return the parameter as if the handler got one message."""
    annotation = parameter.annotation
    if parameter.kind in VARIADIC or not _is_list(annotation) or annotation is _EMPTY:
        return parameter
    if isinstance(annotation, Unresolved):
        return parameter.replace(annotation=Unresolved(_read_item(annotation.text), annotation.reason))
    (item,) = get_args(members(annotation)[0]) or (_EMPTY,)
    return parameter.replace(annotation=item)


def _is_list(annotation: object) -> bool:
    if annotation is _EMPTY:
        return True
    if isinstance(annotation, Unresolved):
        return _read_item(annotation.text) != annotation.text
    (*others, member) = members(annotation)
    return not others and (member in _LISTS or get_origin(member) in _LISTS)


def _read_item(text: str) -> str:
    """Return the text of what an annotation's list holds; without a list, the whole text."""
    outer, bracket, inner = text.partition("[")
    is_list = outer.strip().rpartition(".")[2] in ("list", "List", "Sequence")
    return inner.strip().removesuffix("]") if bracket and is_list else text


def _refuse(name: str, parameter: inspect.Parameter) -> None:
    annotation = parameter.annotation
    text = annotation.text if isinstance(annotation, Unresolved) else name_of(_find_item(annotation))
    raise RegistrationError(
        f"{name} has batch_size=, so its parameter {parameter.name!r} gets a list: annotate it list[{text}]"
    )


def _holds_items(annotation: object) -> bool:
    return _find_item(annotation) is not annotation


def _find_item(annotation: object) -> object:
    """Return what a list in place of *annotation* is to hold: what a container holds, else what it is."""
    for member in members(annotation):
        origin = get_origin(member)
        if isinstance(origin, type) and issubclass(origin, Iterable) and not issubclass(origin, Mapping):
            return get_args(member)[0]
    return annotation


def _check_payload(payload: object, size: int) -> object:
    if not isinstance(payload, Sequence) or len(payload) != size:
        what = f"{len(payload)}" if isinstance(payload, Sequence) else f"a {type(payload).__qualname__}"
        raise UsageError(
            f"a middleware has put {what} in the place of the list of a batch of {size}: give a list that has as many, "
            "in the same order, as the handler speaks of them by their places"
        )
    return payload


def _make_take(takes: Mapping[str, Take]) -> Callable[[Message], Mapping[str, Any]]:
    if len(takes) == 1:
        ((name, take),) = takes.items()
        return lambda message: {name: take(message)}
    return lambda message: {name: take(message) for name, take in takes.items()}


def _make_call(
    function: Callable[..., Any], parameters: Sequence[inspect.Parameter], takes: Mapping[str, Take]
) -> Callable[..., Any]:
    positional = [each.name for each in parameters if each.name in takes and is_positional_only(each)]
    named = [name for name in takes if name not in positional]
    first = next(iter(takes))

    def call(batch: Any, given: Mapping[str, Any] = {}) -> Any:
        # Middleware may have put something in the place of the payload.
        arguments = {**batch.arguments, first: _check_payload(batch.payload, len(batch.arguments[first]))}
        return function(*[arguments[name] for name in positional], **{name: arguments[name] for name in named}, **given)

    return call
