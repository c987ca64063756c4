"""OpenHands runs in their containers: a list of events, evaluation output, a conversation folder.

    [{"id": 0, "timestamp": "…", "source": "user", "action": "message", "args": {"content": "Fix it"}}, …]      one run, V0 or V1
    {"instance_id": "org__repo-1", "test_result": {"git_patch": "diff …", "report": {"resolved": true}}, "metadata": {…},
     "history": [events], "metrics": {"accumulated_cost": 0.1}}                                                 a line of output.jsonl
    base_state.json beside events/event-00000-<uuid>.json (V1), events/<n>.json (V0)                             one run a folder

The events are explained in openhands_v0 and openhands_v1. Outcome: `test_result.report.resolved`, else reports beside the
file (swe_outcomes). The resolver's `success` is a model's own opinion: kept as an annotation, never as the outcome. An
instance that was retried stands several times in output.jsonl: the last counts, the earlier ones carry no verdict.
In folders base_state.json (or else the first event) is the trace, the other events are parts of it.
Dropped: `metadata.llm_config` but for the model (it may hold keys).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from insights.corpus import parse
from insights.corpus.formats import Confidence, mark, openhands_v0, openhands_v1, reader, swe_outcomes
from insights.corpus.parse import mapping
from insights.corpus.sniff import Head
from insights.corpus.source import Record, Source
from insights.corpus.trace import Trace

EVENT_FILE = re.compile(r"(?:event-)?(\d+)(?:-[0-9a-f-]+)?\.json$")
INSTANCE = re.compile(rb'"instance_id":\s*"([^"]+)"')


def _is_v0(e: Any) -> bool:
    return isinstance(e, dict) and ("action" in e or "observation" in e) and "tool_name" not in e and "kind" not in e


def _is_event(e: Any) -> bool:
    if openhands_v1.is_event(e):
        return {"id", "timestamp", "source"} <= e.keys()
    return _is_v0(e) and {"id", "timestamp", "source"} <= e.keys()


def _in_folder(head: Head) -> bool:
    return head.path.parent.name == "events" and EVENT_FILE.match(head.path.name) is not None


def _is_first(path: Path) -> bool:
    """Whether this event file stands for its folder: there is no base_state.json and none comes before it."""
    if (path.parent.parent / "base_state.json").exists():
        return False
    return path == min(path.parent.glob("*.json"), key=_number)


def _number(path: Path) -> int:
    found = EVENT_FILE.match(path.name)
    return int(found[1]) if found else 1 << 60


def _detect(head: Head) -> Confidence | None:
    first = head.first
    if {"id", "agent"} <= first.keys() and {"execution_status", "stats", "agent_status"} & first.keys():
        return "certain"
    if "instance_id" in first and {"test_result", "history"} <= first.keys() and "trajectory" not in first:
        return "certain"
    if "instance_id" in first and "test_result" in first:
        return "likely"
    if "issue" in first and "git_patch" in first and "history" in first:
        return "certain"
    if any(_is_event(e) for e in head.records[:3]) and not (_in_folder(head) and not _is_first(head.path)):
        return "likely"
    return None


def _detect_part(head: Head) -> Confidence | None:
    if _in_folder(head) and (_is_event(head.first) or "kind" in head.first or "action" in head.first):
        return None if _is_first(head.path) else "certain"
    return None


mark("openhands_event", title="event of an OpenHands conversation folder", rank=19, role="part", detect=_detect_part)


@reader("openhands", title="OpenHands runs", rank=20, detect=_detect, single=True)
def read(source: Source) -> Iterator[Trace]:
    first = source.head.first
    if "execution_status" in first or ("agent" in first and "stats" in first):
        yield from _folder(source)
    elif "history" in first or "test_result" in first or "git_patch" in first:
        yield from _output(source)
    elif _in_folder(source.head) and not source.member:
        yield _run_of(source, source.path.parent.parent.name, _events(source, source.path.parent))
    else:
        yield _run(source, source.stem, [r.value for r in source.records()])


def _run(source: Source, native: str, events: list[Any], leaf: str | None = None, pointer: str = "") -> Trace:
    t = Trace("openhands", native, framework="openhands", time_basis="naive_as_utc")
    if any(openhands_v1.is_event(e) for e in events):
        openhands_v1.add_events(t, events, pointer, leaf)
        t.slice("generation", "v1", "id")
    else:
        openhands_v0.add_events(t, events, pointer)
        t.slice("generation", "v0", "id")
    if not any(s.ts for s in t.steps):
        t.time_basis = None
    return t


def _run_of(source: Source, native: str, events: dict[str, Any], leaf: str | None = None) -> Trace:
    """The run of a folder; a step's pointer names the event's file."""
    t, names = _run(source, native, list(events.values()), leaf), list(events)
    for s in t.steps:
        s.src_pointer = names[int(s.src_pointer.lstrip("/"))]
    return t


def _events(source: Source, folder: Path) -> dict[str, Any]:
    """Events of a folder in order, by the path of their file beside `source`."""
    events = {}
    for path in sorted(folder.glob("*.json"), key=_number):
        name = path.relative_to(source.path.parent).as_posix()
        inside = source.sibling(*name.split("/"))
        if inside is None or not EVENT_FILE.match(path.name):
            continue
        try:
            events[name] = parse.loads(inside.read_bytes())[0]
        except parse.Unparseable as error:
            source.n_bad += 1
            source.issue("bad_event", f"{path.name} is not JSON: {error}")
    return events


def _folder(source: Source) -> Iterator[Trace]:
    state = source.document()
    if not isinstance(state, dict):
        return
    folder = source.path.parent / "events"
    events = _events(source, folder) if folder.is_dir() else {}
    if not events:
        source.issue("no_events", f"there is no events folder with events beside {source.path.name}")
        return
    t = _run_of(source, str(state.get("id") or source.path.parent.name), events, state.get("leaf_event_id"))
    openhands_v1.add_state(t, state)
    yield t


def _output(source: Source) -> Iterator[Trace]:
    counts, seen = _occurrences(source.path), Counter[str]()
    for i, record in enumerate(source.records()):
        value = record.value
        if not isinstance(value, dict) or not isinstance(value.get("history"), list):
            source.n_bad += 1
            source.issue("no_history", f"record {i} has no history of events", offset=record.offset)
            continue
        instance = _instance(value, i)
        seen[instance] += 1
        yield from source.attempt(
            record, _evaluated, source, value, instance, record, seen[instance], counts.get(instance, 1)
        )


def _instance(value: Mapping[str, Any], index: int) -> str:
    issue = value.get("issue")
    if not value.get("instance_id") and isinstance(issue, dict):
        return f"{issue.get('owner')}__{issue.get('repo')}-{issue.get('number')}"
    return str(value.get("instance_id") or index)


def _occurrences(path: Path) -> Counter[str]:
    with path.open("rb") as file:
        found = (INSTANCE.search(line, 0, 4096) for line in file)
        return Counter(m[1].decode(errors="replace") for m in found if m)


def _evaluated(source: Source, value: dict[str, Any], instance: str, record: Record, nth: int, of: int) -> Trace:
    stem, meta = source.stem, mapping(value.get("metadata"))
    folder = swe_outcomes.run_name(source, instance) or stem
    native = f"{folder}/{instance}" + (f"/{nth}" if of > 1 else "")
    t = _run(source, native, value["history"], pointer="/history")
    t.task_id, t.dataset, t.split = instance, meta.get("dataset"), meta.get("data_split")
    t.model = (mapping(meta.get("llm_config")) or mapping(meta.get("llm"))).get("model")
    t.agent, t.trial = meta.get("agent_class"), nth if of > 1 else None
    t.input_text = value.get("instruction") or t.input_text
    t.slice("repository", swe_outcomes.repository(instance), "id")
    for s in t.steps[:1]:
        s.src_offset, s.src_len = record.offset, record.length
    if isinstance(value.get("metrics"), dict):
        openhands_v0.add_metrics(t, value["metrics"])
    if meta.get("max_iterations") is not None:
        t.metadata["max_iterations"] = meta["max_iterations"]
    if value.get("error"):
        t.error_type, t.error_message, t.end_reason = "error", str(value["error"])[:2000], _limit(str(value["error"]))
    _verdict(t, source, value, instance, folder, last=nth == of)
    return t


def _limit(error: str) -> str:
    return "limit_steps" if "maximum iteration" in error.lower() else "error"


def _verdict(t: Trace, source: Source, value: Mapping[str, Any], instance: str, folder: str, *, last: bool) -> None:
    result = value.get("test_result")
    result = result if isinstance(result, dict) else {}
    patch = result.get("git_patch", value.get("git_patch"))
    t.final_output = patch or t.final_output
    if patch is not None:
        t.metadata["empty_patch"] = not str(patch).strip()
    if isinstance(value.get("success"), bool):
        said = value.get("result_explanation")
        passed = value["success"]
        t.annotate("label", "resolver_success", passed=passed, value=float(passed), explanation=said, basis="judge")
    if not last:
        t.tags.append("superseded")
        t.relation = "retry"
        return
    report = result.get("report") or mapping(value.get("report"))
    resolved = report.get("resolved", result.get("resolved")) if isinstance(report, dict) else None
    if isinstance(resolved, bool):
        t.success, t.score_name, t.score = resolved, "resolved", float(resolved)
    if value.get("instance_id"):
        swe_outcomes.join(t, source, instance, folder)
