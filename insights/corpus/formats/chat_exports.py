"""What chat applications give their users to download.

    chatgpt   conversations.json [{"title", "create_time", "current_node", "mapping": {"n1": {"message": {"author": {"role"}, "content":
              {"content_type": "text", "parts": ["…"]}, "recipient", "metadata": {"model_slug"}}, "parent", "children": […]}}}]
    claude_ai conversations.json [{"uuid", "name", "chat_messages": [{"sender": "human", "content": [blocks], "created_at", "attachments"}]}]
    openwebui [{"id", "title", "chat": {"models", "history": {"currentId", "messages": {"m1": {"parentId", "role", "content", "model"}}}}}]

One trace a conversation. ChatGPT's and Open WebUI's are trees: what is not on the way to the current message is an abandoned branch
(`on_path` false). A message to a recipient other than "all" is a call of that tool; `tether` and `execution_output` are results.
Claude's calls and results stand inside one message and are read in their order. Times are UTC. No tokens are told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from insights.corpus.formats import Confidence, reader
from insights.corpus.formats.anthropic_messages import add_anthropic
from insights.corpus.formats.chat import add_messages, timestamp
from insights.corpus.formats.payload import messages
from insights.corpus.parse import mapping, mappings, sequence, word
from insights.corpus.sniff import Head
from insights.corpus.source import Source
from insights.corpus.trace import Trace, as_name, as_text

THOUGHTS = {"thoughts", "reasoning_recap"}
HIDDEN = {"user_editable_context", "model_editable_context"}


def _detect_chatgpt(head: Head) -> Confidence | None:
    first = head.first
    nodes = [mapping(n) for n in list(mapping(first.get("mapping")).values())[:3]]
    known = "mapping" in first and {"current_node", "create_time", "title"} & first.keys()
    return "certain" if known and all({"children", "message"} & n.keys() for n in nodes) else None


@reader("chatgpt", title="ChatGPT data exports", rank=18, detect=_detect_chatgpt)
def read_chatgpt(source: Source) -> Iterator[Trace]:
    for i, record in enumerate(source.records()):
        row = mapping(record.value)
        own = as_name(row.get("conversation_id") or row.get("id")) or f"{source.label}#{i}"
        for t in source.attempt(record, _chatgpt, own, row, record.pointer or ""):
            if t.steps:
                yield t
            else:
                source.issue("no_conversation", f"conversation {own} has no messages", severity="info")


def _chatgpt(own: str, row: Mapping[str, Any], where: str) -> Trace:
    t = Trace("chatgpt", own, session_id=own, agent="chatgpt", started_at=timestamp(row.get("create_time")))
    t.metadata.update({k: v for k in ("title", "gizmo_id") if isinstance(v := row.get(k), str)})
    nodes = {str(k): mapping(v) for k, v in mapping(row.get("mapping")).items()}
    path = _up(nodes, as_name(row.get("current_node")))
    for id in _order(nodes, path):
        message = mapping(nodes[id].get("message"))
        if message:
            first = len(t.steps)
            _chatgpt_message(t, message, f"{where}/mapping/{id}")
            for step in t.steps[first:]:
                step.on_path, step.native_id, step.ts = (
                    not path or id in path,
                    id,
                    timestamp(message.get("create_time")),
                )
    return t


def _up(nodes: Mapping[str, Mapping[str, Any]], at: str | None) -> set[str]:
    """A node and all above it."""
    found: set[str] = set()
    while at and at in nodes and at not in found:
        found.add(at)
        at = as_name(nodes[at].get("parent", nodes[at].get("parentId")))
    return found


def _order(nodes: Mapping[str, Mapping[str, Any]], path: set[str]) -> list[str]:
    """Nodes from the roots down, each branch to its end and the one on the path last; those in a circle after all."""
    roots = [id for id, n in nodes.items() if as_name(n.get("parent", n.get("parentId"))) not in nodes]
    found: dict[str, None] = {}
    stack = roots[::-1]
    while stack:
        id = stack.pop()
        if id not in found:
            found[id] = None
            below = sequence(nodes[id].get("children", nodes[id].get("childrenIds")))
            stack += sorted((str(c) for c in reversed(below) if str(c) in nodes), key=lambda c: c not in path)
    return [*found, *(id for id in nodes if id not in found)]


def _chatgpt_message(t: Trace, m: Mapping[str, Any], where: str) -> None:
    author, content, meta = mapping(m.get("author")), mapping(m.get("content")), mapping(m.get("metadata"))
    role, kind = word(author.get("role")), word(content.get("content_type"))
    text, parts = _chatgpt_text(content)
    if not text and not parts and role in ("system", "user"):
        return
    target = word(m.get("recipient")) or "all"
    t.model = as_name(meta.get("model_slug")) or t.model
    if role == "tool":
        t.result(text, name=as_name(author.get("name")), parts=parts, src_pointer=where)
    elif role == "assistant" and target not in ("all", "assistant"):
        seq = t.step("assistant", None, origin="model", parts=parts, src_pointer=where)
        t.call(seq, target, text if text and text.lstrip()[:1] == "{" else {"input": text})
    elif kind in THOUGHTS:
        t.step("assistant", None, origin="model", reasoning=text, parts=parts, src_pointer=where)
    else:
        harness = role == "system" or kind in HIDDEN or meta.get("is_visually_hidden_from_conversation") is True
        origin = "model" if role == "assistant" else "harness" if harness else "human"
        t.step(role or None, text, origin=origin, parts=parts, src_pointer=where)


def _chatgpt_text(content: Mapping[str, Any]) -> tuple[str | None, Any]:
    """(text, what is not text) of a content."""
    parts = sequence(content.get("parts"))
    texts = [p for p in parts if isinstance(p, str) and p]
    rest = [p for p in parts if isinstance(p, dict)]
    texts += [p["text"] for p in rest if isinstance(p.get("text"), str)]
    for thought in mappings(content.get("thoughts")):
        texts += [v for k in ("summary", "content") if isinstance(v := thought.get(k), str) and v]
    keys = ("text", "result", "content", "user_profile", "user_instructions", "model_set_context")
    texts += [v for k in keys if isinstance(v := content.get(k), str) and v]
    return "\n".join(texts) or None, [p for p in rest if not isinstance(p.get("text"), str)] or None


def _detect_claude(head: Head) -> Confidence | None:
    first = head.first
    return "certain" if isinstance(first.get("chat_messages"), list) and "uuid" in first else None


@reader("claude_ai", title="Claude.ai data exports", rank=18, detect=_detect_claude)
def read_claude(source: Source) -> Iterator[Trace]:
    for i, record in enumerate(source.records()):
        row = mapping(record.value)
        own = as_name(row.get("uuid")) or f"{source.label}#{i}"
        t = Trace(
            "claude_ai", own, session_id=own, agent="claude", provider="anthropic", model=as_name(row.get("model"))
        )
        t.metadata.update({k: v for k in ("name", "summary") if isinstance(v := row.get(k), str) and v})
        for j, m in enumerate(mappings(row.get("chat_messages"))):
            _claude_message(
                t, m, {"src_pointer": f"{record.pointer or ''}/chat_messages/{j}", "ts": timestamp(m.get("created_at"))}
            )
        if t.steps:
            yield t
        else:
            source.issue("no_conversation", f"conversation {own} has no messages", severity="info")


def _claude_message(t: Trace, m: Mapping[str, Any], where: dict[str, Any]) -> None:
    blocks = mappings(m.get("content")) or [{"type": "text", "text": as_text(m.get("text"))}]
    files = [
        {k: a.get(k) for k in ("file_name", "extracted_content") if a.get(k)}
        for k in ("attachments", "files")
        for a in mappings(m.get(k))
    ]
    first = len(t.steps)
    if m.get("sender") == "human":
        add_anthropic(
            t, {"role": "user", "content": [*blocks, *({"type": "document", **f} for f in files if f)]}, where
        )
    held: list[Any] = []
    for block in blocks if m.get("sender") != "human" else ():
        if block.get("type") == "tool_result":
            if held:
                add_anthropic(t, {"role": "assistant", "content": held}, where)
            held = []
            add_anthropic(
                t, {"role": "user", "content": [{**block, "tool_use_id": block.get("tool_use_id") or None}]}, where
            )
        else:
            held.append(block)
    if held:
        add_anthropic(t, {"role": "assistant", "content": held}, where)
    if len(t.steps) > first:
        t.steps[first].native_id = as_name(m.get("uuid"))


def _detect_openwebui(head: Head) -> Confidence | None:
    chat = mapping(head.first.get("chat"))
    return "certain" if {"models", "history"} <= chat.keys() and "messages" in chat else None


@reader("openwebui", title="Open WebUI chat exports", rank=18, detect=_detect_openwebui)
def read_openwebui(source: Source) -> Iterator[Trace]:
    for i, record in enumerate(source.records()):
        row = mapping(record.value)
        chat = mapping(row.get("chat"))
        own = as_name(row.get("id")) or f"{source.label}#{i}"
        t = Trace("openwebui", own, session_id=own, framework="open-webui")
        t.metadata.update({"title": row["title"]} if isinstance(row.get("title"), str) else {})
        history = mapping(chat.get("history"))
        nodes = {str(k): mapping(v) for k, v in mapping(history.get("messages")).items()}
        nodes = nodes or {str(m.get("id", j)): m for j, m in enumerate(mappings(chat.get("messages")))}
        path = _up(nodes, as_name(history.get("currentId")))
        for id in _order(nodes, path):
            _openwebui_message(t, id, nodes[id], not path or id in path)
        if t.steps:
            yield t


def _openwebui_message(t: Trace, id: str, m: Mapping[str, Any], on_path: bool) -> None:
    first = len(t.steps)
    add_messages(
        t, messages({k: v for k, v in m.items() if k in ("role", "content", "tool_calls", "tool_call_id", "name")})
    )
    for step in t.steps[first:]:
        step.on_path, step.native_id, step.ts = on_path, id, timestamp(m.get("timestamp"))
        step.src_pointer = f"/chat/history/messages/{id}"
    if m.get("role") == "assistant" and len(t.steps) > first:
        usage = mapping(m.get("usage"))
        t.llm(first_seq=first, model=as_name(m.get("model")), output_tokens=usage.get("completion_tokens", usage.get("eval_count")),
              input_tokens=usage.get("prompt_tokens", usage.get("prompt_eval_count")))  # fmt: skip
    failed = mapping(m.get("error"))
    if failed:
        t.step("environment", as_text(failed.get("content") or failed), kind="error", origin="harness", is_error=True)
