"""Home-made logs: JSON or JSONL that no other reader knows, read by what its keys seem to mean.

    {"conversation": 7, "author": "customer", "body": "Where is my order?", "at": "2026-03-01T10:00:00Z"}
    {"run": "a1", "turns": [{"speaker": "bot", "utterance": "…", "tool": "lookup", "args": {…}, "result": "…"}], "score": 1}
    {"question": "…", "answer": "…", "correct": true}

Four shapes are looked for, in this order: records that hold a list of messages, or of questions with their answers; records that
are messages (grouped by what names their conversation); records that are a question with its answer. What was taken for what, and in how many of the
records looked at, is an issue of the ingest report ("guessed"); `--map role=author,text=body` says it instead. Keys that the
guess does not use become metadata of the trace or `extra` of the step. Where nothing is found, `explain` names the formats
whose keys come nearest and the keys that are missing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from insights.corpus.formats import Confidence, reader
from insights.corpus.formats.chat import add_messages, apply_metadata, flatten, timestamp
from insights.corpus.parse import mapping
from insights.corpus.sniff import Head
from insights.corpus.source import Record, Source
from insights.corpus.trace import Trace, as_text

ROLE = ("role", "author", "sender", "speaker", "from", "actor", "who", "source", "type", "name", "agent", "user")
SPEAKER = ("role", "author", "sender", "speaker", "from")
TEXT = ("content", "text", "body", "message", "value", "utterance", "msg", "output", "response", "say", "data")
ROLE_WITHIN = ("author.role", "message.role", "sender.role", "author.name", "sender.name", "from.name", "user.name")
TEXT_WITHIN = ("message.content", "content.parts", "content.text", "message.text", "data.content", "body.text")
TIME = ("timestamp", "ts", "time", "created_at", "created", "at", "date", "datetime", "create_time")
GROUP = ("conversation_id", "session_id", "thread_id", "trace_id", "run_id", "chat_id", "dialog_id", "dialogue_id",
         "conversation", "session", "thread", "run", "trace", "chat", "episode", "episode_id", "task_id", "id_conversation")  # fmt: skip
ASKED = ("prompt", "question", "input", "query", "instruction", "request", "user", "human")
ANSWERED = ("response", "answer", "output", "completion", "reply", "assistant", "prediction", "generated", "result")
TOOL = ("tool", "tool_name", "function", "function_name", "action", "api")
ARGS = ("args", "arguments", "parameters", "params", "tool_input", "action_input", "kwargs")
RESULT = ("result", "observation", "tool_output", "tool_result", "returned")
SPOKEN = {
    "user": "user human customer client person me caller visitor end_user prompter",
    "assistant": "assistant ai bot gpt model chatbot llm agent claude gemini answer responder copilot",
    "system": "system developer instructions context",
    "tool": "tool function observation environment tool_result action_result api result",
}
ROLES = {name: role for role, names in SPOKEN.items() for name in names.split()}
TURNS = {
    "turns",
    "history",
    "exchanges",
    "rounds",
    "conversation",
    "dialogue",
    "dialog",
    "interactions",
}  # lists of pairs
CALLS = {"tool_calls", "toolCalls", "tool_call_id", "toolCallId", "function_call"}
WITHIN = (
    "inputs",
    "outputs",
    "input",
    "output",
    "data",
    "request",
    "example",
)  # objects that may hold question and answer
LOOKED_AT = 60  # unit: records of the head that the guess rests on
ENOUGH = 0.6  # share of them that must fit
FIELDS = ("role", "text", "time", "group", "messages", "asked", "answered", "tool", "args", "result")
NEAREST: dict[str, tuple[str, ...]] = {  # for the message only: keys of a record by which people know a format
    "openai_chat": ("messages",),
    "sharegpt": ("conversations",),
    "anthropic_messages": ("system", "messages"),
    "openai_responses": ("object", "output", "status"),
    "otel_genai": ("resourceSpans",),
    "langfuse": ("traceId", "observations", "input", "output"),
    "langsmith": ("run_type", "inputs", "outputs", "trace_id"),
    "tau_bench": ("task_id", "reward", "traj", "trial"),
    "tau2_bench": ("simulations", "tasks", "info"),
    "swe_agent": ("trajectory", "info", "environment"),
    "mini_swe_agent": ("messages", "info", "trajectory_format"),
    "atif": ("schema_version", "steps", "agent"),
    "inspect": ("eval", "samples", "version", "status"),
    "claude_code": ("sessionId", "uuid", "type", "message"),
    "codex_cli": ("timestamp", "type", "payload"),
    "agentdojo": ("suite_name", "user_task_id", "messages", "utility"),
    "who_and_when": ("history", "question", "mistake_agent"),
    "mlflow": ("info", "data"),
}


@dataclass(frozen=True)
class Shape:
    """What stands for what. `messages` is the key path of a list inside a record; "" where records are messages."""

    kind: str  # lists | turns (a list of pairs) | messages | pairs
    fields: Mapping[str, str]
    fit: int
    of: int

    def __str__(self) -> str:
        told = ", ".join(f"{name}={key}" for name, key in self.fields.items() if key)
        return f"{told} ({self.fit} of {self.of} records fit)"


def _detect(head: Head) -> Confidence | None:
    return "guess" if head.records and shape_of(head.records) else None


@reader("guessed", title="home-made log, by its keys", rank=99, detect=_detect)
def read(source: Source) -> Iterator[Trace]:
    shape = _told(source.fields) if source.fields else shape_of(source.head.records)
    if shape is None:
        source.issue("unknown_json", explain(source.head), severity="error")
        return
    if lacking := _lacking(shape, source.head.records):
        source.issue(
            "map_key_missing",
            f"no record has {' or '.join(lacking)}, which --map names; the keys are {', '.join(_keys(source.head))}",
            severity="error",
        )
        return
    if not source.fields:
        source.issue("guessed", f"read as {shape}; if that is wrong, say --map role=…,text=…", severity="warning")
    grouped: dict[str, Trace] = {}
    for index, told in enumerate(source.records()):
        bare = shape.kind == "lists" and shape.fields["messages"] == "messages"
        record = Record(_held(told.value), told.offset, told.length, told.pointer) if bare else told
        if not isinstance(record.value, dict):
            source.n_bad += 1
            source.issue(
                "not_a_record", f"a record is {type(record.value).__name__}, not an object", offset=record.offset
            )
        elif shape.kind == "messages":
            key = as_text(_at(record.value, shape.fields.get("group"))) or ""
            t = grouped.get(key)
            if t is None:
                t = grouped[key] = Trace("guessed", key or f"{source.name}#0", session_id=key or None)
            _add(t, record.value, shape.fields, record, None)
        else:
            yield _whole(source, record, shape, index)
    for t in grouped.values():
        _end(t)
        yield t


def _told(fields: Mapping[str, str]) -> Shape:
    """The shape that `--map` says; text= and role= alone mean one message a record."""
    kind = (
        "turns"
        if fields.get("messages") and fields.get("asked")
        else "lists"
        if fields.get("messages")
        else "pairs"
        if fields.get("asked")
        else "messages"
    )
    return Shape(kind, fields, 0, 0)


def _lacking(shape: Shape, records: list[Any]) -> list[str]:
    """Keys of the records that the shape names and none of those looked at has: a mistyped --map."""
    names = ("messages",) if shape.kind in ("lists", "turns") else tuple(shape.fields)
    rows = [r for r in records[:LOOKED_AT] if isinstance(r, dict)]
    keys = [shape.fields[name] for name in names if shape.fields.get(name)]
    return [key for key in keys if rows and all(_at(row, key) is None for row in rows)]


def shape_of(records: list[Any]) -> Shape | None:
    """How the records of a head are to be read; None where nothing looks like messages."""
    rows = [r for r in map(_held, records[:LOOKED_AT]) if isinstance(r, dict)]
    if not rows:
        return None
    return _lists(rows) or _messages(rows, "", len(rows)) or _pairs(rows)


def _held(value: Any) -> Any:
    """A conversation that is a bare list, as a record that holds it."""
    return {"messages": value} if isinstance(value, list) and any(isinstance(v, dict) for v in value) else value


def _lists(rows: list[dict[str, Any]]) -> Shape | None:
    paths: Counter[str] = Counter()
    shapes: dict[str, Shape] = {}
    for row in rows:
        for path, items in _inner_lists(row, "", 3):
            inner = [i for i in items if isinstance(i, dict)]
            found = _messages(inner, path, len(items)) or (_pairs(inner) if path in TURNS and inner else None)
            if found is not None and len(items) >= 2:
                paths[path] += 1
                shapes.setdefault(path, found)
    for path, n in paths.most_common(1):
        if n >= ENOUGH * len(rows):
            kind = "turns" if shapes[path].kind == "pairs" else "lists"
            return Shape(kind, {"messages": path, **shapes[path].fields}, n, len(rows))
    return None


def _inner_lists(value: Any, path: str, depth: int) -> Iterator[tuple[str, list[Any]]]:
    if isinstance(value, list) and path:
        yield path, value
    elif isinstance(value, dict) and depth:
        for key, inner in value.items():
            yield from _inner_lists(inner, f"{path}.{key}" if path else str(key), depth - 1)


def _messages(rows: list[dict[str, Any]], path: str, n: int) -> Shape | None:
    text = _first_key(rows, TEXT, n, lambda v: isinstance(v, (str, list)) or v is None)
    role = _first_key(rows, ROLE, n, lambda v: isinstance(v, str) and len(v) <= 40)
    text = text or _first_key(rows, TEXT_WITHIN, n, lambda v: isinstance(v, (str, list)))
    role = role or _first_key(rows, ROLE_WITHIN, n, lambda v: isinstance(v, str) and len(v) <= 40)
    if not text or not role or text == role:
        return None
    speakers = {str(_at(r, role)).lower() for r in rows if isinstance(_at(r, role), str)}
    known = {ROLES[s] for s in speakers if s in ROLES}
    named = role in SPEAKER and text in TEXT[:7]  # nobody writes these keys but of people who speak
    if len(speakers) < 2 or len(speakers) > 12 or not (named or known & {"user", "assistant"}):
        return None
    fields = {"role": role, "text": text, "time": next((k for k in TIME if any(timestamp(r.get(k)) for r in rows)), "")}
    if not path:
        fields["group"] = _first_key(rows, GROUP, n, lambda v: isinstance(v, (str, int)))
    for name, keys in (("tool", TOOL), ("args", ARGS), ("result", RESULT)):
        fields[name] = next((k for k in keys if k not in (text, role) and any(r.get(k) is not None for r in rows)), "")
    fit = sum(_has(r, text) and _has(r, role) for r in rows)
    return Shape("messages", {k: v for k, v in fields.items() if v}, fit, n)


def _pairs(rows: list[dict[str, Any]]) -> Shape | None:
    def deep(keys: tuple[str, ...]) -> tuple[str, ...]:
        return (*keys, *(f"{holder}.{k}" for holder in WITHIN for k in keys))

    asked = _first_key(rows, deep(ASKED), len(rows), lambda v: isinstance(v, str) and v)
    answers = deep(tuple(k for k in ANSWERED if k != asked))
    answered = _first_key(rows, answers, len(rows), lambda v: isinstance(v, str) and v)
    if not asked or not answered:
        return None
    fit = sum(isinstance(_at(r, asked), str) and isinstance(_at(r, answered), str) for r in rows)
    return Shape("pairs", {"asked": asked, "answered": answered}, fit, len(rows))


def _first_key(rows: list[dict[str, Any]], keys: tuple[str, ...], n: int, fits: Any) -> str:
    return next((k for k in keys if sum(_has(r, k) and bool(fits(_at(r, k))) for r in rows) >= ENOUGH * max(n, 1)), "")


def _has(row: dict[str, Any], path: str) -> bool:
    holder, _, key = path.rpartition(".")
    return key in (mapping(row.get(holder)) if holder else row)


def _at(value: Any, path: str | None) -> Any:
    for key in (path or "").split(".") if path else ():
        value = value[key] if isinstance(value, dict) and key in value else None
    return value if path else None


def _whole(source: Source, record: Record, shape: Shape, index: int) -> Trace:
    value, fields = record.value, shape.fields
    own = next((value[k] for k in ("trace_id", "run_id", "id", *GROUP) if isinstance(value.get(k), (str, int))), None)
    t = Trace("guessed", str(own) if own is not None else f"{source.name}#{index}")
    place: dict[str, Any] = {"src_offset": record.offset, "src_len": record.length, "src_pointer": record.pointer}
    if shape.kind == "turns":
        for i, turn in enumerate(_at(value, fields["messages"]) or []):
            at = {**place, "src_pointer": f"{record.pointer or ''}/{fields['messages'].replace('.', '/')}/{i}"}
            at["ts"] = next((ts for ts in (timestamp(mapping(turn).get(k)) for k in TIME) if ts), None)
            for path, role, origin in (
                (fields["asked"], "user", "human"),
                (fields.get("answered", ""), "assistant", "model"),
            ):
                t.step(role, _at(turn, path), origin=origin, **at)
            rest = {k: v for k, v in mapping(turn).items() if k not in (fields["asked"], fields.get("answered"))}
            t.steps[-1].extra = rest or None
        used = {fields["messages"].split(".")[0]}
    elif shape.kind == "pairs":
        t.step("user", _at(value, fields.get("asked")), origin="human", **place)
        t.step("assistant", _at(value, fields.get("answered")), origin="model", **place)
        t.fidelity, used = "io_only", {fields["asked"], fields.get("answered", "")}
    else:
        for i, message in enumerate(_at(value, fields["messages"]) or []):
            _add(t, mapping(message) or {fields.get("text", "text"): message}, fields, record, i)
        used = {fields["messages"].split(".")[0]}
    _end(t)
    rest = {k: v for k, v in value.items() if k not in used}
    apply_metadata(t, {**mapping(rest.pop("metadata", None)), **rest})
    return t


def _add(t: Trace, m: dict[str, Any], fields: Mapping[str, str], record: Record, at: int | None) -> None:
    if CALLS & m.keys():
        _add_as_chat(t, m, fields, record, at)
        return
    speaker = as_text(_at(m, fields.get("role"))) or ""
    text, parts, _ = flatten(_at(m, fields.get("text")))
    role = ROLES.get(speaker.lower().replace(" ", "_"))
    pointer = (
        record.pointer if at is None else f"{record.pointer or ''}/{fields.get('messages', '').replace('.', '/')}/{at}"
    )
    used = {(path or "").split(".")[0] for path in fields.values()}
    where: dict[str, Any] = {
        "ts": timestamp(_at(m, fields.get("time"))),
        "extra": {k: v for k, v in m.items() if k not in used} or None,
        "src_pointer": pointer,
        "src_offset": record.offset,
        "src_len": record.length,
    }
    tool, args, result = (_at(m, fields.get(name)) for name in ("tool", "args", "result"))
    name = tool if isinstance(tool, str) else as_text(mapping(tool).get("name"))
    if role == "tool":
        t.result(text, name=name, parts=parts, **where)
        return
    origin = {"user": "human", "assistant": "model", "system": "harness"}.get(role or "", "unknown")
    seq = t.step(role or "assistant", text, origin=origin, agent=None if role else speaker, parts=parts, **where)
    if name:
        t.call(seq, name, args if args is not None else mapping(tool).get("args"))
        if result is not None:
            t.result(as_text(result), name=name, **{**where, "extra": None})


def _add_as_chat(t: Trace, m: dict[str, Any], fields: Mapping[str, str], record: Record, at: int | None) -> None:
    """A message that calls tools, or answers a call, in the way of the chat APIs."""
    speaker = as_text(_at(m, fields.get("role"))) or ""
    pointer = (
        record.pointer if at is None else f"{record.pointer or ''}/{fields.get('messages', '').replace('.', '/')}/{at}"
    )
    told = {**m, "role": ROLES.get(speaker.lower().replace(" ", "_"), speaker), "content": _at(m, fields.get("text"))}
    for step in add_messages(t, [told]):
        step.ts = step.ts or timestamp(_at(m, fields.get("time")))
        step.src_pointer, step.src_offset, step.src_len = pointer, record.offset, record.length


def _end(t: Trace) -> None:
    """Where every speaker is a stranger, the first one asked."""
    if not any(s.role == "user" for s in t.steps) and t.steps:
        first = t.steps[0].agent
        for step in t.steps:
            if first and step.agent == first:
                step.role, step.origin = "user", "human"


def _keys(head: Head) -> list[str]:
    return sorted({str(k) for r in head.records[:LOOKED_AT] if isinstance(r, dict) for k in r})


def explain(head: Head) -> str:
    """Why a JSON file was not read: the formats whose keys come nearest, and the keys it lacks."""
    keys = set(_keys(head))
    if not keys:
        return "JSON without objects: no record has keys"
    near = sorted(
        ((len(keys & set(wanted)) / len(wanted), name) for name, wanted in NEAREST.items() if keys & set(wanted)),
        reverse=True,
    )[:3]
    shown = ", ".join(_keys(head)[:12])
    if not near:
        return f"no known format and no messages: its keys are {shown}; for a log of your own say --map role=…,text=…"
    told = "; ".join(
        f"{name} (missing {', '.join(k for k in NEAREST[name] if k not in keys) or 'nothing'})" for _, name in near
    )
    return f"no known format; nearest: {told}; its keys are {shown}; for a log of your own say --map role=…,text=…"
