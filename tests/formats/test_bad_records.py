"""One record that cannot be read costs itself, not the file; what is lost is said with its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from insights.corpus.formats import FORMATS, mast, recognise
from insights.corpus.parse import mapping
from insights.corpus.source import Source
from tests.formats.reading import read, write

DATA = Path(__file__).parent / "data"


def _source(path: Path) -> Source:
    return Source(path, path.name, path.parent)


def test_a_record_that_fails_is_an_issue_and_the_others_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = json.loads((DATA / "mast" / "human.json").read_text())
    path = tmp_path / "three.json"
    path.write_text(json.dumps([rows[0], rows[1], rows[1]]))
    real, calls = mast._labels, []

    def once(*args: object) -> None:
        calls.append(args)
        if len(calls) == 1:
            raise KeyError("missing")
        real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(mast, "_labels", once)
    source = _source(path)
    assert len(list(FORMATS["mast"].read(source))) == 2
    [issue] = [i for i in source.issues if i.code == "bad_record"]
    assert "/0" in issue.detail and "missing" in issue.detail and source.n_bad == 1


def test_a_path_outside_the_root_is_not_joined(tmp_path: Path) -> None:
    outside = tmp_path / "results.json"
    outside.write_text(json.dumps({"resolved": ["owner__lib-1"], "no_generation": [], "no_logs": []}))
    root = tmp_path / "root"
    root.mkdir()
    run = root / "owner__lib-1.traj"
    run.write_text((DATA / "swe_agent" / "runs" / "model-b" / "owner__lib-13.traj").read_text())
    [t] = list(FORMATS["swe_agent"].read(Source(run, run.name, root)))
    assert t.success is None
    [t] = list(FORMATS["swe_agent"].read(Source(run, run.name, tmp_path)))
    assert t.success is True


def test_of_several_reports_only_the_one_named_after_the_run_decides(tmp_path: Path) -> None:
    run = tmp_path / "run_one" / "owner__lib-1.traj"
    run.parent.mkdir()
    run.write_text((DATA / "swe_agent" / "runs" / "model-b" / "owner__lib-13.traj").read_text())
    for name, resolved in (("m.run_two.json", ["owner__lib-1"]), ("m.run_three.json", [])):
        (tmp_path / name).write_text(json.dumps({"resolved_ids": resolved, "submitted_ids": ["owner__lib-1"]}))
    [t] = list(FORMATS["swe_agent"].read(Source(run, "run_one/owner__lib-1.traj", tmp_path)))
    assert t.success is None and [i.code for i in t.issues] == ["ambiguous_outcome"]
    (tmp_path / "m.run_one.json").write_text(json.dumps({"resolved_ids": ["owner__lib-1"]}))
    [t] = list(FORMATS["swe_agent"].read(Source(run, "run_one/owner__lib-1.traj", tmp_path)))
    assert t.success is True


def test_an_instance_that_was_never_submitted_has_no_verdict(tmp_path: Path) -> None:
    run = tmp_path / "owner__lib-1.traj"
    run.write_text((DATA / "swe_agent" / "runs" / "model-b" / "owner__lib-13.traj").read_text())
    (tmp_path / "results.json").write_text(json.dumps({"resolved_ids": [], "submitted_ids": ["owner__lib-2"]}))
    [t] = list(FORMATS["swe_agent"].read(_source(run)))
    assert t.success is None


def test_a_pickle_is_named_and_never_read(tmp_path: Path) -> None:
    path = tmp_path / "step_0.pkl"
    path.write_bytes(b"\x80\x05\x95not loaded")
    source = _source(path)
    found = recognise(source.head)
    assert found is not None and found[0].role == "other" and "never loaded" in found[0].title
    assert list(found[0].read(source)) == []


@pytest.mark.parametrize("name", sorted(p.name for p in DATA.iterdir()))
def test_a_reader_of_a_file_cut_off_anywhere_does_not_raise(name: str, tmp_path: Path) -> None:
    for path in sorted(p for p in (DATA / name).rglob("*") if p.is_file())[:3]:
        data = path.read_bytes()
        for end in range(1, len(data), max(1, len(data) // 40)):
            cut = tmp_path / path.name
            cut.write_bytes(data[:end])
            source = _source(cut)
            found = recognise(source.head)
            if found is not None:
                for t in found[0].read(source):
                    t.finish("source")


def test_runs_of_a_file_whose_task_ids_are_mixed_up_get_the_task_they_were_graded_by(tmp_path: Path) -> None:
    def task(id: str, *names: str) -> dict[str, Any]:
        actions = [{"action_id": f"{id}_{i}", "name": name, "arguments": {"of": name}} for i, name in enumerate(names)]
        script = {"instructions": f"script of {id}"}
        return {"id": id, "user_scenario": script, "evaluation_criteria": {"actions": actions}}

    tasks = [task("0", "a"), task("1", "b", "c"), task("2"), task("3", "d"), task("4", "d")]

    def run(recorded: str, graded: dict[str, Any] | None) -> dict[str, Any]:
        actions = graded["evaluation_criteria"]["actions"] if graded else []
        checks = [{"action": action, "action_match": True} for action in actions]
        return {
            "id": f"r{recorded}", "task_id": recorded, "trial": 0, "termination_reason": "user_stop",
            "reward_info": {"reward": 1.0, "action_checks": checks}, "messages": [{"role": "user", "content": "hello"}],
        }  # fmt: skip

    info = {"environment_info": {"domain_name": "shop"}}
    mixed = [run("0", tasks[1]), run("1", tasks[0]), run("2", tasks[4]), run("3", None)]
    path = write(tmp_path / "mixed.json", {"info": info, "tasks": tasks, "simulations": mixed})
    _, traces, _ = read(path)
    assert [t.task_id for t in traces] == ["1", "0", "4", None]
    assert [t.metadata["recorded_task_id"] for t in traces] == ["0", "1", "2", "3"]
    assert [mapping(t.extra.get("user_scenario")).get("instructions") for t in traces] == [
        "script of 1", "script of 0", "script of 4", None,
    ]  # fmt: skip
    assert [len(t.expected) for t in traces] == [2, 1, 1, 0]
    assert sum(i.n for t in traces for i in t.issues if i.code == "task_id_differs") == 4
    rightly = [run("0", tasks[0]), run("1", tasks[1]), run("2", None), run("4", tasks[4])]
    path = write(tmp_path / "rightly.json", {"info": info, "tasks": tasks, "simulations": rightly})
    assert [t.task_id for t in read(path)[1]] == ["0", "1", "2", "4"]
