"""Harbor trials: the result of a trial and the reward of its verifier, joined by whatever reads the trial's trajectory.

    <job>/<trial>/result.json   {"id": "…", "task_name": "fix-parser", "trial_name": "fix-parser__a1", "agent_info": {"name": "a",
      "model_info": {"name": "m"}}, "agent_result": {"n_input_tokens": 9, "cost_usd": 0.1}, "verifier_result": {"rewards":
      {"reward": 1.0}}, "exception_info": null, "started_at": "…", "finished_at": "…"}
    <job>/<trial>/verifier/reward.txt (or reward.json), <job>/<trial>/agent/trajectory.json (ATIF)

Outcome: the reward named `reward`, else the only one, 1 = success; further rewards are annotations. How the run ended is
`exception_info`, independent of the reward (a run may time out and still pass).
A result without a trajectory beside it is a trace of metadata only; with one, or with a log of the agent's own in `agent/`
(a session of Claude Code or Codex, `agent/claude-code.txt`), it is a sidecar.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from insights.corpus import parse
from insights.corpus.formats import Confidence, mark, reader
from insights.corpus.formats.chat import timestamp
from insights.corpus.parse import mapping
from insights.corpus.sniff import Head
from insights.corpus.source import Source
from insights.corpus.trace import Trace

ABOVE = 3  # a trajectory lies in `<trial>/agent/`, at most three folders below the trial
DEEPEST = 7  # folders between a trial and the log of its agent: agent/sessions/projects/<cwd>/…


def _is_result(first: Mapping[str, Any]) -> bool:
    return {"trial_name", "agent_info"} <= first.keys() or {
        "task_name",
        "verifier_result",
        "agent_result",
    } <= first.keys()


def _has_trajectory(head: Head) -> bool:
    return any(head.path.parent.glob("agent/**/trajectory*.json")) or any(head.path.parent.glob("steps/*/agent/*.json"))


def _has_log(head: Head) -> bool:
    """Whether the agent's own log lies in the trial: a session, or what it wrote to its output as JSON lines."""
    agent = head.path.parent / "agent"
    if any(agent.glob("sessions/**/*.jsonl")):
        return True
    for path in (*agent.glob("*.txt"), *agent.glob("*.jsonl")):
        with path.open("rb") as file:
            if file.read(1) == b"{":
                return True
    return False


def join_log(t: Trace, source: Source) -> None:
    """As `join`, for what the agent of a trial wrote itself, where no trajectory tells the run."""
    folders = list(source.path.parents)[:DEEPEST]
    trial = next((f.parent for f in folders if f.name == "agent" and (f.parent / "result.json").is_file()), None)
    if trial is None or any(trial.glob("agent/**/trajectory*.json")):
        return
    path = source.sibling(*[".."] * folders.index(trial), "result.json") if trial in folders else None
    result = _load(source, path) if path is not None else None
    if isinstance(result, dict) and _is_result(result):
        t.model = t.model or next((c["model"] for c in t.llm_calls if c.get("model")), None)
        _apply(t, result)
        if t.success is None:
            _reward_file(t, source, [".."] * folders.index(trial))


def _detect(head: Head) -> Confidence | None:
    return "certain" if _is_result(head.first) and not _has_trajectory(head) and not _has_log(head) else None


def _detect_sidecar(head: Head) -> Confidence | None:
    if _is_result(head.first) and (_has_trajectory(head) or _has_log(head)):
        return "certain"
    if {"n_total_trials", "stats"} <= head.first.keys():
        return "likely"
    return (
        "certain" if head.path.name in ("reward.txt", "reward.json") and head.path.parent.name == "verifier" else None
    )


def _detect_part(head: Head) -> Confidence | None:
    """Logs, configuration and recordings inside a trial's folder."""
    above = (head.path.parent, head.path.parent.parent, head.path.parent.parent.parent)
    return "guess" if any((p / "result.json").is_file() and (p / "config.json").is_file() for p in above) else None


