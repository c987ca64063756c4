"""One golden trace for each of the other agent CLIs."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from tests.formats.reading import codes, lines, read, write

T = "2026-01-05T09:00:0"


def test_gemini_document_and_its_upserts(tmp_path):
    header = {"sessionId": "g1", "projectHash": "9f", "startTime": f"{T}0Z", "kind": "main"}
    call = {"id": "c1", "name": "run_shell_command", "args": {"command": "ls x"}, "status": "success", "timestamp": f"{T}4Z",
            "result": [{"functionResponse": {"response": {"output": "Command: ls x\nExit Code: 2"}}}]}  # fmt: skip
    refused = {"id": "c2", "name": "write", "args": {}, "status": "cancelled",
               "result": [{"functionResponse": {"response": {"error": "User did not allow tool call"}}}]}  # fmt: skip
    tokens = {"input": 100, "output": 7, "cached": 60, "thoughts": 3, "tool": 5}
    messages = [
        {"id": "m1", "type": "user", "timestamp": f"{T}1Z", "content": [{"text": "List"}]},
        {"id": "m2", "type": "gemini", "timestamp": f"{T}3Z", "content": "", "model": "gemini-x", "tokens": tokens,
         "thoughts": [{"subject": "Plan", "description": "List it."}], "toolCalls": [call, refused]},
        {"id": "m3", "type": "info", "timestamp": f"{T}5Z", "content": "Request cancelled."},
    ]  # fmt: skip
    golden = [
        "0 user/human: List",
        '0 assistant/model:  ~Plan\nList it.~ -> run_shell_command({"command": "ls x"}) error -> write({}) denied',
        "0 tool/tool: Command: ls x\nExit Code: 2",
        "0 tool/tool: User did not allow tool call",
        "0 [interrupt] user/human: Request cancelled.",
    ]
    name, (t,), _ = read(write(tmp_path / "session.json", {**header, "messages": messages}))
    assert (name, lines(t)) == ("gemini_cli", golden)
    assert (t.input_tokens, t.cache_read_tokens, t.output_tokens, t.reasoning_tokens) == (105, 60, 10, 3)
    assert (t.calls[0].exit_code, t.calls[0].error_basis, t.end_reason) == (2, "exit_code", "user_abort")
    draft = {**messages[1], "toolCalls": [], "tokens": None}
    taken_back = {"id": "m9", "type": "user", "timestamp": f"{T}6Z", "content": "oops"}
    rows = [
        header,
        messages[0],
        draft,
        messages[1],
        {"$set": {"lastUpdated": f"{T}5Z"}},
        messages[2],
        taken_back,
        {"$rewindTo": "m9"},
    ]
    name, (t,), _ = read(write(tmp_path / "session.jsonl", rows))
    assert (name, lines(t)) == ("gemini_cli", [*golden, "0 user/human: oops OFF"])


def test_copilot(tmp_path):
    def event(kind, second, **data):
        return {"type": kind, "data": data, "id": f"e{second}", "timestamp": f"{T}{second}Z", "parentId": None}

    request = {"toolCallId": "c1", "name": "bash", "arguments": {"command": "ls"}}
    rows = [
        event("session.start", 0, sessionId="s1", copilotVersion="1.0", context={"cwd": "/srv/shop", "branch": "main"}),
        event("user.message", 1, content="List"),
        event("assistant.message", 2, content="Listing", toolRequests=[request], model="gpt-x", outputTokens=12, apiCallId="a1"),
        event("tool.execution_start", 3, toolCallId="c1", toolName="bash", arguments={"command": "ls"}),
        event("tool.execution_complete", 4, toolCallId="c1", success=False, error={"message": "denied by user", "code": "denied"}),
        event("assistant.message", 5, parentToolCallId="c1", content="from the sub-agent", toolRequests=[]),
        event("session.truncation", 6, reason="context_limit"),
        event("assistant.message", 7, content="Stopped", toolRequests=[]),
        event("session.shutdown", 8, shutdownType="routine",
              modelMetrics={"gpt-x": {"usage": {"inputTokens": 1000, "outputTokens": 50, "cacheReadTokens": 800}}}),
        event("hook.start", 9),
    ]  # fmt: skip
    name, (t, child), source = read(write(tmp_path / "events.jsonl", rows))
    assert (name, t.trace_id, child.parent_tool_call_key) == ("copilot_cli", "copilot_cli:s1", "c1")
    assert lines(t) == [
        "0 user/human: List",
        '0 assistant/model: Listing -> bash({"command": "ls"}) denied',
        "0 tool/tool: denied by user",
        "0 [compaction] system/harness: ",
        "1 assistant/model: Stopped",
    ]
    assert lines(child) == ["0 assistant/model: from the sub-agent"]
    assert (t.usage_basis, t.input_tokens, t.output_tokens, t.end_reason) == ("reported_total", 1000, 50, "completed")
    assert codes(source) == {"no_step": 1}


SESSION = {
    "id": "ses_1",
    "version": "1.4",
    "projectID": "p",
    "directory": "/srv/shop",
    "title": "T",
    "time": {"created": 1730000000000},
}
ASKED = ({"id": "msg_1", "sessionID": "ses_1", "role": "user", "time": {"created": 1730000001000}, "agent": "build"},
         [{"id": "prt_1", "messageID": "msg_1", "type": "text", "text": "Run it"},
          {"id": "prt_2", "messageID": "msg_1", "type": "text", "text": "mode: build", "synthetic": True}])  # fmt: skip
STATE = {"status": "completed", "input": {"command": "make"}, "output": "no rule", "metadata": {"exit": 2},
         "time": {"start": 1730000002000, "end": 1730000002500}}  # fmt: skip
DONE = ({"id": "msg_2", "sessionID": "ses_1", "role": "assistant", "modelID": "m", "providerID": "x", "cost": 0.5, "finish": "stop",
         "tokens": {"input": 10, "output": 5, "reasoning": 2, "cache": {"read": 100, "write": 3}},
         "time": {"created": 1730000001500, "completed": 1730000003000}},
        [{"id": "prt_3", "messageID": "msg_2", "type": "tool", "tool": "bash", "callID": "c1", "state": STATE},
         {"id": "prt_4", "messageID": "msg_2", "type": "text", "text": "It failed."}])  # fmt: skip
OPENCODE = [
    "0 user/human: Run it",
    "0 user/harness: mode: build",
    '0 assistant/model:  -> bash({"command": "make"}) error',
    "0 tool/tool: no rule",
    "0 assistant/model: It failed.",
]


def opencode_folders(tmp_path: Path) -> Path:
    for info, parts in (ASKED, DONE):
        write(tmp_path / "storage/message/ses_1" / f"{info['id']}.json", info)
        for part in parts:
            write(tmp_path / "storage/part" / str(info["id"]) / f"{part['id']}.json", part)
    return write(tmp_path / "storage/session/p/ses_1.json", SESSION)


def opencode_database(tmp_path: Path) -> Path:
    path = tmp_path / "opencode.db"
    con = sqlite3.connect(path)
    con.execute(
        "CREATE TABLE session (id TEXT, project_id TEXT, parent_id TEXT, directory TEXT, title TEXT, version TEXT, time_created INT)"
    )
    con.execute("CREATE TABLE message (id TEXT, session_id TEXT, time_created INT, data TEXT)")
    con.execute("CREATE TABLE part (id TEXT, message_id TEXT, session_id TEXT, data TEXT)")
    con.execute("INSERT INTO session VALUES ('ses_1', 'p', NULL, '/srv/shop', 'T', '1.4', 1730000000000)")
    for info, parts in (ASKED, DONE):
        con.execute("INSERT INTO message VALUES (?, 'ses_1', 0, ?)", [info["id"], json.dumps(info)])
        for part in parts:
            con.execute("INSERT INTO part VALUES (?, ?, 'ses_1', ?)", [part["id"], info["id"], json.dumps(part)])
    con.commit()
    con.close()
    return path


def opencode_export(tmp_path: Path) -> Path:
    return write(
        tmp_path / "export.json", {"info": SESSION, "messages": [{"info": i, "parts": p} for i, p in (ASKED, DONE)]}
    )


@pytest.mark.parametrize("make", [opencode_folders, opencode_database, opencode_export])
def test_opencode(tmp_path, make):
    path = make(tmp_path)
    name, (t,), source = read(path, tmp_path)
    assert (name, t.trace_id, lines(t), source.issues) == ("opencode", "opencode:ses_1", OPENCODE, [])
    assert (t.input_tokens, t.cache_read_tokens, t.cache_write_tokens, t.output_tokens) == (113, 100, 3, 7)
    assert (t.cost_usd, t.calls[0].exit_code, t.calls[0].duration_ms, t.end_reason) == (0.5, 2, 500.0, "completed")
    assert {k: v for k, (v, _) in t.slices.items()} == {"project": "shop", "version": "1.4", "agent": "build"}


def test_opencode_reads_what_is_still_in_the_write_ahead_log(tmp_path):
    path = opencode_database(tmp_path / "a") if (tmp_path / "a").mkdir() is None else None
    con = sqlite3.connect(path)
    con.execute("PRAGMA journal_mode=wal")
    con.execute(
        "INSERT INTO part VALUES ('prt_9', 'msg_2', 'ses_1', ?)", [json.dumps({"type": "text", "text": "Later."})]
    )
    con.commit()
    _, (t,), _ = read(path)
    con.close()
    assert t.steps[-1].text == "It failed.\n\nLater."


def pi_rows(cwd: str):
    def entry(own, parent, kind="message", **more):
        return {"type": kind, "id": own, "parentId": parent, "timestamp": f"{T}1Z", **more}

    usage = {"input": 2, "output": 9, "cacheRead": 90, "cacheWrite": 8, "cost": {"total": 0.01}}
    asked = {"role": "assistant", "content": [{"type": "thinking", "thinking": "Look."}, {"type": "toolCall", "id": "t1", "name": "exec",
             "arguments": {"command": "ls"}}], "provider": "anthropic", "model": "m", "usage": usage, "stopReason": "toolUse"}  # fmt: skip
    return [
        {"type": "session", "version": 3, "id": "s1", "timestamp": f"{T}0Z", "cwd": cwd},
        entry("a", None, message={"role": "user", "content": [{"type": "text", "text": "List"}]}),
        entry("x", "a", message={"role": "assistant", "content": [{"type": "text", "text": "abandoned"}], "stopReason": "stop"}),
        entry("b", "a", message=asked),
        entry("c", "b", message={"role": "toolResult", "toolCallId": "t1", "toolName": "exec", "isError": False,
                                 "content": [{"type": "text", "text": "no"}], "details": {"exitCode": 1, "durationMs": 30}}),
        entry("d", "c", "compaction", summary="so far"),
        entry("e", "d", message={"role": "assistant", "content": [], "stopReason": "aborted", "errorMessage": "aborted by user"}),
        entry("f", "e", "label"),
    ]  # fmt: skip


@pytest.mark.parametrize(("name", "cwd"), [("pi", "/srv/shop"), ("openclaw", "/home/u/.openclaw/workspace")])
def test_pi_and_openclaw(tmp_path, name, cwd):
    got, (t,), source = read(write(tmp_path / "s.jsonl", pi_rows(cwd)))
    assert (got, t.trace_id, t.agent) == (name, f"{name}:s1", name)
    assert lines(t) == [
        "0 user/human: List",
        "0 assistant/model: abandoned OFF",
        '0 assistant/model:  ~Look.~ -> exec({"command": "ls"}) error',
        "0 tool/tool: no",
        "0 [compaction] system/harness: so far",
        "1 assistant/model: ",
        "1 [interrupt] user/human: aborted by user",
    ]
    assert (t.input_tokens, t.cache_read_tokens, t.output_tokens, t.cost_usd) == (100, 90, 9, 0.01)
    assert (t.end_reason, t.calls[0].duration_ms, codes(source)) == ("user_abort", 30.0, {"no_step": 1})


def test_openclaw_telemetry(tmp_path):
    key = "agent:main:main"
    rows = [
        {"type": "message.in", "channel": "chat", "content": "go", "timestamp": 1772830700000},
        {"type": "agent.start", "sessionKey": key, "prompt": "go", "ts": 1772830700500},
        {"type": "agent.start", "sessionKey": key, "prompt": "go", "messages": [], "ts": 1772830700600},
        {"type": "tool.start", "sessionKey": key, "toolName": "exec", "params": {"command": "ls"}, "ts": 1772830701000},
        {
            "type": "tool.end",
            "sessionKey": key,
            "toolName": "exec",
            "durationMs": 40,
            "success": False,
            "ts": 1772830701100,
        },
        {
            "type": "agent.end",
            "sessionKey": key,
            "success": True,
            "messages": [{"role": "assistant", "content": [{"type": "text", "text": "ok"}]}],
        },
    ]
    name, (t,), source = read(write(tmp_path / "telemetry.jsonl", rows))
    assert name == "openclaw_telemetry"
    assert lines(t) == [
        "0 user/human: go",
        '0 assistant/model:  -> exec({"command": "ls"}) error',
        "0 tool/tool: ",
        "0 assistant/model: ok",
    ]
    assert codes(source) == {"no_step": 1}


def test_qwen(tmp_path):
    def row(own, parent, kind, parts=None, **more):
        message = {"message": {"role": "model" if kind == "assistant" else "user", "parts": parts}} if parts else {}
        return {"uuid": own, "parentUuid": parent, "sessionId": "q1", "timestamp": f"{T}1Z", "type": kind, "cwd": "/srv/shop",
                "version": "0.21", **message, **more}  # fmt: skip

    rows = [
        row("a", None, "user", [{"text": "Read it"}]),
        row("b", "a", "assistant", [{"text": "discarded"}]),
        row("r", "a", "system", subtype="rewind"),
        row("c", "r", "user", [{"text": "Read it well"}]),
        row("d", "c", "assistant", [{"text": "Hm.", "thought": True}, {"functionCall": {"id": "f1", "name": "read_file", "args": {"p": 1}}}],
            model="qwen-x", usageMetadata={"promptTokenCount": 12, "candidatesTokenCount": 4, "thoughtsTokenCount": 2}),
        row("e", "d", "tool_result", [{"functionResponse": {"id": "f1", "name": "read_file", "response": {"error": "no such file"}}}],
            toolCallResult={"status": "error"}),
        row("f", "e", "assistant", [{"text": "It is not there."}]),
    ]  # fmt: skip
    name, (t,), source = read(write(tmp_path / "q.jsonl", rows))
    assert name == "qwen_code"
    assert lines(t) == [
        "0 user/human: Read it",
        "0 assistant/model: discarded OFF",
        "0 user/human: Read it well",
        '0 assistant/model:  ~Hm.~ -> read_file({"p": 1}) error',
        "0 tool/tool: no such file",
        "0 assistant/model: It is not there.",
    ]
    assert (t.input_tokens, t.output_tokens, t.end_reason, codes(source)) == (12, 6, "completed", {"no_step": 1})


def test_kimi(tmp_path):
    def loop(ms, kind, **event):
        return {"type": "context.append_loop_event", "event": {"type": kind, **event}, "time": 1785612803000 + ms}

    usage = {"inputOther": 10, "output": 4, "inputCacheRead": 90, "inputCacheCreation": 0}
    rows = [
        {"type": "metadata", "protocol_version": "1.4", "created_at": 1785612803000},
        {"type": "llm.request", "model": "kimi-x", "provider": "kimi", "attempt": "2/10", "time": 1785612803000},
        {"type": "turn.prompt", "input": [{"type": "text", "text": "ls"}], "time": 1785612803000},
        {
            "type": "context.append_message",
            "message": {"role": "user", "content": [{"type": "text", "text": "ls"}], "origin": {"kind": "user"}},
        },
        loop(1, "step.begin", uuid="s1"),
        loop(2, "content.part", stepUuid="s1", part={"type": "think", "think": "List."}),
        loop(3, "tool.call", stepUuid="s1", toolCallId="B0", name="Bash", args={"command": "ls"}),
        {
            "type": "permission.record_approval_result",
            "toolCallId": "B0",
            "result": {"decision": "rejected", "feedback": "no shell"},
        },
        loop(53, "tool.result", toolCallId="B0", result={"output": "rejected"}),
        loop(54, "step.end", uuid="s1", usage=usage, finishReason="tool_use"),
        {"type": "context.apply_compaction", "summary": "so far", "tokensBefore": 9},
        {"type": "turn.cancel", "time": 1785612804000},
    ]
    path = write(tmp_path / "sess-7" / "agents" / "main" / "wire.jsonl", rows)
    name, (t,), source = read(path, tmp_path)
    assert (name, t.trace_id) == ("kimi", "kimi:sess-7")
    assert lines(t) == [
        "0 user/human: ls",
        '0 assistant/model:  ~List.~ -> Bash({"command": "ls"}) denied',
        "0 tool/tool: rejected",
        "0 [compaction] system/harness: so far",
        "1 [interrupt] user/human: turn cancelled",
    ]
    assert (t.input_tokens, t.cache_read_tokens, t.models, t.calls[0].duration_ms) == (100, 90, ["kimi-x"], 50.0)
    assert (t.metadata["llm_retries"], [a["explanation"] for a in t.annotations], t.end_reason) == (
        1,
        ["no shell"],
        "user_abort",
    )
    assert codes(source) == {"no_step": 2}


def test_grok(tmp_path):
    rows = [
        {"type": "system", "content": "You are helpful."},
        {
            "type": "user",
            "content": [{"type": "text", "text": "<user_info/>"}],
            "synthetic_reason": "environment_context",
        },
        {
            "type": "user",
            "content": [{"type": "text", "text": "Read it"}],
            "prompt_index": 0,
            "prior_turn_interrupt": "mid_turn_abort",
        },
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Open it."}]},
        {
            "type": "assistant",
            "content": "Reading.",
            "tool_calls": [{"id": "c1", "name": "read", "arguments": '{"f": 1}'}],
            "model_id": "grok-x",
        },
        {"type": "tool_result", "tool_call_id": "c1", "content": "hello"},
    ]
    name, (t,), _ = read(write(tmp_path / "grok.jsonl", rows))
    assert (name, t.models) == ("grok", ["grok-x"])
    assert lines(t) == [
        "0 system/harness: You are helpful.",
        "0 user/harness: <user_info/>",
        "0 [interrupt] user/human: mid_turn_abort",
        "0 user/human: Read it",
        '0 assistant/model: Reading. ~Open it.~ -> read({"f": 1}) ok',
        "0 tool/tool: hello",
    ]


def test_antigravity(tmp_path):
    def step(i, source, kind, content=None, **more):
        return {
            "step_index": i,
            "source": source,
            "type": kind,
            "status": "DONE",
            "created_at": f"{T}{i}Z",
            "content": content,
            **more,
        }

    rows = [
        step(0, "USER_EXPLICIT", "USER_INPUT", "List"),
        step(
            1,
            "MODEL",
            "PLANNER_RESPONSE",
            thinking="Ok.",
            tool_calls=[{"name": "list_dir", "args": {"Path": '"/tmp"'}}],
        ),
        step(2, "MODEL", "LIST_DIRECTORY", "a.txt", truncated_fields=["content"]),
        step(3, "SYSTEM", "CHECKPOINT", "resuming"),
        step(4, "MODEL", "RUN_COMMAND", "boom", status="ERROR"),
    ]
    name, (t,), _ = read(write(tmp_path / "steps.jsonl", rows))
    assert name == "antigravity"
    assert lines(t) == [
        "0 user/human: List",
        '0 assistant/model:  ~Ok.~ -> list_dir({"Path": "/tmp"}) ok',
        "0 tool/tool: a.txt",
        "0 [compaction] system/harness: resuming",
        "1 assistant/model:  -> run_command({}) error",
        "1 tool/tool: boom",
    ]
    assert t.calls[0].result_truncated is True


def test_message_files(tmp_path):
    blocks = [{"type": "text", "text": "Running."}, {"type": "tool_use", "name": "Bash", "input": {"command": "ls"}}]
    back = [{"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "a.txt"}]}]
    cursor = [{"role": "user", "message": {"content": [{"type": "text", "text": "List"}]}},
              {"role": "assistant", "message": {"content": blocks}}, {"role": "user", "message": {"content": back}},
              {"type": "turn_ended", "status": "success"}]  # fmt: skip
    golden = ["0 user/human: List", '0 assistant/model: Running. -> Bash({"command": "ls"}) ok', "0 tool/tool: a.txt"]
    name, (t,), _ = read(write(tmp_path / "cursor.jsonl", cursor))
    assert (name, lines(t), t.end_reason) == ("cursor", golden, "completed")
    droid = [{"type": "session_start", "id": "d1", "cwd": "/srv/shop", "version": "0.8"},
             *({"type": "message", "id": f"m{i}", "timestamp": f"{T}{i}Z", "message": {"role": r["role"], **r["message"]}}
               for i, r in enumerate(cursor[:3]))]  # fmt: skip
    name, (t,), _ = read(write(tmp_path / "droid.jsonl", droid))
    assert (name, t.trace_id, lines(t)) == ("droid", "droid:d1", golden)
    hermes = {"session_id": "h1", "platform": "chat", "session_start": f"{T}0Z", "model": "m", "messages": [
        {"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}, {"role": "session_meta"}]}  # fmt: skip
    name, (t,), _ = read(write(tmp_path / "hermes.json", hermes))
    assert (name, t.trace_id, lines(t)) == ("hermes", "hermes:h1", ["0 user/human: hi", "0 assistant/model: hello"])
    paw = {
        "agent": {
            "name": "Friday",
            "memory": {"content": [[{"role": "user", "content": [{"type": "text", "text": "hi"}]}, []]]},
        }
    }
    name, (t,), _ = read(write(tmp_path / "paw.json", paw))
    assert (name, t.agent, lines(t)) == ("qwenpaw", "Friday", ["0 user/human: hi"])


def test_droid_stream(tmp_path):
    rows = [
        {"type": "system", "session_id": "d2", "model": "m", "cwd": "/w"},
        {"type": "message", "session_id": "d2", "role": "user", "text": "go"},
        {
            "type": "tool_call",
            "session_id": "d2",
            "toolCallId": "c1",
            "toolName": "Shell",
            "parameters": {"command": "x"},
        },
        {
            "type": "tool_result",
            "session_id": "d2",
            "toolCallId": "c1",
            "value": {"stdout": "", "stderr": "bad", "exitCode": 3},
        },
        {"type": "completion", "session_id": "d2", "finalText": "Failed."},
    ]
    name, (t,), _ = read(write(tmp_path / "stream.jsonl", rows))
    assert (name, t.trace_id, t.end_reason) == ("droid_stream", "droid:d2", "completed")
    assert lines(t) == [
        "0 user/human: go",
        '0 assistant/model:  -> Shell({"command": "x"}) error',
        "0 tool/tool: bad",
        "0 assistant/model: Failed.",
    ]


def test_gptme_and_vibe(tmp_path):
    usage = {"input_tokens": 20, "output_tokens": 5, "cache_read_tokens": 80, "cache_creation_tokens": 0}
    gptme = [
        {"role": "system", "content": "You are gptme.", "timestamp": "2026-06-13T10:00:00", "pinned": True},
        {"role": "user", "content": "Write", "timestamp": "2026-06-13T10:00:01"},
        {"role": "assistant", "content": "```python\nprint(1)\n```", "timestamp": "2026-06-13T10:00:02",
         "metadata": {"model": "m", "usage": usage, "cost": 0.001}},
        {"role": "tool", "content": "1", "timestamp": "2026-06-13T10:00:03"},
    ]  # fmt: skip
    name, (t,), _ = read(write(tmp_path / "2026-06-13-write" / "conversation.jsonl", gptme), tmp_path)
    assert (name, t.trace_id, t.input_tokens, t.cost_usd) == ("gptme", "gptme:2026-06-13-write", 100, 0.001)
    assert [(c.name, c.args, c.status) for c in t.calls] == [("python", {"code": "print(1)\n"}, "ok")]
    vibe = [
        {"role": "user", "content": "hi", "message_id": "1"},
        {"role": "assistant", "content": "hello", "message_id": "2"},
    ]
    meta = {"session_id": "v1", "git_branch": "main", "model": "mistral-x", "environment": {"working_directory": "/srv/shop"},
            "stats": {"session_prompt_tokens": 200, "session_completion_tokens": 100}}  # fmt: skip
    write(tmp_path / "v" / "meta.json", meta)
    name, (t,), _ = read(write(tmp_path / "v" / "messages.jsonl", vibe), tmp_path)
    assert (name, t.trace_id, t.usage_basis, t.input_tokens, t.model) == (
        "vibe",
        "vibe:v1",
        "reported_total",
        200,
        "mistral-x",
    )
    assert read(tmp_path / "v" / "meta.json")[0] == "vibe_meta"
