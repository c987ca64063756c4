"""Inspect AI: evaluation logs, `.eval` archives and `.json` documents. One trace a sample and epoch.

    {"version": 2, "status": "success", "eval": {"task": "ctf", "model": "openai/gpt-4o", "run_id": "…"}, "plan": {…}, "samples":
     [{"id": 1, "epoch": 1, "input": "…", "target": "…", "messages": [{"role": "user", "content": "attachment://…", "source": "input"}],
       "scores": {"match": {"value": "C"}}, "events": [{"event": "model", …}], "attachments": {"…": "…"}, "limit": {"type": "token"}}]}

An archive holds `header.json` (not of a run that crashed), `_journal/start.json` and `samples/<id>_epoch_<n>.json`, packed with
deflate or zstd; without its index the members are found by their own headers. Attachments are put back in. Steps are the final
`messages`; answers of the model that only the events hold (sub-agents, contexts before a compaction) follow off the path. One row a
model event; calls of scorers are counted as an issue, not as the agent's. Cached tokens are added where the total says they stand
apart. Tool errors: `error` of the message (flag). Outcome: the first score, C or 1 or true passes, I, N, 0 or false fails, others
leave it open; `limit` and `error` are the end. Trial: `epoch`. Dropped: store, timelines, sandbox events, tool definitions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from insights.corpus.formats import Confidence, reader
from insights.corpus.formats.chat import timestamp
from insights.corpus.formats.inspect_archive import Member, Unreadable, document, members
from insights.corpus.parse import mapping, mappings, number, sequence, word
from insights.corpus.sniff import Head
from insights.corpus.source import Record, Source
from insights.corpus.trace import Trace, as_name, as_text

ATTACHED = re.compile(r"(?:attachment|tc)://([0-9a-f]{32})")
WHOLE_BELOW = 256 << 20  # unit: bytes of a sample; of a larger one the events are left out
LONG = frozenset({"events", "events_data", "store", "timelines", "transcript", "message_pool", "calls_pool"})
LETTERS = {"C": 1.0, "I": 0.0, "P": 0.5, "N": 0.0}
LIMITS = {"message": "limit_steps", "turn": "limit_steps", "token": "limit_tokens", "context": "limit_tokens",
          "time": "limit_time", "working": "limit_time", "cost": "limit_cost", "operator": "user_abort"}  # fmt: skip
STOPS = {"stop": "completed", "max_tokens": "limit_tokens", "model_length": "limit_tokens", "content_filter": "refused"}
THOUGHT, CALLED = "reasoning", "tool_use"


def _detect(head: Head) -> Confidence | None:
    if head.magic == "zip":
        first = head.head[30 : 30 + int.from_bytes(head.head[26:28], "little")]
        if first in (b"_journal/start.json", b"header.json") or first.startswith(b"samples/"):
            return "certain" if first != b"samples/" and (not first.startswith(b"samples/") or _indexed(head)) else None
        return "certain" if b"_journal/start.json" in head.tail and _indexed(head) else None
    doc = head.first
    if not isinstance(doc.get("eval"), dict) or "version" not in doc:
        return None
    known = {"task", "model", "run_id"} & doc["eval"].keys()
    return "certain" if known and (doc.keys() & {"status", "plan"}) else None


def _indexed(head: Head) -> bool:
    names = {m.name for m in members(head.path)[0]}
    return bool({"header.json", "_journal/start.json"} & names)


@reader("inspect", title="Inspect AI evaluation logs", rank=14, detect=_detect, single=True)
def read(source: Source) -> Iterator[Trace]:
    if source.head.magic == "zip":
        yield from _archive(source)
        return
    head = source.header("samples", "reductions")
    n = 0
    for record in source.records("samples"):
        if isinstance(record.value, dict):
            n += 1
            yield from source.attempt(record, sample_trace, head, record.value, record)
    if not n:
        _no_samples(source, head)


def _no_samples(source: Source, head: Mapping[str, Any]) -> None:
    why = mapping(head.get("error")).get("message")
    said = f": {why}" if why else ""
    source.issue("no_samples", f"an Inspect log without samples, status {head.get('status')}{said}")


def _archive(source: Source) -> Iterator[Trace]:
    found, indexed = members(source.path)
    named = {m.name: m for m in found}
    if not indexed:
        source.truncated = True
        source.issue(
            "no_index", "the archive has no index: the run or the copy broke off; its members were read one by one"
        )
    head: dict[str, Any] = {}
    for name in ("header.json", "_journal/start.json"):
        if not head and name in named:
            head = mapping(_member(source, named[name]))
    if "header.json" not in named:
        source.issue("crashed", "the log has no header: the run did not finish", severity="info")
        head = {"status": "started", **head}
    n = 0
    for member in found:
        if member.name.startswith("samples/"):
            source.n_records += 1
            record = Record(_member(source, member), pointer=f"/{member.name}")
            if isinstance(record.value, dict):
                n += 1
                if member.size > WHOLE_BELOW:
                    source.issue(
                        "events_left_out", f"{member.name} is {member.size >> 20} MB: its events were left out"
                    )
                yield from source.attempt(record, sample_trace, head, record.value, record)
    if not n:
        _no_samples(source, head)


def _member(source: Source, member: Member) -> Any:
    try:
        return document(source.path, member, LONG, WHOLE_BELOW)
    except Unreadable as error:
        reason = str(error)
    except ValueError as error:
        reason = f"{member.name}: {error}"
    source.n_bad += 1
    source.issue("bad_member", reason, severity="error")
    return None


def sample_trace(head: Mapping[str, Any], sample: dict[str, Any], record: Record) -> Trace:
    """The trace of one sample; `head` is the log without its samples."""
    spec = mapping(head.get("eval"))
    held = {**mapping(mapping(sample.get("transcript")).get("content")), **mapping(sample.get("attachments"))}
    if held:
        sample = {k: v if k == "attachments" else attached(v, held) for k, v in sample.items() if k != "transcript"} | {
            "transcript": attached(sample.get("transcript"), held)
        }
    run = as_name(spec.get("eval_id") or spec.get("run_id")) or "log"
    own = as_name(sample.get("uuid")) or f"{run}/{sample.get('id')}/{sample.get('epoch', 1)}"
    t = Trace("inspect", own, framework="inspect_ai")
    _about(t, spec, sample, head)
    conversation(t, mappings(sample.get("messages")), f"{record.pointer or ''}/messages")
    events = mappings(sample.get("events")) or mappings(mapping(sample.get("transcript")).get("events"))
    events_of(t, events)
    _totals(t, sample)
    _scores(t, sample)
    _end(t, sample)
    return t


def attached(value: Any, held: Mapping[str, Any]) -> Any:
    """The value with every reference to an attachment replaced by its text."""
    if isinstance(value, str):
        if "://" not in value:
            return value
        return ATTACHED.sub(lambda m: (as_text(held.get(m[1])) or "") if m[1] in held else m[0], value)
    if isinstance(value, list):
        return [attached(v, held) for v in value]
    return {k: attached(v, held) for k, v in value.items()} if isinstance(value, dict) else value


def _about(t: Trace, spec: Mapping[str, Any], sample: Mapping[str, Any], head: Mapping[str, Any]) -> None:
    t.task_id = as_name(sample.get("id"))
    t.trial = sample["epoch"] if isinstance(sample.get("epoch"), int) else None
    t.dataset = as_name(spec.get("task"))
    t.model, t.agent = as_name(spec.get("model")), as_name(spec.get("solver"))
    t.started_at, t.ended_at = timestamp(sample.get("started_at")), timestamp(sample.get("completed_at"))
    t.duration_s = number(sample.get("total_time"))
    data = as_name(mapping(spec.get("dataset")).get("name"))
    for name, value in {"dataset": data, "run_id": spec.get("run_id"), "status": head.get("status"),
                        "inspect_version": mapping(spec.get("packages")).get("inspect_ai"),
                        "created": spec.get("created"), "task_version": spec.get("task_version")}.items():  # fmt: skip
        if value not in (None, ""):
            t.metadata[name] = as_name(value)
    for holder in (mapping(spec.get("task_args")), mapping(sample.get("metadata"))):
        t.metadata.update(
            {k: v for k, v in holder.items() if isinstance(v, (str, int, float, bool)) and len(str(v)) < 2000}
        )
    t.slice("task", t.dataset)
    t.tags = [str(x) for x in sequence(spec.get("tags"))]
    if sample.get("invalidation") or head.get("invalidated") is True:
        t.tags.append("invalidated")
    target = sample.get("target")
    for value in target if isinstance(target, list) else [target]:
        if value not in (None, ""):
            t.expect("answer", value=as_text(value))
    retries = sequence(sample.get("error_retries"))
    if retries:
        t.issue(
            "retried", "attempts before this one ended in an error and are not kept", severity="info", n=len(retries)
        )


def conversation(t: Trace, messages: list[dict[str, Any]], where: str) -> None:
    """Inspect's messages as steps."""
    stated = any(m.get("source") == "input" for m in messages)
    start = len(t.steps)
    for i, m in enumerate(messages):
        _message(t, m, f"{where}/{i}", stated)
    said = [s.text for s in t.steps[start:] if s.role == "assistant" and s.text]
    t.final_output = said[-1] if said else None  # of the final thread, whatever the events hold besides


