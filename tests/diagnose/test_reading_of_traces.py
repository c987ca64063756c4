"""What the judge is given of a trace, what it costs, and what becomes of answers on parts and of second readings."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from insights.config import agents_dir
from insights.diagnose import labels, reading, roles
from insights.diagnose.judge import Judge
from insights.diagnose.labels import Label
from insights.diagnose.marks import Marks
from insights.diagnose.quotes import find_quote
from insights.errors import GatewayRefused
from insights.models import Request, ScriptedModel, Tiers
from primitives import Corpus, open_corpus
from tests.primitives.small import SCHEMA

RULES = "You are a clerk of the archive. " + "Stamp every form twice before you file it. " * 10
OUTPUT = "row of a table that nobody needs, number and name and date; " * 20
PATCH = (
    "diff --git a/form.py b/form.py\n--- a/form.py\n+++ b/form.py\n@@ -1,2 +1,2 @@\n" + "-old line\n+new line\n" * 20
)
Step = tuple[str, str, str | None]  # role, origin, text


def archive(folder: Path, runs: dict[str, list[Step]], final: str = "Filed.", tests: int = 0) -> Corpus:
    """A corpus of runs given as their steps; a step of role 'call' is an assistant's, its text a command in prose and arguments."""
    home = folder / "archive.corpus"
    (home / "labels").mkdir(parents=True)
    with duckdb.connect(str(home / "traces.duckdb")) as con:
        con.execute(SCHEMA.read_text(encoding="utf-8"))
        con.execute("INSERT INTO corpus_info VALUES (1, 'test', now(), 'archive')")
        for name, steps in runs.items():
            task = next((text for role, origin, text in steps if role == "user" and origin == "human"), None)
            con.execute("INSERT INTO traces (trace_id, source_id, root_trace_id, input_text, final_output, success, n_steps) "
                        "VALUES (?, 's', ?, ?, ?, false, ?)", [name, name, task, final, len(steps)])  # fmt: skip
            for seq, (role, origin, text) in enumerate(steps):
                kind = "tool_result" if role == "tool" else "message"
                shown = "assistant" if role == "call" else role
                con.execute(
                    "INSERT INTO steps (trace_id, seq, kind, role, origin, text, text_len, on_path) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    [name, seq, kind, shown, origin, text, len(text or ""), origin != "copied"],
                )
                if role == "call":
                    args = json.dumps({"command": (text or "").partition("$ ")[2]})
                    con.execute(
                        "INSERT INTO tool_calls (trace_id, tool_call_key, call_seq, result_seq, call_index, name, args, args_text) "
                        "VALUES (?, ?, ?, ?, 0, 'shell', ?, ?)",
                        [name, f"c{seq}", seq, seq + 1, args, args],
                    )
            for idx in range(tests):
                con.execute("INSERT INTO expected (trace_id, idx, kind, name, grp, met) VALUES (?, ?, 'test', ?, ?, false)",
                            [name, idx, f"test_{idx}", "FAIL_TO_PASS" if idx == tests - 1 else "PASS_TO_PASS"])  # fmt: skip
    return open_corpus(home)


def run(task: str, *more: Step) -> list[Step]:
    return [("system", "harness", RULES), ("user", "human", task), *more, ("assistant", "model", "Filed.")]


def judge(corpus: Corpus, folder: Path, model: ScriptedModel) -> tuple[Judge, Tiers]:
    tiers = Tiers(model, None, folder / "calls.sqlite")
    return Judge(corpus, tiers, Marks(folder), roles.load(agents_dir(), "judge"), "run", lambda line: None), tiers


def classified(
    corpus: Corpus, folder: Path, script: Callable[[Request], Any], ids: list[str], **more: Any
) -> tuple[list[Request], list[dict[str, Any]]]:
    model = ScriptedModel(script)
    reader, tiers = judge(corpus, folder, model)
    with tiers:
        found = asyncio.run(
            reader.classify(
                more.pop("questions", {"stamped": "Is it stamped?"}), ids, ["yes", "no"], more.pop("show", []), **more
            )
        )
    return model.requests, found["rows"]


