"""What of JSON Schema each vendor's structured outputs take. The rest is said in words and validated here."""

from __future__ import annotations

from typing import Any


def for_openai(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema as OpenAI's json_schema format, strict where strict mode can take it."""
    return {"name": "answer", "schema": schema, "strict": is_strict(schema)}


def is_strict(schema: Any) -> bool:
    """Whether OpenAI's strict mode takes the schema: every object closed and all its properties required.

    A schema that is not is sent unstrict: a guide to the model, and validated here all the same.
    """
    if isinstance(schema, list):
        return all(is_strict(part) for part in schema)
    if not isinstance(schema, dict):
        return True
    if schema.get("type") == "object" or "properties" in schema:
        properties = schema.get("properties", {})
        if schema.get("additionalProperties") is not False or set(schema.get("required", ())) != set(properties):
            return False
    return all(is_strict(part) for part in schema.values())


def for_anthropic(schema: dict[str, Any]) -> dict[str, Any] | None:
    """The schema as the vendor's SDK rewrites it, or None where that would lose objects with free keys."""
    import anthropic

    if _has_free_keys(schema):
        return None
    try:
        return anthropic.transform_schema(_single_types(schema))
    except (ValueError, AssertionError):  # a part without a type, or of a type the SDK does not know
        return None


def _has_free_keys(schema: Any) -> bool:
    if isinstance(schema, list):
        return any(_has_free_keys(part) for part in schema)
    if not isinstance(schema, dict):
        return False
    kinds = schema.get("type")
    is_object = kinds == "object" or (isinstance(kinds, list) and "object" in kinds)
    if is_object and (not schema.get("properties") or isinstance(schema.get("additionalProperties"), dict)):
        return True
    return any(_has_free_keys(part) for part in schema.values())


def _single_types(schema: Any) -> Any:
    """The same schema with `type: [a, b]`, which the SDK cannot rewrite, as `anyOf`."""
    if isinstance(schema, list):
        return [_single_types(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {name: _single_types(part) for name, part in schema.items()}
    kinds = schema.get("type")
    if not isinstance(kinds, list) or "enum" in schema:
        return inner
    rest = {name: part for name, part in inner.items() if name not in ("type", "description")}
    variants = [{"type": kind} if kind == "null" else {"type": kind, **rest} for kind in kinds]
    described = {"description": schema["description"]} if "description" in schema else {}
    return {"anyOf": variants, **described}
