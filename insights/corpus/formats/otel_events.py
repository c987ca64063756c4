"""Log events that Claude Code, Codex, Gemini CLI and Qwen Code send by OpenTelemetry, as OTLP JSON or their own file.

    {"resourceLogs": [{"resource": {…}, "scopeLogs": [{"logRecords": [{"timeUnixNano": "…", "body": {"stringValue": "claude_code.tool_result"},
     "attributes": [{"key": "session.id", "value": {"stringValue": "s1"}}, {"key": "tool_name", "value": {"stringValue": "Bash"}}, …]}]}]}]}
    {"hrTime": [1772359202, 0], "attributes": {"session.id": "s1", "event.name": "gemini_cli.tool_call", "function_name": "ls"}, "body": "…"}

One trace a session (`session.id`, `conversation.id`), its events in the order of their times; a session's events may stand in
many files. Prompts, arguments and results are there only where the user switched their logging on: fidelity says so. Claude Code
counts cached tokens beside the input (added here). Where Gemini CLI tells a call in full (`gen_ai.client.inference.operation.details`)
its `api_response` gives the tokens only. Errors: `success` false, `api_error`, refused `tool_decision`. Other events are counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from insights.corpus.formats import Confidence, reader
from insights.corpus.formats.chat import timestamp
from insights.corpus.formats.otel_attributes import fill
from insights.corpus.formats.otlp_values import is_logs, log_records
from insights.corpus.formats.payload import decoded, messages
from insights.corpus.formats.span_steps import build
from insights.corpus.formats.spans import Gather, Span
from insights.corpus.parse import mapping, number
from insights.corpus.sniff import Head
from insights.corpus.source import Source
from insights.corpus.trace import Trace, as_name, as_text

NAMES = re.compile(r"\b(claude_code|codex|gemini_cli|qwen-code)\.[a-z_]+")
TOOLS = (  # one of them is in any text that NAMES finds, and is found far sooner
    "claude_code.",
    "codex.",
    "gemini_cli.",
    "qwen-code.",
)
OWN_FILE = re.compile(r'"event\.name":\s*"(?:gemini_cli|qwen-code)\.')  # of the file that begins with a metric
SESSION = re.compile(
    rb'"(?:session|conversation)\.id"\s*(?::|,\s*"value"\s*:\s*\{\s*"string_?[vV]alue"\s*:)\s*"([^"\\]{1,100})"'
)
DETAILS = "gen_ai.client.inference.operation.details"
DENIED = "refused"
REFUSED = ("reject", "denied", "deny", "abort")
COUNTS = {
    "input_tokens": ("input_token_count", "input_tokens"),
    "output_tokens": ("output_token_count", "output_tokens"),
    "cache_read_tokens": ("cached_token_count", "cached_content_token_count", "cache_read_tokens"),
    "cache_write_tokens": ("cache_creation_tokens",),
    "reasoning_tokens": ("reasoning_token_count", "thoughts_token_count"),
}
ARGUMENTS = ("function_args", "arguments", "tool_input", "tool_parameters", "full_command")
RESULTS = ("output", "tool_output", "tool_result", "content", "error", "error.message")
SAID = ("response_text", "response", "message", "text")


def _detect(head: Head) -> Confidence | None:
    if not any(tool in head.text for tool in TOOLS) or '"resourceSpans"' in head.text or not NAMES.search(head.text):
        return None
    if any(isinstance(r, dict) and is_logs(r) for r in head.records[:5]):
        return "certain"
    return "likely" if OWN_FILE.search(head.text) else None


def _shares(source: Source) -> dict[str, Any]:
    with source.path.open("rb") as file:
        return {f"events:{id.decode('utf-8', 'replace')}": 0 for line in file for id in SESSION.findall(line)}


@reader(
    "otel_events",
    title="OpenTelemetry events of Claude Code, Codex, Gemini CLI",
    rank=20,
    detect=_detect,
    shares=_shares,
)
def read(source: Source) -> Iterator[Trace]:
    gather, n = Gather(), 0
    for record in source.joined(Source.records):
        logs = list(log_records(mapping(record.value)))
        n += not logs
        for log in logs:
            told = log["attributes"]
            session = as_name(told.get("session.id") or told.get("conversation.id"))
            if session is None or not (NAMES.search(log["name"]) or log["name"] == DETAILS or "event.name" in told):
                n += 1
            else:
                place = {"offset": record.offset, "length": record.length, "pointer": record.pointer}
                gather.add(session, {**log, **place})
    if n:
        source.issue("no_step", "records of no session: metrics, spans, other programs' logs", severity="info", n=n)
    for session, rows in gather.groups():
        yield _trace(session, [mapping(r) for r in rows])


def _trace(session: str, rows: list[dict[str, Any]]) -> Trace:
    rows.sort(key=lambda r: (str(_when(r) or ""), number(r["attributes"].get("event.sequence")) or 0))
    named = next((m for r in rows if (m := NAMES.search(f"{r['name']} {r['body']}"))), None)
    agent = named[1].replace("_", "-") if named else None
    t = Trace("otel_events", session, session_id=session, agent=agent, framework=agent)
    resource = mapping(rows[0].get("resource"))
    t.extra["resource"] = resource
    t.agent_version = as_name(resource.get("service.version") or rows[0]["attributes"].get("app.version"))
    in_full = any(r["name"] == DETAILS for r in rows)
    spans, other = [], 0
    for i, row in enumerate(rows):
        span = _span(t, row, f"{i}", agent, in_full)
        if span is not None:
            spans.append(span)
        else:
            other += 1
    t.end_reason = "error" if spans and spans[-1].failed and spans[-1].kind == "llm" else "unknown"
    build(t, spans)
    for c in t.calls:
        c.status = "denied" if c.error_type == DENIED else c.status
    t.spans.clear()  # there are none: events are what the source has
    if other:
        t.issue("no_step", "events that are no step", severity="info", n=other)
    if not any(s.role == "assistant" and s.text for s in t.steps):
        t.fidelity = "text_only" if any(s.text for s in t.steps) else "metadata_only"
    return t


def _when(row: Mapping[str, Any]) -> Any:
    return timestamp(mapping(row["attributes"]).get("event.timestamp")) or timestamp(row["time"])


def _span(t: Trace, row: Mapping[str, Any], id: str, agent: str | None, in_full: bool) -> Span | None:
    """What an event tells, as a span; None for those that are no step."""
    told = mapping(row["attributes"])
    name = str(row["name"]).rsplit(".", 1)[-1] if row["name"] != DETAILS else DETAILS
    s = Span(id, name=name, convention="events", start=_when(row), end=_when(row), offset=row.get("offset"),
             length=row.get("length"), pointer=row.get("pointer"))  # fmt: skip
    took = _number(told.get("duration_ms"))
    if took is not None and s.end is not None:
        s.start = s.end - timedelta(milliseconds=took)
    s.model = as_name(told.get("model"))
    if name == "user_prompt":
        s.given = [{"role": "user", "content": as_text(told.get("prompt"))}]
    elif name == DETAILS:
        fill(s, told, [{"name": DETAILS, "attributes": told}])
        s.kind, s.usage = "llm", {}
    elif name in ("api_request", "api_response", "sse_event"):
        return _call(s, name, told, agent, in_full)
    elif name in ("api_error", "stream_error"):
        s.kind, s.failed, s.given, s.said = "llm", True, [], []
        s.error = as_text(told.get("error") or told.get("error.message") or told.get("error_message"))
        s.error_type = as_name(told.get("error_type") or told.get("status_code"))
    elif name in ("tool_result", "tool_call"):
        _executed(s, told)
    elif name == "tool_decision" and str(told.get("decision")).lower().startswith(REFUSED):
        why = f"refused ({as_name(told.get('source')) or 'no reason told'})"
        _executed(s, {**told, "success": False, "error": why, "error_type": DENIED})
    elif any(isinstance(told.get(k), str) for k in SAID) and name.startswith(("assistant", "agent_message")):
        s.kind, s.given = "llm", []
        s.said = [{"role": "assistant", "content": next(told[k] for k in SAID if told.get(k))}]
    else:
        about = (
            "provider_name",
            "approval_policy",
            "sandbox_policy",
            "reasoning_effort",
            "mcp_servers",
            "approval_mode",
        )
        t.metadata.update({k: told[k] for k in about if told.get(k) not in (None, "")})
        return None
    return s


def _call(s: Span, name: str, told: Mapping[str, Any], agent: str | None, in_full: bool) -> Span | None:
    """A model call: its tokens and cost, and the answer where it is logged."""
    usage = {c: int(n) for c, keys in COUNTS.items() if (n := next((_number(told[k]) for k in keys if k in told), None)) is not None}  # fmt: skip
    if agent == "claude-code" and "input_tokens" in usage:
        usage["input_tokens"] += usage.get("cache_read_tokens", 0) + usage.get("cache_write_tokens", 0)
    if agent in ("gemini-cli", "qwen-code") and "output_tokens" in usage:
        usage["output_tokens"] += usage.get("reasoning_tokens", 0)
    failed = as_text(told.get("error.message") or told.get("error"))
    if not usage and not failed and not told.get("response_text"):
        return None  # a request whose answer is told by another event, or a piece of a stream
    s.kind, s.usage, s.cost, s.failed, s.error = "llm", usage, _number(told.get("cost_usd")), bool(failed), failed
    s.response_id = as_name(told.get("request_id") or told.get("response_id"))
    s.given = []
    s.said = [] if in_full else messages(told.get("response_text"), "assistant")
    return s


def _executed(s: Span, told: Mapping[str, Any]) -> None:
    """A tool's execution."""
    s.kind = "tool"
    s.tool = as_name(told.get("tool_name") or told.get("function_name") or told.get("name")) or "tool"
    s.call_id = as_name(told.get("call_id") or told.get("tool_use_id"))
    s.input = decoded(next((told[k] for k in ARGUMENTS if told.get(k) not in (None, "", {})), None))
    s.output = next((told[k] for k in RESULTS if told.get(k) not in (None, "")), None)
    said = str(told.get("success")).lower()
    s.failed = True if said == "false" else False if said == "true" else None
    s.error = as_text(told.get("error") or told.get("error.message")) if s.failed else None
    s.error_type = as_name(told.get("error_type"))


def _number(value: Any) -> float | None:
    """A number, also where it stands as text, as these events have it."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    return number(value)
