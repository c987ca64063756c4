"""VS Code's chat sessions, those of Copilot Chat above all: workspaceStorage/*/chatSessions/*.json.

    {"sessionId": "s1", "requesterUsername": "me", "responderUsername": "GitHub Copilot", "requests": [{"message": {"text": "…"}, "modelId": "…",
     "response": [{"value": "…"}, {"kind": "toolInvocationSerialized", "toolId": "…", "toolCallId": "…", "resultDetails": {…}}], "result": {…}}]}
    {"kind": 0, "v": {…}}  {"kind": 1, "k": ["requests", 0, "result"], "v": {…}}  {"kind": 2, "k": ["requests", 0, "response"], "v": [{…}]}

Since 2026 a session is a *.jsonl of changes: the whole, then values set (1) or appended (2, from index `i` on where there is one). A call's
arguments and result stand in `result.metadata.toolCallRounds` and `toolCallResults` where they are kept; else what was shown is all there
is. Errors: `isError`, an exit code, `errorDetails`. Dropped: references, edits' ranges, follow-ups.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from insights.corpus.formats import Confidence, reader
from insights.corpus.formats.chat import timestamp
from insights.corpus.formats.payload import decoded
from insights.corpus.parse import mapping, mappings, sequence, word
from insights.corpus.sniff import Head
from insights.corpus.source import Source
from insights.corpus.trace import Trace, as_name, as_text


def _detect_vscode(head: Head) -> Confidence | None:
    first = head.first
    first = mapping(first.get("v")) if first.get("kind") == 0 else first
    known = {"requesterUsername", "responderUsername", "creationDate"} & first.keys()
    return "certain" if known and isinstance(first.get("requests"), list) else None


@reader("vscode_chat", title="VS Code chat sessions (Copilot Chat)", rank=18, detect=_detect_vscode)
def read_vscode(source: Source) -> Iterator[Trace]:
    whole: Any = {}
    for record in source.records():
        row = mapping(record.value)
        if "requests" in row or row.get("kind") == 0:
            whole = row if "requests" in row else row.get("v")
        elif not _replay(whole, row):
            source.n_bad += 1
            source.issue(
                "not_a_change", f"a line changes nothing that is there: {str(row)[:80]!r}", offset=record.offset
            )
    held = mapping(whole)
    own = as_name(held.get("sessionId")) or source.stem
    t = Trace("vscode_chat", own, session_id=own, agent=as_name(held.get("responderUsername")), framework="vscode")
    t.started_at = timestamp(held.get("creationDate"))
    t.metadata.update({"title": held["customTitle"]} if isinstance(held.get("customTitle"), str) else {})
    for i, request in enumerate(mappings(held.get("requests"))):
        _turn(t, request, f"/requests/{i}")
    if t.steps:
        yield t
    else:
        source.issue("no_conversation", "the session has no requests", severity="info")


def _replay(whole: Any, change: Mapping[str, Any]) -> bool:
    """Apply one line of a session's log; False where it leads nowhere."""
    path = sequence(change.get("k"))
    at: Any = whole
    for key in path[:-1]:
        at = _below(at, key)
    if not path or not isinstance(at, (dict, list)):
        return False
    last, value = path[-1], change.get("v")
    if change.get("kind") == 2:
        held = _below(at, last)
        if not isinstance(held, list):
            held = []
        keep = change.get("i")
        value = [*(held[:keep] if isinstance(keep, int) else held), *sequence(value)]
    if isinstance(at, dict):
        at[str(last)] = value
    elif isinstance(last, int) and 0 <= last < len(at):
        at[last] = value
    elif last == len(at):
        at.append(value)
    else:
        return False
    return True


def _below(at: Any, key: Any) -> Any:
    if isinstance(at, dict):
        return at.get(str(key))
    return at[key] if isinstance(at, list) and isinstance(key, int) and 0 <= key < len(at) else None