def _content(content: Any) -> tuple[str | None, str | None, list[Any], bool]:
    """(text, reasoning, other parts, whether reasoning was hidden) of a message."""
    if not isinstance(content, list):
        return as_text(content), None, [], False
    texts, thoughts, rest, hidden = [], [], [], False
    for part in content:
        kind = word(mapping(part).get("type"))
        if kind == "text" and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif kind == THOUGHT:
            said = part.get("summary") if part.get("redacted") else part.get("reasoning")
            hidden = hidden or bool(part.get("redacted"))
            thoughts.append(as_text(said) or "")
        elif kind != CALLED and part is not None:
            rest.append(part)
    return "\n".join(texts) if texts else None, "\n".join(x for x in thoughts if x) or None, rest, hidden


def _message(t: Trace, m: Mapping[str, Any], where: str, stated: bool) -> int:
    role = word(m.get("role")) or None
    text, reasoning, rest, hidden = _content(m.get("content"))
    if role == "tool":
        return _result(t, m, text, rest, where)
    source = m.get("source")
    origin = "model" if role == "assistant" else "harness" if role == "system" else "human"
    if role == "user" and stated and source not in ("input", "operator"):
        origin = "harness"
    seq = t.step(role, text, origin=origin, reasoning=reasoning, reasoning_hidden=hidden or None, parts=rest or None,
                 native_id=as_name(m.get("id")), src_pointer=where)  # fmt: skip
    for call in mappings(m.get("tool_calls")):
        error = as_text(call.get("parse_error"))
        named = {"args_error": error[:200]} if error else {}
        t.call(seq, call.get("function"), call.get("arguments"), id=call.get("id"), **named)
    for part in sequence(m.get("content")):
        if mapping(part).get("type") == CALLED:  # run by the provider, its result in the same message
            name = part.get("name") or part.get("tool_type")
            failed = bool(part.get("error"))
            t.call(seq, name, part.get("arguments"), id=part.get("id"), requestor="provider")
            t.result(part.get("error") or part.get("result"), id=part.get("id"), name=as_name(name), status="error" if failed else "ok",
                     error_basis="flag" if failed else None, src_pointer=where)  # fmt: skip
    return seq


