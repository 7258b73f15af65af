"""JSON Schema of a line of `results.jsonl`, made of the classes and the docstrings of their fields.

`python -m harness.report.schema` prints what `results.schema.json` has to be.
"""

from __future__ import annotations

import ast
import inspect
import json
import sys
from typing import Any

import msgspec

from .observations import KINDS
from .records import SCHEMA, Record

__all__ = ["schema"]

REFERENCE = "#/$defs/{name}"


def schema() -> dict[str, Any]:
    """The schema of a record. Fields and kinds of observations that it does not know are valid."""
    _, parts = msgspec.json.schema_components((Record, *KINDS.values()), ref_template=REFERENCE)
    for name, text in _docstrings(*map(inspect.getmodule, (Record, *KINDS.values()))).items():
        owner, _, attribute = name.partition(".")
        if attribute in parts.get(owner, {}).get("properties", {}):
            parts[owner]["properties"][attribute]["description"] = text
    parts.pop("Observation", None)
    record = parts.pop(Record.__name__)
    record["properties"]["observations"]["items"] = {
        "type": "object",
        "required": ["kind", "version"],
        "properties": {"kind": {"type": "string"}, "version": {"type": "integer", "minimum": 1}},
        "allOf": [_if_kind(kind, each.__name__) for kind, each in KINDS.items()],
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **record,
        "title": "A line of results.jsonl",
        "properties": {"schema": {"type": "integer", "const": SCHEMA}, **record["properties"]},
        "required": ["schema", *record["required"]],
        "$defs": dict(sorted(parts.items())),
    }


def _if_kind(kind: str, name: str) -> dict[str, Any]:
    return {
        "if": {"properties": {"kind": {"const": kind}}},
        "then": {"$ref": REFERENCE.format(name=name)},
    }


def _docstrings(*modules: Any) -> dict[str, str]:
    """`Class.field` -> the string below the field, which no object keeps."""
    found = {}
    for module in set(modules):
        for each in ast.parse(inspect.getsource(module)).body:
            if isinstance(each, ast.ClassDef):
                for before, after in zip(each.body, each.body[1:], strict=False):
                    match before, after:
                        case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(
                            value=ast.Constant(value=str(text))
                        ):
                            found[f"{each.name}.{name}"] = " ".join(text.split())
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps(schema(), indent=1) + "\n")
