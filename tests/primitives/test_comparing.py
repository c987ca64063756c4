"""compare, sequences, rules, outliers and drift, on corpora with one thing planted and one decoy."""

from __future__ import annotations

import numpy as np
import pytest

from primitives import open_corpus
from primitives.features import TEXTS, FeatureUnknown, terms
from tests.primitives import small


def planted(seed=0, tasks=30, trials=6):
    """Runs of tasks, half of them hard. Planted: `check → write → FINAL` without `confirm` loses four runs of five.

    Decoy: `map` is called on hard tasks only. Tasks that say "abroad" need `roam`. `steps` grow with difficulty.
    """
    rng = np.random.default_rng(seed)
    names = ("traces", "tool_calls", "steps", "slices", "signals", "labels")
    rows: dict[str, list[dict]] = {name: [] for name in names}
    for task in range(tasks):
        hard, abroad = task % 2 == 0, task % 3 == 0
        for trial in range(trials):
            trace_id = f"{task}.{trial}"
            confirm, roam = rng.random() < 0.6, rng.random() < 0.5
            passed = rng.random() < (0.45 if hard else 0.95)
            passed = bool(passed and (confirm or rng.random() < 0.2) and (roam or not abroad))
            line = ["check", *["map"] * hard, *["confirm"] * confirm, "write", *["roam"] * roam]
            for seq, name in enumerate(line, start=1):
                rows["tool_calls"].append(
                    {
                        "trace_id": trace_id, "call_seq": seq, "tool_call_key": str(seq), "name": name,
                        "args": {"mode": "fast" if hard else "slow", "id": f"{task}-{trial}"},
                        "result_text": '{"status": "abroad"}' if name == "check" and abroad else '{"status": "home"}',
                    }
                )  # fmt: skip
            for seq, role in ((0, "user"), (len(line) + 1, "assistant")):
                rows["steps"].append(
                    {"trace_id": trace_id, "seq": seq, "role": role, "text": "hello", "n_tool_calls": 0}
                )
            rows["traces"].append(
                {
                    "trace_id": trace_id, "dataset": "d", "task_id": str(task), "success": passed, "trial": trial,
                    "model": "new" if trial % 2 else "old", "n_steps": 10 + 20 * hard + int(rng.integers(5)),
                    "output_tokens": 100 * (2 if trial % 2 else 1) + int(rng.integers(20)),
                    "input_text": f"please help me{' abroad' * abroad} number{task % 5}",
                    "started_at": f"2025-0{1 + trial % 2}-03 10:00:00+00",
                }
            )  # fmt: skip
            rows["slices"].append({"trace_id": trace_id, "name": "suite", "value": "hard" if hard else "easy"})
            if not confirm and rng.random() < 0.9:
                rows["signals"].append({"trace_id": trace_id, "seq": 1, "detector": "unconfirmed"})
            if trial < 3:
                rows["labels"].append(
                    {"trace_id": trace_id, "name": "calm", "value": "yes" if passed else "no", "kind": "judged"}
                )
    return rows


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return small.folder(tmp_path_factory.mktemp("planted"), **planted())


@pytest.fixture
def corpus(folder):
    return open_corpus(folder, threads=1)


def ids(corpus, sql):
    return {row[0] for row in corpus.con.execute(f"SELECT DISTINCT trace_id FROM ({sql})").fetchall()}


def test_compare_ranks_the_planted_fault_over_what_only_goes_with_difficulty(corpus):
    frame = corpus.compare(features=["tools", "signals", "numbers", "slices"]).set_index("feature")
    assert frame.index[0] == "confirm"
    confirm, decoy = frame.loc["confirm"], frame[(frame.index + frame["same_as"]).str.contains("suite")].iloc[0]
    assert confirm["q"] < 0.001 and confirm["low"] > 0.2 and confirm["adjusted"]
    assert abs(decoy["effect_unadjusted"]) > 0.2 and decoy["p_unadjusted"] < 0.01
    assert np.isnan(decoy["p"]) and not decoy["adjusted"]
    assert frame.loc["n_steps", "p_unadjusted"] < 0.05 < frame.loc["n_steps", "p"]
    assert frame.loc["unconfirmed", "effect"] < -0.2
    assert "map" in decoy["same_as"]  # called on just the tasks of one suite: one line for both


