"""What a resumed run tells an agent again: what its model has answered on, and nothing that it never saw."""

from pathlib import Path

from insights.diagnose.transcript import Transcript


def again(run: Path) -> Transcript:
    return Transcript(run, "orchestrator-1", {"run_id": "r"})


def test_an_output_is_told_again_once_the_model_has_answered_on_it(tmp_path: Path) -> None:
    first = again(tmp_path)
    assert first.same_as_before("0.0", "now()", "12:00") == "12:00"
    first.answered()
    assert again(tmp_path).same_as_before("0.0", "now()", "13:00") == "12:00"
    assert again(tmp_path).same_as_before("0.0", "other()", "13:00") == "13:00"


def test_an_output_that_nobody_answered_is_told_as_it_is_now(tmp_path: Path) -> None:
    first = again(tmp_path)
    first.same_as_before("0.0", "dispatch()", "scout-1 failed: no answer")
    assert again(tmp_path).same_as_before("0.0", "dispatch()", "scout-1 finished") == "scout-1 finished"
