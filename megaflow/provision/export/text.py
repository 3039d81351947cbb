"""Texts of documents: JSON and YAML, with every key where it was put, so that two versions can be compared."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from megaflow.distribution import describe_missing_extra
from megaflow.errors import ConfigurationError

Document: TypeAlias = Mapping[str, Any]
"""A document, made of dicts, lists, texts, numbers and booleans alone."""


def write_json(document: Document) -> str:
    """Return *document* as JSON."""
    return json.dumps(document, indent=2, ensure_ascii=False)


def write_yaml(documents: Sequence[Document]) -> str:
    """Return *documents* as YAML, one after another; raise `ConfigurationError` without PyYAML."""
    try:
        import yaml
    except ImportError as error:
        raise ConfigurationError(describe_missing_extra("YAML", "provision", error)) from error

    class Dumper(yaml.SafeDumper):  # type: ignore[misc]
        """Nothing is written as a reference to what stands elsewhere."""

        def ignore_aliases(self, data: object) -> bool:
            """Tell so."""
            return True

    def write_text(dumper: Any, text: str) -> Any:
        """Write *text* of several lines as lines."""
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)

    Dumper.add_representer(str, write_text)
    text: str = yaml.dump_all(documents, Dumper=Dumper, sort_keys=False, width=100, allow_unicode=True)
    return text.rstrip("\n")