def _result(t: Trace, m: Mapping[str, Any], text: str | None, rest: list[Any], where: str) -> int:
    error = mapping(m.get("error"))
    said = as_text(error.get("message"))
    return t.result(
        text or said,
        id=m.get("tool_call_id"),
        name=as_name(m.get("function")),
        status="error" if error else "ok",
        error_basis="flag" if error else None,
        parts=rest or None,
        native_id=as_name(m.get("id")),
        src_pointer=where,
        call_columns={"error_type": as_name(error.get("type")), "error_message": said} if error else None,
        extra={"error": said} if text and said and said != text else None,
    )


def events_of(t: Trace, events: list[dict[str, Any]]) -> None:
    """Model calls, times of tool calls, what was typed at the console, and what the model said off the final thread."""
    if typed := [e["input"] for e in events if e.get("event") == "input" and isinstance(e.get("input"), str)]:
        t.extra["console"] = typed
    by_id = {s.native_id: s.seq for s in t.steps if s.native_id and s.role == "assistant"}
    by_text: dict[tuple[str, str], list[int]] = {}
    for s in t.steps:
        if s.role == "assistant" and not s.native_id:
            by_text.setdefault((s.text or "", _names(c.native_id for c in t.calls if c.call_seq == s.seq)), []).append(
                s.seq
            )
    calls = {c.native_id: c for c in t.calls if c.native_id}
    spans: dict[Any, tuple[Any, str, Any]] = {}
    scoring, grading, stamps = 0, 0, []
    for e in events:
        kind = word(e.get("event"))
        stamps += [x for x in (timestamp(e.get("timestamp")), timestamp(e.get("completed"))) if x]
        if kind == "span_begin":
            spans[as_name(e.get("id"))] = (as_name(e.get("parent_id")), word(e.get("type")), as_name(e.get("name")))
        elif kind == "step" and e.get("type") == "scorer":
            scoring += 1 if e.get("action") == "begin" else -1
        elif kind == "model":
            if scoring > 0 or _within(spans, e.get("span_id"), ("scorer", "scorers")) is not None:
                grading += 1
            else:
                _model(t, e, by_id, by_text, _within(spans, e.get("span_id"), ("agent",)))
        elif kind == "tool" and as_name(e.get("id")) in calls:
            c = calls[as_name(e.get("id"))]
            c.started_at, c.ended_at = timestamp(e.get("timestamp")), timestamp(e.get("completed"))
            took = number(e.get("working_time"))
            c.duration_ms = took * 1000 if took is not None else None
            if c.result_seq is not None:
                t.steps[c.result_seq].ts = c.ended_at
    if grading:
        t.issue(
            "scorer_calls", "model calls of scorers are not the agent's and not counted", severity="info", n=grading
        )
    t.started_at, t.ended_at = t.started_at or min(stamps, default=None), t.ended_at or max(stamps, default=None)


