"""notebook.ipynb: the cells that each agent ran, with their outputs, ready to go on from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from insights.records import Report
from insights.report import escape, words
from primitives.secrets import unsecret

OUTPUT_CHARS = 20_000  # of one output; the run's own record holds the rest
OPENING = """from primitives import open_corpus

corpus = open_corpus({path!r}, into=globals())"""
ABOUT = """# {question}

{corpus}. The cells below are those of run {run_id}, agent by agent, with the outputs they had then.
The first cell opens the corpus and brings every primitive; cells which dispatch agents, submit findings or
call a model (`dispatch`, `submit_hypothesis`, `classify`, …) only work inside a run."""


def render(report: Report, cells: Sequence[Any]) -> str:
    """`cells` are objects with `agent`, `code`, `stdout`, `result` and `error`, in the order in which they ran."""
    import nbformat
    from nbformat import v4

    about = ABOUT.format(
        question=escape.markdown(report.question),
        corpus=words.corpus_line(report),
        run_id=escape.markdown(report.run_id),
    )
    book = v4.new_notebook(
        cells=[
            v4.new_markdown_cell(about),
            v4.new_code_cell(OPENING.format(path=str(report.corpus.get("path", "")))),
            *_agents(cells),
        ],
        metadata={
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
            "language_info": {"name": "python"},
        },
    )
    for i, cell in enumerate(book.cells):
        cell["id"] = f"cell-{i}"  # the library's own ids are random; the same run gives the same notebook
    nbformat.validate(book)
    return nbformat.writes(book)


def _agents(cells: Sequence[Any]) -> Iterator[Any]:
    from nbformat import v4

    count = 0
    for agent, run in groupby(cells, key=lambda cell: cell.agent):
        yield v4.new_markdown_cell(f"## {escape.markdown(str(agent))}")
        for cell in run:
            count += 1
            yield v4.new_code_cell(unsecret(cell.code), execution_count=count, outputs=list(_outputs(cell, count)))


def _outputs(cell: Any, count: int) -> Iterator[Any]:
    """Outputs as plain text only: nothing that a trace holds is run or rendered by Jupyter."""
    from nbformat import v4

    if cell.stdout:
        yield v4.new_output("stream", name="stdout", text=_bounded(cell.stdout))
    if cell.result:
        data = {"text/plain": _bounded(str(cell.result))}
        yield v4.new_output("execute_result", data=data, execution_count=count)
    if cell.error:
        text = _bounded(str(cell.error))
        name, _, value = text.strip().split("\n")[-1].partition(":")
        yield v4.new_output("error", ename=name.strip()[:100], evalue=value.strip(), traceback=text.split("\n"))


def _bounded(text: str) -> str:
    return escape.visible(escape.shortened(text, OUTPUT_CHARS))
