"""Intrinsic functions of CloudFormation: references, texts and conditions, worked out.

https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/intrinsic-function-reference.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from megaflow.checks import show
from megaflow.local.declared.declarations import within, wrong
from megaflow.local.declared.values import nearest, read_list, read_table, read_text

NOTHING: Final = object()
"""What ``AWS::NoValue`` is: the property is not there."""

_LONGEST: Final = 1_000_000
"""Characters that a function may give: a template of AWS has no more itself."""

_DIGITS: Final = 7
_VARIABLE: Final = re.compile(r"\$\{([^}]*)\}")


@dataclass(frozen=True, slots=True)
class Stack:
    """Where a template would be deployed, and as what."""

    name: str
    region: str
    account_id: str
    parameters: Mapping[str, str]
    """What is given for parameters, in place of their defaults."""

    def pseudo_parameters(self) -> dict[str, Any]:
        """Return what CloudFormation itself gives."""
        return {
            "AWS::AccountId": self.account_id,
            "AWS::NoValue": NOTHING,
            "AWS::Partition": "aws",
            "AWS::Region": self.region,
            "AWS::StackId": f"arn:aws:cloudformation:{self.region}:{self.account_id}:stack/{self.name}/local",
            "AWS::StackName": self.name,
            "AWS::URLSuffix": "amazonaws.com",
        }


class Intrinsics:
    """Works out the functions in a template.

    Args:
        template: All of it.
        stack: What pseudo parameters say.
        attributes_of: Returns what a resource is known by: its attributes, and ``Ref``; nothing for one that is not
            made here.
        stand_ins: Whether what nobody knows here has a name all the same. It is for policies and keys, which are kept
            without effect.
    """

    def __init__(
        self,
        template: Mapping[str, Any],
        stack: Stack,
        attributes_of: Callable[[str], Mapping[str, str]],
        *,
        stand_ins: bool = False,
    ) -> None:
        self._stack = stack
        self._pseudo = stack.pseudo_parameters()
        self._parameters = read_table(template.get("Parameters"), "Parameters")
        self._mappings = read_table(template.get("Mappings"), "Mappings")
        self._conditions = read_table(template.get("Conditions"), "Conditions")
        self._resources = read_table(template["Resources"], "Resources")
        self._attributes_of = attributes_of
        self._stand_ins = stand_ins
        self._held: dict[str, bool] = {}
        """Conditions that were asked for: each may name the one before it twice."""

        self._functions: Mapping[str, Callable[[Any, str], Any]] = {
            "Ref": self._ref,
            "Fn::GetAtt": self._get_att,
            "Fn::Sub": self._sub,
            "Fn::Join": self._join,
            "Fn::Split": self._split,
            "Fn::Select": self._select,
            "Fn::FindInMap": self._find_in_map,
            "Fn::If": self._if,
            "Fn::Equals": self._equals,
            "Fn::Not": self._not,
            "Fn::And": self._and,
            "Fn::Or": self._or,
        }

    def resolve(self, value: Any, path: str) -> Any:
        """Return *value* with all functions in it worked out; `NOTHING` where it is as if it were not there."""
        if isinstance(value, Mapping):
            return self._resolve_table(read_table(value, path), path)
        if isinstance(value, list | tuple):
            items = [self.resolve(item, f"{path}[{number}]") for number, item in enumerate(value)]
            return [item for item in items if item is not NOTHING]
        return value

    def choose(self, value: Any, path: str) -> Any:
        """Return what ``Fn::If`` chooses, where *value* is one; what is in it is not worked out."""
        while isinstance(value, Mapping) and value.keys() == {"Fn::If"}:
            condition, then, otherwise = self._arguments(value["Fn::If"], 3, path, "Fn::If")
            value = then if self.holds(condition, path) else otherwise
        return NOTHING if value == {"Ref": "AWS::NoValue"} else value

    def holds(self, condition: object, path: str) -> bool:
        """Tell whether the condition of this name is true."""
        name = read_text(condition, path)
        if name not in self._conditions:
            raise wrong(path, f"there is no condition {name}{nearest(name, self._conditions)}")
        if name not in self._held:
            self._held[name] = self._is_true(self._conditions[name], within("Conditions", name))
        return self._held[name]

    def _resolve_table(self, table: Mapping[str, Any], path: str) -> Any:
        name = next(iter(table)) if len(table) == 1 else ""
        if name in self._functions:
            return self._functions[name](table[name], path)
        if name.startswith("Fn::"):
            known = ", ".join(self._functions)
            return self._stand_in(name.removeprefix("Fn::"), path, f"{name} is not known here. There are {known}")
        items = {key: self.resolve(item, within(path, key)) for key, item in table.items()}
        return {key: item for key, item in items.items() if item is not NOTHING}

    def _ref(self, argument: object, path: str) -> Any:
        name = read_text(argument, path)
        if name in self._pseudo:
            return self._pseudo[name]
        if name in self._parameters:
            return self._parameter(name, path)
        return self._attribute(name, "Ref", path)

    def _parameter(self, name: str, path: str) -> Any:
        parameter = read_table(self._parameters[name], within("Parameters", name))
        kind, default = str(parameter.get("Type", "String")), self._stack.parameters.get(name)
        if default is None and kind.startswith("AWS::SSM::"):
            return self._stand_in(name, path, f"the parameter {name} is one of SSM, which is not here: give it a value")
        default = parameter.get("Default") if default is None else default
        if default is None:
            return self._stand_in(name, path, f"the parameter {name} has no default: give it a value")
        if kind.startswith("List<") or kind == "CommaDelimitedList":
            return [item.strip() for item in str(default).split(",")]
        return str(default).lower() if isinstance(default, bool) else str(default)

    def _attribute(self, name: str, attribute: str, path: str) -> str:
        if name not in self._resources:
            known = [*self._parameters, *self._resources]
            raise wrong(path, f"{name} is no resource or parameter of the template{nearest(name, known)}")
        known_by = self._attributes_of(name)
        if attribute in known_by:
            return known_by[attribute]
        if known_by:
            raise wrong(path, f"{name} has no attribute {attribute} here. There are {', '.join(known_by)}")
        kind = str(read_table(self._resources[name], within("Resources", name)).get("Type"))
        physical = self._stand_in(
            name, path, f"{name} is of the type {kind}, which is not made here: give a value in its place"
        )
        service = kind.removeprefix("AWS::").partition("::")[0].lower()
        arn = f"arn:aws:{service}:{self._stack.region}:{self._stack.account_id}:{physical}"
        return arn if attribute.endswith("Arn") else physical

    def _stand_in(self, name: str, path: str, otherwise: str) -> str:
        """Return a name in place of what nobody knows, where that will do; raise the error *otherwise*."""
        if not self._stand_ins:
            raise wrong(path, otherwise)
        return f"{self._stack.name}-{name}"

    def _get_att(self, argument: object, path: str) -> str:
        parts = argument.split(".", 1) if isinstance(argument, str) else read_list(argument, path)
        if len(parts) != 2:
            raise wrong(path, f"Fn::GetAtt {show(argument)} is not allowed: give a resource and an attribute of it")
        return self._attribute(read_text(parts[0], path), read_text(self.resolve(parts[1], path), path), path)

    def _sub(self, argument: object, path: str) -> str:
        text, given = (argument, {}) if isinstance(argument, str) else self._arguments(argument, 2, path, "Fn::Sub")
        variables = read_table(given, path)

        def fill(found: re.Match[str]) -> str:
            name = found[1].strip()
            if name.startswith("!"):
                return f"${{{name[1:]}}}"
            if name in variables:
                return self._text(variables[name], path)
            return self._text({"Fn::GetAtt": name} if "." in name else {"Ref": name}, path)

        return _check_length(_VARIABLE.sub(fill, read_text(text, path)), path)

    def _join(self, argument: object, path: str) -> str:
        separator, items = self._arguments(argument, 2, path, "Fn::Join")
        texts = [self._text(item, path) for item in read_list(self.resolve(items, path), path)]
        return _check_length(str(separator).join(texts), path)

    def _split(self, argument: object, path: str) -> list[str]:
        separator, text = self._arguments(argument, 2, path, "Fn::Split")
        return self._text(text, path).split(read_text(separator, path))

    def _select(self, argument: object, path: str) -> Any:
        index, items = self._arguments(argument, 2, path, "Fn::Select")
        number, among = self._text(index, path), read_list(self.resolve(items, path), path)
        if not (number.isascii() and number.isdecimal() and len(number) < _DIGITS and int(number) < len(among)):
            raise wrong(path, f"Fn::Select takes a number below {len(among)} here, not {number[:_DIGITS]}")
        return among[int(number)]

    def _find_in_map(self, argument: object, path: str) -> Any:
        found: Any = self._mappings
        for key in (self._text(key, path) for key in self._arguments(argument, 3, path, "Fn::FindInMap")):
            if key not in read_table(found, path):
                raise wrong(path, f"Fn::FindInMap finds no {key}{nearest(key, found)}")
            found = found[key]
        return found

    def _if(self, argument: object, path: str) -> Any:
        return self.resolve(self.choose({"Fn::If": argument}, path), path)

    def _equals(self, argument: object, path: str) -> bool:
        one, other = self._arguments(argument, 2, path, "Fn::Equals")
        return self._text(one, path) == self._text(other, path)

    def _not(self, argument: object, path: str) -> bool:
        return not self._is_true(self._arguments(argument, 1, path, "Fn::Not")[0], path)

    def _and(self, argument: object, path: str) -> bool:
        return all(self._is_true(item, path) for item in read_list(argument, path))

    def _or(self, argument: object, path: str) -> bool:
        return any(self._is_true(item, path) for item in read_list(argument, path))

    def _is_true(self, value: Any, path: str) -> bool:
        if isinstance(value, Mapping) and value.keys() == {"Condition"}:
            return self.holds(value["Condition"], path)
        found = self.resolve(value, path)
        if not isinstance(found, bool):
            raise wrong(path, f"{show(value)} is not allowed: give a condition")
        return found

    def _arguments(self, argument: object, count: int, path: str, function: str) -> list[Any]:
        given = read_list(argument, path)
        if len(given) != count:
            raise wrong(path, f"{function} takes {count} values, not {len(given)}")
        return given

    def _text(self, value: Any, path: str) -> str:
        found = self.resolve(value, path)
        if isinstance(found, bool):
            return str(found).lower()
        if not isinstance(found, str | int | float):
            raise wrong(path, f"{show(value)} gives no text")
        return str(found)


def _check_length(text: str, path: str) -> str:
    """Return *text*, or refuse one that grew out of others, each of them made of the one before."""
    if len(text) > _LONGEST:
        raise wrong(path, f"it becomes longer than {_LONGEST} characters, which nothing here takes")
    return text
