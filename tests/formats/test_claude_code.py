"""Claude Code sessions: the tree, one row per model call, sub-agents, what people did."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.formats.reading import codes, lines, read, write

SID = "11111111-2222-4333-8444-555555555555"
USAGE = {"input_tokens": 5, "cache_read_input_tokens": 90, "cache_creation_input_tokens": 10, "output_tokens": 1}


def line(uuid: str, parent: str | None, role: str, content: Any, second: int = 0, **more: Any) -> dict[str, Any]:
    message: dict[str, Any] = {"role": role, "content": content}
    message |= more.pop("message", {})
    return {"type": role, "uuid": uuid, "parentUuid": parent, "sessionId": SID, "isSidechain": False,
            "timestamp": f"2026-01-05T09:00:{second:02d}.000Z", "cwd": "/srv/shop", "gitBranch": "main",
            "version": "2.1.80", "message": message, **more}  # fmt: skip


def use(own: str, name: str = "Bash", **args: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": own, "name": name, "input": args}


def result(own: str, text: str, **more: Any) -> list[dict[str, Any]]:
    return [{"type": "tool_result", "tool_use_id": own, "content": text, **more}]


def answer(own: str, output: int = 1, stop: str | None = None) -> dict[str, Any]:
    return {
        "message": {"id": own, "model": "claude-x", "stop_reason": stop, "usage": {**USAGE, "output_tokens": output}}
    }


def session(*rows: dict[str, Any]):
    return lambda tmp_path: read(write(tmp_path / f"{SID}.jsonl", list(rows)))


def test_blocks_of_one_message_are_one_step_and_one_model_call(tmp_path):
    name, (t,), _ = session(
        line("u1", None, "user", "Fix it", 0),
        line("a1", "u1", "assistant", [{"type": "thinking", "thinking": "Look first."}], 2, **answer("m1")),
        line("a2", "a1", "assistant", [use("t1", command="ls")], 3, **answer("m1", 7)),
        line("a3", "a2", "assistant", [use("t2", command="pwd")], 4, **answer("m1", 40)),
        line("r1", "a2", "user", result("t1", "a.py"), 5, toolUseResult={"stdout": "a.py", "durationMs": 20}),
        line("r2", "a3", "user", result("t2", "Exit code 2\nno", is_error=True), 6),
        line("a4", "r2", "assistant", [{"type": "text", "text": "Done."}], 8, **answer("m2", 3, "end_turn")),
    )(tmp_path)
    assert name == "claude_code" and t.trace_id == f"claude_code:{SID}"
    assert lines(t) == [
        "0 user/human: Fix it",
        '0 assistant/model:  ~Look first.~ -> Bash({"command": "ls"}) ok -> Bash({"command": "pwd"}) error',
        "0 tool/tool: a.py",
        "0 tool/tool: Exit code 2\nno",
        "0 assistant/model: Done.",
    ]
    assert [(c["llm_call_id"], c["input_tokens"], c["output_tokens"]) for c in t.llm_calls] == [
        ("m1", 105, 40),
        ("m2", 105, 3),
    ]
    assert (t.input_tokens, t.cache_read_tokens, t.cache_write_tokens, t.output_tokens) == (210, 180, 20, 43)
    assert [(c.exit_code, c.error_basis, c.duration_ms) for c in t.calls] == [(None, None, 20.0), (2, "flag", 2000.0)]
    assert (t.end_reason, t.native_end_reason, t.model) == ("completed", "end_turn", "claude-x")
    assert {k: v for k, (v, _) in t.slices.items()} == {"project": "shop", "git_branch": "main", "version": "2.1.80"}
    assert t.metadata["cwd"] == "/srv/shop"


def test_a_rewound_branch_is_off_path_and_compaction_is_not_a_branch(tmp_path):
    boundary = {"type": "system", "subtype": "compact_boundary", "uuid": "c1", "parentUuid": None, "logicalParentUuid": "a2",
                "sessionId": SID, "content": "Conversation compacted", "compactMetadata": {"trigger": "auto"}}  # fmt: skip
    _, (t,), _ = session(
        line("u1", None, "user", "one"),
        line("a1", "u1", "assistant", [{"type": "text", "text": "first"}], **answer("m1")),
        line("u2", "a1", "user", "a wrong turn"),
        line("x1", "u2", "assistant", [{"type": "text", "text": "wrong"}], **answer("m9")),
        line("u3", "a1", "user", "two"),
        line("a2", "u3", "assistant", [{"type": "text", "text": "second"}], **answer("m2")),
        boundary,
        line("s1", "c1", "user", "Summary so far", isCompactSummary=True),
        line("u4", "s1", "user", "three"),
        line("a3", "u4", "assistant", [{"type": "text", "text": "third"}], **answer("m3", stop="end_turn")),
    )(tmp_path)
    assert lines(t) == [
        "0 user/human: one",
        "0 assistant/model: first",
        "0 user/human: a wrong turn OFF",
        "0 assistant/model: wrong OFF",
        "0 user/human: two",
        "0 assistant/model: second",
        "0 [compaction] system/harness: Conversation compacted",
        "1 user/harness: Summary so far",
        "1 user/human: three",
        "1 assistant/model: third",
    ]
    assert t.n_user_turns == 4


def test_what_the_person_did_and_what_the_harness_wrote(tmp_path):
    denied = "The user doesn't want to proceed with this tool use. The tool use was rejected. To tell you how to proceed, the user said:\nuse git"
    _, (t,), _ = session(
        line("u0", None, "user", "Caveat: The messages below were generated by the user while running local commands."),
        line("u1", "u0", "user", [{"type": "text", "text": "<system-reminder>be brief</system-reminder>"},
                                  {"type": "text", "text": "Delete it"}]),
        line("a1", "u1", "assistant", [use("t1", command="rm x")], **answer("m1")),
        line("r1", "a1", "user", result("t1", denied, is_error=True), toolUseResult="User rejected tool use"),
        line("i1", "r1", "user", [{"type": "text", "text": "[Request interrupted by user for tool use]"}]),
        line("u2", "i1", "user", "<command-name>/clear</command-name>"),
        line("u3", "u2", "user", "Start over"),
        line("e1", "u3", "assistant", [{"type": "text", "text": "API Error: 529 overloaded"}], isApiErrorMessage=True,
             message={"model": "<synthetic>"}),
    )(tmp_path)  # fmt: skip
    assert [x.split(": ")[0] for x in lines(t)] == [
        "0 user/harness", "0 user/harness", "0 user/human", "0 assistant/model", "0 tool/tool", "0 [interrupt] user/human",
        "0 [state] user/harness", "1 user/human", "1 [error] assistant/harness",
    ]  # fmt: skip
    assert (t.calls[0].status, t.input_text, t.n_user_turns, t.end_reason) == ("denied", "Delete it", 2, "error")
    assert [(a["kind"], a["explanation"]) for a in t.annotations] == [("feedback", "use git")]
    assert t.models == ["claude-x"] and len(t.llm_calls) == 1


def test_sub_agents_are_traces_with_a_parent_and_the_call_that_made_them(tmp_path):
    main = [
        line("u1", None, "user", "Explore"),
        line("a1", "u1", "assistant", [use("t1", "Task", prompt="Find it")], **answer("m1")),
        line("r1", "a1", "user", result("t1", "found"), toolUseResult={"agentId": "abc", "totalDurationMs": 900}),
    ]
    child = [line("s1", None, "user", "Find it", isSidechain=True, agentId="abc"),
             line("s2", "s1", "assistant", [{"type": "text", "text": "found"}], isSidechain=True, agentId="abc", **answer("m5"))]  # fmt: skip
    path = write(tmp_path / f"{SID}.jsonl", main)
    folder = tmp_path / SID / "subagents"
    write(folder / "agent-abc.jsonl", child)
    write(folder / "agent-abc.meta.json", {"agentType": "Explore", "toolUseId": "t1"})
    _, (parent,), _ = read(path, tmp_path)
    _, (agent,), _ = read(folder / "agent-abc.jsonl", tmp_path)
    assert parent.calls[0].child_trace_id == agent.trace_id == f"claude_code:{SID}/abc"
    assert (agent.parent_trace_id, agent.root_trace_id) == (parent.trace_id, parent.trace_id)
    assert (agent.parent_tool_call_key, agent.relation, agent.agent) == ("t1", "subagent", "Explore")
    assert lines(agent) == ["0 user/model: Find it", "0 assistant/model: found"]
    _, traces, _ = read(write(tmp_path / "inline.jsonl", [*main, *child]))
    assert [(t.relation, t.parent_tool_call_key) for t in traces] == [(None, None), ("subagent", "t1")]
    assert read(folder / "agent-abc.meta.json", tmp_path)[0] == "claude_agent_meta"


def test_history_copied_on_resume_is_not_counted_twice(tmp_path):
    old = [
        line("u1", None, "user", "one"),
        line("a1", "u1", "assistant", [{"type": "text", "text": "1"}], **answer("m1")),
    ]
    write(tmp_path / f"{SID}.jsonl", old)
    new = "99999999-2222-4333-8444-555555555555"
    more = {**line("u2", "a1", "user", "two"), "sessionId": new}
    _, (t,), _ = read(write(tmp_path / f"{new}.jsonl", [*old, more]))
    assert (t.trace_id, t.relation, t.parent_trace_id) == (f"claude_code:{new}", "continuation", f"claude_code:{SID}")
    assert [s.origin for s in t.steps] == ["copied", "copied", "human"]
    assert (t.n_user_turns, len(t.llm_calls), t.input_tokens, t.input_text) == (1, 0, None, "two")


def test_stream_json_reports_cost_and_the_end(tmp_path):
    common = {"session_id": "s9"}
    rows = [
        {"type": "system", "subtype": "init", "cwd": "/w", "model": "claude-x", "permissionMode": "plan", **common},
        {"type": "assistant", "message": {"id": "m1", "model": "claude-x", "content": [use("t1", "Task", prompt="go")], "usage": USAGE},
         "parent_tool_use_id": None, **common},
        {"type": "assistant", "message": {"id": "m2", "content": [{"type": "text", "text": "sub"}]}, "parent_tool_use_id": "t1", **common},
        {"type": "user", "message": {"content": result("t1", "done")}, "parent_tool_use_id": None, **common},
        {"type": "result", "subtype": "error_max_turns", "is_error": True, "num_turns": 9, "duration_ms": 5000, "total_cost_usd": 0.5,
         "usage": {"input_tokens": 6, "cache_read_input_tokens": 10, "output_tokens": 40}, "permission_denials": [], **common},
    ]  # fmt: skip
    _, (t, child), _ = read(write(tmp_path / "out.jsonl", rows))
    assert (t.cost_usd, t.cost_basis, t.end_reason, t.native_end_reason) == (
        0.5,
        "reported",
        "limit_steps",
        "error_max_turns",
    )
    assert (t.usage_basis, t.input_tokens, t.output_tokens, t.duration_s) == ("reported_total", 16, 40, 5.0)
    assert (child.parent_tool_call_key, child.parent_trace_id, child.cost_usd) == ("t1", t.trace_id, None)


def test_lines_without_a_step_are_counted(tmp_path):
    _, (t,), source = session(
        line("u1", None, "user", "hi"),
        {"type": "file-history-snapshot", "messageId": "u1", "snapshot": {}},
        {"type": "mode", "mode": "normal", "sessionId": SID},
        {"type": "ai-title", "aiTitle": "Greeting", "sessionId": SID},
    )(tmp_path)
    assert codes(source) == {"no_step": 2} and t.metadata["title"] == "Greeting"


def test_iflow_has_no_tree(tmp_path):
    rows = [
        line("u1", None, "user", "go"),
        line("a1", "u1", "assistant", [{"type": "text", "text": "A"}, use("c1")], message={"id": "response-1768975012469-x"}),
        line("a2", "u1", "assistant", [use("c2")], message={"id": "response-1768975012490-y"}),
        line("r1", "a2", "user", [{"type": "tool_result", "tool_use_id": "c1", "content": {"responseParts": {"functionResponse": {
            "response": {"output": "one"}}}}}]),
    ]  # fmt: skip
    name, (t,), _ = read(write(tmp_path / "session.jsonl", rows))
    assert name == "iflow" and t.agent == "iflow" and t.provider is None
    assert lines(t) == [
        "0 user/human: go",
        "0 assistant/model: A -> Bash({}) ok",
        "0 assistant/model:  -> Bash({}) pending",
        "0 tool/tool: one",
    ]


def test_what_stands_beside_a_result_is_kept_where_the_result_does_not_tell_it(tmp_path: Path) -> None:
    before = "".join(f"old line number {i}\n" for i in range(300))
    told = {"filePath": "/a.py", "originalFile": before, "oldString": "old line", "userModified": False,
            "structuredPatch": [{"oldStart": 1, "lines": [" context that stays", "-old line", "+new line of code"]}]}  # fmt: skip
    edit = {"type": "tool_use", "id": "e1", "name": "Edit", "input": {"file_path": "/a.py", "old_string": "old line"}}
    done = {"type": "tool_result", "tool_use_id": "e1", "content": "The file /a.py has been updated successfully."}
    rows = [
        {"type": "assistant", "uuid": "1", "parentUuid": None, "sessionId": "s", "message": {"role": "assistant", "id": "m", "content": [edit]}},
        {"type": "user", "uuid": "2", "parentUuid": "1", "sessionId": "s", "message": {"role": "user", "content": [done]}, "toolUseResult": told},
    ]  # fmt: skip
    _, traces, _ = read(write(tmp_path / "s.jsonl", rows))
    result = traces[0].calls[0].result
    assert result["structuredPatch"][0]["lines"][2] == "+new line of code" and "oldString" not in result
    held = traces[0].blobs[result["originalFile"].removeprefix("blob:")]
    assert held[3] == before