def says(value: str, quote: str = "", seq: int = -1) -> Callable[[Request], str]:
    return lambda request: json.dumps(
        {
            name: {"why": "so", "seq": seq, "quote": quote, "value": value}
            for name in (request.schema or {})["properties"]
        }
    )


def test_what_runs_share_stands_once_in_the_prefix(tmp_path: Path) -> None:
    corpus = archive(
        tmp_path,
        {f"r{i}": run(f"File form {i}.") for i in range(3)}
        | {"other": [("user", "human", "Alone."), ("assistant", "model", "Yes.")]},
    )
    requests, _ = classified(corpus, tmp_path, says("no"), ["r0", "r1", "r2", "other"])
    shared = [r for r in requests if RULES in r.system]
    assert len(shared) == 3 and len({r.system for r in shared}) == 1
    assert all(
        RULES not in r.messages[0].text and "#0 system\n[text A, given above]" in r.messages[0].text for r in shared
    )
    assert [r.messages[0].text.count("Alone.") for r in requests if RULES not in r.system] == [1]


def test_no_text_is_given_twice(tmp_path: Path) -> None:
    steps = run("File it.", ("call", "model", "I look.\n$ cat form.txt"), ("tool", "tool", OUTPUT), ("call", "model", "Again.\n$ cat form.txt"),
                ("tool", "tool", OUTPUT), ("call", "model", "$ file\n" + PATCH))  # fmt: skip
    text = reading.reading(archive(tmp_path, {"r": steps}, PATCH), "r").parts[0]
    assert text.count(OUTPUT) == 1 and f"[word for word the {len(OUTPUT):,} characters that stand at #3" in text
    assert text.count("cat form.txt") == 2 and text.count("→ shell [arguments as written above]") == 3
    assert text.count("+++ b/form.py") == 1
    assert text.index("What the run submitted at its end (it stands in #6)") < text.index("#0 system")


def test_new_files_of_a_patch_come_last(tmp_path: Path) -> None:
    script = (
        "diff --git a/try.py b/try.py\nnew file mode 100644\n--- /dev/null\n+++ b/try.py\n@@ -0,0 +1 @@\n+print(1)\n"
    )
    text = reading.reading(archive(tmp_path, {"r": run("File it.")}, script + PATCH), "r").parts[0]
    assert "it stands in no step: quote a step instead" in text and text.index("b/form.py") < text.index("b/try.py")


def test_copied_steps_are_counted_and_left_out(tmp_path: Path) -> None:
    steps: list[Step] = [
        ("system", "harness", RULES),
        ("user", "copied", "An example: file form 0."),
        ("assistant", "copied", "Example filed and stamped twice."),
        ("user", "human", "File form 7 now."),
        ("assistant", "model", "Filed."),
    ]
    corpus = archive(tmp_path, {"r": steps})
    text = reading.reading(corpus, "r").parts[0]
    assert "2 steps (56 characters) were copied from another run and are left out." in text and "Example" not in text
    assert find_quote(corpus, "r", 2, "Example filed and stamped") is None


def long_run(n: int = 30) -> list[Step]:
    noise = [
        step
        for i in range(n)
        for step in (("call", "model", f"Look {i}.\n$ page {i}"), ("tool", "tool", f"{i}: " + f"word{i} " * 1_000))
    ]
    return run("File the form of the year 1907.", *noise, ("assistant", "model", "I stamp it once, that will do."))


def test_a_long_run_is_read_in_parts_that_know_the_task(tmp_path: Path) -> None:
    def script(request: Request) -> str:
        text = request.messages[0].text
        if request.role == "judge (combine)":
            assert text.count('"value": "yes"') == 1 and f"part {text.count('part ')} of {text.count('part ')}" in text
            return says("yes", "I stamp it once", 62)(request)
        return says("yes", "I stamp it once", 62)(request) if "I stamp it once" in text else says("no")(request)

    corpus = archive(tmp_path, {"r": long_run()}, tests=3)
    requests, rows = classified(corpus, tmp_path, script, ["r"], show=["expected"])
    *read, combined = requests
    assert len(read) >= 2 and combined.role == "judge (combine)"
    for request in requests:
        text = request.messages[0].text
        assert text.count("File the form of the year 1907.") == 1
        assert (
            "what the grader expects: test test_2" in text
            and "2 tests that pass before go on passing" in text
            and "false" not in text
        )
    assert "this part does not show it" in combined.system and "You are given its task" in combined.system
    assert (rows[0]["value"], rows[0]["seq"], rows[0]["quote"]) == ("yes", 62, "I stamp it once")


