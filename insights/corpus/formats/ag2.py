"""AG2 and AutoGen 0.2: the chat history of a conversation between named agents.

    [{"role": "assistant", "name": "user_proxy", "content": "Where is W1?"}, {"role": "assistant", "name": "shop", "content": "",
      "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}, {"role": "tool", "name":
      "user_proxy", "content": "KeyError", "tool_responses": [{"tool_call_id": "c1", "role": "tool", "content": "KeyError"}]}]

`role` is relative to the owner of the dump, so the name decides: user proxies and `user` are people, the rest agents.
Code blocks that a proxy executed come back as "exitcode: 1 (execution failed)": a call of `execute_code`, status by exit code.
A chat result (`chat_history`, `cost`) is read too. Errors of tools: text only. Outcome: none in the format.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from insights.corpus.formats import Confidence, reader
from insights.corpus.formats.chat import add_messages, flatten
from insights.corpus.parse import mapping, mappings
from insights.corpus.sniff import Head
from insights.corpus.source import Source
from insights.corpus.trace import Trace

PERSON = re.compile(r"user|human|customer|admin", re.I)
EXECUTED = re.compile(r"exitcode: (-?\d+)")
CODE = re.compile(r"```[\w+-]*\n(.*?)```", re.S)


def _is_history(messages: Any) -> bool:
    if not isinstance(messages, list) or len(messages) < 2:
        return False
    named = [m for m in messages[:6] if isinstance(m, dict) and {"role", "name", "content"} <= m.keys()]
    if any("tool_responses" in m for m in messages if isinstance(m, dict)) and named:
        return True
    speaking = [m for m in named if m["role"] in ("user", "assistant")]
    return len(speaking) >= 2 and len({m["name"] for m in speaking}) >= 2 and len(named) >= min(len(messages), 6) - 1


def _history(value: Any) -> list[Any] | None:
    if _is_history(value):
        return list(value)
    found = value.get("chat_history", value.get("messages")) if isinstance(value, dict) else None
    return list(found) if isinstance(found, list) and _is_history(found) else None


def _detect(head: Head) -> Confidence | None:
    if _is_history(head.doc):
        return "likely"
    return "likely" if any(_history(r) is not None for r in head.records[:3]) else None


@reader("ag2", title="AG2 and AutoGen 0.2 chat histories", rank=40, detect=_detect)
def read(source: Source) -> Iterator[Trace]:
    loose: list[Any] = []
    for i, record in enumerate(source.records()):
        history = _history(record.value)
        if history is not None:
            yield _trace(source.label if not i else f"{source.label}#{i}", history, record.value)
        elif isinstance(record.value, dict) and "role" in record.value:
            loose.append(record.value)
        else:
            source.n_bad += 1
            source.issue("not_a_history", f"record {i} is no chat history", offset=record.offset)
    if loose:
        yield _trace(source.label, loose, None)


def _trace(native: str, history: list[Any], holder: Any) -> Trace:
    t = Trace("ag2", native, framework="ag2")
    for i, m in enumerate(history):
        if isinstance(m, Mapping):
            _message(t, m, f"/{i}")
        else:
            t.issue("not_a_message", f"/{i} is {type(m).__name__}")
    if isinstance(holder, dict):
        cost = (
            mapping(holder.get("cost")).get("usage_including_cached_inference")
            if isinstance(holder.get("cost"), dict)
            else None
        )
        if isinstance(cost, dict) and isinstance(cost.get("total_cost"), (int, float)):
            t.cost_usd = float(cost["total_cost"])
        if holder.get("summary"):
            t.metadata["summary"] = str(holder["summary"])[:2000]
    if t.steps and "TERMINATE" in (t.steps[-1].text or ""):
        t.end_reason, t.native_end_reason = "completed", "TERMINATE"
    return t


def _message(t: Trace, m: Mapping[str, Any], where: str) -> None:
    name = m.get("name")
    answers = mappings(m.get("tool_responses"))
    text = flatten(m.get("content"))[0]
    executed = EXECUTED.match(text or "")
    if answers:
        for r in answers:
            t.result(flatten(r.get("content"))[0], id=r.get("tool_call_id"), src_pointer=where)
    elif executed and (before := next((s for s in reversed(t.steps) if "```" in (s.text or "")), None)):
        t.call(before.seq, "execute_code", {"code": "\n".join(CODE.findall(before.text or ""))})
        t.result(text, name="execute_code", exit_code=int(executed[1]), agent=name, src_pointer=where)
    elif m.get("role") in ("tool", "system", "function"):
        add_messages(t, [dict(m)])
        t.steps[-1].src_pointer = where
    else:
        person = bool(name and PERSON.search(str(name))) if name else m.get("role") == "user"
        s = add_messages(t, [{**m, "role": "user" if person else "assistant"}])[0]
        s.agent, s.origin, s.src_pointer = None if person else name, "human" if person else "model", where
