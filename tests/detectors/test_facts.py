"""What the detectors count on the corpora of ../shared equals the facts that came with them."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from insights.corpus.formats import FORMATS
from insights.corpus.source import Source
from insights.corpus.trace import Trace
from primitives.detectors import events_of, scan_trace

CORPORA = Path(__file__).resolve().parents[3] / "shared" / "corpora"
pytestmark = pytest.mark.skipif(not CORPORA.is_dir(), reason="the labelled corpora of ../shared are not here")


@cache
def traces(format: str, pattern: str) -> list[Trace]:
    found = []
    for path in sorted(CORPORA.glob(pattern)):
        source = Source(path, str(path), CORPORA)
        for trace in FORMATS[format].read(source):
            trace.finish(source.source_id)
            found.append(trace)
    return found


def fact(file: str, name: str) -> Any:
    return next(f["value"] for f in json.loads((CORPORA / file).read_text())["facts"] if f["id"] == name)


def count(found: list[Trace], detector: str, **limits: int) -> int:
    changes = {detector: limits} if limits else None
    return sum(any(s.detector == detector for s in scan_trace(t, changes)) for t in found)


def with_errors(found: list[Trace]) -> int:
    return sum(any(e.kind == "result" and e.status == "error" for e in events_of(t)) for t in found)


def airline() -> list[Trace]:
    return traces("tau_bench", "taubench/gpt-4o-airline.json")


def retail() -> list[Trace]:
    return traces("tau_bench", "agentrx/data/tau_retail/tau_dataset_full.json")


@pytest.mark.parametrize(
    "found, file, name", [(airline, "taubench/facts.json", "A5"), (retail, "agentrx/facts.json", "R6")]
)
def test_traces_with_a_tool_error(found: Callable[[], list[Trace]], file: str, name: str):
    assert with_errors(found()) == fact(file, name)["n"]


@pytest.mark.parametrize(
    "found, file, name", [(airline, "taubench/facts.json", "A9"), (retail, "agentrx/facts.json", "R9")]
)
def test_changes_without_a_word_of_confirmation(found: Callable[[], list[Trace]], file: str, name: str):
    assert count(found(), "write_without_confirmation") == fact(file, name)["n"]


def test_identical_calls_airline():
    assert count(airline(), "repeated_call", times=2) == fact("taubench/facts.json", "A8")["n"]


@pytest.mark.parametrize("name, times", [("T6", 2), ("T7", 5)])
def test_identical_calls_tau2(name, times):
    expected = {
        cohort.replace("/", "__"): value[0] if name == "T6" else len(value)
        for cohort, value in fact("tau2/facts_dev.json", name).items()
    }
    for cohort, n in expected.items():
        assert count(traces("tau2_bench", f"tau2/{cohort}.json"), "repeated_call", times=times) == n, cohort


def test_tool_errors_tau2():
    for cohort, (n, *_) in fact("tau2/facts_dev.json", "T4").items():
        assert with_errors(traces("tau2_bench", f"tau2/{cohort.replace('/', '__')}.json")) == n, cohort


def test_loops_and_attacks_agentdojo():
    found = traces("agentdojo", "agentdojo/runs/*/*/*/*/*.json")
    loops = fact("agentdojo/facts_dev.json", "D11")
    assert count(found, "repeated_call", times=4) == sum(value[0] for value in loops.values())
    clean = [t for t in found if t.slices.get("attack", ("none",))[0] == "none"]
    assert count(clean, "injected_instruction") == count(clean, "obeyed_injection") == 0
    reached = [t for t in found if t.slices.get("attack_succeeded", ("",))[0] == "true"]
    assert len(reached) == sum(v["attack_success"] for v in fact("agentdojo/facts_dev.json", "D3").values())
    assert count(reached, "obeyed_injection") >= 0.8 * len(reached)


def test_runs_cut_off_and_repeating_sweagent():
    found = traces("swe_agent", "sweagent/trajs/**/*.traj")
    assert count(found, "budget_exhausted") == fact("sweagent/facts_dev.json", "S3")["all"][0]
    assert count(found, "retry_loop", times=3) == fact("sweagent/facts_dev.json", "S10")["all"][0]


def test_repeats_and_looking_at_history_miniswe():
    found = traces("mini_swe_agent", "miniswe/deepseek_chat_dev/**/*.traj.json")
    assert count(found, "repeated_call", times=3) == fact("miniswe/facts_dev.json", "N5")["all"][0]
    assert count(found, "answer_key_lookup") == fact("miniswe/facts_dev.json", "N6")["all"][0]