def test_compare_counts_what_each_cohort_has(corpus):
    row = corpus.compare(features=["tools"]).set_index("feature").loc["confirm"]
    k_a, n_a, k_b, n_b = corpus.con.execute(
        "SELECT count(*) FILTER (success AND c), count(*) FILTER (success), count(*) FILTER (NOT success AND c), "
        "count(*) FILTER (NOT success) FROM (SELECT success, trace_id IN (SELECT trace_id FROM tool_calls "
        "WHERE name = 'confirm') AS c FROM traces)"
    ).fetchone()
    assert (row["value_a"], row["value_b"]) == (pytest.approx(k_a / n_a), pytest.approx(k_b / n_b))
    assert (row["n_a"], row["n_b"], row["support"]) == (n_a, n_b, k_a + k_b)


def test_compare_leaves_unlabelled_traces_out_of_a_label(corpus):
    row = corpus.compare(features=["label:calm"]).iloc[0]
    assert row["feature"] == "calm = yes" and row["same_as"] == "not label calm = no"
    assert row["n_a"] + row["n_b"] == 90
    assert (row["value_a"], row["value_b"]) == (1, 0)


def test_compare_takes_features_of_every_kind_as_sql(corpus):
    frame = corpus.compare(
        features={
            "many steps": "n_steps > 20",
            "length": "SELECT trace_id, n_steps AS value FROM traces",
            "who": "model",
            "roams": "SELECT trace_id FROM tool_calls WHERE name = 'roam'",
        }
    )
    assert set(frame["feature"]) == {"many steps", "length", "who = old", "roams"} or set(frame["feature"]) == {
        "many steps",
        "length",
        "who = new",
        "roams",
    }
    assert frame.set_index("feature").loc["length", "kind"] == "number"


def test_compare_of_two_models_is_paired_by_task(corpus):
    frame = corpus.compare("model = 'new'", "model = 'old'", features=["numbers"]).set_index("feature")
    row = frame.loc["output_tokens"]
    assert row["effect"] == 1.0 and row["strata"] == 30 and row["q"] < 1e-6
    assert row["low"] > 0.7  # all tasks agree: the rule of three over tasks
    assert row["adjusted_for"] == "task (30 tasks, 30 with mixed outcome)"
    assert frame.loc["n_steps", "low"] < 0 < frame.loc["n_steps", "high"]


def test_compare_says_what_it_cannot_read(corpus):
    with pytest.raises(FeatureUnknown, match="no feature 'colour'; there are the families numbers"):
        corpus.compare(features=["colour"])
    with pytest.raises(FeatureUnknown, match="must give trace_id"):
        corpus.compare(features={"x": "SELECT name FROM tool_calls"})
    with pytest.raises(ValueError, match=r"share \d+ traces; a trace must belong to one"):
        corpus.compare("success", "n_steps > 0")
    with pytest.raises(ValueError, match="nothing to compare"):
        corpus.compare("model = 'neither'")


def test_hostile_names_stay_names(tmp_path):
    traces = [{"trace_id": f"{i}'\"", "success": i % 2 == 0, "n_steps": i} for i in range(40)]
    name = "x'); DROP TABLE traces; --"
    calls = [
        {"trace_id": t["trace_id"], "call_seq": 1, "name": name, "args": {"a'b\"/~": "it's"}, "result_text": "{'"}
        for t in traces[:20]
    ]
    corpus = small.corpus(tmp_path, traces=traces, tool_calls=calls)
    assert corpus.compare(features=["tools"]).iloc[0]["support"] == 20
    found = corpus.sequences(min_support=5)
    assert len(ids(corpus, found["predicate"].iloc[0])) == 20
    assert corpus.rules(min_support=3)["rule"].tolist() == []


def test_sequences_find_the_planted_order_and_its_predicate_counts_it(corpus):
    frame = corpus.sequences(min_support=5)
    assert frame["sequence"].iloc[0] in ("check → confirm → write", "check → confirm", "confirm → write", "confirm")
    bad = frame[frame["sequence"] == "check → write"].iloc[0]
    assert bad["effect"] < -0.2 and bad["q"] < 0.05
    for row in frame.itertuples():
        assert len(ids(corpus, row.predicate)) == row.a_k + row.b_k, row.sequence
    assert "FINAL" in set(" → ".join(corpus.sequences(min_support=5, limit=500)["sequence"]).split(" → "))
    decoy = frame[frame["sequence"] == "map"]
    assert decoy.empty or np.isnan(decoy["p"].iloc[0])