mark("harbor_result", title="result or reward of a Harbor trial", rank=15, role="sidecar", detect=_detect_sidecar)
mark("harbor_part", title="log or configuration of a Harbor trial", rank=98, role="part", detect=_detect_part)


@reader("harbor", title="Harbor trials without a trajectory", rank=16, detect=_detect, single=True)
def read(source: Source) -> Iterator[Trace]:
    result = source.document()
    if not isinstance(result, dict):
        return
    t = Trace("harbor", str(result.get("trial_name") or source.path.parent.name), fidelity="metadata_only")
    _apply(t, result)
    yield t


def join(t: Trace, source: Source) -> None:
    """Put result and reward of the trial that holds this trajectory into the trace."""
    for up in range(ABOVE + 1):
        above = [".."] * up
        path = source.sibling(*above, "result.json")
        result = _load(source, path) if path is not None and path != source.path else None
        if isinstance(result, dict) and _is_result(result):
            _apply(t, result)
        if t.success is None:
            _reward_file(t, source, above)
        if t.success is not None or isinstance(result, dict):
            return


def _load(source: Source, path: Path) -> Any:
    try:
        return parse.loads(path.read_bytes())[0]
    except parse.Unparseable as error:
        source.issue("bad_sidecar", f"{path.name} is not JSON: {error}")
        return None


def _reward_file(t: Trace, source: Source, above: list[str]) -> None:
    path = source.sibling(*above, "verifier", "reward.json")
    value = _load(source, path) if path is not None else None
    if isinstance(value, dict):
        _rewards(t, value)
        return
    path = source.sibling(*above, "verifier", "reward.txt")
    if path is None:
        return
    text = path.read_text(errors="replace").strip()
    try:
        _rewards(t, {"reward": float(text)})
    except ValueError:
        source.issue("bad_sidecar", f"{path.name} holds no number: {text[:40]!r}")


def _rewards(t: Trace, rewards: Mapping[str, Any]) -> None:
    known = {k: float(v) for k, v in rewards.items() if isinstance(v, (int, float))}
    main = "reward" if "reward" in known else next(iter(known)) if len(known) == 1 else None
    if main is not None:
        t.score, t.score_name, t.success = known[main], main, known[main] >= 1.0
    for name, value in known.items():
        if name != main:
            t.annotate("score", name, value=value, basis="ground_truth")


def _apply(t: Trace, result: Mapping[str, Any]) -> None:
    info, spent = mapping(result.get("agent_info")), mapping(result.get("agent_result"))
    model = mapping(info.get("model_info"))
    t.task_id = result.get("task_name") or t.task_id
    t.dataset = result.get("source") or t.dataset
    t.agent, t.agent_version = t.agent or info.get("name"), t.agent_version or info.get("version")
    t.model, t.provider = t.model or model.get("name"), model.get("provider")
    timing = mapping(result.get("agent_execution")) or result
    t.started_at, t.ended_at = timestamp(timing.get("started_at")), timestamp(timing.get("finished_at"))
    if t.usage_basis is None and not t.llm_calls and (spent.get("n_input_tokens") or spent.get("n_output_tokens")):
        t.usage_basis, t.input_tokens = "reported_total", spent.get("n_input_tokens")
        t.output_tokens, t.cache_read_tokens = spent.get("n_output_tokens"), spent.get("n_cache_tokens")
    if t.cost_usd is None and not any(c.get("cost_usd") is not None for c in t.llm_calls):
        t.cost_usd = spent.get("cost_usd")
    rewards = mapping(result.get("verifier_result")).get("rewards")
    if isinstance(rewards, Mapping):
        _rewards(t, rewards)
    failed = mapping(result.get("exception_info"))
    if failed:
        kind = str(failed.get("exception_type") or "exception")
        t.error_type, t.error_message = kind, str(failed.get("exception_message") or "")[:2000]
        t.native_end_reason, t.end_reason = kind, "limit_time" if "timeout" in kind.lower() else "error"
    elif t.ended_at is not None:
        t.end_reason = "completed"
    t.slice("job", mapping(result.get("config")).get("job_name") if isinstance(result.get("config"), Mapping) else None)