def _turn(t: Trace, request: Mapping[str, Any], where: str) -> None:
    """A request: what the person asked, what was answered and done, and how it ended."""
    result = mapping(request.get("result"))
    meta = mapping(result.get("metadata"))
    stamp, model = timestamp(request.get("timestamp")), as_name(request.get("modelId"))
    place: dict[str, Any] = {"ts": stamp, "src_pointer": where}
    t.step(
        "user", mapping(request.get("message")).get("text") or as_text(request.get("message")), origin="human", **place
    )
    rounds = {
        as_name(c.get("id")): c for r in mappings(meta.get("toolCallRounds")) for c in mappings(r.get("toolCalls"))
    }
    results = mapping(meta.get("toolCallResults"))
    texts: list[str] = []
    thoughts: list[str] = []
    seq: int | None = None

    def flush() -> None:
        nonlocal seq
        if texts or thoughts:
            seq = t.step(
                "assistant", "".join(texts) or None, origin="model", reasoning="\n".join(thoughts) or None, **place
            )
            texts.clear()
            thoughts.clear()

    for i, part in enumerate(mappings(request.get("response"))):
        kind, value = word(part.get("kind")), part.get("value", part.get("content"))
        said = as_text(mapping(value).get("value")) if isinstance(value, dict) else value
        if kind == "thinking":
            thoughts += [
                x if isinstance(x, str) else as_text(x) or "" for x in (said if isinstance(said, list) else [said]) if x
            ]
        elif kind in ("toolInvocationSerialized", "toolInvocation"):
            flush()
            seq = seq if seq is not None else t.step("assistant", None, origin="model", **place)
            _invoked(t, seq, part, rounds, results, {**place, "src_pointer": f"{where}/response/{i}"})
        elif kind == "inlineReference":
            texts.append(f"`{part.get('name') or as_text(part.get('inlineReference'))}`")
        elif isinstance(said, str) and kind in ("", "markdownContent", "markdownVuln"):
            texts.append(said)
        elif kind in ("textEditGroup", "notebookEditGroup", "confirmation", "elicitation", "warning", "errorDetails"):
            flush()
            t.step("assistant", as_text(said), kind="log", origin="model", parts=[part], **place)
    flush()
    usage = mapping(meta.get("usage")) or mapping(result.get("usage"))
    failed = mapping(result.get("errorDetails"))
    t.llm(as_name(request.get("requestId")), first_seq=seq, model=model, started_at=stamp, status="error" if failed else "ok",
          error_message=as_text(failed.get("message")), input_tokens=usage.get("promptTokens", meta.get("promptTokens")),
          output_tokens=usage.get("completionTokens", usage.get("outputTokens", meta.get("outputTokens"))))  # fmt: skip
    if failed:
        t.step("environment", as_text(failed.get("message")), kind="error", origin="harness", is_error=True, **place)
    t.end_reason = "user_abort" if request.get("isCanceled") is True else "error" if failed else "completed" if texts or seq else None  # fmt: skip


def _invoked(
    t: Trace,
    seq: int,
    part: Mapping[str, Any],
    rounds: Mapping[Any, Any],
    results: Mapping[str, Any],
    place: dict[str, Any],
) -> None:
    """A call with its result. Rounds name it by an id that VS Code's own may begin with."""
    id = as_name(part.get("toolCallId")) or ""
    asked = mapping(next((c for k, c in rounds.items() if k and id and (k.startswith(id) or id.startswith(k))), {}))
    told, special = mapping(part.get("resultDetails")), mapping(part.get("toolSpecificData"))
    shown = [
        as_text(mapping(part.get(k)).get("value") or part.get(k)) for k in ("invocationMessage", "pastTenseMessage")
    ]
    args = asked.get("arguments") or told.get("input") or special.get("rawInput") or special.get("commandLine")
    if isinstance(args, Mapping) and "original" in args:
        args = {"command": args.get("toolEdited") or args["original"]}
    t.call(seq, as_name(asked.get("name") or part.get("toolId")), decoded(args) or {}, id=id or None,
           started_at=place["ts"], extra={"shown": [s for s in shown if s]})  # fmt: skip
    full = mapping(results.get(str(asked.get("id")))).get("content")
    out: Any = full or told.get("output") or mapping(special.get("terminalCommandOutput")).get("text")
    out = out or (None if told else part.get("resultDetails"))
    if out is None and part.get("isComplete") is False:
        return
    texts = [as_text(mapping(x).get("value", x)) or "" for x in out] if isinstance(out, list) else [as_text(out) or ""]
    code = mapping(special.get("terminalCommandState")).get("exitCode")
    refused = mapping(part.get("isConfirmed")).get("type") == 0 or part.get("isConfirmed") is False
    failed = told.get("isError") is True
    t.result(
        "\n".join(texts) or shown[1],
        id=id or None,
        status="denied" if refused else "error" if failed else None,
        exit_code=code if isinstance(code, int) else None,
        error_basis="flag" if failed else None,
        **place,
    )
