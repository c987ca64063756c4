"""The report in its four forms, from a report and a corpus made by hand (sample.py), with hostile text everywhere."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest
import yaml
from markdown_it import MarkdownIt

from insights.errors import InsightsError
from insights.records import Cause, Predicate
from insights.report import check, head, load, outline, render_again, words, write
from insights.report.context import around_citations
from insights.report.markdown import render as markdown
from insights.report.place import corpus_of, run_folder
from primitives.corpus import Corpus
from tests.golden import assert_golden
from tests.report.sample import HOSTILE, ids, make_cells, make_corpus, make_report

GOLDEN = Path(__file__).parent / "golden"


def test_markdown_reads_as_accepted() -> None:
    assert_golden(GOLDEN / "report.md", markdown(make_report()))


def test_markdown_without_outcomes_reads_as_accepted() -> None:
    text = markdown(make_report(outcomes=False))
    assert_golden(GOLDEN / "report-without-outcomes.md", text)
    assert not re.search(r"\b(pass|passes|fail|fails|failing|failures)\b", text.split("---\n")[2])


def test_head_reads_as_accepted() -> None:
    assert_golden(GOLDEN / "head.txt", head(make_report(), Path("desk.corpus/runs/r-1")))


def test_front_matter_is_yaml() -> None:
    _, front, _ = markdown(replace(make_report(), question='a: "b" # c\n---\n')).split("---\n", 2)
    values = yaml.safe_load(front)
    assert values["question"] == 'a: "b" # c ⏎ ---'
    assert (values["traces"], values["passed"], values["failed"], values["findings"]) == (40, 20, 16, 2)


def test_markdown_renders_to_our_own_tags_only() -> None:
    body = markdown(make_report()).split("---\n", 2)[2]
    tags = set(re.findall(r"<(/?[a-z][^>]*)>", MarkdownIt("gfm-like", {"html": True, "linkify": False}).render(body)))
    links = {t for t in tags if t.startswith("a href")}
    assert all(re.fullmatch(r'a href="#[\w.-]+"', t) for t in links)
    plain = "h1 h2 h3 p ul li table thead tbody tr th td strong code pre blockquote details summary a".split()
    allowed = {*plain, *(f"/{t}" for t in plain), 'code class="language-sh"'}
    rest = {t for t in tags - links - allowed if not re.fullmatch(r'a id="[\w.-]+"|t[dh] style="text-align:right"', t)}
    assert rest == set()


def test_partition_stands_with_its_sum() -> None:
    text = markdown(make_report())
    rows = re.findall(r"^\| (\d+) \|", text.split("## Findings")[0], re.M)
    assert sum(map(int, rows)) == 16 and "| **16** | 100 % | **all failures** |" in text


def test_a_partition_that_does_not_sum_is_refused(corpus: Corpus, run_dir: Path) -> None:
    report = make_report()
    with pytest.raises(ValueError, match="sums to 11 failures, the corpus has 16"):
        write(replace(report, partition=report.partition[:2]), run_dir, corpus=corpus)
    assert not run_dir.exists()


def test_causes_must_name_findings_and_count_their_traces() -> None:
    report = make_report()
    with pytest.raises(ValueError, match="names finding 'F9'"):
        check(replace(report, partition=(replace(report.partition[0], finding_id="F9"), *report.partition[1:])))
    with pytest.raises(ValueError, match="counts 5 traces and lists 4"):
        check(
            replace(report, partition=(*report.partition[:2], Cause("unexplained", None, "", 5, ("a", "b", "c", "d"))))
        )


def test_what_is_written_is_what_is_loaded(corpus: Corpus, run_dir: Path) -> None:
    report = make_report(str(corpus.path))
    write(report, run_dir, corpus=corpus, cells=make_cells())
    assert load(run_dir) == load(str(run_dir)) == report
    names = {str(p.relative_to(run_dir)) for p in run_dir.rglob("*") if p.is_file()}
    assert names == {
        "report.md",
        "report.html",
        "findings.json",
        "notebook.ipynb",
        "findings/F1.txt",
        "findings/F2.txt",
    }
    assert (run_dir / "findings/F2.txt").read_text() == "t8\nt9\nt10\n"


def test_ids_that_a_line_cannot_hold_survive(corpus: Corpus, run_dir: Path) -> None:
    report = make_report()
    odd = ("a\nb", '"quoted"', "plain\u2028id", "trailing ")
    report = replace(report, findings=(replace(report.findings[0], trace_ids=odd), report.findings[1]))
    write(report, run_dir, corpus=corpus)
    assert load(run_dir).findings[0].trace_ids == odd


def test_ids_of_findings_no_longer_reported_are_removed(corpus: Corpus, run_dir: Path) -> None:
    report = make_report()
    write(report, run_dir, corpus=corpus)
    write(replace(report, findings=report.findings[:1], partition=()), run_dir, corpus=corpus)
    assert [p.name for p in (run_dir / "findings").iterdir()] == ["F1.txt"]


def test_a_finding_id_cannot_leave_the_folder(corpus: Corpus, run_dir: Path) -> None:
    report = make_report()
    with pytest.raises(ValueError, match="cannot be a file name"):
        write(
            replace(report, findings=(replace(report.findings[0], id="../../evil"),), partition=()),
            run_dir,
            corpus=corpus,
        )


def test_findings_json_has_the_names_that_others_rely_on(corpus: Corpus, run_dir: Path) -> None:
    write(make_report(), run_dir, corpus=corpus)
    value = json.loads((run_dir / "findings.json").read_text())
    assert value["schema_version"] == 1
    assert value["coverage"] == {
        "failed": 16,
        "explained": 11,
        "unexplained_trace_ids": ["t11", "t12", "t13", "t14", "t15"],
    }
    finding = value["findings"][0]
    assert finding["contrast"]["with"] == {"k": 3, "n": 9} and finding["contrast"]["without"] == {"k": 17, "n": 27}
    assert finding["trace_ids_file"] == "findings/F1.txt" and "trace_ids" not in finding
    assert set(finding["prevalence"]) == {"k", "n", "unscored", "low", "high", "method"}
    assert set(value["hypotheses"][0]) == {"id", "statement", "predicate", "verdict", "k", "n", "p", "q", "why"}


def test_every_name_in_findings_json_is_documented(corpus: Corpus, run_dir: Path) -> None:
    write(make_report(), run_dir, corpus=corpus)
    document = (Path(__file__).parents[2] / "docs" / "findings.md").read_text()
    free = {"made", "not_analysed"}

    def names(value: object) -> set[str]:
        if isinstance(value, list):
            return set().union(*map(names, value))
        if not isinstance(value, dict):
            return set()
        return set(value) | set().union(*(names(v) for k, v in value.items() if k not in free))

    found = names(json.loads((run_dir / "findings.json").read_text()))
    assert {name for name in found if not re.search(rf"`{name}`|`[^`]*\b{name}\b[^`]*`", document)} == set()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda f: f.unlink(), "holds no finished run"),
        (lambda f: f.write_text("{"), "not readable JSON"),
        (lambda f: f.write_text('{"schema_version": 99}'), "schema version 99"),
        (lambda f: f.write_text('{"schema_version": 1}'), "not a complete report: no 'run_id'"),
    ],
)
def test_a_damaged_run_is_refused_with_its_place(corpus: Corpus, run_dir: Path, spoil, says: str) -> None:
    write(make_report(), run_dir, corpus=corpus)
    spoil(run_dir / "findings.json")
    with pytest.raises(InsightsError, match=says):
        load(run_dir)


class Page(HTMLParser):
    """The tags, the ids and the links of a page; `open` is what was never closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.attributes: set[str] = set()
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        values = dict(attrs)
        self.ids += [values["id"]] if values.get("id") else []
        self.links += [v for k, v in attrs if k in ("href", "src") and v]
        if tag not in ("meta", "br", "line", "circle"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture
def page(corpus: Corpus, run_dir: Path) -> Page:
    write(make_report(), run_dir, corpus=corpus)
    return Page((run_dir / "report.html").read_text())


def test_html_is_whole_and_needs_no_network(page: Page) -> None:
    assert page.open == []
    assert not {"script", "img", "iframe", "link", "object", "base"} & set(page.tags)
    assert not {a for a in page.attributes if a.startswith("on")}
    assert all(link.startswith("#") for link in page.links)
    assert {link[1:] for link in page.links} <= set(page.ids) and len(page.ids) == len(set(page.ids))


def test_html_shows_hostile_text_as_text(page: Page) -> None:
    text = "".join(page.text)
    assert "<script>alert('x')</script> [click](http://evil.example/x)" in text
    assert "\x1b" not in text and "\u202e" not in text and "‹U+202E›gnp.exe" in text


def test_html_opens_quotations_to_the_steps_around(page: Page) -> None:
    text = " ".join("".join(page.text).split())
    assert page.tags.count("mark") == 4
    assert 'issue_refund({"order": 7})' in text and "My order arrived broken" in text


def test_html_without_outcomes_speaks_of_none(corpus: Corpus, run_dir: Path) -> None:
    write(make_report(outcomes=False), run_dir, corpus=corpus)
    text = " ".join(Page((run_dir / "report.html").read_text()).text)
    assert not re.search(
        r"\b(pass|passes|fail|fails|failing|failures)\b", text.split("@media")[0] + text.split("}")[-1]
    )


def test_steps_around_a_citation_are_bounded(tmp_path: Path) -> None:
    import duckdb

    from primitives.corpus import open_corpus

    path = make_corpus(tmp_path / "long.corpus")
    with duckdb.connect(str(path / "traces.duckdb")) as con:
        con.execute(
            "UPDATE steps SET text = repeat('x', 50000) || ' needle ' || repeat('y', 50000) WHERE trace_id = 't4'"
        )
    report = make_report()
    citation = replace(report.findings[0].citations[1], quote="needle")
    report = replace(report, findings=(replace(report.findings[0], citations=(citation,)),), partition=())
    opened = open_corpus(path)
    steps = around_citations(report, opened)["t4", 2]
    opened.con.close()
    assert [s.seq for s in steps] == [0, 1, 2, 3, 4] and [s.cited for s in steps] == [False, False, True, False, False]
    assert "needle" in steps[2].text and all(len(s.text) < 2000 for s in steps)


def test_forty_findings_stay_readable(corpus: Corpus, run_dir: Path) -> None:
    report = make_report()
    many = tuple(replace(report.findings[0], id=f"F{i}", title=f"finding number {i}") for i in range(1, 41))
    write(replace(report, findings=many, partition=()), run_dir, corpus=corpus)
    text = (run_dir / "report.md").read_text()
    assert text.count("\n### ") == 40 and "[Findings (40)](#findings)" in text
    assert (run_dir / "report.html").stat().st_size < 1_000_000


def test_notebook_is_valid_and_opens_the_corpus(corpus: Corpus, run_dir: Path) -> None:
    write(make_report("my.corpus"), run_dir, corpus=corpus, cells=make_cells())
    book = nbformat.read(run_dir / "notebook.ipynb", as_version=4)
    nbformat.validate(book)
    assert (
        book.cells[1].source
        == "from primitives import open_corpus\n\ncorpus = open_corpus('my.corpus', into=globals())"
    )
    assert [c.source for c in book.cells if c.cell_type == "markdown"][1:] == ["## orchestrator", "## scout-1"]
    outputs = [o for c in book.cells if c.cell_type == "code" for o in c.outputs]
    assert [o.output_type for o in outputs] == ["stream", "execute_result", "error"]
    assert outputs[2].ename == "ZeroDivisionError" and outputs[2].evalue == "division by zero"


def test_the_same_run_gives_the_same_files(corpus: Corpus, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(make_report(), tmp_path / name, corpus=corpus, cells=make_cells())
    for file in ("report.md", "report.html", "findings.json", "notebook.ipynb"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_rendering_again_gives_what_was_written(corpus: Corpus, run_dir: Path) -> None:
    write(make_report(), run_dir, corpus=corpus)
    before = {f: (run_dir / f).read_text() for f in ("report.md", "report.html")}
    for file in before:
        (run_dir / file).write_text("spoilt")
    render_again(load(run_dir), run_dir, corpus)
    assert {f: (run_dir / f).read_text() for f in before} == before


def test_a_run_is_found_by_folder_file_or_corpus(tmp_path: Path) -> None:
    from primitives.corpus import open_corpus

    path = make_corpus(tmp_path / "desk.corpus")
    with pytest.raises(InsightsError, match="holds no finished run"):
        run_folder(path)
    with pytest.raises(InsightsError, match="neither a run nor a corpus"):
        run_folder(tmp_path)
    opened = open_corpus(path)
    run = path / "runs" / "20260101-a"
    write(make_report("/moved/away.corpus"), run, corpus=opened)
    opened.con.close()
    assert run_folder(path) == run_folder(run) == run_folder(run / "findings.json") == run
    assert corpus_of(load(run), run) == path.resolve()
    with pytest.raises(InsightsError, match="not at /moved/away"):
        corpus_of(load(run), tmp_path / "x" / "y" / "z")


def test_hostile_text_is_long_enough_to_matter() -> None:
    assert all(sign in HOSTILE for sign in ("<script>", "](http", "`", "|", "\x1b", "\u202e", "\u200b"))


def test_runs_of_tasks_at_fault_are_set_aside() -> None:
    report = make_report()
    assert outline.set_aside(report) == ""  # four traces have no outcome
    corpus = {**report.corpus, "n_traces": 36, "n_unlabelled": 0}
    graded = replace(report.partition[1], actor="grader", finding_id=report.findings[1].id)
    held = replace(report.findings[1], trace_ids=ids(7, 8, 9, 10, 20))
    told = outline.set_aside(
        replace(
            report,
            corpus=corpus,
            partition=(report.partition[0], graded, report.partition[2]),
            findings=(report.findings[0], held),
        )
    )
    assert told == (
        "Set aside the 5 runs of tasks or verdicts found at fault (F2): of the other 31, 19 pass (61 %; as scored, 56 %). "
        "Of the runs set aside 1 failure has another cause: mending that alone may not turn them."
    )


def test_a_list_made_by_a_reader_is_called_one_and_not_compared() -> None:
    finding = make_report().findings[0]
    assert words.verdict(finding) == "confirmed" and not words.by_hand(finding)
    code = "SELECT * FROM (VALUES " + ", ".join(f"('{t}')" for t in finding.trace_ids) + ") v(trace_id)"
    listed = replace(finding, kind="prevalence", predicate=Predicate(code))
    assert words.verdict(listed) == "listed"
    assert "points" not in words.harm(listed) + words.contrast(listed) and words.harm(listed) == "4 of 9 fail"


def test_a_difference_of_which_nothing_is_known_is_not_spelt_out() -> None:
    finding = make_report().findings[0]
    assert finding.contrast is not None
    vague = replace(finding, contrast=replace(finding.contrast, low=-0.9, high=0.8))
    assert words.contrast(vague).endswith("Too few of both kinds, among runs that can be compared, to say more.")


def test_ids_of_failed_runs_are_shown_without_what_all_begin_with() -> None:
    report = make_report()
    runs = tuple(replace(run, trace_id=f"desk:a/{run.trace_id}") for run in report.failures)
    named = replace(report, failures=runs)
    assert outline.common_start(named) == "desk:a/" and outline.shown_id(named, "desk:a/t3") == "t3"
    assert outline.common_start(report) == "" and outline.common_start(replace(report, failures=runs[:1])) == ""