def test_sequences_tell_errors_empties_and_programs(tmp_path):
    def call(trace, seq, **columns):
        return {"trace_id": trace, "call_seq": seq, "tool_call_key": str(seq), **columns}

    calls = [
        call(
            "a", 1, name="bash", args={"command": "cd /x && FOO=1 /usr/bin/pytest -q"}, status="error", result_text="no"
        ),
        call("a", 2, name="bash", args={"command": ["bash", "-lc", "ls -l"]}, result_text="x"),
        call("a", 3, name="edit", args={"command": "edit 1:2"}, result_text="ok"),
        call("b", 1, name="find", args={"q": 1}, result_text=" [] "),
        call("b", 2, name="toggle", requestor="user", result_text="done"),
    ]
    corpus = small.corpus(
        tmp_path, traces=[{"trace_id": "a", "success": True}, {"trace_id": "b", "success": False}], tool_calls=calls
    )
    found = set(corpus.sequences(longest=1, min_support=1)["sequence"])
    # n-grams in the same traces count once: one name of a's stands for all three
    assert found & {"bash:pytest!err", "bash:ls", "edit"}
    pairs = corpus.con.execute("SELECT token FROM contrast_events").fetchall()
    assert len(pairs) == 5
    from primitives.events import EVENTS

    tokens = {row[0] for row in corpus.con.execute(f"SELECT token FROM ({EVENTS})").fetchall()}
    assert tokens == {"bash:pytest!err", "bash:ls", "edit", "find!empty", "user:toggle"}


def test_rules_find_the_omission(corpus):
    frame = corpus.rules(min_support=5)
    roam = frame[frame["action"] == "roam is never called"].iloc[0]
    assert "abroad" in roam["condition"]
    assert roam["bad_side"] == "absent" and roam["bad_k"] == 0 and roam["q"] < 0.05
    assert roam["rule"] == (
        f"{roam['condition']}, roam is never called: 0 of {roam['bad_n']} pass, else {roam['else_k']} of {roam['else_n']}"
    )
    assert (frame["action"] == "confirm is never called").any()
    assert not frame["action"].str.startswith("map").any()
    for row in frame.itertuples():
        found = ids(corpus, row.predicate)
        passed = ids(corpus, "SELECT trace_id FROM traces WHERE success")
        assert (len(found), len(found & passed)) == (row.bad_n, row.bad_k), row.rule


def test_rules_on_outcomes_dealt_at_random_within_tasks_hold_little(tmp_path):
    rows = planted()
    rng = np.random.default_rng(7)
    by_task: dict[str, list[dict]] = {}
    for trace in rows["traces"]:
        by_task.setdefault(trace["task_id"], []).append(trace)
    for traces in by_task.values():
        dealt = rng.permutation([t["success"] for t in traces])
        for trace, success in zip(traces, dealt, strict=True):
            trace["success"] = bool(success)
    corpus = small.corpus(tmp_path, **{k: v for k, v in rows.items() if k != "labels"})
    assert not (corpus.rules(min_support=5)["q"] < 0.1).any()


def test_a_step_left_out_in_the_tasks_that_need_it_is_a_rule_of_those_tasks(tmp_path):
    """Three kinds of request; cancelling is wrong to leave out in one of them, though most passing runs never cancel."""
    traces, calls = [], []
    for task in range(24):
        for trial in range(5):
            id, cancels = f"{task}.{trial}", task % 3 == 0
            left_out = cancels and trial == task % 5
            traces.append(
                {
                    "trace_id": id,
                    "task_id": str(task),
                    "input_text": "Kündigung übermäßig" if cancels else "注文番号の配送先を変更したいです",
                    "success": not left_out and (task + trial) % 7 > 0,
                }
            )
            names = ["lesen"] + ["löschen"] * (cancels and not left_out)
            calls += [{"trace_id": id, "name": name, "call_seq": 1, "tool_call_key": name} for name in names]
    corpus = small.corpus(tmp_path, traces=traces, tool_calls=calls)
    frame = corpus.rules(min_support=5)
    rule = frame[frame["condition"] == "in tasks where several runs call löschen"].iloc[0]
    assert rule["action"] == "löschen is never called" and (rule["bad_k"], rule["bad_n"]) == (0, 8)
    assert ids(corpus, rule["predicate"]) == ids(corpus, LEFT_OUT)


