"""Outcomes of software-engineering benchmarks: files without traces that the readers of trajectories join by instance.

    {"resolved": ["org__repo-1"], "no_generation": [], "no_logs": []}                     results.json of a run
    {"resolved_ids": ["org__repo-1"], "submitted_ids": […], "unresolved_ids": […]}        <model>.<run>.json
    {"org__repo-1": {"resolved": true, "tests_status": {"FAIL_TO_PASS": {"success": […], "failure": […]}, …}}}   report.json
    {"instance_id": "org__repo-1", "model_name_or_path": "m", "model_patch": "diff …"}    predictions: lines, map or .pred
    {"instances_by_exit_status": …}                                                       exit_statuses_*.yaml

Looked for beside the trajectory and up to three folders above, never outside the source's root. A report of the
instance decides first; else the list of resolved ids: an instance on it passed, one not on it failed, unless the file
lists what was submitted or generated and the instance is not there (then there is no verdict). A report is taken for
the run when its name ends in the run's folder name or no other report stands in that folder.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from insights.corpus import parse
from insights.corpus.formats import Confidence, mark
from insights.corpus.parse import mapping, sequence
from insights.corpus.sniff import Head
from insights.corpus.source import Source
from insights.corpus.trace import Trace

LEVELS = 4  # the trajectory's own folder and three above it
MANY_FILES = 60  # a folder with more JSON files holds trajectories or reports by instance, not reports by run
MAX_SIDECAR = 64 << 20  # unit: bytes
LISTED = ("submitted_ids", "completed_ids", "generated", "with_logs", "unresolved_ids", "empty_patch_ids", "error_ids")


def _is_report(first: Mapping[str, Any]) -> bool:
    if isinstance(first.get("resolved_ids"), list):
        return True
    return isinstance(first.get("resolved"), list) and bool({"no_generation", "no_logs", "generated"} & first.keys())


def _is_instance_report(first: Mapping[str, Any]) -> bool:
    inner = next(iter(first.values()), None) if len(first) == 1 else None
    return isinstance(inner, dict) and bool({"patch_successfully_applied", "tests_status"} & inner.keys())


def _is_prediction(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and {"model_patch", "instance_id"} <= value.keys()
        and not {"history", "trajectory", "messages", "traj"} & value.keys()
    )


def _detect(head: Head) -> Confidence | None:
    first = head.first
    if _is_report(first) or _is_instance_report(first):
        return "certain"
    if _is_prediction(first) or any(_is_prediction(v) for v in list(first.values())[:2]):
        return "certain"
    return "certain" if head.text.startswith("instances_by_exit_status:") else None


mark("swe_outcomes", title="SWE-bench predictions and reports", rank=15, role="sidecar", detect=_detect)


def join(t: Trace, source: Source, instance: str, run: str) -> None:
    """Put verdict, tests, patch and model of `instance` into the trace, as far as sidecars give them."""
    report = _instance_report(source, instance)
    if report:
        _tests(t, report)
    if t.success is None:
        _listed(t, source, instance, run)
    prediction = _prediction(source, instance)
    if prediction:
        t.model = t.model or prediction.get("model_name_or_path")
        patch = prediction.get("model_patch")
        t.final_output = t.final_output or patch or None
        if patch is not None:
            t.metadata["empty_patch"] = not str(patch).strip()


def repository(instance: str) -> str | None:
    """`owner/name` of an instance id like `owner__name-123`; None where the id has another form."""
    owner, sep, rest = instance.partition("__")
    name, dash, number = rest.rpartition("-")
    return f"{owner}/{name}" if sep and dash and number.isdigit() and name else None


def run_name(source: Source, instance: str) -> str:
    """The folder that names the run: the nearest one that is neither the instance's own nor a mere container."""
    folders = Path(source.name).parent.parts
    return next((f for f in reversed(folders) if f not in (instance, "trajs", "trajectories", "results")), "")


def _folders(source: Source) -> Iterator[Path]:
    for up in range(LEVELS):
        folder = source.sibling(*[".."] * up) if up else source.path.parent
        if folder is None:
            return
        yield folder


def _instance_report(source: Source, instance: str) -> dict[str, Any] | None:
    names = (
        f"{instance}.report.json",
        f"{instance}/report.json",
        f"reports/{instance}.report.json",
        f"reports/{instance}/report.json",
        f"logs/{instance}/report.json",
        f"evaluation/{instance}/report.json",
    )
    for up in range(LEVELS):
        for name in (*names, *(("report.json",) if up == 0 else ())):
            path = source.sibling(*[".."] * up, *name.split("/"))
            value = _load(source, path) if path is not None else None
            if isinstance(value, dict) and isinstance(value.get(instance), dict):
                return value[instance]
    return None


