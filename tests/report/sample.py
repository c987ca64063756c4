"""A report made by hand, and the corpus it speaks of: small, and with hostile text in every place that holds text."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import duckdb

from insights.records import (
    Cause,
    Citation,
    Contrast,
    Count,
    FailedRun,
    Finding,
    Predicate,
    Prevalence,
    Report,
    TestedHypothesis,
)

HOSTILE = (
    "<script>alert('x')</script> [click](http://evil.example/x) ![i](http://evil.example/i.png) `rm -rf` ```sh\n"
    "| a | b |\n|---|---|\n# heading\n\x1b[31mred\x1b[0m \u202egnp.exe \u200bhidden <img src=x onerror=alert(1)> "
    "*bold* _it_ ~~gone~~ &lt;b&gt; www.evil.example me@evil.example </pre></details>"
)
SCHEMA = Path(__file__).parents[2] / "insights" / "corpus" / "schema.sql"
TRACES = 40  # task i % 10; t0 … t15 fail, t16 … t35 pass, the rest have no outcome


def make_corpus(folder: Path, *, outcomes: bool = True) -> Path:
    """A corpus of TRACES traces with five steps each; step 3 of every fourth trace is hostile."""
    (folder / "labels").mkdir(parents=True)
    con = duckdb.connect(str(folder / "traces.duckdb"))
    con.execute(SCHEMA.read_text())
    con.execute("INSERT INTO corpus_info VALUES (1, '0.1.0', TIMESTAMPTZ '2026-01-01', 'f00d')")
    for i in range(TRACES):
        success = (i >= 16) if outcomes and i < 36 else None
        con.execute(
            "INSERT INTO traces (trace_id, source_id, root_trace_id, task_id, trial, success, n_steps, n_tool_errors) "
            "VALUES (?, 's', ?, ?, ?, ?, 5, ?)",
            [f"t{i}", f"t{i}", f"task-{i % 10}", i // 10, success, int(i % 4 == 0)],
        )
        texts = [
            ("user", "My order arrived broken, I want my money back."),
            ("assistant", None),
            ("tool", "Error: service unavailable" if i % 4 == 0 else '{"status": "delivered"}'),
            ("assistant", HOSTILE if i % 4 == 0 else "Your refund is on its way."),
            ("user", "Thanks."),
        ]
        for seq, (role, text) in enumerate(texts):
            con.execute(
                "INSERT INTO steps (trace_id, seq, kind, role, text, is_error) VALUES (?, ?, ?, ?, ?, ?)",
                [
                    f"t{i}",
                    seq,
                    "tool_result" if role == "tool" else "message",
                    role,
                    text,
                    role == "tool" and i % 4 == 0,
                ],
            )
        con.execute(
            "INSERT INTO tool_calls (trace_id, tool_call_key, call_seq, call_index, name, args_text, result_seq) "
            "VALUES (?, '1.0', 1, 0, 'issue_refund', '{\"order\": 7}', 2)",
            [f"t{i}"],
        )
    con.close()
    return folder


def ids(*numbers: int) -> tuple[str, ...]:
    return tuple(f"t{i}" for i in numbers)


def make_report(path: str = "desk.corpus", *, outcomes: bool = True) -> Report:
    findings = (_refund(outcomes), _hostile(outcomes))
    partition = (
        Cause("a refund that the policy permits is refused", "F1", "agent", 8, ids(*range(8))),
        Cause(f"a label with {HOSTILE}", "F2", "environment", 3, ids(8, 9, 10)),
        Cause("unexplained", None, "", 5, ids(11, 12, 13, 14, 15)),
    )
    failed = 16 if outcomes else 0
    return Report(
        run_id="r-20260101-1",
        question="Why do runs fail?" if outcomes else "What goes on?",
        intent="failure (`why` and the word “fail”)" if outcomes else "a general survey (no other intent fits)",
        answer=(
            "Half of the 16 failures come from refusing refunds that `refund_policy` permits [F1]."
            if outcomes
            else "Refunds that `refund_policy` permits are refused in 10 of 40 traces [F1].",
            f"3 more are the environment's: {HOSTILE[:40]}",
        ),
        corpus={
            "path": path,
            "fingerprint": "f00d",
            "n_traces": 40,
            "n_passed": 20 if outcomes else 0,
            "n_failed": failed,
            "n_unlabelled": 40 - failed - (20 if outcomes else 0),
            "parts": {"by": "shop", "rows": _parts()} if outcomes else {},
        },
        model="anthropic/claude-x",
        cost={"usd": 1.2345, "input_tokens": 120_000, "output_tokens": 4_000, "calls": 37},
        partition=partition if outcomes else (),
        findings=findings,
        hypotheses=_hypotheses(),
        not_analysed={"unreadable_records": 3, "traces_without_steps": ["x", "y"], "reason": HOSTILE},
        made={
            "seed": 0,
            "seconds": 74.2,
            "rounds": 2,
            "agents": {"scout": 4, "investigator": 6},
            "sandbox": "bubblewrap",
        },
        failures=tuple(_failed_run(t, cause) for cause in partition for t in cause.trace_ids) if outcomes else (),
    )


def _parts() -> list[dict[str, object]]:
    return [
        {"part": HOSTILE, "runs": 30, "passed": 20, "failed": 6, "causes": {"agent": 6}},
        {"part": "b", "runs": 10, "passed": 0, "failed": 10, "causes": {"agent": 2, "environment": 3, "unknown": 5}},
    ]


def _failed_run(trace_id: str, cause: Cause) -> FailedRun:
    if trace_id != "t8":
        return FailedRun(trace_id, cause.finding_id, cause.actor or "unknown", "", None, "", "")
    return FailedRun(trace_id, cause.finding_id, cause.actor, HOSTILE, 3, HOSTILE, HOSTILE)


def _refund(outcomes: bool) -> Finding:
    return Finding(
        id="F1",
        title="Refunds that the policy permits are refused",
        claim="The agent refuses a refund within 30 days when the item was on sale, though `refund_policy` allows it.",
        mechanism="It reads the sale flag as final sale and never opens the policy.",
        kind="contrast",
        verdict="confirmed",
        severity="high",
        rank_score=5.2,
        taxonomy={"actor": "agent", "class": "reasoning", "mast": "FM-1.1"},
        population=None,
        predicate=Predicate("SELECT trace_id, seq, text AS quote FROM steps WHERE is_error"),
        prevalence=Prevalence(10, 40, 0, 0.142, 0.402, "Wilson"),
        contrast=Contrast(
            "success" if outcomes else "corrected_by_the_user",
            Count(3, 9),
            Count(17, 27),
            -0.31,
            -0.52,
            -0.05,
            0.29,
            0.004,
            0.02,
            "Cochran-Mantel-Haenszel by task",
            10,
            True,
        ),
        terminal=4 if outcomes else None,
        recovered=5 if outcomes else None,
        citations=(
            Citation("t0", 3, HOSTILE[:120], "support", True),
            Citation("t4", 2, "Error: service unavailable", "support", True),
            Citation("t1", 3, "Your refund is on its way.", "counter", True),
        ),
        failed_citations=1,
        trace_ids=tuple(f"t{i}" for i in range(0, 40, 4)),
        suggested_fix="Put the rule into `issue_refund` itself.",
        data_gap="20 dialogues about items on sale inside 30 days.",
        notes=("Four traces without an outcome are not part of the contrast.",),
    )


def _hostile(outcomes: bool) -> Finding:
    return Finding(
        id="F2",
        title=f"A title with {HOSTILE}",
        claim=HOSTILE,
        mechanism=HOSTILE,
        kind="rare",
        verdict="descriptive",
        severity="critical",
        rank_score=1.0,
        taxonomy={"actor": "environment", "class": "tool", "mast": ""},
        population="SELECT trace_id FROM traces WHERE NOT success",
        predicate=Predicate(
            "SELECT trace_id\n" + "\n".join(f'-- line {i} `x` "y" $HOME' for i in range(20)) + "\nFROM traces"
        ),
        prevalence=Prevalence(3, 16, 2, 0.04, 0.456, "Clopper-Pearson"),
        contrast=Contrast(
            "success", Count(0, 3), Count(20, 33), -0.6, -0.8, 0.1, None, 0.3, None, "Fisher exact", 1, False
        )
        if outcomes
        else None,
        terminal=3 if outcomes else None,
        recovered=0 if outcomes else None,
        citations=(Citation("t8", 3, HOSTILE, "support", True),),
        failed_citations=0,
        trace_ids=ids(8, 9, 10),
        suggested_fix=HOSTILE,
        data_gap="",
        notes=(HOSTILE,),
    )


def _hypotheses() -> tuple[TestedHypothesis, ...]:
    return (
        TestedHypothesis("H1", "refusals", _refund(True).predicate, "confirmed", 10, 40, 0.004, 0.02, "adjusted"),
        TestedHypothesis("H2", f"length {HOSTILE}", Predicate("SELECT 1"), "refuted", 7, 40, 0.6, 0.8, "no difference"),
        TestedHypothesis("H3", "retries", Predicate("SELECT 2"), "inconclusive", 2, 40, None, None, HOSTILE),
    )


def make_cells() -> list[SimpleNamespace]:
    return [
        SimpleNamespace(agent="orchestrator", code="overview()", stdout="40 traces\n", result=None, error=None),
        SimpleNamespace(agent="scout-1", code="1 + 1", stdout="", result="2", error=None),
        SimpleNamespace(
            agent="scout-1", code="1 / 0", stdout="", result=None, error="ZeroDivisionError: division by zero"
        ),
    ]
