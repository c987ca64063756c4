"""Structured answers: read, validated against their JSON Schema, repaired once, else a ModelError."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from insights.errors import ModelError, UsageError
from insights.models.messages import Message, Model, Reply, Request

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

REPAIR = " (repair)"
"""Ends the role of a repair turn, so that the ledger counts how often a model had to be corrected."""

SHOWN = 300
"""Characters of a bad value quoted to the model and in errors: enough to find it, too few to flood either."""

THINKING = re.compile(r"^\s*<think>.*?</think>", re.DOTALL)
FENCE = re.compile(r"^\s*```[a-zA-Z]*\s*\n(.*?)\n\s*```\s*$", re.DOTALL)


class Unusable(Exception):
    """Why a text is not the answer that was asked for."""


@lru_cache
def prompt(name: str) -> str:
    return (Path(__file__).parent / "prompts" / f"{name}.md").read_text(encoding="utf-8").strip()


def schema_prompt(schema: dict[str, Any]) -> str:
    """What a model without structured outputs is told of the schema."""
    return prompt("schema").format(schema=json.dumps(schema, ensure_ascii=False))


async def complete_structured(model: Model, request: Request) -> Reply:
    """Ask `model`, validate, and have one unusable answer written again. Usage is that of both turns.

    Raises UsageError, before anything is sent, when the schema is none.
    """
    assert request.schema is not None
    validator(request.schema)
    reply = await model.turn(request)
    try:
        return read_answer(reply, request)
    except Unusable as problem:
        repair = prompt("repair").format(problem=problem, schema=json.dumps(request.schema, ensure_ascii=False))
        messages = (*request.messages, reply.message(), Message("user", repair))
        second = await model.turn(replace(request, messages=messages, role=request.role + REPAIR))
    both = replace(
        second,
        usage=reply.usage + second.usage,
        seconds=reply.seconds + second.seconds,
        cached=reply.cached and second.cached,
    )
    try:
        return read_answer(both, request)
    except Unusable as problem:
        raise ModelError(
            f"{model.name} did not answer {request.role} in the form asked for, nor when asked again: {problem}",
            "counted as a failed call; a stronger model or a simpler schema may do better",
        ) from problem


def read_answer(reply: Reply, request: Request) -> Reply:
    """The reply with `parsed` filled in. Raises Unusable when a finished answer does not fit the schema."""
    assert request.schema is not None
    if reply.stop in ("tool", "refusal", "overflow"):
        return reply
    try:
        value = read_json(reply.text)
        check(value, request.schema)
    except Unusable:
        if reply.stop == "length":
            return reply
        raise
    return replace(reply, parsed=value)


def read_json(text: str) -> Any:
    """The one JSON value in `text`, which may stand in a code fence, after reasoning or amid prose."""
    text = THINKING.sub("", text, count=1)
    fenced = FENCE.match(text)
    text = (fenced.group(1) if fenced else text).strip()
    if not text:
        raise Unusable("it is empty")
    try:
        return json.loads(text, parse_constant=_refuse)
    except ValueError as error:
        start = re.search(r"[{\[]", text)
        if start is None:
            raise Unusable(f"it holds no JSON: {text[:SHOWN]!r}") from error
        try:
            return json.JSONDecoder(parse_constant=_refuse).raw_decode(text, start.start())[0]
        except ValueError as broken:
            raise Unusable(f"its JSON is broken: {broken}") from broken
    except RecursionError as error:
        raise Unusable("its JSON is nested too deeply") from error


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def check(value: Any, schema: dict[str, Any]) -> None:
    """Raises Unusable naming every place where `value` does not match `schema`."""
    from referencing.exceptions import Unresolvable

    try:
        problems = sorted(validator(schema).iter_errors(value), key=lambda e: e.json_path)
    except Unresolvable as error:
        raise UsageError(f"the schema of the answer refers to {error.ref}, which is not in it") from error
    if problems:
        listed = [f"{problem.json_path}: {problem.message[:SHOWN]}" for problem in problems[:5]]
        raise Unusable("; ".join(listed) + (f"; and {len(problems) - 5} more" if len(problems) > 5 else ""))


def validator(schema: dict[str, Any]) -> Draft202012Validator:
    """Raises UsageError when `schema` is no JSON Schema, or refers to anything outside of itself."""
    try:
        return _validator(json.dumps(schema, sort_keys=True))
    except (TypeError, ValueError) as error:
        raise UsageError(f"the schema of the answer is no JSON: {error}") from error


@lru_cache(maxsize=128)
def _validator(schema: str) -> Draft202012Validator:
    from jsonschema import Draft202012Validator, SchemaError
    from referencing import Registry

    parsed = json.loads(schema)
    try:
        Draft202012Validator.check_schema(parsed)
    except SchemaError as error:
        raise UsageError(f"the schema of the answer is no JSON Schema: {error.json_path}: {error.message}") from error
    for address in _references(parsed):
        if not address.startswith("#"):
            raise UsageError(f"the schema of the answer refers to {address}, which is not in it")
    return Draft202012Validator(parsed, registry=Registry())


def _references(schema: Any) -> list[str]:
    if isinstance(schema, list):
        return [address for part in schema for address in _references(part)]
    if not isinstance(schema, dict):
        return []
    own = [schema[name] for name in ("$ref", "$dynamicRef") if isinstance(schema.get(name), str)]
    return own + [address for part in schema.values() for address in _references(part)]
