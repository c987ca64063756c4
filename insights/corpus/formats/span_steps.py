"""Spans of one trace to steps, calls and rows of `spans`: what every observability format shares.

The rules:

- A span stored twice counts once, the last copy. One whose parent is not there is a root.
- A model call is an `llm` span without another below it; what an outer one adds up is not counted again.
- Every call repeats the history of its agent: only messages not shown before become steps, then the answer.
- A `tool` span is the execution of a call the model asked for, by id, else by name; without one it is a call of its own.
- Where no model call has text, the input and output of the outermost span are the conversation (fidelity io_only).
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

from insights.corpus.formats import payload
from insights.corpus.formats.chat import add_messages
from insights.corpus.formats.spans import CALLED, Message, Span
from insights.corpus.trace import ToolCall, Trace, as_name, as_text

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
WRAPPERS = ("output", "content", "outputs")  # keys that hold a result alone; callbacks write their `kwargs` beside it
FARTHEST = 256  # unit: levels of spans within spans
STOPPED = {
    "completed": {"stop", "end_turn", "stop_sequence", "completed", "complete", "finish", "eos"},
    "limit_tokens": {"length", "max_tokens", "max_output_tokens", "model_length"},
    "refused": {"content_filter", "refusal", "safety"},
}


def build(t: Trace, spans: list[Span]) -> None:
    """Fill a trace from its spans."""
    held: dict[str, Span] = {}
    for s in spans:
        held[s.id] = s
    if len(held) < len(spans):
        t.issue("repeated_span", "spans stored more than once; the last copy counts", severity="info", n=len(spans) - len(held))  # fmt: skip
    _Builder(t, held).run()


def _is_bare(value: Any) -> bool:
    """Whether a payload is text without structure: its messages and calls cannot be told apart."""
    return not isinstance(payload.decoded(value), (dict, list))


class _Builder:
    def __init__(self, t: Trace, held: dict[str, Span]) -> None:
        self.t, self.held = t, held
        self.shown: dict[str | None, Counter[tuple[str, str, str]]] = {}
        self.echoes: dict[str | None, int] = {}  # results of tool spans that no later prompt has repeated yet
        self.last: dict[str | None, int] = {}  # the last step of the model, by owner
        self.by_id: dict[str, ToolCall] = {}
        self.spoke = False  # whether a model span tells what the model answered
        self.above: dict[str, list[Span]] = {s.id: self._above(s) for s in held.values()}

    def _above(self, s: Span) -> list[Span]:
        """The ancestors of a span, nearest first, FARTHEST at most; a circle of parents ends at the first repetition."""
        found: list[Span] = []
        seen, at = {s.id}, s.parent
        while at and at in self.held and at not in seen and len(found) < FARTHEST:
            seen.add(at)
            found.append(self.held[at])
            at = self.held[at].parent
        s.depth = len(found)
        return found

    def run(self) -> None:
        t, spans = self.t, list(self.held.values())
        orphans = sum(bool(s.parent) and s.parent not in self.held for s in spans)
        if orphans:
            t.issue("orphan_span", "spans whose parent is not in the source are roots", severity="info", n=orphans)
        place = {s.id: i for i, s in enumerate(spans)}
        order = sorted(spans, key=lambda s: (s.start or LONG_AGO, s.depth, place[s.id]))
        outer = {a.id for s in spans if s.kind == "llm" for a in self.above[s.id] if a.kind == "llm"}
        inner_tools = {a.id for s in spans if s.kind == "tool" for a in self.above[s.id] if a.kind == "tool"}
        roots = [s for s in order if not self.above[s.id]]
        self._inherit(outer, spans)
        for s in order:
            self._row(s)
            if s.kind == "llm" and s.id not in outer:
                self._llm(s)
            elif s.kind == "tool" and not (s.id in inner_tools and s.input is None and s.output is None):
                self._tool(s)
            elif s.kind in ("chain", "other") and self._executes(s):
                s.tool = CALLED.sub("", s.name)
                self._tool(s)
            elif s.kind in ("agent", "guardrail", "other") and s.given:
                self._show(s, s.given)
        self._outermost(roots)
        self._head(roots, order)

    def _inherit(self, outer: set[str], spans: list[Span]) -> None:
        """What only an outer model span tells of its one inner call belongs to that call."""
        below: dict[str, list[Span]] = {}
        for x in spans:
            for a in self.above[x.id] if x.kind == "llm" and x.id not in outer else ():
                below.setdefault(a.id, []).append(x)
        for s in (self.held[i] for i in outer):
            if len(below.get(s.id, ())) == 1:
                (inner,) = below[s.id]
                inner.usage = inner.usage or s.usage
                inner.cost = s.cost if inner.cost is None else inner.cost
                inner.model = inner.model or s.model
                if inner.given is None and (inner.input is None or (_is_bare(inner.input) and not _is_bare(s.input))):
                    inner.input, inner.given = s.input, s.given
                if inner.said is None and (inner.output is None or (_is_bare(inner.output) and not _is_bare(s.output))):
                    inner.output, inner.said = s.output, s.said

    def _owner(self, s: Span) -> Span | None:
        return next((a for a in [s, *self.above[s.id]] if a.kind == "agent"), None)

    def _place(self, s: Span) -> dict[str, Any]:
        return {"span_id": s.id, "src_offset": s.offset, "src_len": s.length, "src_pointer": s.pointer}

    def _agent(self, s: Span) -> str | None:
        owner = self._owner(s)
        return s.agent or (as_name(owner.agent or owner.name) if owner is not None else None)

    def _llm(self, s: Span) -> None:
        t = self.t
        given = s.given if s.given is not None else payload.messages(s.input, "user")
        said = s.said if s.said is not None else payload.messages(s.output, "assistant")
        self.spoke = self.spoke or bool(said)
        said = [{**m, "role": "assistant"} if m.get("role") in ("user", None) else m for m in said]
        owner = self._scope(s, given)
        self._show(s, given)
        first = len(t.steps)
        for m in self._missing(owner, said):
            self._add(s, m, s.end or s.start)
        answers = [x for x in t.steps[first:] if x.role == "assistant"]
        if not answers:
            text = s.error if s.failed and not said else None
            seq = t.step("assistant", None, origin="model", agent=self._agent(s), ts=s.end or s.start, **self._place(s))
            if text:
                t.step("environment", text, kind="error", origin="harness", is_error=True, ts=s.end, **self._place(s))
            self.last[owner] = seq
        seq = answers[0].seq if answers else seq
        finish = s.finish or next((as_name(m["finish_reason"]) for m in said if m.get("finish_reason")), None)
        t.offer(s.tools or payload.tools_of(s.input))
        own = as_name(s.response_id)
        known = any(c["llm_call_id"] == own for c in t.llm_calls)
        name = t.llm(
            s.id if not own or known else own,
            first_seq=seq,
            span_id=s.id,
            agent=self._agent(s),
            model=s.model or s.model_requested,
            model_requested=s.model_requested,
            provider=s.provider,
            started_at=s.start,
            ended_at=s.end,
            ttft_ms=s.ttft_ms,
            cost_usd=s.cost,
            native_finish_reason=finish,
            finish_reason=finish,
            status="error" if s.failed else "ok",
            error_type=s.error_type,
            error_message=s.error if s.failed else None,
            params=s.params,
            **s.usage,
        )
        for x in answers or [t.steps[seq]]:
            x.llm_call_id = name
            x.duration_ms = (s.end - s.start).total_seconds() * 1000 if s.start and s.end else None
        for c in (c for c in t.calls if c.call_seq is not None and t.steps[c.call_seq].llm_call_id == name):
            c.llm_call_id = name

    def _scope(self, s: Span, given: list[Message]) -> str | None:
        """The id of the agent a call belongs to. A new agent that was handed another's history goes on with it."""
        owner = self._owner(s)
        own = owner.id if owner is not None else None
        if own not in self.shown:
            keys = Counter(payload.key(m) for m in given)
            for other, known in self.shown.items():
                both = keys & known
                if sum(both.values()) > 1 and any(k[0] == "assistant" for k in both):
                    self.shown[own], self.last[own] = Counter(known), self.last.get(other, 0)
                    break
        return own

    def _missing(self, owner: str | None, messages: list[Message]) -> list[Message]:
        """The messages not shown before, as often as they are missing."""
        known = self.shown.setdefault(owner, Counter())
        left, new = Counter(known), []
        for m in messages:
            k = payload.key(m)
            if left[k] > 0:
                left[k] -= 1
            elif not self._is_echo(owner, m):
                new.append(m)
                known[k] += 1
        return new

    def _is_echo(self, owner: str | None, m: Message) -> bool:
        """Whether a prompt repeats a call already known, or a result that a tool span has given."""
        if m.get("role") == "assistant" and m.get("tool_calls"):
            return all(c.get("id") and c["id"] in self.by_id for c in m["tool_calls"])
        if m.get("role") != "tool":
            return False
        id = m.get("tool_call_id")
        if id and id in self.by_id:
            return self.by_id[id].result_seq is not None
        if self.echoes.get(owner):
            self.echoes[owner] -= 1
            self.shown[owner][payload.key(m)] += 1
            return True
        return False

    def _show(self, s: Span, messages: list[Message]) -> None:
        owner = self._owner(s)
        for m in self._missing(owner.id if owner is not None else None, messages):
            self._add(s, m, s.start)

    def _add(self, s: Span, m: Message, ts: datetime | None) -> None:
        owner = self._owner(s)
        n = len(self.t.calls)
        for step in add_messages(self.t, [m]):
            step.ts, step.span_id = step.ts or ts, s.id
            step.src_offset, step.src_len, step.src_pointer = s.offset, s.length, s.pointer
            if step.role == "assistant":
                step.agent = self._agent(s)
                self.last[owner.id if owner is not None else None] = step.seq
        for c in self.t.calls[n:]:
            c.span_id = s.id
            if c.native_id:
                self.by_id[c.native_id] = c

    def _tool(self, s: Span) -> None:
        t = self.t
        owner = self._owner(s)
        own = owner.id if owner is not None else None
        name, args = s.tool or s.name, payload.arguments(s.input)
        call = self._waiting(s, name, args)
        if call is None:
            seq = self.last.get(own)
            if seq is None or self._is_over(seq, s):
                seq = t.step("assistant", None, origin="model", agent=self._agent(s), ts=s.start, **self._place(s))
                self.last[own] = seq
            known = s.call_id is not None and s.call_id in self.by_id
            t.call(
                seq, name, args if isinstance(args, dict) else as_text(args), id=s.id if known else s.call_id or s.id
            )
            call = t.calls[-1]
            if any(a.kind == "tool" for a in self.above[s.id]):
                call.requestor = "harness"
            self.by_id[call.native_id or ""] = call
        said = result_text(s.output)
        at = t.result(
            said if said or not s.failed else s.error,
            id=call.native_id,
            name=call.name,
            status="error" if s.failed else "ok" if s.failed is False else None,
            error_basis="span_status" if s.failed else None,
            ts=s.end or s.start,
            agent=self._agent(s),
            call_columns={"span_id": s.id, "started_at": s.start, "ended_at": s.end, "error_type": s.error_type,
                          "duration_ms": (s.end - s.start).total_seconds() * 1000 if s.start and s.end else None},
            **self._place(s),
        )  # fmt: skip
        if s.failed and s.error and call.result_seq == at:
            call.error_message = s.error[:500]
        self.echoes[own] = self.echoes.get(own, 0) + 1

    def _executes(self, s: Span) -> bool:
        """Whether a span of no stated kind is named after a call that waits for its result, and is a leaf."""
        name = CALLED.sub("", s.name)
        waits = any(c.name == name and c.result_seq is None for c in self.t.calls)
        return waits and s.output is not None and not any(s in above for above in self.above.values())

    def _is_over(self, seq: int, s: Span) -> bool:
        """Whether a step that only stands for calls without a model span has had a result before this call began."""
        step, last = self.t.steps[seq], self.t.steps[-1]
        alone = step.llm_call_id is None and not step.text
        return alone and last.kind == "tool_result" and bool(last.ts and s.start and last.ts <= s.start)

    def _waiting(self, s: Span, name: str, args: Any) -> ToolCall | None:
        """The call a tool span executes: by id; else one of its name without a result, best with the same arguments."""
        if s.call_id and s.call_id in self.by_id:
            found = self.by_id[s.call_id]
            return found if found.result_seq is None else None
        waiting = [c for c in self.t.calls if c.result_seq is None and c.name == name]
        return next((c for c in waiting if c.args == args), waiting[0] if waiting else None)

    def _outermost(self, roots: list[Span]) -> None:
        """The text that only the outermost span has: the question where none was shown, the answer where none was given."""
        t = self.t
        asked = any(x.role == "user" and x.text for x in t.steps)
        answered = any(x.role == "assistant" and x.text for x in t.steps)
        for s in [r for r in (roots[:1] if t.steps else roots) if r.kind not in ("tool", "llm")]:
            question = payload.messages(s.input, "user") if not asked and not s.given else []
            if question:
                place = {"ts": s.start, "span_id": s.id, "src_pointer": s.pointer}
                t.input_text = "\n".join(as_text(m.get("content")) or "" for m in question)[:100_000]
                self._question(t.input_text, place)
            answer = [] if answered else payload.messages(s.output, "assistant")
            for m in answer:
                self._add(s, {**m, "role": "assistant"} if m.get("role") == "user" else m, s.end)
        if not self.spoke:
            whole = any(x.text for x in t.steps)
            t.fidelity = "io_only" if whole or t.calls else "metadata_only"

    def _question(self, text: str, place: dict[str, Any]) -> None:
        """Put the question before everything else."""
        t = self.t
        t.step("user", text, origin="human", **place)
        t.steps.insert(0, t.steps.pop())
        for i, step in enumerate(t.steps):
            step.seq = i
        for c in t.calls:
            c.call_seq = c.call_seq + 1 if c.call_seq is not None else None
            c.result_seq = c.result_seq + 1 if c.result_seq is not None else None
        for row in t.llm_calls:
            row["first_seq"] = row["first_seq"] + 1
        self.last = {k: v + 1 for k, v in self.last.items()}

    def _head(self, roots: list[Span], order: list[Span]) -> None:
        t = self.t
        starts, ends = [s.start for s in order if s.start], [s.end for s in order if s.end]
        t.started_at, t.ended_at = t.started_at or min(starts, default=None), t.ended_at or max(ends, default=None)
        if t.agent is None:
            t.agent = next((as_name(s.agent or s.name) for s in order if s.kind == "agent"), None)
        calls = t.llm_calls
        t.n_llm_calls = len(calls)
        if not any(c.get("input_tokens") or c.get("output_tokens") for c in calls):
            self._reported(roots)
        failed = next((s for s in roots if s.failed), None)
        finish = next((c["native_finish_reason"] for c in reversed(calls) if c.get("native_finish_reason")), None)
        if t.end_reason is not None:
            return
        if failed is not None:
            t.end_reason, t.error_type, t.error_message = (
                "error",
                failed.error_type,
                (failed.error or "")[:2000] or None,
            )
        elif roots and roots[0].start and roots[0].end is None and starts:
            t.end_reason = "still_running"
        t.native_end_reason = t.native_end_reason or finish
        if t.end_reason is None:
            t.end_reason = next((k for k, v in STOPPED.items() if finish and finish.lower() in v), None)

    def _reported(self, roots: list[Span]) -> None:
        """Where no call tells its tokens, the sum the outermost spans report."""
        told = [s for s in roots if s.usage]
        if told:
            self.t.usage_basis = "reported_total"
            for name in (
                "input_tokens",
                "output_tokens",
                "cache_read_tokens",
                "cache_write_tokens",
                "reasoning_tokens",
            ):
                values = [s.usage[name] for s in told if isinstance(s.usage.get(name), (int, float))]
                setattr(self.t, name, sum(values) if values else None)
        if not any(c.get("cost_usd") for c in self.t.llm_calls):
            costs = [s.cost for s in roots if isinstance(s.cost, (int, float))]
            self.t.cost_usd = sum(costs) if costs and self.t.cost_usd is None else self.t.cost_usd

    def _row(self, s: Span) -> None:
        keep = s.kind not in ("llm", "tool") or (s.given is None and s.said is None)
        self.t.spans.append(
            {
                "span_id": s.id,
                "parent_span_id": s.parent,
                "otel_trace_id": self.t.native_id,
                "name": s.name,
                "kind": s.kind,
                "native_kind": s.native_kind or None,
                "convention": s.convention,
                "started_at": s.start,
                "ended_at": s.end,
                "status": "error" if s.failed else "ok" if s.failed is False else "unset",
                "error_type": s.error_type,
                "error_message": s.error if s.failed else None,
                "input_text": as_text(s.input) if keep else None,
                "output_text": as_text(s.output) if keep else None,
                "attributes": s.attributes,
                "events": s.events,
                "depth": s.depth,
            }
        )


def result_text(output: Any) -> str | None:
    """The text of a tool's result; what frameworks wrap around it is taken off."""
    value = payload.decoded(output)
    if isinstance(value, dict):
        inner = payload.plain(value)
        if inner:
            return result_text(inner.get("content"))
        only = next((k for k in WRAPPERS if k in value and value.keys() <= {k, "kwargs"}), None)
        if only:
            return result_text(value[only])
    if isinstance(value, list) and value and all(isinstance(b, dict) and isinstance(b.get("text"), str) for b in value):
        return "\n".join(b["text"] for b in value)
    return output if isinstance(output, str) and isinstance(value, (dict, list)) else as_text(value)
