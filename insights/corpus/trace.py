"""One trace under construction: what a reader fills and the loader stores.

    t = Trace("tau_bench", native_id="gpt-4o-airline/3/0", task_id="3", trial=0)
    t.step("user", "please cancel …")
    s = t.step("assistant", "")
    t.call(s, "cancel_reservation", {"reservation_id": "X"}, id="call_1")
    t.result("Error: …", id="call_1")
    t.success = True

Columns of the table `traces` are attributes. `finish()` pairs what is still open, counts, and fingerprints.
Tool results find their call by id (repeated ids in order of occurrence), else by name, else the oldest open call.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson

from insights.corpus import blobs
from insights.corpus.columns import TABLES
from insights.corpus.parse import clean, clean_text, number
from insights.corpus.source import Issue

if TYPE_CHECKING:
    from datetime import datetime

TRACE_COLUMNS = tuple(TABLES["traces"])
STEP_COLUMNS = tuple(TABLES["steps"])
CALL_COLUMNS = tuple(TABLES["tool_calls"])

DEEPEST = 100  # unit: levels of values in values that a column of JSON keeps where it cannot keep all
COUNTS = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens", "cost_usd")
ERROR_TEXT = re.compile(
    r"\s*(?:\[?error\]?\b|error:|traceback \(most recent call last\)|exception:|fatal:|[a-z_.]*(?:error|exception):"
    # "error", in other languages, as the head of a message: "Fehler 503: …", "エラー：…"
    r"|\[?(?:fehler|erreur|errore|erro|fout|fejl|virhe|błąd|hiba|hata|ошибка|помилка|エラー|错误|錯誤|오류|lỗi)(?: [\w -]{0,40})?\]?\s*[:：])",
    re.I,
)


def as_json(value: Any) -> str | None:
    """Canonical JSON text of a value; None for None and for empty containers."""
    if value is None or value == {} or value == []:
        return None
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    except (TypeError, orjson.JSONEncodeError):
        return _dumps(value, sort_keys=True)


def as_name(value: Any) -> str | None:
    """An id or a name: text as it is, None and empty text as None, anything else (a number, a list) as JSON text."""
    return value or None if isinstance(value, str) else as_text(value)


def as_text(value: Any) -> str | None:
    """Text as it is; anything else as JSON text; None stays None."""
    if value is None or isinstance(value, str):
        return value
    return _dumps(value)


def _dumps(value: Any, **options: Any) -> str:
    try:
        return json.dumps(clean(value), ensure_ascii=False, default=str, **options)
    except RecursionError:
        return json.dumps(clean(_cut(value, DEEPEST)), ensure_ascii=False, default=str, **options)


def _cut(value: Any, depth: int) -> Any:
    """The value without what is nested deeper than `depth`, of which the place is kept."""
    if not isinstance(value, (dict, list, tuple)):
        return value
    if depth == 0:
        return "… nested too deeply"
    if isinstance(value, dict):
        return {key: _cut(inner, depth - 1) for key, inner in value.items()}
    return [_cut(inner, depth - 1) for inner in value]


class Step:
    """A step under construction; attributes are the columns of `steps`, None where nothing is said."""

    if TYPE_CHECKING:  # the columns of the DDL

        def __getattr__(self, name: str) -> Any: ...
        def __setattr__(self, name: str, value: Any) -> None: ...

    n_tool_calls, segment, on_path = 0, 0, True

    def __init__(self, seq: int, kind: str, role: str | None) -> None:
        self.seq, self.kind, self.role = seq, kind, role


class ToolCall:
    """A tool call under construction; attributes are the columns of `tool_calls`, None where nothing is said."""

    if TYPE_CHECKING:  # the columns of the DDL

        def __getattr__(self, name: str) -> Any: ...
        def __setattr__(self, name: str, value: Any) -> None: ...


def _blank(kind: type, columns: frozenset[str]) -> None:
    """Give a class its columns as class attributes: an instance then costs only what is said of it."""
    for name in columns:
        if name not in vars(kind):
            setattr(kind, name, None)


STEP_KEYS, CALL_KEYS = frozenset(STEP_COLUMNS[1:]), frozenset(CALL_COLUMNS[1:])
_blank(Step, STEP_KEYS)
_blank(ToolCall, CALL_KEYS)


class Trace:
    if TYPE_CHECKING:  # the columns of the DDL
        parent_trace_id: str | None
        root_trace_id: str | None
        input_text: str | None
        final_output: str | None
        model: str | None
        models: list[str] | None
        started_at: datetime | None
        ended_at: datetime | None
        duration_s: float | None
        time_basis: str | None
        n_llm_calls: int | None
        usage_basis: str | None
        cost_usd: float | None
        cost_basis: str | None
        end_reason: str | None
        fidelity: str | None

        def __getattr__(self, name: str) -> Any: ...
        def __setattr__(self, name: str, value: Any) -> None: ...

    def __init__(self, format: str, native_id: str, **columns: Any) -> None:
        for name in TRACE_COLUMNS:
            setattr(self, name, None)
        self.format = format
        self.native_id: str = native_id
        self.trace_id: str = clean_text(f"{format}:{native_id}")
        self.metadata: dict[str, Any] = {}
        self.extra: dict[str, Any] = {}
        self.tags: list[str] = []
        self.steps: list[Step] = []
        self.calls: list[ToolCall] = []
        self.llm_calls: list[dict[str, Any]] = []
        self.spans: list[dict[str, Any]] = []
        self.blobs: dict[str, blobs.Blob] = {}
        self.annotations: list[dict[str, Any]] = []
        self.expected: list[dict[str, Any]] = []
        self.slices: dict[str, tuple[str, str]] = {}
        self.issues: list[Issue] = []
        self._open: dict[str, list[ToolCall]] = {}
        self._keys: set[str] = set()
        self._segment = 0
        self._offered: tuple[Any, str | None] = (None, None)  # tool definitions and their hash
        for name, value in columns.items():
            setattr(self, name, value)

    def step(self, role: str | None, text: Any = None, *, kind: str = "message", **columns: Any) -> int:
        """Append a step and return its seq. `columns` are columns of `steps`; `text` that is no string becomes JSON."""
        if not STEP_KEYS.issuperset(columns):
            raise TypeError(f"steps has no column {sorted(columns.keys() - STEP_KEYS)}")
        s = Step(len(self.steps), kind, as_text(role))
        s.text = as_text(text)
        s.segment = self._segment
        vars(s).update(columns)
        self.steps.append(s)
        if kind == "compaction":
            self._segment += 1
        return s.seq

    def next_segment(self) -> None:
        """Start a new segment where the context was reset without a compaction (`/clear`)."""
        self._segment += 1

    def call(self, seq: int, name: str | None, args: Any = None, *, id: str | None = None, **columns: Any) -> str:
        """Append a tool call made in step `seq`; `args` is a mapping or the text the model wrote. Returns its key."""
        id, name = as_name(id), as_name(name)
        c = ToolCall()
        step = self.steps[seq]
        c.call_seq, c.call_index, c.native_id, c.name = seq, step.n_tool_calls, id, name
        c.requestor, c.llm_call_id, c.span_id = "assistant", step.llm_call_id, step.span_id
        key = id if id and id not in self._keys else f"{seq}.{step.n_tool_calls}"
        c.tool_call_key = key
        self._keys.add(key)
        step.n_tool_calls += 1
        if isinstance(args, Mapping) or args is None:
            c.args = dict(args or {})
            c.args_text = _dumps(c.args)
        else:
            c.args_text = as_text(args)
            c.args, c.args_error = _parse_args(c.args_text or "")
        if not CALL_KEYS.issuperset(columns):
            raise TypeError(f"tool_calls has no column {sorted(columns.keys() - CALL_KEYS)}")
        vars(c).update(columns)
        self.calls.append(c)
        self._open.setdefault(id or "", []).append(c)
        return key

    def find_call(self, id: str | None, name: str | None = None) -> ToolCall | None:
        """Take the open call that a result answers out of the open ones."""
        id, name = as_name(id), as_name(name)
        waiting = self._open.get(id or "")
        if waiting and not id and name:
            same = next((c for c in waiting if c.name == name), None)
            if same is not None:
                waiting.remove(same)
                return same
        if waiting:
            return waiting.pop(0)
        if id:  # Gemini's calls have no id, the results of its CLI have one
            unnamed = next((c for c in self._open.get("", ()) if c.name == name), None) if name else None
            if unnamed is not None:
                self._open[""].remove(unnamed)
            return unnamed
        for queue in self._open.values():
            if queue and (name is None or queue[0].name == name):
                return queue.pop(0)
        return None

    def result(
        self,
        text: Any,
        *,
        id: str | None = None,
        name: str | None = None,
        status: str | None = None,
        error_basis: str | None = None,
        exit_code: int | None = None,
        call_columns: Mapping[str, Any] | None = None,
        **columns: Any,
    ) -> int:
        """Append a tool_result step and pair it with its call. Returns its seq.

        `status` None means the source has no flag: a non-zero `exit_code` or text that opens like an error makes it
        "error" (basis exit_code or text), anything else "ok".
        """
        seq = self.step(columns.pop("role", "tool"), text, kind=columns.pop("kind", "tool_result"), **columns)
        step = self.steps[seq]
        if step.origin is None:
            step.origin = "tool"
        if status is None:
            if exit_code is not None:
                status, error_basis = ("error", "exit_code") if exit_code else ("ok", None)
            elif step.text and ERROR_TEXT.match(step.text):
                status, error_basis = "error", "text"
            else:
                status = "ok"
        c = self.find_call(id, name)
        if c is None:
            self.issue("orphan_result", f"result of {name or 'a tool'} answers no call (id {id!r})", seq=seq)
            step.is_error = status == "error"
            return seq
        c.result_seq, c.result_text, c.status, c.error_basis, c.exit_code = (
            seq,
            step.text,
            status,
            error_basis,
            exit_code,
        )
        c.result_len = len(step.text) if step.text else 0
        if status == "error":
            c.error_message = (step.text or "")[:500]
        for column, value in (call_columns or {}).items():
            setattr(c, column, value)
        step.tool_call_key = c.tool_call_key
        step.is_error = status == "error"
        return seq

    def llm(self, llm_call_id: str | None = None, **columns: Any) -> str:
        """Append one model call; `input_tokens` counts ALL prompt tokens, cached ones included. Returns its id."""
        name = as_name(llm_call_id) or f"llm-{len(self.llm_calls)}"
        for column in COUNTS:
            told = columns.get(column)
            if told is not None and (number(told) is None or told < 0):
                self.issue("bad_number", f"{column} of model call {name} is {str(told)[:80]!r}")
                columns[column] = None
        for column in ("model", "agent"):
            if column in columns:
                columns[column] = as_name(columns[column])
        self.llm_calls.append({"llm_call_id": name, "tools_hash": self._offered[1], **columns})
        return name

    def offer(self, tools: Any) -> None:
        """Keep the definitions of the tools that the model calls from here on are offered: once, as a blob that `tools_hash`
        names. Their names, as far as the shape is known, stand in `extra.tools_offered`. None: no tools.
        """
        if tools == self._offered[0]:
            return
        text = as_json(tools)
        self._offered = tools, text and blobs.keep(text, "application/json", self.blobs)
        names = self.extra.setdefault("tools_offered", []) if text else []
        for name in map(_tool_name, tools if isinstance(tools, list) else [tools]):
            if name is not None and name not in names:
                names.append(name)

    def annotate(self, kind: str, name: str, **columns: Any) -> None:
        """Append a score, label, failure or feedback (columns of `annotations`)."""
        self.annotations.append({"kind": kind, "name": name, **columns})

    def expect(self, kind: str, **columns: Any) -> None:
        """Append a reference item (columns of `expected`)."""
        self.expected.append({"kind": kind, "idx": len(self.expected), **columns})

    def slice(self, name: str, value: Any, basis: str = "metadata") -> None:
        """Give the trace a low-cardinality attribute."""
        if value is not None and value != "":
            self.slices[name] = (str(value)[:200], basis)

    def issue(self, code: str, detail: str, *, severity: str = "warning", seq: int | None = None, n: int = 1) -> None:
        self.issues.append(Issue(code, severity, detail[:500], None, self.trace_id, seq, n))

    def finish(self, source_id: str) -> None:
        """Fill what follows from the steps and calls: order, counts, totals, texts, fingerprint."""
        self.source_id = source_id
        if self.root_trace_id is None:
            self.root_trace_id = self.parent_trace_id or self.trace_id
        for c in self.calls:
            if c.result_seq is None and c.status is None:
                c.status = "pending"
        self._count()
        self._total()
        said = [s for s in self.steps if s.kind == "message" and s.text]
        if self.input_text is None:
            asked = [s for s in said if s.role == "user"]
            self.input_text = next((s.text for s in asked if s.origin not in ("harness", "copied")), None)
            if self.input_text is None and asked:
                self.input_text = asked[0].text
        if self.final_output is None:
            self.final_output = next((s.text for s in reversed(said) if s.role == "assistant"), None)
        for s in self.steps:
            if s.parts:
                s.parts = blobs.take(s.parts, self.blobs)
            s.text_len = len(s.text) if s.text else 0
        words = [f"{s.role}\0{s.text}\0" for s in self.steps]
        words += [f"{c.name}\0{c.args_text}\0" for c in self.calls]
        self.fingerprint = hashlib.sha1("".join(words).encode(errors="replace")).hexdigest()
        if self.end_reason is None:
            self.end_reason = "unknown"
        if self.fidelity is None:
            self.fidelity = "full" if any(s.reasoning for s in self.steps) else "no_reasoning"

    def _count(self) -> None:
        self.n_steps = len(self.steps)
        copied = {s.seq for s in self.steps if s.origin == "copied"}  # counted in the trace they were copied from
        calls = [c for c in self.calls if c.call_seq not in copied] if copied else self.calls
        own = [c for c in calls if c.requestor in ("assistant", "provider", None)]
        self.n_tool_calls = len(own)
        self.n_tool_errors = sum(c.status == "error" for c in own)
        self.n_user_turns = sum(
            s.role == "user" and s.kind == "message" and s.origin not in ("harness", "copied") for s in self.steps
        )
        if self.n_llm_calls is None:
            self.n_llm_calls = len(self.llm_calls) or sum(
                s.role == "assistant" and s.kind == "message" and s.origin != "copied" for s in self.steps
            )
        stamps = [s.ts for s in self.steps if s.ts is not None]
        if stamps and self.started_at is None:
            self.started_at = min(stamps)
        if stamps and self.ended_at is None:
            self.ended_at = max(stamps)
        if self.duration_s is None and self.started_at is not None and self.ended_at is not None:
            span = (self.ended_at - self.started_at).total_seconds()
            self.duration_s = span if span >= 0 else None
        self.time_basis = self.time_basis or ("tz" if self.started_at else "none")

    def _total(self) -> None:
        for name in COUNTS:
            told = getattr(self, name)
            if told is not None and (number(told) is None or told < 0):
                self.issue("bad_number", f"{name} is {str(told)[:80]!r}")
                setattr(self, name, None)
        totals = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")
        if self.usage_basis is None:
            known = [
                c for c in self.llm_calls if c.get("input_tokens") is not None or c.get("output_tokens") is not None
            ]
            self.usage_basis = "calls" if known else "none"
            for name in totals if known else ():
                values = [c[name] for c in known if c.get(name) is not None]
                setattr(self, name, sum(values) if values else None)
        if self.cost_basis is None:
            costs = [c["cost_usd"] for c in self.llm_calls if c.get("cost_usd") is not None]
            if costs and self.cost_usd is None:
                self.cost_usd = sum(costs)
            self.cost_basis = "reported" if self.cost_usd is not None else "none"
        models = list(dict.fromkeys(c["model"] for c in self.llm_calls if c.get("model")))
        self.models = self.models or models or ([self.model] if self.model else [])
        if self.model is None and models:
            self.model = models[0]


def _tool_name(tool: Any) -> str | None:
    """The name a tool's definition gives it, in OpenAI's, Anthropic's, MCP's or LangChain's shape."""
    if not isinstance(tool, dict):
        return tool if isinstance(tool, str) else None
    for held in (tool, tool.get("function"), tool.get("toolSpec"), tool.get("json_schema")):
        if isinstance(held, dict) and isinstance(held.get("name"), str):
            return str(held["name"])
    return None


def _parse_args(text: str) -> tuple[Any, str | None]:
    """(arguments, why they are not JSON or None)."""
    if not text.strip():
        return {}, None
    try:
        value = orjson.loads(text)
        if isinstance(value, str) and value[:1] == "{":
            value = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        return None, str(error)[:200]
    return clean(value) if "\\u0000" in text else value, None
