"""Binding: filling a handler's parameters with the payload, the message, validated data, or what is provided."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn, TypeAlias

from megaflow.errors import InvalidPayloadError, RegistrationError
from megaflow.event import Payload
from megaflow.handlers.annotations import (
    UNRESOLVED_REMEDY,
    Unresolved,
    allows_none,
    means_dependency,
    means_message,
    means_model,
    takes_object,
)
from megaflow.handlers.parameters import VARIADIC, is_optional, is_positional_only, read_parameters, takes_position
from megaflow.handlers.providers import Need, Providers
from megaflow.handlers.validation import make_validator
from megaflow.messages.codec import Kind
from megaflow.messages.message import Message

Take: TypeAlias = Callable[[Message], Any]
"""Takes what a parameter gets from a message."""

_SECTIONS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "attributes": lambda payload: payload.event.attributes,
    "current": lambda payload: payload.object and payload.object.current,
    "previous": lambda payload: payload.object and payload.object.previous,
    "extra": lambda payload: payload.extra,
}
"""The parts of an event that a parameter of that name gets, where it is annotated with a model."""

_PATHS: Final = {"attributes": "event.attributes", "current": "object.current", "previous": "object.previous"}

_NO_NEEDS: Final[Mapping[str, Need]] = {}


def take_nothing(message: Message) -> Mapping[str, Any]:
    """Return nothing: the handler gets no batches."""
    return {}


@dataclass(frozen=True, slots=True)
class Binding:
    """A function as a function of the message, and of what else it needs."""

    bound: Callable[..., Any]
    """``bound(message)``, or ``bound(message, given)`` where there are *needs*."""

    needs: Mapping[str, Need] = field(default_factory=dict)
    take: Callable[[Message], Mapping[str, Any]] = take_nothing
    """Where it gets batches, what it takes of one message, by the names of its parameters."""


def bind(function: Callable[..., Any], name: str, kind: Kind, providers: Providers) -> Binding:
    """Return how *function*, a handler called *name*, is called; raise `RegistrationError` where that cannot be."""
    try:
        parameters = read_parameters(function)
    except ValueError:  # a built-in function does not tell
        return Binding(
            (lambda message: function(message)) if kind is Kind.ANY else lambda message: function(message.payload)
        )
    fills = Fills(name, kind, providers)
    fills.read(parameters)
    return Binding(_make_call(function, parameters, fills.takes, fills.needs), fills.needs or _NO_NEEDS)


class Fills:
    """What fills each parameter of a handler."""

    def __init__(self, name: str, kind: Kind, providers: Providers) -> None:
        self._name = name
        self._kind = kind
        self._providers = providers
        self._fillable: list[inspect.Parameter] = []
        self.takes: dict[str, Take] = {}
        self.needs: dict[str, Need] = {}

    def read(self, parameters: tuple[inspect.Parameter, ...]) -> None:
        """Find what fills each of *parameters*; raise `RegistrationError` where nothing does."""
        # Of *args only a first one can be filled: what stands before it is given by name.
        self._fillable = [each for each in parameters if each.kind not in VARIADIC]
        if parameters and parameters[0].kind is inspect.Parameter.VAR_POSITIONAL:
            self._fillable.insert(0, parameters[0])
        for each in self._fillable:
            self._fill_by_annotation(each)
        if self._kind is not Kind.ANY or not self.takes:
            first = self._next_for_payload
            if first is not None and not self._stays_as_it_is(first):
                self.takes[first.name] = self._take_payload(first)
        if not self.takes and not self.needs:
            raise RegistrationError(
                f"{self._name} has no parameter for the payload: write def {self._name.split('.')[-1]}(payload)"
            )
        for each in parameters:
            if not is_optional(each) and not self._is_filled(each):
                self._refuse(each)

    def _fill_by_annotation(self, parameter: inspect.Parameter) -> None:
        annotation = parameter.annotation
        if isinstance(annotation, Unresolved):
            self._fill_by_name(parameter, annotation)
        elif means_message(annotation):
            self.takes[parameter.name] = take_message
        elif (annotation in self._providers or means_dependency(annotation)) and not is_positional_only(parameter):
            self.needs[parameter.name] = Need(annotation, is_optional(parameter))
        elif self._is_section(parameter) and means_model(annotation):
            self._check_model(parameter)
            self.takes[parameter.name] = _take_section(parameter)

    def _fill_by_name(self, parameter: inspect.Parameter, annotation: Unresolved) -> None:
        """Fill what only type checkers know, where its name leaves no doubt."""
        if self._is_section(parameter) or self._providers.has_named(annotation.names):
            self._refuse(parameter)
        # Where data goes it may be a model of the user's, of the same name.
        takes_data = self._kind is Kind.DATA and parameter is self._next_for_payload
        if annotation.may_be(Message.__name__) and not takes_data:
            self.takes[parameter.name] = take_message

    def _take_payload(self, parameter: inspect.Parameter) -> Take:
        annotation = parameter.annotation
        if isinstance(annotation, Unresolved) and not (self._kind is Kind.MEGA and annotation.may_be(Payload.__name__)):
            self._refuse(parameter)
        if not means_model(annotation):
            return take_message if self._kind is Kind.ANY else _take_payload
        if self._kind is not Kind.DATA:
            self._refuse_model(parameter)
        self._check_model(parameter)
        validate = make_validator(annotation, "")
        return lambda message: validate(message.payload, message)

    @property
    def _next_for_payload(self) -> inspect.Parameter | None:
        return next((each for each in self._fillable if takes_position(each) and not self._is_filled(each)), None)

    def _is_section(self, parameter: inspect.Parameter) -> bool:
        return self._kind is Kind.MEGA and parameter.name in _SECTIONS

    def _is_filled(self, parameter: inspect.Parameter) -> bool:
        return parameter.name in self.takes or parameter.name in self.needs

    def _stays_as_it_is(self, parameter: inspect.Parameter) -> bool:
        """Tell whether a parameter with a default is none for the payload: another one has taken something of it."""
        return bool(self.takes) and parameter.default is not parameter.empty and self._has_sections

    @property
    def _has_sections(self) -> bool:
        return any(name in _SECTIONS for name in self.takes)

    def _check_model(self, parameter: inspect.Parameter) -> None:
        if not takes_object(parameter.annotation):
            raise RegistrationError(
                f"{self._name}: nobody can fill the parameter {parameter.name!r}: what it would get is an object, "
                f"and never {inspect.formatannotation(parameter.annotation)}; annotate it with the model itself"
            )

    def _refuse(self, parameter: inspect.Parameter) -> NoReturn:
        if isinstance(parameter.annotation, Unresolved):
            raise RegistrationError(
                f"{self._name}: the annotation {parameter.annotation.text!r} of the parameter {parameter.name!r} "
                f"cannot be resolved ({parameter.annotation.reason}), and it decides what fills it: "
                f"{UNRESOLVED_REMEDY}"
            )
        if means_model(parameter.annotation):
            self._refuse_model(parameter)
        raise RegistrationError(
            f"{self._name}: nobody can fill the parameter {parameter.name!r}; a handler gets the payload, the Message "
            "in a parameter annotated so, and what app.provide() provides, by its type"
        )

    def _refuse_model(self, parameter: inspect.Parameter) -> NoReturn:
        remedy = {
            Kind.MEGA: f"in a handler of events it is named {', '.join(_SECTIONS)}, by what of the event it gets",
            Kind.DATA: "the first parameter gets the data, and only that",
        }.get(self._kind, "only handlers of data and events get validated objects")
        raise RegistrationError(
            f"{self._name}: nobody can fill the parameter {parameter.name!r} with a model: {remedy}"
        )


def _make_call(
    function: Callable[..., Any],
    parameters: tuple[inspect.Parameter, ...],
    takes: Mapping[str, Take],
    needs: Mapping[str, Need],
) -> Callable[..., Any]:
    positional = [takes[each.name] for each in parameters if each.name in takes and is_positional_only(each)]
    named = {each.name: takes[each.name] for each in parameters if each.name in takes and not is_positional_only(each)}
    first = parameters[0]
    if not needs and list(takes) == [first.name] and takes_position(first):
        positional, named = list(takes.values()), {}
    if not named and not needs and positional == [_take_payload]:
        return lambda message: function(message.payload)
    return lambda message, given={}: function(
        *[take(message) for take in positional], **{name: take(message) for name, take in named.items()}, **given
    )


def take_message(message: Message) -> Message:
    return message


def _take_payload(message: Message) -> Any:
    return message.payload


def _take_section(parameter: inspect.Parameter) -> Take:
    take, path = _SECTIONS[parameter.name], _PATHS.get(parameter.name, parameter.name)
    validate, may_lack = make_validator(parameter.annotation, path), allows_none(parameter.annotation)

    def take_section(message: Message) -> Any:
        section = take(message.payload)
        if section is None and not may_lack:
            raise InvalidPayloadError((f"{path}: missing",))
        return None if section is None else validate(section, message)

    return take_section