def test_long_outputs_of_long_runs_keep_both_ends(tmp_path: Path) -> None:
    page = "".join(f"line {i}\n" for i in range(12_000))
    steps = run("File it.", ("call", "model", "$ cat all"), ("tool", "tool", page))
    parts = reading.reading(archive(tmp_path, {"r": steps}), "r").parts
    assert len(parts) == 1 and "line 0\n" in parts[0] and "line 11999\n" in parts[0] and "line 6000\n" not in parts[0]
    assert f"[… {len(page) - reading.OUTPUT_CHARS:,} characters of this output are left out here …]" in parts[0]


def test_a_run_none_of_whose_parts_could_be_read_is_unjudged(tmp_path: Path) -> None:
    corpus = archive(tmp_path, {"r": long_run()})
    requests, rows = classified(corpus, tmp_path, lambda request: "no JSON at all", ["r"])
    assert rows[0]["value"] is None and not any("combine" in r.role for r in requests)


def test_a_label_is_judged_without_the_verdict(tmp_path: Path) -> None:
    corpus = archive(tmp_path, {"r": run("File it.")})
    for told in ("success", "score", "deviations"):
        with pytest.raises(GatewayRefused, match=f"may not show {told}"):
            classified(corpus, tmp_path, says("no"), ["r"], show=[told])


@pytest.mark.parametrize(
    ("quote", "found"),
    [
        ("it once", None),  # two short words prove nothing
        ("I stamp it", "I stamp it"),
        ("Filed", "Filed."),  # all that the step says
        ("“I  stamp\nit once,…", "I stamp it once,"),
        ("Stampededandwellfiledformulary", None),
        ("", None),
    ],
)
def test_a_quotation_has_to_say_something(tmp_path: Path, quote: str, found: str | None) -> None:
    corpus = archive(tmp_path, {"r": run("File it.", ("assistant", "model", "I stamp it once, that will do."))})
    place = find_quote(corpus, "r", None, quote)
    assert (place and place[1]) == found


def test_gold_of_several_labels_is_one_reading_of_a_trace(tmp_path: Path) -> None:
    ids = [f"r{i}" for i in range(60)]
    corpus = archive(tmp_path, {t: run(f"File form {t}.") for t in ids})
    questions = {"even": "Is it even?", "third": "Is it a third?", "never": "Is it never?"}

    def script(request: Request) -> str:
        number = int(request.messages[0].text.split("File form r")[1].split(".")[0])
        yes = {"even": number % 2 == 0, "third": number % 3 == 0, "never": False}
        said = {
            name: {"why": "so", "seq": 1, "quote": f"File form r{number}.", "value": "yes" if yes[name] else "no"}
            for name in (request.schema or {})["properties"]
        }
        return json.dumps(said)

    requests, _ = classified(corpus, tmp_path, script, ids, questions=questions, gold=20)
    again = [r for r in requests if r.role == "judge (again)"]
    gold = corpus.con.execute(
        "SELECT name, value, count(*) FROM labels WHERE kind = 'gold' GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    assert gold == [("even", "no", 10), ("even", "yes", 10), ("third", "no", 10), ("third", "yes", 10)]
    assert len({r.messages[0].text for r in again}) == len(again) < 40
    assert all(set((r.schema or {})["properties"]) == {"even", "third"} for r in again)


def test_second_readings_are_the_first_of_each_side() -> None:
    said = [Label(f"t{i}", "x", "yes" if i % 4 == 0 else "no", "judged") for i in range(400)] + [
        Label("u", "x", None, "judged")
    ]
    few, many = labels.second_readings(said, 20), labels.second_readings(said, 40)
    assert len(few) == 20 and len(many) == 40 and set(few) < set(many)
    assert sum(int(t[1:]) % 4 == 0 for t in many) == 20
    assert labels.second_readings([x for x in said if x.value != "yes"], 20) == []
