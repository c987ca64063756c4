"""One tiny corpus with something of everything, and the same schema empty or with one trace: what contract tests run on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.primitives import small

Row = dict[str, Any]
TASKS = ("refund", "rebook", "baggage", "seat")
LONG = "The parcel policy says that every claim needs a photograph and the number of the order. " * 40


def rows() -> dict[str, list[Row]]:
    """Tables of eight runs of four tasks: three fail on a tool error, one has no verdict."""
    tables: dict[str, list[Row]] = {
        name: [] for name in ("traces", "steps", "tool_calls", "signals", "slices", "expected", "annotations")
    }
    for i in range(8):
        _run(tables, i)
    tables["ingest_issues"] = [
        {"source_id": "s", "code": "invalid_utf8", "severity": "warning", "n": 1, "detail": "a.jsonl"}
    ]
    tables["labels"] = [
        {"trace_id": f"t{i}", "name": "rude", "value": "yes" if i % 2 else "no", "kind": kind}
        for i in range(8)
        for kind in ("judged", "gold")
    ]
    return tables


def _run(tables: dict[str, list[Row]], i: int) -> None:
    trace_id, task = f"t{i}", TASKS[i // 2]
    success = None if i == 7 else i not in (1, 3, 5)
    failed = i in (1, 3, 4, 5)
    error = f"Error: order A{i}17 not found in /data/{task}/orders.json"
    said = f"Your {task} is done. The reference is R-{i}." if success else f"I could not do the {task}."
    tables["traces"].append(
        {
            "trace_id": trace_id, "dataset": "shop", "task_id": task, "trial": i % 2, "agent": "clerk", "model": f"m{i % 2}",
            "input_text": f"Please do my {task} for order A{i}17", "final_output": said, "success": success,
            "score": None if success is None else float(success), "n_steps": 6, "n_llm_calls": 3, "n_tool_calls": 2,
            "n_tool_errors": int(failed), "n_user_turns": 1, "cost_usd": 0.01 * (i + 1), "cost_basis": "reported",
            "input_tokens": 100 * (i + 1), "output_tokens": 10, "duration_s": float(i + 1), "end_reason": "completed",
            "started_at": f"2026-01-0{i + 1} 00:00:00+00", "fingerprint": f"f{i}",
        }
    )  # fmt: skip
    texts = [
        ("system", LONG, "message"),
        ("user", f"Please do my {task} for order A{i}17", "message"),
        ("assistant", None, "message"),
        ("tool", error if failed else f'{{"order": "A{i}17", "items": [1, 2]}}', "tool_result"),
        ("assistant", "Let me write that down.", "message"),
        ("assistant", said, "message"),
    ]
    tables["steps"].extend(
        {
            "trace_id": trace_id, "seq": seq, "role": role, "text": text, "kind": kind, "text_len": len(text or ""),
            "reasoning": "The order number is known." if seq == 2 else None, "is_error": kind == "tool_result" and failed,
        }
        for seq, (role, text, kind) in enumerate(texts)
    )  # fmt: skip
    tables["tool_calls"].extend(
        [
            {
                "trace_id": trace_id, "tool_call_key": "a", "name": "get_order", "args": {"id": f"A{i}17"}, "call_seq": 2,
                "call_index": 0, "result_seq": 3, "status": "error" if failed else "ok",
                "result_text": texts[3][1], "error_message": error if failed else None,
            },
            {
                "trace_id": trace_id, "tool_call_key": "b", "name": "update_order" if success else "get_order",
                "args": {"id": f"A{i}17", "task": task}, "call_seq": 4, "call_index": 0, "status": "ok",
                "result_text": "saved",
            },
        ]
    )  # fmt: skip
    if failed:
        tables["signals"].append(
            {"trace_id": trace_id, "seq": 4, "start_seq": 3, "detector": "ignored_error", "severity": "medium",
             "n": 1, "detail": "get_order failed and was not mentioned"}
        )  # fmt: skip
    tables["slices"].append({"trace_id": trace_id, "name": "region", "value": "north" if i % 3 else "south"})
    tables["expected"].append(
        {"trace_id": trace_id, "idx": 0, "name": "update_order", "args": {"id": f"A{i}17", "task": task}}
    )
    tables["annotations"].append({"trace_id": trace_id, "name": "tone", "value": 0.5})


def one() -> dict[str, list[Row]]:
    """The second of those runs, which failed, alone."""
    return {table: [row for row in listed if row.get("trace_id", "t1") == "t1"] for table, listed in rows().items()}


def many(path: Path, n: int, text: str) -> Path:
    """A corpus of n traces of three steps, each with `text` in it, written set-wise."""
    import duckdb

    home = small.folder(path)
    con = duckdb.connect(str(home / "traces.duckdb"))
    con.execute(
        """INSERT INTO traces BY NAME SELECT 't' || i AS trace_id, 's' AS source_id, trace_id AS root_trace_id, 3 AS n_steps,
        'task' || (i // 4) AS task_id, i % 3 = 0 AS success, $text || i AS input_text, $text || i AS final_output,
        1 AS n_tool_calls, (i % 2)::INTEGER AS n_tool_errors, i::DOUBLE AS cost_usd FROM range($n) r(i)""",
        {"text": text, "n": n},
    )
    con.execute(
        """INSERT INTO steps BY NAME SELECT 't' || (i // 3) AS trace_id, i % 3 AS seq, 'message' AS kind, true AS on_path,
        ['user', 'assistant', 'assistant'][i % 3 + 1] AS role, $text || i AS text, length(text) AS text_len
        FROM range(3 * $n) r(i)""",
        {"text": text, "n": n},
    )
    con.execute(
        """INSERT INTO tool_calls BY NAME SELECT 't' || i AS trace_id, 'k' AS tool_call_key, 1 AS call_seq,
        0 AS call_index, 'assistant' AS requestor, 'tool_' || (i % 50) AS name, '{}' AS args, $text || i AS args_text,
        $text || i AS result_text, CASE WHEN i % 2 = 0 THEN 'ok' ELSE 'error' END AS status FROM range($n) r(i)""",
        {"text": text, "n": n},
    )
    con.execute(
        """INSERT INTO signals BY NAME SELECT 't' || i AS trace_id, 1 AS seq, 'detector_' || (i % 300) AS detector,
        'low' AS severity, 1 AS n, left($text, 300) AS detail FROM range($n) r(i)""",
        {"text": text, "n": n},
    )
    con.close()
    return home
