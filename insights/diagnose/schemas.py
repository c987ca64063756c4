"""What a cell asks a model to fill in: a schema by example or a JSON Schema, checked before anything is paid."""

from __future__ import annotations

import json
from typing import Any

from insights.errors import GatewayRefused

MOST_CHARS = 20_000
MOST_DEPTH = 8
KINDS: dict[type, str] = {bool: "boolean", int: "integer", float: "number"}
REFUSED = (
    "pattern",
    "patternProperties",
    "$ref",
    "$dynamicRef",
)  # a pattern can take for ever; a reference leads elsewhere


def closed(schema: Any) -> dict[str, Any]:
    """A JSON Schema of type object, from one or from an example. Raises GatewayRefused for what is neither."""
    if not isinstance(schema, dict) or not schema:
        raise GatewayRefused(
            "a schema is a dict of fields", 'as in {"cause": "one sentence", "who": ["agent", "user"]}'
        )
    if len(json.dumps(schema)) > MOST_CHARS:
        raise GatewayRefused(f"the schema is longer than {MOST_CHARS} characters", "ask for less at once")
    if schema.get("type") == "object" and isinstance(schema.get("properties"), dict):
        _refuse(schema, 0)
        return schema
    return _example(schema, 0)


def _example(value: Any, depth: int) -> dict[str, Any]:
    if depth > MOST_DEPTH:
        raise GatewayRefused(f"the schema is nested more than {MOST_DEPTH} deep", "ask for something flatter")
    if isinstance(value, str):
        return {"type": "string", "description": value} if value else {"type": "string"}
    if type(value) in KINDS:
        return {"type": KINDS[type(value)]}
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict):
        return {"type": "array", "items": _example(value[0], depth + 1)}
    if isinstance(value, list) and value and all(isinstance(v, str) for v in value):
        if len(value) == 1:
            return {"type": "array", "items": {"type": "string", "description": value[0]}}
        return {"type": "string", "enum": value}
    if isinstance(value, dict) and value:
        fields = {str(name): _example(v, depth + 1) for name, v in value.items()}
        return {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}
    raise GatewayRefused(
        f"the schema has {value!r}", "give a text, a number, True, a list of choices or a dict of these"
    )


def _refuse(schema: Any, depth: int) -> None:
    if depth > 4 * MOST_DEPTH:
        raise GatewayRefused("the schema is nested too deeply", "ask for something flatter")
    if isinstance(schema, dict):
        for word in REFUSED:
            if word in schema and not isinstance(schema[word], dict):
                raise GatewayRefused(f"the schema uses {word!r}", "describe the form in words")
        if "patternProperties" in schema:
            raise GatewayRefused("the schema uses 'patternProperties'", "name the fields")
        for part in schema.values():
            _refuse(part, depth + 1)
    elif isinstance(schema, list):
        for part in schema:
            _refuse(part, depth + 1)


def answer(questions: dict[str, str], choices: list[str]) -> dict[str, Any]:
    """The form of answers to closed questions: why before what, so that the reason is not made up afterwards."""
    one = {
        "type": "object",
        "properties": {
            "why": {"type": "string"},
            "seq": {"type": "integer"},
            "quote": {"type": "string"},
            "value": {"type": "string", "enum": [*choices, CANNOT_TELL]},
        },
        "required": ["why", "seq", "quote", "value"],
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": dict.fromkeys(questions, one),
        "required": list(questions),
        "additionalProperties": False,
    }


def quoted(fields: dict[str, Any]) -> dict[str, Any]:
    """A schema to fill in together with the step and the quotation that show it."""
    properties = {"answer": fields, "seq": {"type": "integer"}, "quote": {"type": "string"}}
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


CANNOT_TELL = "cannot tell"