def _tests(t: Trace, report: Mapping[str, Any]) -> None:
    if isinstance(report.get("resolved"), bool):
        t.success, t.score_name, t.score = report["resolved"], "resolved", float(report["resolved"])
    for group, found in mapping(report.get("tests_status")).items():
        for met, key in ((True, "success"), (False, "failure")):
            for test in sequence(mapping(found).get(key)):
                t.expect("test", name=str(test), grp=str(group), met=met)
    for key in ("patch_exists", "patch_successfully_applied"):
        if isinstance(report.get(key), bool):
            t.metadata[key] = report[key]
    t.metadata["test_report"] = True


def _listed(t: Trace, source: Source, instance: str, run: str) -> None:
    for folder in _folders(source):
        paths = _reports_in(str(folder), folder.stat().st_mtime_ns)
        named = [p for p in paths if run and Path(p).stem.endswith(f".{run}")]
        chosen = named or (paths if len(paths) == 1 else [])
        if len(paths) > 1 and not named:
            t.issue("ambiguous_outcome", f"{len(paths)} reports in {folder.name}, none of them named after {run!r}")
        for path in chosen:
            value = _load(source, Path(path))
            if not isinstance(value, dict):
                continue
            resolved = sequence(value.get("resolved_ids", value.get("resolved")))
            listed = [
                i for key in LISTED for i in (sequence(value.get(key)) if isinstance(value.get(key), list) else [])
            ]
            if instance in resolved or not listed or instance in listed:
                t.success, t.score_name, t.score = instance in resolved, "resolved", float(instance in resolved)
                for key in ("no_generation", "no_logs", "empty_patch_ids", "error_ids"):
                    if instance in (sequence(value.get(key))):
                        t.metadata[key.removesuffix("_ids")] = True
                return


def _prediction(source: Source, instance: str) -> dict[str, Any] | None:
    for up in range(3):
        names = (f"{instance}.pred", f"{instance}/{instance}.pred", "preds.json", "all_preds.jsonl")
        for name in names:
            path = source.sibling(*[".."] * up, *name.split("/"))
            if path is None:
                continue
            value = _lines(source, path) if path.suffix == ".jsonl" else _load(source, path)
            if isinstance(value, dict) and value.get("instance_id") == instance:
                return value
            if isinstance(value, dict) and isinstance(value.get(instance), dict):
                return value[instance]
    return None


def _load(source: Source, path: Path) -> Any:
    stat = path.stat()
    try:
        return _json(str(path), stat.st_mtime_ns) if path.is_file() and stat.st_size <= MAX_SIDECAR else None
    except parse.Unparseable as error:
        source.issue("bad_sidecar", f"{path.name} is not JSON: {error}")
        return None


@lru_cache(maxsize=64)
def _json(path: str, mtime: int) -> Any:
    return parse.loads(Path(path).read_bytes())[0]


def _lines(source: Source, path: Path) -> dict[str, Any]:
    return _predictions(str(path), path.stat().st_mtime_ns) if path.stat().st_size <= MAX_SIDECAR else {}


@lru_cache(maxsize=16)
def _predictions(path: str, mtime: int) -> dict[str, Any]:
    found = {}
    with Path(path).open("rb") as file:
        for _, line in parse.lines(file):
            try:
                value = parse.loads(line)[0]
            except parse.Unparseable:
                continue  # the file is ingested as a source of its own, which reports its bad lines
            if _is_prediction(value):
                found[value["instance_id"]] = value
    return found


@lru_cache(maxsize=256)
def _reports_in(folder: str, mtime: int) -> tuple[str, ...]:
    """Reports by run in a folder, or in its `results/`."""
    files = sorted(Path(folder).glob("*.json"))
    files = files if len(files) <= MANY_FILES else [f for f in files if f.name in ("results.json", "report.json")]
    return tuple(
        str(f) for f in (*files, Path(folder, "results", "results.json")) if f.is_file() and _opens_as_report(f)
    )


def _opens_as_report(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(65_536)
    return b'"resolved_ids"' in head or (b'"resolved"' in head and (b'"no_' in head or b'"generated"' in head))
