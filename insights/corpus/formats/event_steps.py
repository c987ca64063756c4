"""Records of a home-made event log to the steps, calls and model calls of a run; see event_log."""

from __future__ import annotations

from collections import Counter
from typing import Any

from insights.corpus.formats.chat import ROLES, SCORES, VERDICTS, add_messages, timestamp
from insights.corpus.formats.event_words import (
    AGENT,
    ANSWERED,
    ARGS,
    ASKED,
    CALL_ID,
    COST,
    EVENT,
    FAULT,
    FINAL,
    MODEL,
    OPENING,
    PROMPTED,
    RESULT,
    SAID,
    THOUGHT,
    TIME,
    TOOK,
    TOOL,
    Row,
    is_act,
    meaning,
    plain,
)
from insights.corpus.formats.payload import key as key_of
from insights.corpus.formats.payload import messages
from insights.corpus.parse import mapping, word
from insights.corpus.source import Record
from insights.corpus.trace import Trace, as_name


def _arguments(value: Any) -> Any:
    """Arguments as an object: bare text, which is no broken JSON, and lists become one of its values."""
    bare = isinstance(value, list) or (isinstance(value, str) and value.lstrip()[:1] not in ("{", "["))
    return {"input": value} if bare else value


class Run:
    """The records of one run, in their order, to steps and calls."""

    def __init__(self, t: Trace, event: str, group: tuple[str, str] = ("", "")) -> None:
        self.t, self.event, self.group = t, event, group
        self.shown: Counter[tuple[str, str, str]] = Counter()
        self.asked_at: Any = None  # when the last model call was made
        self.counted: dict[str, Any] | None = None  # a model call of which only the tokens have been told
        self.where: dict[str, Any] = {}

    def take(self, value: dict[str, Any], record: Record) -> None:
        row = Row(value)
        acts = not self.event and is_act(value)
        name = "" if acts else next((value[k] for k in (self.event, *EVENT) if k and isinstance(value.get(k), str)), "")
        told = None if acts else meaning(name)
        self.where = {"ts": timestamp(row.get(TIME)), "src_offset": record.offset, "src_len": record.length,
                      "src_pointer": record.pointer}  # fmt: skip
        row.used |= {self.group, *(("", k) for k in EVENT[:9] if name and value.get(k) == name), ("", self.event)}
        self.t.model = self.t.model or row.text(MODEL)
        n = len(self.t.steps)
        if word(value.get("role")) in ROLES and ("content" in value or "tool_calls" in value):
            self._message(row)
        elif acts or (told is None and is_act(value)):
            self._act(row)
        else:
            getattr(self, f"_{told or 'log'}")(row, name)
        added = self.t.steps[n:]
        if added:
            row.used |= {("", "level"), ("", "logger")} if added[0].kind != "log" else set()
            event = {"event": name} if name and name != added[0].text else {}
            added[0].extra = {**event, **(row.rest() or {})} or None
            agent = as_name(next((value[k] for k in AGENT if isinstance(value.get(k), str)), None))
            for step in added:
                step.agent = step.agent or (agent if step.role in ("assistant", "tool") else None)

    def ask(self, row: Row, record: Record) -> None:
        """The question that a record holds which is none itself."""
        if any(s.role == "user" for s in self.t.steps):
            return
        text = row.text(OPENING)
        if text:
            self.where = {"src_offset": record.offset, "src_len": record.length, "src_pointer": record.pointer} | {
                k: v for k, v in self.where.items() if k == "ts"
            }
            self.shown[key_of({"role": "user", "content": text})] += 1
            self.t.step("user", text, origin="human", **self.where)

    def answer(self, row: Row, record: Record) -> None:
        """The verdict and the answer that the end of a run tells."""
        t = self.t
        for key in VERDICTS:
            flag = row.get((key,), lambda v: isinstance(v, bool))
            if flag is not None and t.success is None:
                t.success, t.score_name = flag, t.score_name or key
        for key in SCORES:
            score = row.count((key,))
            if score is not None and t.score is None:
                t.score, t.score_name = score, key
        text = plain(row.get(FINAL, lambda v: isinstance(v, (str, dict))))
        if text and text not in [s.text for s in t.steps[-3:]]:
            place = {"src_offset": record.offset, "src_len": record.length, "src_pointer": record.pointer}
            t.step("assistant", text, origin="model", **{**self.where, **place})

    def close(self) -> Trace:
        t = self.t
        if t.end_reason is None and t.steps and t.steps[-1].kind == "error":
            t.end_reason, t.error_message = "error", (t.steps[-1].text or "")[:2000]
        if not any(s.text or s.reasoning for s in t.steps if s.role in ("user", "assistant")):
            t.fidelity = "metadata_only" if not t.calls else "io_only"
        return t

    def _message(self, row: Row) -> None:
        keys = ("role", "content", "tool_calls", "tool_call_id", "name", "reasoning_content")
        row.used |= {("", k) for k in keys}
        for step in add_messages(self.t, [row.value]):
            for column, value in self.where.items():
                setattr(step, column, value)

    def _user(self, row: Row, name: str) -> None:
        self._told("user", plain(row.get(ASKED)), "human")

    def _system(self, row: Row, name: str) -> None:
        self._told("system", plain(row.get(ASKED)), "harness")

    def _told(self, role: str, text: str | None, origin: str) -> None:
        """A message of an event of its own, unless the prompt of a model call has shown it just before."""
        before = self.t.steps[-1] if self.t.steps else None
        if before is None or (before.role, before.text) != (role, text):
            self.shown[key_of({"role": role, "content": text})] += 1
            self.t.step(role, text, origin=origin, **self.where)

    def _asked(self, row: Row, name: str) -> None:
        """The request of a model call; one that tells its answer too is the whole call."""
        given = row.get(PROMPTED, lambda v: isinstance(v, (str, list, dict)))
        inner = Row(mapping(given))
        self.t.model = self.t.model or inner.text(MODEL)
        self._show(given)
        self.asked_at = self.where["ts"]
        if any(row.value.get(k) for k in ANSWERED) or mapping(row.value.get("output")):
            self._model(row, name)
        elif given is None:
            self._log(row, name)

    def _show(self, given: Any) -> None:
        """Those messages of a prompt that were not shown before."""
        left = Counter(self.shown)
        for m in messages(given, "user"):
            k = key_of(m)
            if left[k] > 0:
                left[k] -= 1
                continue
            self.shown[k] += 1
            for step in add_messages(self.t, [m]):
                for column, value in self.where.items():
                    setattr(step, column, value)

    def _model(self, row: Row, name: str) -> None:
        t, answer = self.t, self._answered(row)
        took, usage = row.count(TOOK), row.usage()
        before = t.steps[-1] if t.steps else None
        if (
            before is not None
            and before.role == "assistant"
            and before.text
            and before.text == answer.get("content")
            and not usage
        ):
            return  # the answer that the model call before it has told
        self.shown[key_of(answer)] += 1
        seq = add_messages(t, [answer])[0].seq
        for column, value in self.where.items():
            setattr(t.steps[seq], column, value)
        columns: dict[str, Any] = {"first_seq": seq, "model": row.text(MODEL) or t.model, "started_at": self.asked_at,
                   "ended_at": self.where["ts"], **usage}  # fmt: skip
        if self.counted is not None and not usage:
            self.counted.update(columns)
        else:
            t.llm(cost_usd=row.count(COST), **columns)
            self.counted = t.llm_calls[-1]
        t.steps[seq].llm_call_id, t.steps[seq].duration_ms = self.counted["llm_call_id"], took
        self.asked_at, self.counted = None, None

    def _answered(self, row: Row) -> dict[str, Any]:
        """What the model said in a record, as one message."""
        said = row.get(SAID, lambda v: isinstance(v, (str, list, dict)))
        thought, calls = plain(row.get(THOUGHT)), row.get(("tool_calls",), lambda v: isinstance(v, list))
        if isinstance(said, str) or (isinstance(said, dict) and {"content", "tool_calls"} & said.keys()):
            said = {"role": "assistant", **(said if isinstance(said, dict) else {"content": said})}
        told = messages(said, "assistant")
        answer: dict[str, Any] = told[0] if told else {"content": None}
        if calls:
            answer["tool_calls"] = messages({"role": "assistant", "tool_calls": calls}, "assistant")[0]["tool_calls"]
        return {**answer, "role": "assistant", "reasoning_content": answer.get("reasoning_content") or thought}

    def _thought(self, row: Row, name: str) -> None:
        text = plain(row.get((*THOUGHT, *SAID)))
        self.t.step("assistant", None, reasoning=text, origin="model", **self.where)

    def _act(self, row: Row) -> None:
        """A step of thought, action and observation."""
        action = row.get(TOOL[:7], lambda v: isinstance(v, (str, dict)))
        inner = Row(mapping(action))
        called = inner.text(TOOL) if isinstance(action, dict) else action
        args = inner.get(ARGS) if isinstance(action, dict) else None
        seq = self.t.step("assistant", plain(row.get(THOUGHT)), origin="model", **self.where)
        self.t.call(seq, called, _arguments(row.get(ARGS) if args is None else args))
        self._outcome(row, None, called)

    def _call(self, row: Row, name: str) -> None:
        t = self.t
        called = row.text(TOOL) or name
        args, id = _arguments(row.get(ARGS)), as_name(row.get(CALL_ID))
        thought = plain(row.get(THOUGHT))
        if any(
            c.result_seq is None and (c.native_id == id if id else c.name == called and c.args == args) for c in t.calls
        ):
            self._outcome(row, id, called)  # a call that the model's answer has told
            return
        last = t.steps[-1] if t.steps else None
        open_still = last is not None and last.role == "assistant" and last.kind == "message" and not thought
        seq = (
            last.seq if last is not None and open_still else t.step("assistant", thought, origin="model", **self.where)
        )
        t.call(seq, called, args, id=id, started_at=self.where["ts"])
        if any(row.value.get(k) for k in (*RESULT, *FAULT)) or row.failed() is not None:
            self._outcome(row, id, called)
        elif open_still and last is not None:
            rest = row.rest()
            last.extra = {**(last.extra or {}), **rest} if rest else last.extra

    def _result(self, row: Row, name: str) -> None:
        id, called = as_name(row.get(CALL_ID)), row.text(TOOL)
        waiting = [c for c in self.t.calls if c.result_seq is None]
        known = any(c.native_id == id for c in waiting) if id else bool(waiting)
        named = called is None or any(c.name == called for c in waiting) or (id is not None and known)
        if not known or not named:
            seq = self.t.step("assistant", None, origin="model", **self.where)
            self.t.call(seq, called or name, _arguments(row.get(ARGS)), id=id)
            id = self.t.calls[-1].native_id
        self._outcome(row, id, called, ended=True)

    def _outcome(self, row: Row, id: str | None, called: str | None, *, ended: bool = False) -> None:
        """What came of a call, where the record tells it; `ended`: the record says that it came to an end."""
        failed, fault = row.failed(), plain(row.get(FAULT))
        told, code = row.get(RESULT), row.count(("exit_code", "returncode", "return_code"))
        if told is None and fault is None and failed is None and code is None and not ended:
            return
        text = plain(told) if told is not None else fault
        code = Row(mapping(told)).count(("exit_code", "returncode")) if code is None else code
        failed = True if fault is not None and told is None else failed
        self.shown[key_of({"role": "tool", "content": text})] += 1
        self.t.result(text, id=id, name=called, status=None if failed is None else "error" if failed else "ok",
                      error_basis="flag" if failed else None, exit_code=int(code) if code is not None else None,
                      call_columns={"duration_ms": row.count(TOOK), "ended_at": self.where["ts"]}, **self.where)  # fmt: skip

    def _error(self, row: Row, name: str) -> None:
        text = plain(row.get((*FAULT, *SAID))) or name
        self.t.step("environment", text, kind="error", origin="harness", is_error=True, **self.where)

    def _usage(self, row: Row, name: str) -> None:
        usage: dict[str, Any] = dict(row.usage())
        last = self.t.llm_calls[-1] if self.t.llm_calls else None
        if last is not None and last.get("input_tokens") is None and usage:
            last.update(usage)
        elif usage:
            self.t.llm(ended_at=self.where["ts"], model=self.t.model, cost_usd=row.count(COST), **usage)
            self.counted = self.t.llm_calls[-1]
        rest = row.rest()
        if rest:
            self._log(row, name)

    def _begin(self, row: Row, name: str) -> None:
        n = len(self.t.steps)
        self.ask(row, Record(None, self.where["src_offset"], self.where["src_len"], self.where["src_pointer"]))
        if len(self.t.steps) == n:
            self._log(row, name)

    def _end(self, row: Row, name: str) -> None:
        t, n = self.t, len(self.t.steps)
        self.answer(row, Record(None, self.where["src_offset"], self.where["src_len"], self.where["src_pointer"]))
        failed = row.failed()
        t.end_reason = "error" if failed else "completed"
        if len(t.steps) == n:
            self._log(row, name)

    def _log(self, row: Row, name: str) -> None:
        text = row.text(("message", "msg", "text", "detail", "details")) or name or None
        self.t.step("environment", text, kind="log", origin="harness", **self.where)
