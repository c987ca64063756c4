"""Codex rollouts: items for content, events for the rest, replayed history, older shapes."""

from __future__ import annotations

from typing import Any

from tests.formats.reading import codes, lines, read, write

OWN, PARENT = "0199bbbb-0000-7000-8000-000000000001", "0199aaaa-0000-7000-8000-000000000001"


def row(second: int, kind: str, **payload: Any) -> dict[str, Any]:
    return {"timestamp": f"2026-02-03T10:00:{second:02d}.000Z", "type": kind, "payload": payload}


def item(second: int, **payload: Any) -> dict[str, Any]:
    return row(second, "response_item", **payload)


def event(second: int, kind: str, **payload: Any) -> dict[str, Any]:
    return row(second, "event_msg", type=kind, **payload)


def say(second: int, role: str, text: str) -> dict[str, Any]:
    kind = "output_text" if role == "assistant" else "input_text"
    return item(second, type="message", role=role, content=[{"type": kind, "text": text}])


def meta(second: int, own: str = OWN, **more: Any) -> dict[str, Any]:
    return row(second, "session_meta", id=own, timestamp=f"2026-02-03T10:00:{second:02d}.000Z", cwd="/srv/shop",
               cli_version="0.146.0", source="cli", git={"branch": "main"}, **more)  # fmt: skip


