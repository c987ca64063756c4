"""Every file of ../shared/samples is taken for what it is; rows are (pattern below samples/, format or None)."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path

import pytest

from insights.corpus.formats import FORMATS, recognise
from insights.corpus.sniff import look

SHARED = Path(__file__).resolve().parents[3] / "shared"
SAMPLES, CORPORA = SHARED / "samples", SHARED / "corpora"

# The first pattern that matches a file decides.
EXPECTED: list[tuple[str, str | None]] = [
    ("*/SOURCE.md", None),
    ("INDEX.md", None),
    ("agentdojo/*.json", "agentdojo"),
    ("agentrx/*_ground_truth.json", "agentrx_labels"),
    ("agentrx/*.json", "magentic_one"),
    ("aider/*", "aider"),
    ("agentsview/activity_report*", "agentsview_report"),
    ("agentsview/*", "agentsview"),
    ("anthropic_messages/*", "anthropic_messages"),
    ("appworld/*/environment_io.md", "appworld"),
    ("appworld/*", "appworld_outcomes"),
    ("atif/*", "atif"),
    ("autogen/ag2_*", "ag2"),
    ("autogen/*", "autogen"),
    ("braintrust/*", "braintrust"),
    ("browsergym/*", "browsergym_summary"),
    ("claude_code/*.meta.json", "claude_agent_meta"),
    ("claude_code/*", "claude_code"),
    ("codex_cli/*", "codex_cli"),
    ("copilot_cli/*", "copilot_cli"),
    ("crewai/*", "crewai"),
    ("gemini_cli/*", "gemini_cli"),
    ("hostile/blank_lines.jsonl", "openai_chat"),
    ("hostile/bom_crlf.jsonl", "openai_chat"),
    ("hostile/concatenated_pretty.json", "openai_chat"),
    ("hostile/deep_nesting.json", "openai_chat"),
    ("hostile/double_encoded.jsonl", "openai_chat"),
    ("hostile/duplicate_keys.json", "openai_chat"),
    ("hostile/empty.jsonl", None),
    ("hostile/git_lfs_pointer.json", None),
    ("hostile/gzipped.jsonl.gz", None),
    ("hostile/mixed_stdout.log", "claude_code"),
    ("hostile/python_repr.txt", None),
    ("hostile/*", "openai_chat"),
    ("inspect/*", "inspect"),
    ("inspect_scout/_scan.json", "inspect_scout_scan"),
    ("inspect_scout/*.parquet", "inspect_scout_results"),
    ("langchain/*", "langchain"),
    ("langfuse/*.chatml.json", "langfuse_messages"),
    ("langfuse/*", "langfuse"),
    ("langsmith/*", "langsmith"),
    ("llamaindex/*", "llamaindex"),
    ("mini_swe_agent/exit_statuses*", "swe_outcomes"),
    ("mini_swe_agent/preds.json", "swe_outcomes"),
    ("mini_swe_agent/results.json", "swe_outcomes"),
    ("mini_swe_agent/*", "mini_swe_agent"),
    ("openai_agents/*", "openai_agents"),
    ("openai_chat/*", "openai_chat"),
    ("openai_responses/*", "openai_responses"),
    ("opencode/storage_v2/migration", None),
    ("opencode/*/session/*", "opencode"),
    ("opencode/*", "opencode_part"),
    ("openclaw/README.md", None),
    ("openclaw/*telemetry.jsonl", "openclaw_telemetry"),
    ("openclaw/*.trajectory*", "openclaw_pointer"),
    ("openclaw/*", "openclaw"),
    ("other_cli/antigravity_*", "antigravity"),
    ("other_cli/cursor_*", "cursor"),
    ("other_cli/droid_session_store_*", "droid"),
    ("other_cli/droid_stream_*", "droid_stream"),
    ("other_cli/gptme_*", "gptme"),
    ("other_cli/grok_*", "grok"),
    ("other_cli/hermes_*", "hermes"),
    ("other_cli/iflow_*", "iflow"),
    ("other_cli/kimi_*", "kimi"),
    ("other_cli/pi_*", "pi"),
    ("other_cli/qwen_*", "qwen_code"),
    ("other_cli/qwenpaw_*", "qwenpaw"),
    ("other_cli/vibe_messages.jsonl", "vibe"),
    ("other_cli/vibe_meta.json", "vibe_meta"),
    ("mlflow/*", "mlflow"),
    ("openinference/*", "openinference"),
    ("opik/*", "opik"),
    ("otel_genai/*", "otel_genai"),
    ("openhands/*_llm_telemetry_*", "openai_chat"),
    ("openhands/swebench_example_model_output.json", "swe_outcomes"),
    ("openhands/*/events/*", "openhands_event"),
    ("openhands/*", "openhands"),
    ("plain_text/not_a_transcript.md", None),
    ("plain_text/*", "transcript"),
    ("pydantic_ai/*", "pydantic_ai"),
    ("sharegpt/*", "sharegpt"),
    ("smolagents/*", "smolagents"),
    ("swe_agent/all_preds.jsonl", "swe_outcomes"),
    ("swe_agent/*", "swe_agent"),
    ("tau2_bench/submission.json", "tau2_index"),
    ("tau2_bench/voice_experiment_results.json", "tau2_index"),
    ("tau2_bench/*", "tau2_bench"),
    ("traceloop/*", "traceloop"),
    ("trail/*", "trail"),
    ("weave/*", "weave"),
    ("who_and_when/*", "who_and_when"),
]
CORPUS: list[tuple[str, str | None]] = [
    ("*/facts*.json", None),
    ("*/LICENSE*", None),
    ("*.md", None),
    ("agentdojo/*", "agentdojo"),
    ("agentrx/data/ground_truth/*", "agentrx_labels"),
    ("agentrx/data/magentic_dataset*/*-*.json", "magentic_one"),
    ("agentrx/data/tau_retail/*", "tau_bench"),
    ("aider/*.json", "aider"),
    ("mast_human/*.json", "mast"),
    ("miniswe/*.traj.json", "mini_swe_agent"),
    ("miniswe/*", "swe_outcomes"),
    ("sweagent/*.traj", "swe_agent"),
    ("sweagent/*", "swe_outcomes"),
    ("tau2/*", "tau2_bench"),
    ("taubench/*.json", "tau_bench"),
    ("whowhen/*", "who_and_when"),
]


def _name(path: Path, root: Path) -> str | None:
    found = recognise(look(path, path.relative_to(root).as_posix()))
    return found[0].name if found else None


def _wrong(root: Path, rows: list[tuple[str, str | None]]) -> dict[str, tuple[str | None, str | None]]:
    wrong = {}
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        name = path.relative_to(root).as_posix()
        row = next((r for r in rows if fnmatch(name, r[0])), None)
        if row is not None and (got := _name(path, root)) != row[1]:
            wrong[name] = (row[1], got)
    return wrong


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="../shared/samples is absent")
def test_every_listed_sample_is_taken_for_what_it_is():
    assert _wrong(SAMPLES, EXPECTED) == {}


@pytest.mark.skipif(not CORPORA.is_dir(), reason="../shared/corpora is absent")
def test_no_file_of_the_corpora_has_a_wrong_reader():
    rows = [("aider/*.md", "aider_chat"), *CORPUS]
    assert _wrong(CORPORA, rows) == {}


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="../shared/samples is absent")
def test_every_pattern_of_the_table_names_a_file_and_a_format_that_exist():
    names = [p.relative_to(SAMPLES).as_posix() for p in SAMPLES.rglob("*") if p.is_file()]
    assert [p for p, _ in EXPECTED if not any(fnmatch(n, p) for n in names)] == []
    assert [f for _, f in [*EXPECTED, *CORPUS] if f is not None and f not in FORMATS] == []
