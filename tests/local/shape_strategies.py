"""Parameters and answers as hypothesis makes them of botocore's shapes."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from megaflow.local.shapes import service_model

INT = st.integers(-(2**31), 2**31 - 1)
LONG = st.integers(-(2**63), 2**63 - 1)


def values_of(shape: Any, text: st.SearchStrategy[str], smallest: int = 0) -> st.SearchStrategy[Any]:
    """Make values of *shape*, with this *text* in them, and maps of this *smallest* size."""
    if shape.type_name == "structure":
        members = {name: values_of(member, text, smallest) for name, member in shape.members.items()}
        required = {name: members.pop(name) for name in shape.required_members}
        return st.fixed_dictionaries(required, optional=members)
    if shape.type_name == "list":
        return st.lists(values_of(shape.member, text, smallest), max_size=3)
    if shape.type_name == "map":
        keys, items = values_of(shape.key, text, smallest), values_of(shape.value, text, smallest)
        return st.dictionaries(keys, items, min_size=smallest, max_size=3)
    scalars: dict[str, st.SearchStrategy[Any]] = {
        "string": text,
        "integer": INT,
        "long": LONG,
        "blob": st.binary(max_size=20),
        "boolean": st.booleans(),
    }
    return scalars[shape.type_name]


def asks_of(service: str, operation: str, smallest: int = 0) -> st.SearchStrategy[dict[str, Any]]:
    """Make what boto3 takes for *operation*."""
    # Half of a surrogate pair cannot be sent.
    text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    return values_of(service_model(service).operation_model(operation).input_shape, text, smallest)


def answers_of(service: str, operation: str, text: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, Any]]:
    """Make what boto3 gives for *operation*."""
    shape = service_model(service).operation_model(operation).output_shape
    return st.just({}) if shape is None else values_of(shape, text)
