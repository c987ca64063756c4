"""One secret of each kind planted in a corpus is in no output of any command, unless --no-redact."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from insights.cli import load, main
from insights.findings.citations import verify
from insights.records import Citation
from primitives.corpus import open_corpus
from primitives.secrets import excerpt, spans

# Put together here, so that no scanner of this repository takes them for real ones.
PLANTED = {
    "openai": ("", "sk-proj-" + "Qz7_" * 10, ""),
    "anthropic": ("", "sk-ant-api03-" + "Zt4-" * 12, ""),
    "stripe": ("", "sk_live_" + "4eC39HqLyjWD" * 2, ""),
    "google": ("", "AIza" + "SyB7q" * 7, ""),
    "groq": ("", "gsk_" + "Wq8x" * 10, ""),
    "github": ("", "ghp_" + "y9Kd" * 9, ""),
    "github fine": ("", "github_pat_" + "11AbC" * 9, ""),
    "gitlab": ("", "glpat-" + "Vb6-" * 6, ""),
    "slack": ("", "xoxb-" + "1234567890-" * 2 + "AbCdEf", ""),
    "hugging face": ("", "hf_" + "kLmN2" * 7, ""),
    "npm": ("", "npm_" + "a1B2" * 9, ""),
    "aws id": ("", "AKIA" + "Z7Y6X5W4" * 2, ""),
    "aws secret": ("aws_secret_access_key = ", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"[:40], ""),
    "jwt": ("cookie ", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3In0.dozjgNryP4J3jVmNHl0w5N", ""),
    "bearer": ("curl -H 'Authorization: Bearer ", "mF9.B5f-4.1JqMabcdef0123", "'"),
    "basic": ('{"Authorization": "Basic ', "dXNlcjpodW50ZXIyMg==", '"}'),
    "address": ("postgres://", "admin:hunter22x", "@db.internal/prod"),
    "password in JSON": ('{"user": "bob", "password": "', "Tr0ub4dor&3", '"}'),
    "password in the environment": ("export DB_PASSWORD=", "c0rrecthorse9", ""),
    "client secret": ("client_secret: '", "9f8e7d6c5b4a3f2e1d", "'"),
    "private key": ("", "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEAx7\n-----END RSA PRIVATE KEY-----", ""),
}
NEEDLES = [
    needle
    for _, secret, _ in PLANTED.values()
    for needle in ([secret, secret[-12:]] if "\n" not in secret else ["MIIEowIBAAKCAQEAx7"])
]


def run_of(i: int, name: str, passed: bool) -> dict[str, Any]:
    """A run that meets a secret in everything a trace can hold."""
    text = "".join(PLANTED[name])
    call = {
        "id": "c1",
        "type": "function",
        "function": {"name": "shell", "arguments": json.dumps({"command": f"login with {text} now"})},
    }
    again = {**call, "id": "c2"}
    return {
        "id": f"run-{i}",
        "messages": [
            {"role": "system", "content": f"You deploy. Use {text} to log in."},
            {"role": "user", "content": f"Deploy with {text} please."},
            {"role": "assistant", "content": f"I will use {text} for it.", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": f"Error: access denied for {text}" + " and more" * 3000},
            {"role": "assistant", "content": None, "tool_calls": [again]},
            {"role": "tool", "tool_call_id": "c2", "content": f"Error: access denied for {text}" + " and more" * 3000},
            {"role": "assistant", "content": f"Deployed. The key was {text}." if passed else f"It failed with {text}."},
        ],
        "metadata": {"task_id": f"t{i % 14}", "success": passed, "note": text},
    }


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("planted")
    names = list(PLANTED)
    runs = [run_of(i, names[i % len(names)], i % 3 == 0) for i in range(2 * len(names))]
    broken = json.dumps(runs[0])[:400]
    (folder / "runs.jsonl").write_text("\n".join([*map(json.dumps, runs), broken]) + "\n" + json.dumps(runs[1]) + "\n")
    secret = PLANTED["openai"][1]
    (folder / "labels.csv").write_text(f"id,success,note\nrun-0,true,{secret}\nrun-1,false,\nnone {secret},true,\n")
    (folder / "wrong.csv").write_text(f"id,success\nrun-0,{secret}\n")
    (folder / "rules.yaml").write_text("rules:\n  logs_in:\n    line: it logs in\n    repeat: shell\n    times: 2\n")
    return folder


def seen(texts: dict[str, str]) -> dict[str, list[str]]:
    return {place: found for place, text in texts.items() if (found := [n for n in NEEDLES if n in text])}


def test_no_command_bares_a_secret(planted: Path, capfd: pytest.CaptureFixture[str]) -> None:
    corpus, run, cases = planted / "a.corpus", planted / "run", planted / "cases"
    told: dict[str, str] = {}

    def go(*arguments: object, most: int = 1) -> None:
        status = main([str(a) for a in arguments])
        out, err = capfd.readouterr()
        assert status <= most, err
        told[" ".join(map(str, arguments))] = out + err

    go("ingest", planted / "runs.jsonl", "-o", corpus)
    go("ask", corpus, "Why do runs fail?", "-o", run, "--no-sandbox")
    for style in ("pretty", "json", "md"):
        go("info", corpus, "--format", style)
        for i in range(len(PLANTED)) if style == "pretty" else (0, 7):
            go("show", corpus, f"run-{i}", "--format", style)
        go("show", corpus, "run-3", "--max-chars", 900, "--format", style)
        go("show", corpus, "run-6#3", "--format", style)
        go("replay", corpus, "run-2", "--format", style)
        go("report", run, "--format", style)
        go("verify", run, "--format", style)
        go("gate", run, "--on", corpus, "--format", style, most=3)
        go("compare", corpus, corpus, "--format", style)
        go("compare", run, run, "--format", style)
        go("regress", run, "-o", cases, "--format", style)
    for style in ("pretty", "json", "md", "csv"):
        go("sql", corpus, "SELECT * FROM steps", "--format", style)
        go("sql", corpus, "SELECT * FROM tool_calls", "--format", style)
        go(
            "sql",
            corpus,
            "SELECT metadata, input_text, {'a': [final_output]} AS a, map {final_output: 1} AS b FROM traces",
            "--format",
            style,
        )
        go("sql", corpus, "FROM ingest_issues", "--format", style)
        go("detect", corpus, "--signals", "--format", style)
        go("detect", corpus, "--rules", planted / "rules.yaml", "--signals", "--format", style)
        go("search", corpus, "access denied", "--limit", 200, "--format", style)
        go(
            "search",
            corpus,
            "(?i).{4}(?:bearer|login|for it|deploy)",
            "--mode",
            "regex",
            "--limit",
            400,
            "--format",
            style,
        )
    go("report", run, "--write")
    go("show", corpus, f"no such {PLANTED['openai'][1]}")
    go("ingest", planted / "runs.jsonl", "-o", corpus)
    go("label", corpus, planted / "labels.csv")
    go("label", corpus, planted / "wrong.csv", most=2)
    go("label", corpus, "--export", "careful", "-o", cases / "gold.csv", most=2)
    go("ask", run / "agents", "Why do cells fail?", "-o", planted / "again", "--no-sandbox")
    assert {command.name or command.callback.__name__ for command in load().registered_commands if command.callback} - {
        arguments.split()[0] for arguments in told
    } == {"demo", "doctor"}  # which read no traces of anybody
    files = [p for folder in (run, cases, planted / "again") for p in folder.rglob("*") if p.is_file()]
    written = {str(p): p.read_bytes().decode("utf-8", "replace") for p in files}
    assert seen(told) == {} and seen(written) == {}
    assert sum("[masked: " in text for text in told.values()) > 50
    assert {"findings.json", "report.md", "report.html", "notebook.ipynb", "manifest.json"} <= {p.name for p in files}


def test_masked_citations_still_verify(planted: Path) -> None:
    corpus = planted / "b.corpus"
    assert main(["ingest", str(planted / "runs.jsonl"), "-o", str(corpus)]) == 0
    opened = open_corpus(corpus)
    rows = opened.con.execute(
        "SELECT trace_id, seq, text FROM steps WHERE role IN ('user', 'assistant') AND text <> ''"
    ).fetchall()
    cited = []
    for trace_id, seq, text in rows:
        (start, end, _), *_ = spans(text)
        cited.append(Citation(trace_id, seq, excerpt(text, 0, end + 1), "support"))
        cited.append(Citation(trace_id, seq, excerpt(text, (start + end) // 2, len(text)), "support"))
    assert (
        len(cited) > 100
        and all("[masked: " in c.quote for c in cited)
        and not seen({str(i): c.quote for i, c in enumerate(cited)})
    )
    assert all(c.verified for c in verify(opened, cited))
    wrong = [Citation(c.trace_id, c.seq, c.quote + " and so on", c.role) for c in cited]
    assert not any(c.verified for c in verify(opened, wrong))


def test_no_redact_shows_what_stands_there(planted: Path, capfd: pytest.CaptureFixture[str]) -> None:
    corpus, secret = planted / "a.corpus", PLANTED["openai"][1]
    if not corpus.is_dir():
        assert main(["ingest", str(planted / "runs.jsonl"), "-o", str(corpus)]) == 0
    for arguments in (
        ["show", corpus, "run-0"],
        ["replay", corpus, "run-0"],
        ["sql", corpus, "SELECT text FROM steps", "--format", "json"],
        ["search", corpus, "deploy with", "--limit", "50", "--format", "json"],
        ["detect", corpus, "--signals", "--format", "json"],
    ):
        capfd.readouterr()
        assert main([*map(str, arguments), "--no-redact"]) == 0
        shown = capfd.readouterr().out
        assert secret in shown or arguments[0] == "detect"  # a detector's note is masked where it is made
        assert main([*map(str, arguments)]) == 0
        assert secret not in capfd.readouterr().out