def _names(ids: Any) -> str:
    return " ".join(str(i) for i in ids)


def _within(spans: Mapping[Any, tuple[Any, str, Any]], id: Any, types: tuple[str, ...]) -> Any:
    """The name of the nearest span of one of the types that holds the event; None where there is none."""
    seen: set[Any] = set()
    at = as_name(id)
    while at in spans and at not in seen:
        seen.add(at)
        parent, kind, name = spans[at]
        if kind in types:
            return name or kind
        at = parent
    return None


def _model(t: Trace, e: Mapping[str, Any], by_id: Mapping[Any, int], by_text: dict[Any, list[int]], agent: Any) -> None:
    output = mapping(e.get("output"))
    choice = mapping(next(iter(mappings(output.get("choices"))), None))
    message = mapping(choice.get("message"))
    key = (_content(message.get("content"))[0] or "", _names(c.get("id") for c in mappings(message.get("tool_calls"))))
    seq = by_id.get(as_name(message.get("id")))
    if seq is None and by_text.get(key):
        seq = by_text[key].pop(0)
    if seq is None and message and not e.get("pending"):
        seq = _message(t, {"role": "assistant", **message}, "/events", True)
        t.steps[seq].on_path, t.steps[seq].agent = False, agent
        t.steps[seq].extra = {"event": as_name(e.get("uuid"))}
    error = as_text(e.get("error") or output.get("error"))
    start, end = timestamp(e.get("timestamp")), timestamp(e.get("completed"))
    stop = as_name(choice.get("stop_reason"))
    known = {c["llm_call_id"] for c in t.llm_calls}
    own = as_name(e.get("uuid"))
    t.offer(e.get("tools") or None)
    name = t.llm(
        own if own and own not in known else None,
        first_seq=seq,
        agent=agent,
        model=output.get("model") or e.get("model"),
        model_requested=as_name(e.get("model")),
        started_at=start,
        ended_at=end,
        finish_reason=stop,
        native_finish_reason=stop,
        status="error" if error else "ok",
        error_message=error[:2000] if error else None,
        params=mapping(e.get("config")) or None,
        **tokens(mapping(output.get("usage"))),
    )
    if seq is not None:
        t.steps[seq].llm_call_id, t.steps[seq].ts = name, end or start
        t.steps[seq].duration_ms = (end - start).total_seconds() * 1000 if start and end else None
        for c in (c for c in t.calls if c.call_seq == seq):
            c.llm_call_id = name


