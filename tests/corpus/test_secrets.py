"""Secrets are counted by kind and place, and masked where text is printed."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest

from insights.cli import main
from insights.corpus.load import ingest
from insights.report.escape import markdown
from primitives.secrets import count, mask, suspects
from tests.corpus.chats import chat, write
from tests.models.test_redaction import SECRETS

KEY = "sk-proj-" + "Ab3_" * 10


@pytest.mark.parametrize("kind", SECRETS)
def test_every_kind_is_suspected_counted_and_masked_alike(kind):
    text = f"before {SECRETS[kind]} after"
    assert suspects(pa.array(["nothing here", None, text])) == [2]
    assert count(text) == {kind: 1} and mask(text)[1] == 1


@pytest.fixture
def corpus(tmp_path):
    ingest([write(tmp_path / "a.jsonl", [chat("a", f"The key is {KEY}, use it.")])], tmp_path / "a.corpus")
    return str(tmp_path / "a.corpus")


@pytest.mark.parametrize(
    "command",
    [["show", "a"], ["show", "a", "--format", "json"], ["replay", "a"], ["replay", "a", "--format", "json"], ["search", "key"],
     ["search", "key", "--format", "json"], ["search", "key", "--format", "csv"]],
    ids=" ".join,
)  # fmt: skip
def test_printing_masks_unless_told(corpus, capsys, command):
    arguments = [command[0], corpus, *command[1:]]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert KEY not in out and "[masked: provider key]" in out
    assert main([*arguments, "--no-redact"]) == 0
    assert KEY in capsys.readouterr().out


def test_a_quotation_in_a_report_is_masked_not_what_is_stored(corpus):
    import duckdb

    with duckdb.connect(f"{corpus}/traces.duckdb", read_only=True) as con:
        ((stored,),) = con.execute("SELECT final_output FROM traces").fetchall()
    assert stored == f"The key is {KEY}, use it."
    assert markdown(stored) == r"The key is \[masked: provider key\], use it."


def test_the_summary_names_kind_and_place_not_the_value(tmp_path, corpus, capsys):
    write(tmp_path / "b.jsonl", [chat("b", f"again {KEY}")])
    assert main(["ingest", str(tmp_path / "b.jsonl"), "-o", corpus]) == 0
    out = capsys.readouterr().out
    assert "secret (info): 2 x, e.g. provider key in steps.text" in out and KEY not in out
    assert main(["sql", corpus, "SELECT detail FROM ingest_issues WHERE code = 'secret'", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["detail"] == "provider key in steps.text"