def tokens(second: int, last: int, total: int) -> dict[str, Any]:
    usage = {"input_tokens": last, "cached_input_tokens": last // 2, "output_tokens": 10, "reasoning_output_tokens": 4}
    return event(
        second, "token_count", info={"last_token_usage": usage, "total_token_usage": {**usage, "input_tokens": total}}
    )


def test_a_rollout(tmp_path):
    rows = [
        meta(0),
        row(
            1,
            "turn_context",
            model="gpt-x",
            effort="high",
            approval_policy="never",
            sandbox_policy={"mode": "read-only"},
        ),
        say(2, "user", "<environment_context><cwd>/srv/shop</cwd></environment_context>"),
        say(3, "user", "Run the tests"),
        event(3, "user_message", message="Run the tests"),
        item(4, type="reasoning", summary=[{"type": "summary_text", "text": "Run them."}], encrypted_content="x"),
        event(4, "agent_reasoning", text="Run them."),
        item(5, type="function_call", name="shell", arguments='{"command": ["pytest"]}', call_id="c1"),
        tokens(5, 100, 100),
        tokens(5, 100, 100),
        event(7, "exec_command_end", call_id="c1", exit_code=1, duration={"secs": 1, "nanos": 500000000}),
        item(
            7, type="function_call_output", call_id="c1", output='{"output": "1 failed", "metadata": {"exit_code": 1}}'
        ),
        say(8, "assistant", "One test fails."),
        event(8, "agent_message", message="One test fails."),
        tokens(8, 200, 300),
        event(9, "task_complete", turn_id="t1", duration_ms=6000),
        row(9, "world_state", full=True),
    ]
    name, (t,), source = read(write(tmp_path / f"rollout-x-{OWN}.jsonl", rows))
    assert name == "codex_cli" and t.trace_id == f"codex_cli:{OWN}"
    assert lines(t) == [
        "0 user/harness: <environment_context><cwd>/srv/shop</cwd></environment_context>",
        "0 user/human: Run the tests",
        '0 assistant/model:  ~Run them.~ -> shell({"command": ["pytest"]}) error',
        "0 tool/tool: 1 failed",
        "0 assistant/model: One test fails.",
    ]
    assert [(c["input_tokens"], c["output_tokens"], c["model"]) for c in t.llm_calls] == [
        (100, 10, "gpt-x"),
        (200, 10, "gpt-x"),
    ]
    assert (t.input_tokens, t.cache_read_tokens, t.reasoning_tokens) == (300, 150, 8)
    assert (t.calls[0].exit_code, t.calls[0].error_basis, t.calls[0].duration_ms) == (1, "exit_code", 1500.0)
    assert (t.end_reason, t.metadata["active_s"], t.input_text) == ("completed", 6.0, "Run the tests")
    assert {k: v for k, (v, _) in t.slices.items()} == {
        "git_branch": "main", "version": "0.146.0", "source": "cli", "project": "shop", "effort": "high",
        "approval_policy": "never", "sandbox": "read-only"}  # fmt: skip
    assert codes(source) == {"no_step": 1}


def test_interrupt_rollback_and_compaction(tmp_path):
    rows = [
        meta(0),
        say(1, "user", "q1"),
        say(2, "assistant", "a1"),
        say(3, "user", "q2"),
        say(4, "assistant", "a2"),
        event(5, "thread_rolled_back", num_turns=1),
        row(6, "compacted", message="so far", replacement_history=[{}]),
        event(6, "context_compacted"),
        say(7, "user", "q3"),
        item(8, type="function_call", name="shell", arguments="{}", call_id="c9"),
        event(9, "turn_aborted", reason="interrupted"),
    ]
    _, (t,), _ = read(write(tmp_path / "r.jsonl", rows))
    assert lines(t) == [
        "0 user/human: q1",
        "0 assistant/model: a1",
        "0 user/human: q2 OFF",
        "0 assistant/model: a2 OFF",
        "0 [state] user/human: rolled back 1 turn(s)",
        "0 [compaction] system/harness: so far",
        "1 user/human: q3",
        "1 assistant/model:  -> shell({}) cancelled",
        "1 [interrupt] user/human: turn aborted: interrupted",
    ]
    assert t.end_reason == "user_abort"


def test_a_fork_does_not_count_its_parents_lines(tmp_path):
    rows = [
        meta(30, forked_from_id=PARENT),
        meta(0, PARENT),
        say(1, "user", "q1"),
        item(2, type="function_call", name="shell", arguments="{}", call_id="c1"),
        item(2, type="function_call_output", call_id="c1", output="ok"),
        tokens(3, 100, 100),
        say(31, "user", "another way"),
        say(32, "assistant", "yes"),
        tokens(33, 50, 150),
    ]
    _, (t,), _ = read(write(tmp_path / "fork.jsonl", rows))
    assert (t.relation, t.parent_trace_id, t.native_id) == ("fork", f"codex_cli:{PARENT}", OWN)
    assert [s.origin for s in t.steps] == ["copied", "copied", "copied", "human", "model"]
    assert (t.input_tokens, t.n_tool_calls, t.n_user_turns, t.n_llm_calls) == (50, 0, 1, 1)


def test_a_sub_agent_names_its_parent_and_the_parent_its_child(tmp_path):
    spawned = {"subagent": {"thread_spawn": {"parent_thread_id": PARENT, "agent_role": "explorer"}}}
    child = [
        {**meta(5), "payload": {**meta(5)["payload"], "source": spawned}},
        say(6, "user", "Explore"),
        say(7, "assistant", "3 modules"),
    ]
    _, (t,), _ = read(write(tmp_path / "child.jsonl", child))
    assert (t.relation, t.parent_trace_id, t.agent, t.steps[0].origin) == (
        "subagent",
        f"codex_cli:{PARENT}",
        "explorer",
        "model",
    )
    parent = [
        meta(0, PARENT),
        item(1, type="function_call", name="spawn_agent", arguments="{}", call_id="s1"),
        item(2, type="function_call_output", call_id="s1", output=f'{{"agent_id": "{OWN}"}}'),
    ]
    _, (p,), _ = read(write(tmp_path / "parent.jsonl", parent))
    assert p.calls[0].child_trace_id == t.trace_id


def test_refusals_and_failures(tmp_path):
    rows = [
        meta(0),
        say(1, "user", "go"),
        item(2, type="function_call", name="shell", arguments="{}", call_id="c1"),
        item(3, type="function_call_output", call_id="c1", output="exec command rejected by user"),
        item(4, type="custom_tool_call", name="apply_patch", input="*** Begin Patch", call_id="c2"),
        item(5, type="custom_tool_call_output", call_id="c2", output="could not apply"),
        event(5, "patch_apply_end", call_id="c2", success=False),
        event(6, "error", message="stream disconnected", codex_error_info="server_overloaded"),
    ]
    _, (t,), _ = read(write(tmp_path / "r.jsonl", rows))
    assert [(c.name, c.status, c.error_basis) for c in t.calls] == [
        ("shell", "denied", "text"),
        ("apply_patch", "error", "flag"),
    ]
    assert t.calls[1].args == {"input": "*** Begin Patch"} and t.calls[1].args_error is None
    assert (t.end_reason, t.error_type, t.error_message) == ("error", "server_overloaded", "stream disconnected")


def test_exec_json(tmp_path):
    done = {
        "id": "i1",
        "type": "command_execution",
        "command": "ls",
        "aggregated_output": "no",
        "exit_code": 2,
        "status": "failed",
    }
    rows = [
        {"type": "thread.started", "thread_id": "th1"},
        {"type": "turn.started"},
        {"type": "item.started", "item": {**done, "aggregated_output": "", "exit_code": None, "status": "in_progress"}},
        {"type": "item.completed", "item": done},
        {"type": "item.completed", "item": {"id": "i2", "type": "agent_message", "text": "It failed."}},
        {"type": "turn.completed", "usage": {"input_tokens": 100, "cached_input_tokens": 50, "output_tokens": 9}},
    ]
    _, (t,), _ = read(write(tmp_path / "exec.jsonl", rows))
    assert lines(t) == [
        '0 assistant/model:  -> shell({"command": "ls"}) error',
        "0 tool/tool: no",
        "0 assistant/model: It failed.",
    ]
    assert (t.usage_basis, t.input_tokens, t.calls[0].exit_code, t.end_reason) == (
        "reported_total",
        100,
        2,
        "completed",
    )


def test_earlier_shapes(tmp_path):
    bare = [
        {"id": "old1", "timestamp": "2025-06-01T09:00:00Z", "instructions": "be kind"},
        {"record_type": "state"},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "hi"}]},
    ]
    name, (t,), _ = read(write(tmp_path / "old.jsonl", bare))
    assert (name, t.native_id) == ("codex_cli", "old1")
    assert lines(t) == ["0 system/harness: be kind", "0 user/human: hello", "0 assistant/model: hi"]
    older = [
        {"timestamp": "2025-09-10T12:00:00Z", "role": "user", "content": "branch?", "model": "m"},
        {"timestamp": "2025-09-10T12:00:01Z", "type": "tool_call", "function": {"name": "git"}, "arguments": "status"},
        {"timestamp": "2025-09-10T12:00:02Z", "type": "tool_result", "name": "git", "result": "main"},
    ]
    name, (t,), _ = read(write(tmp_path / "older.jsonl", older))
    assert name == "codex_cli" and lines(t)[1] == "0 assistant/model:  -> git(status) ok" and t.calls[0].args_error
