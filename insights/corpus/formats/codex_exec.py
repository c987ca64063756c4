"""Events of `codex exec --json` to steps: items with their outcome, no times, usage cumulative over the thread."""

from __future__ import annotations

from typing import Any

from insights.corpus.formats.codex_events import INPUTS, Rollout
from insights.corpus.parse import mapping


class Exec(Rollout):
    def exec_line(self, kind: str, value: dict[str, Any]) -> None:
        """One event of `codex exec --json`."""
        if kind == "turn.completed":
            usage = mapping(value.get("usage"))
            for column, key in INPUTS.items():
                setattr(self.trace, column, usage.get(key))
            if usage:
                self.trace.usage_basis = "reported_total"
            self.close()
            self._ended = "turn_complete"
        elif kind == "turn.failed":
            self._error(value)
        elif kind in ("item.started", "item.completed"):
            self._exec_item(kind, mapping(value.get("item")))
        elif kind == "item.updated":
            self.dropped[kind] += 1

    def _exec_item(self, line: str, item: dict[str, Any]) -> None:
        kind, own, done = str(item.get("type", item.get("item_type"))), item.get("id"), line == "item.completed"
        if kind in ("agent_message", "assistant_message"):
            self._assistant(item.get("text"), None, own) if done else None
        elif kind == "reasoning":
            self.think(item.get("text")) if done else None
        elif kind == "error":
            self._error(item, retried=True)
        elif kind in (
            "command_execution",
            "file_change",
            "mcp_tool_call",
            "web_search",
            "todo_list",
            "collab_tool_call",
        ):
            self._exec_call(kind, item, done)
        else:
            self.dropped[f"item {kind}"] += 1

    def _exec_call(self, kind: str, item: dict[str, Any], done: bool) -> None:
        own = item.get("id")
        name = item.get("tool") or {"command_execution": "shell", "file_change": "apply_patch"}.get(kind, kind)
        if not any(c.native_id == own for c in self.trace.calls[-30:]):
            kept = {k: item[k] for k in ("command", "changes", "query", "items", "prompt") if item.get(k) is not None}
            self._call({"name": name, "arguments": item.get("arguments") or kept, "call_id": own})
        if not done:
            return
        self.close()
        code, status = item.get("exit_code"), item.get("status")
        out = item.get("aggregated_output", item.get("result")) or mapping(item.get("error")).get("message")
        found = {"declined": "denied", "failed": "error", "completed": "ok"}.get(str(status))
        basis = "flag" if found in ("error", "denied") else None
        text = out if isinstance(out, str) or out is None else str(mapping(out).get("content", out))
        self.result(text, own, None, found, basis, code if isinstance(code, int) else None)