def tokens(usage: Mapping[str, Any]) -> dict[str, Any]:
    """Columns of `llm_calls` from a ModelUsage; cached input is added unless the total shows that it is included."""
    into, out, total = (number(usage.get(k)) for k in ("input_tokens", "output_tokens", "total_tokens"))
    if into is None and out is None:
        return {}
    read, write = number(usage.get("input_tokens_cache_read")), number(usage.get("input_tokens_cache_write"))
    apart = total is None or total > (into or 0) + (out or 0)
    return {
        "input_tokens": int((into or 0) + ((read or 0) + (write or 0) if apart else 0)),
        "output_tokens": int(out or 0),
        "cache_read_tokens": read,
        "cache_write_tokens": write,
        "reasoning_tokens": number(usage.get("reasoning_tokens")),
        "cost_usd": number(usage.get("total_cost")),
    }


def _totals(t: Trace, sample: Mapping[str, Any]) -> None:
    """The usage of the sample where no model event tells it."""
    if any(c.get("input_tokens") or c.get("output_tokens") for c in t.llm_calls):
        return
    told = [tokens(mapping(u)) for u in mapping(sample.get("model_usage")).values()]
    told = told or [tokens(mapping(mapping(sample.get("output")).get("usage")))]
    if any(told):
        t.usage_basis = "reported_total"
        for name in ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens"):
            values = [u[name] for u in told if u.get(name) is not None]
            setattr(t, name, int(sum(values)) if values else None)
    answered = as_name(mapping(sample.get("output")).get("model"))
    t.model = t.model or answered


def _scores(t: Trace, sample: Mapping[str, Any]) -> None:
    scores = mapping(sample.get("scores")) or (
        {"score": sample["score"]} if isinstance(sample.get("score"), dict) else {}
    )
    for i, (name, held) in enumerate(scores.items()):
        held = held if isinstance(held, dict) else {"value": held}
        value = held.get("value")
        basis = "judge" if "model_graded" in name else "ground_truth"
        parts = {f"{name}.{k}": v for k, v in value.items()} if isinstance(value, dict) else {name: value}
        for part, inner in parts.items():
            grade, passed = verdict(inner)
            if isinstance(value, dict) and number(inner) is not None:
                passed = None  # a part that counts something is no verdict
            label = inner if isinstance(inner, str) else None if grade is not None else as_text(inner)
            t.annotate("score", part, value=grade, label=label, passed=passed, explanation=as_text(held.get("explanation")),
                       basis=basis, extra={k: held[k] for k in ("answer", "metadata") if held.get(k) is not None} or None)  # fmt: skip
        if i == 0 and not isinstance(value, dict):
            t.score, t.success = verdict(value)
            t.score_name = name


def verdict(value: Any) -> tuple[float | None, bool | None]:
    """(grade, whether it passes) of a score's value; partial grades leave it open."""
    if isinstance(value, bool):
        return float(value), value
    if isinstance(value, str):
        grade = LETTERS.get(value)
        try:
            grade = float(value) if grade is None else grade
        except ValueError:
            return None, None
        return grade, None if grade not in (0.0, 1.0) else grade == 1.0
    grade = number(value)
    return grade, None if grade not in (0, 1) else grade == 1


def _end(t: Trace, sample: Mapping[str, Any]) -> None:
    error, limit = mapping(sample.get("error")), mapping(sample.get("limit"))
    choice = mapping(next(iter(mappings(mapping(sample.get("output")).get("choices"))), None))
    stop = as_name(choice.get("stop_reason"))
    t.native_end_reason = stop
    if error:
        text = as_text(error.get("message")) or "error"
        kind = text.split("(", 1)[0]
        t.end_reason, t.error_message = "error", text[:2000]
        t.error_type = kind if kind.isidentifier() else None
        t.step("environment", as_text(error.get("traceback")) or text, kind="error", origin="harness", is_error=True)
    elif limit:
        t.native_end_reason = as_name(limit.get("type"))
        t.end_reason = LIMITS.get(word(limit.get("type")), "unknown")
    else:
        t.end_reason = STOPS.get(stop or "", "completed" if t.score_name else "unknown")