def test_words_are_found_in_other_scripts_than_latin(tmp_path):
    texts = ["Kündigung übermäßig bald", "注文番号の配送先をキャンセルしたい", "возврат заказа"]
    corpus = small.corpus(tmp_path, traces=[{"trace_id": str(i), "input_text": t} for i, t in enumerate(texts)])
    found = corpus.con.execute(f"SELECT key FROM ({terms(TEXTS['task'], 'task')})").fetchall()
    assert {key.removeprefix("task ") for (key,) in found} == {
        "kündigung", "übermäßig", "bald", "注文番号", "配送先", "キャンセル", "возврат", "заказа",
    }  # fmt: skip


LEFT_OUT = "SELECT trace_id FROM traces WHERE task_id::INT % 3 = 0 AND trace_id NOT IN (SELECT trace_id FROM tool_calls WHERE name = 'löschen')"


def test_rules_without_a_contrast_say_so(tmp_path):
    corpus = small.corpus(tmp_path, traces=[{"trace_id": str(i), "success": True} for i in range(9)])
    with pytest.raises(ValueError, match="nothing to contrast"):
        corpus.rules()


def test_outliers_are_far_out_among_comparable_traces(tmp_path):
    rng = np.random.default_rng(0)
    traces = [
        {
            "trace_id": f"{task}.{i}",
            "dataset": "d",
            "task_id": str(task),
            "n_steps": int(rng.integers(8, 12)) * (1 + 50 * task),
        }
        for task in range(2)
        for i in range(20)
    ]
    traces[3]["n_steps"] = 60  # usual among the long task's, far out in its own
    calls: list[dict] = [
        {"trace_id": "1.5", "name": "look", "args": {"q": 1}, "tool_call_key": str(i)} for i in range(30)
    ]
    calls += [{"trace_id": t["trace_id"], "name": "look", "args": {"q": 2}, "tool_call_key": "only"} for t in traces]
    frame = small.corpus(tmp_path, traces=traces, tool_calls=calls).outliers()
    assert list(zip(frame["trace_id"], frame["measure"], strict=True)) == [("1.5", "repetition"), ("0.3", "steps")]
    steps = frame.iloc[1]
    assert steps["value"] == 60 and 8 <= steps["median"] <= 12 and steps["z"] > 3.5
    assert steps["comparable_to"] == "task 0" and steps["group_n"] == 20
    assert frame.attrs["traces"] == 2


def test_one_more_than_usual_is_no_outlier(tmp_path):
    traces = [{"trace_id": str(i), "n_tool_errors": int(i == 0), "n_steps": 10} for i in range(30)]
    assert small.corpus(tmp_path, traces=traces).outliers().empty


def test_drift_tells_what_changed_from_what_did_not(corpus):
    frame = corpus.drift("model").set_index("feature")
    tokens = frame.loc["output_tokens"]
    assert tokens["version"] == "new" and tokens["against"] == "old"  # by the first start
    assert tokens["change"] == "up" and tokens["alert"] and tokens["adjusted_for"].startswith("task")
    assert frame.loc["n_steps", "change"] == "same" and not frame.loc["n_steps", "alert"]
    assert frame.loc["passed", "change"] == "same"
    assert corpus.drift("model", against="new").iloc[0]["version"] == "old"


def test_drift_by_week_and_its_errors(corpus):
    frame = corpus.drift("month")
    assert set(frame["version"]) == {"2025-02"} and set(frame["against"]) == {"2025-01"}
    with pytest.raises(ValueError, match="there is no 'colour' to go by"):
        corpus.drift("colour")
    with pytest.raises(ValueError, match="there is 1 version"):
        corpus.drift("dataset")
    with pytest.raises(ValueError, match="no version 'next'; there are old, new"):
        corpus.drift("model", against="next")


def test_drift_sees_what_is_new_and_what_is_gone(tmp_path):
    traces, calls = [], []
    for i in range(80):
        version = "v1" if i < 40 else "v2"
        traces.append({"trace_id": str(i), "task_id": str(i % 40), "agent_version": version})
        calls.append({"trace_id": str(i), "name": "before" if version == "v1" else "after", "call_seq": 0})
    frame = small.corpus(tmp_path, traces=traces, tool_calls=calls).drift("agent_version")
    changes = dict(zip(frame["feature"], frame["change"], strict=True))
    assert changes["before"] == "gone" and changes["after"] == "new"
    assert frame["alert"].all()


def test_the_same_call_gives_the_same_answer(folder):
    first, again = (open_corpus(folder, threads=2) for _ in range(2))
    for name in ("compare", "sequences", "rules", "outliers", "deviations"):
        assert getattr(first, name)().equals(getattr(again, name)()), name
    assert first.drift("model").equals(again.drift("model"))
