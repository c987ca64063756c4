"""A run whose roles reason with a scripted model."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from insights.cli import main
from insights.errors import ModelError
from insights.models import Recorder, ReplayModel, ScriptedModel
from primitives import open_corpus
from tests.diagnose.conftest import Asked, desk, without_playbook
from tests.diagnose.script import careful

ROOT = Path(__file__).resolve().parents[2]
CODED = "The clerk gives up on a long form"


def test_a_careful_model_explains_the_failures(asked: Callable[..., Asked]) -> None:
    run = asked(careful, playbook=True)
    assert run.board.failures == []
    found = {f.title: f for f in run.report.findings}[CODED]
    assert (found.prevalence.k, found.prevalence.n) == (4, 12)
    assert found.prevalence.method.startswith("stratified gold")
    assert found.verdict == "confirmed" and found.citations and all(c.verified for c in found.citations)
    assert "The clerk calls the form too long and stops" in run.titles
    assert run.report.answer[0].startswith("Of 4 failures, the clerk's giving up explains 4 of 12 traces")
    assert sum(c.n for c in run.report.partition) == 4
    coded = next(f.id for f in run.report.findings if f.title == CODED)
    assert {(f.finding_id, f.actor, f.cause) for f in run.report.failures} == {
        (coded, "agent", "it stops before the form is complete")
    }
    assert run.report.cost["calls"] - run.report.cost["cached_calls"] == len(run.requests)


def test_labels_say_who_judged_what(asked: Callable[..., Asked]) -> None:
    run = asked(careful)
    rows = open_corpus(run.corpus).sql("SELECT name, kind, value, count(*) AS n, any_value(model) AS model, any_value(prompt_hash) AS hash, "
                                       "count(quote) AS quoted FROM labels GROUP BY 1, 2, 3 ORDER BY 1, 2, 3")  # fmt: skip
    judged = rows[(rows.kind == "judged") & rows.name.str.startswith("c_gives_up")]
    assert dict(zip(judged.value, judged.n, strict=True)) == {"no": 8, "yes": 4}
    assert (
        set(rows.kind) == {"judged", "gold"}
        and set(rows.model) == {"scripted/model"}
        and rows.hash.str.len().eq(16).all()
    )
    assert rows[rows.value == "yes"].quoted.eq(rows[rows.value == "yes"].n).all()


def test_a_resumed_run_pays_nothing_twice(asked: Callable[..., Asked]) -> None:
    first = asked(careful)
    second = asked(lambda request: ModelError("nothing is left to ask"), corpus=first.corpus)
    assert second.board.failures == [] and not second.requests
    assert second.titles == first.titles and second.report.answer == first.report.answer


def test_a_killed_run_goes_on_where_it_was(asked: Callable[..., Asked], tmp_path: Path) -> None:
    corpus = desk(tmp_path, 12)
    folder = corpus / "runs" / "run"
    folder.mkdir(parents=True)
    command = [sys.executable, "-m", "tests.diagnose.killed_run", corpus, folder, without_playbook(tmp_path)]
    killed = subprocess.run([str(part) for part in command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert killed.returncode == 9, killed.stderr
    again = asked(careful, corpus=corpus)
    assert [request.role for request in again.requests] == ["investigator"] * 3 + ["orchestrator", "synthesizer"]
    assert again.board.failures == [] and "The clerk calls the form too long and stops" in again.titles


def test_own_exchanges_are_traces(
    asked: Callable[..., Asked], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = asked(careful)
    target = tmp_path / "own.corpus"
    assert main(["ingest", str(run.folder / "agents"), "-o", str(target), "--no-progress"]) == 0
    own = open_corpus(target)
    rows = own.sql("SELECT agent, model, end_reason, success, n_tool_calls, input_tokens FROM traces ORDER BY agent")
    assert list(rows.agent) == ["investigator", "orchestrator", "scout"]
    assert set(rows.end_reason) == {"completed"} and rows.success.isna().all()
    assert list(rows.n_tool_calls) == [3, 4, 3] and (rows.input_tokens > 0).all()
    assert (
        own.sql("SELECT count(*) AS n FROM tool_calls WHERE name = 'run_python' AND result_text LIKE '%<output %'").n[0]
        > 0
    )


def test_a_recorded_run_is_replayed(asked: Callable[..., Asked], tmp_path: Path) -> None:
    recorded = asked(Recorder(ScriptedModel(careful), tmp_path / "recording.jsonl"))
    key = (recorded.folder / "markers.key").read_bytes()
    for path in (recorded.corpus / "labels").glob("*.parquet"):
        path.unlink()
    other = recorded.corpus / "runs" / "again"
    other.mkdir()
    (other / "markers.key").write_bytes(key)
    replayed = asked(ReplayModel(tmp_path / "recording.jsonl"), corpus=recorded.corpus, run="again")
    assert replayed.board.failures == [] and replayed.titles == recorded.titles
    assert replayed.report.answer == recorded.report.answer


@pytest.mark.parametrize("role", ["orchestrator", "scout", "investigator"])
def test_prompts_do_not_grow_with_the_corpus(asked: Callable[..., Asked], role: str, tmp_path: Path) -> None:
    def tokens(n: int) -> int:
        run = asked(careful, corpus=desk(tmp_path / str(n), n), run=f"of{n}", read=6)
        lines = [json.loads(p.read_text()) for p in sorted((run.folder / "agents").glob(f"{role}-*.jsonl"))]
        assert lines and run.board.failures == []
        return sum(line["metadata"]["input_tokens"] + line["metadata"]["output_tokens"] for line in lines)

    small, large = tokens(100), tokens(10_000)
    assert large <= 1.2 * small
