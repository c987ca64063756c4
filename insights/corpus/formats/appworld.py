"""AppWorld: what an agent executed in the environment of one task, with the evaluation of the task.

    ### Environment Interaction 1
    ----------------------------------------------------------------------------
    ```python
    print(apis.spotify.show_account())
    ```

    ```
    {"name": "Ann"}
    ```

`<experiment>/tasks/<task>/logs/environment_io.md` is the trace: one call of `execute_code` an interaction. The model's own words
are not in it. Outcome: `success` of the task in `<experiment>/evaluations/*.json`, else `evaluation/report.md` (no failed
test); each requirement is a row of `expected` with `met`. Errors: text ("Execution failed.").
Sidecars: the evaluations and reports; `api_calls.jsonl` repeats what the code called and is not read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from insights.corpus import parse
from insights.corpus.formats import Confidence, mark, reader
from insights.corpus.parse import mapping, mappings
from insights.corpus.sniff import Head
from insights.corpus.source import Source
from insights.corpus.trace import Trace

INTERACTION = re.compile(r"^### Environment Interaction (\d+)\s*\n-*\n?", re.M)
BLOCK = re.compile(r"^```(?:python)?\n(.*?)\n?^```\s*$", re.M | re.S)
COUNTS = re.compile(r"Num (Passed|Failed|Total)\s+Tests : (\d+)")


def _detect(head: Head) -> Confidence | None:
    return "certain" if not head.magic and INTERACTION.search(head.text[:4096]) else None


def _detect_sidecar(head: Head) -> Confidence | None:
    first = head.first
    if isinstance(first.get("aggregate"), dict) and "individual" in first:
        return "certain"
    if {"method", "url", "data"} <= first.keys() and head.is_jsonl:
        return "likely"
    return "certain" if not head.magic and head.text.startswith("Num Passed Tests :") else None


mark("appworld_outcomes", title="AppWorld evaluations and API logs", rank=15, role="sidecar", detect=_detect_sidecar)


@reader("appworld", title="AppWorld environment logs", rank=15, detect=_detect)
def read(source: Source) -> Iterator[Trace]:
    text, repair = parse.decode(source.path.read_bytes())
    if repair:
        source.issue(repair, "undecodable bytes were replaced", severity="info")
    parts = PurePosixPath(source.name).parent.parts
    folders = [p for p in parts if p not in ("logs", "tasks")]
    task = folders[-1] if folders else source.stem
    t = Trace("appworld", "/".join(folders[-2:]) or task, task_id=task, dataset="appworld", framework="appworld")
    t.fidelity = "io_only"
    t.slice("experiment", folders[-2] if len(folders) > 1 else None, "path")
    t.slice("scenario", task.rpartition("_")[0], "id")
    found = INTERACTION.split(parse.clean_text(text))
    for number, body in zip(found[1::2], found[2::2], strict=True):
        _interaction(t, number, body)
    _outcome(t, source, task)
    yield t


def _interaction(t: Trace, number: str, body: str) -> None:
    blocks = BLOCK.findall(body)
    if not blocks:
        t.step("environment", body.strip(), kind="log", origin="harness", native_id=number)
        t.issue("no_code", f"interaction {number} has no code block")
        return
    seq = t.step("assistant", None, origin="model", native_id=number)
    t.call(seq, "execute_code", {"code": blocks[0]})
    if len(blocks) > 1:
        failed = blocks[1].startswith("Execution failed")
        t.result(
            "\n".join(blocks[1:]),
            status="error" if failed else "ok",
            error_basis="text" if failed else None,
            native_id=number,
        )


def _outcome(t: Trace, source: Source, task: str) -> None:
    folder = source.sibling("..", "..", "..", "evaluations")
    for path in sorted(folder.glob("*.json")) if folder is not None and folder.is_dir() else ():
        inside = source.sibling("..", "..", "..", "evaluations", path.name)
        try:
            value = parse.loads(inside.read_bytes())[0] if inside is not None else None
        except parse.Unparseable as error:
            source.issue("bad_sidecar", f"{path.name} is not JSON: {error}")
            continue
        found = mapping(value.get("individual")).get(task) if isinstance(value, dict) else None
        if isinstance(found, dict):
            t.split = path.stem
            _evaluated(t, found)
            return
    report = source.sibling("..", "evaluation", "report.md")
    counts = dict(COUNTS.findall(report.read_text(errors="replace"))) if report is not None else {}
    if "Failed" in counts:
        t.success, t.score_name = counts["Failed"] == "0", "report"


def _evaluated(t: Trace, found: Mapping[str, Any]) -> None:
    if isinstance(found.get("success"), bool):
        t.success, t.score_name, t.score = found["success"], "success", float(found["success"])
    t.slice("difficulty", found.get("difficulty"))
    for met, key in ((True, "passes"), (False, "failures")):
        for item in mappings(found.get(key)):
            extra = {k: item[k] for k in ("trace", "label") if item.get(k)}
            t.expect("test", name=str(item.get("requirement")), grp="requirements", met=met, extra=extra or None)
