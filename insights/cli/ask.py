"""insights ask: a question of a corpus, answered with findings."""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from insights.cli import app
from insights.cli.options import FormatOption
from insights.errors import UsageError

if TYPE_CHECKING:
    from insights.records import Report
    from primitives.corpus import Corpus

ASKED = "ask.json"  # in the run's folder: what --resume goes on with


@app.command()
def ask(
    source: Annotated[
        list[str] | None,
        typer.Argument(metavar="SOURCE... QUESTION", help="A corpus or files of traces, then the question."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The run's folder; default: CORPUS/runs/<id>.")
    ] = None,
    model: Annotated[
        str | None, typer.Option("-m", "--model", help="provider/name; without one the roles run their playbooks.")
    ] = None,
    fast_model: Annotated[
        str | None, typer.Option("--fast-model", help="Reads traces in bulk; default: the model.")
    ] = None,
    base_url: Annotated[
        str | None, typer.Option("--base-url", help="A server that speaks OpenAI's chat completions.")
    ] = None,
    budget_usd: Annotated[float | None, typer.Option("--budget-usd", help="Ceiling in money.", min=0)] = None,
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", help="Ceiling in tokens, in and out.", min=0)
    ] = None,
    where: Annotated[
        str | None, typer.Option("-F", "--filter", metavar="SQL", help="Only traces for which this holds.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", help="At most so many traces, drawn by the seed.", min=1)
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what a model would read and cost, and stop.")] = False,
    resume: Annotated[
        Path | None, typer.Option("--resume", metavar="RUN", help="Go on with a run; nothing is paid twice.")
    ] = None,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Do not ask before spending.")] = False,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of the split into halves and of sampling.")] = None,
    jobs: Annotated[int | None, typer.Option("-j", "--jobs", help="Agents at work at once.")] = None,
    agents: Annotated[Path | None, typer.Option("--agents", metavar="DIR", help="Role files of your own.")] = None,
    no_sandbox: Annotated[
        bool, typer.Option("--no-sandbox", help="Run cells without a sandbox. Only for traces you trust.")
    ] = False,
    no_redact: Annotated[
        bool, typer.Option("--no-redact", help="Send to the model, and write, what looks like a secret, too.")
    ] = False,
    no_progress: Annotated[bool, typer.Option("--no-progress", help="No progress on stderr.")] = False,
    format: FormatOption = "pretty",
) -> None:
    """Ask why runs fail, what they waste, how two models differ; read the report.

    \b
    insights ask week.corpus "Why do runs fail?"
    insights ask week.corpus "Why do runs fail?" -m anthropic/claude-sonnet-4-5 --budget-usd 5
    insights ask --resume week.corpus/runs/20260101-why-do-runs-fail
    """
    models = {
        "strong": model,
        "fast": fast_model,
        "base_url": base_url,
        "budget_usd": budget_usd,
        "max_tokens": max_tokens,
        "redact": False if no_redact else None,
    }
    options = {
        "diagnose": {"seed": seed, "agents_at_once": jobs}, "models": models, "filter": where, "limit": limit,
        "agents": str(agents.resolve()) if agents else None, "no_sandbox": no_sandbox or None,
    }  # fmt: skip
    if resume is not None:
        asked = _over(_asked(resume), options)
        run_dir: Path | None = resume
        if source or where or limit:
            raise UsageError(
                "--resume goes on with the question and the traces of its run",
                "leave out source, question, --filter and --limit",
            )
    else:
        if not source or len(source) < 2:
            raise UsageError("a source and a question are needed", 'insights ask week.corpus "Why do runs fail?"')
        if not source[-1].strip():
            raise UsageError("the question is empty", 'insights ask week.corpus "Why do runs fail?"')
        corpus = corpus_of(source[:-1], progress=not no_progress)
        asked = _over({"corpus": str(corpus.resolve()), "question": source[-1]}, options)
        run_dir = output
    if dry_run:
        _print_plan(asked, format)
        return
    if model and not yes and sys.stdin.isatty() and sys.stderr.isatty():
        _print_plan(asked, "pretty", to=sys.stderr)
        typer.confirm("Go on?", abort=True, err=True)
    folder, report = run(asked, run_dir, progress=not no_progress)
    _print_report(report, folder, format)


def answer(
    paths: list[str], question: str, output: Path | None, *, seed: int | None = None, jobs: int | None = None,
    no_sandbox: bool = False, progress: bool = True,
) -> tuple[Path, Report]:  # fmt: skip
    """Ingest if need be, run the playbooks, write the report; returns the run's folder and the report."""
    corpus = corpus_of(paths, progress)
    options = {"diagnose": {"seed": seed, "agents_at_once": jobs}, "no_sandbox": no_sandbox or None}
    return run(_over({"corpus": str(corpus.resolve()), "question": question}, options), output, progress=progress)


def run(asked: dict[str, Any], folder: Path | None, *, progress: bool) -> tuple[Path, Report]:
    """Run the agents on what was asked and write the report; returns the run's folder and the report."""
    from insights.diagnose.live import Live
    from insights.diagnose.run import ask as run_agents
    from insights.diagnose.run import run_id
    from insights.models import open_tiers
    from insights.report import write
    from primitives.secrets import SHOWN

    chosen = _settings(asked)
    SHOWN.set(not chosen["models"]["redact"])
    if folder is None:
        folder = _fresh(Path(asked["corpus"]) / "runs" / run_id(asked["question"]))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = f"{folder} cannot be made: {error.strerror or error}"
        raise UsageError(why, "name another folder for the run with -o") from error
    corpus = population(asked, folder / "population.corpus", chosen["diagnose"]["seed"])
    tiers = open_tiers(chosen["models"], folder / "calls.sqlite")
    try:
        if tiers is not None:
            tiers.ready()
        (folder / ASKED).write_text(json.dumps(asked, indent=1) + "\n", encoding="utf-8")
        with Live(shown=progress) as live:
            report, board = run_agents(
                corpus, asked["question"], folder, chosen["diagnose"], sandbox="none" if asked.get("no_sandbox") else "auto",
                tell=live.tell, tiers=tiers, agents=Path(asked["agents"]) if asked.get("agents") else None, follow=live.follow,
            )  # fmt: skip
        write(report, folder, corpus=corpus, cells=board.cells)
    finally:
        if tiers is not None:
            tiers.close()
    return folder, report


def _fresh(folder: Path) -> Path:
    """The folder, made; with a number behind it where another run of this second has taken the name."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    name = folder.name
    for n in itertools.count(2):
        try:
            folder.mkdir()
            break
        except FileExistsError:
            folder = folder.with_name(f"{name}.{n}")
    return folder


def population(asked: dict[str, Any], folder: Path, seed: int) -> Corpus:
    """The corpus, or a corpus of the traces that --filter and --limit leave of it, in `folder`, where a resumed run has it."""
    from insights.cli.options import open_corpus

    whole = open_corpus(Path(asked["corpus"]))
    if not asked.get("filter") and not asked.get("limit"):
        return whole
    from insights.corpus.subset import subset

    if (folder / "traces.duckdb").is_file():
        return open_corpus(folder)
    return open_corpus(subset(whole, asked.get("filter"), asked.get("limit"), seed, folder))


def corpus_of(paths: list[str], progress: bool) -> Path:
    """The corpus named, or the one made of the files named: NAME.corpus in the working folder."""
    from insights.cli.ingest import print_summary, run

    first = Path(paths[0])
    if len(paths) == 1 and (first / "traces.duckdb").is_file():
        return first
    target = Path(f"{first.resolve().name.split('.')[0] or 'traces'}.corpus")
    print_summary(run(paths, target, progress=progress), sys.stderr)
    return target


def _print_plan(asked: dict[str, Any], format: str, to: Any = None) -> None:
    import tempfile

    from insights.cli.printing import print_json
    from insights.diagnose.plan import in_words, plan

    chosen = _settings(asked)
    with tempfile.TemporaryDirectory() as folder:
        corpus = population(asked, Path(folder) / "population.corpus", chosen["diagnose"]["seed"])
        found = plan(corpus, asked["question"], chosen, Path(asked["agents"]) if asked.get("agents") else None)
    if format == "json":
        print_json(found)
    else:
        print("\n".join(in_words(found)), file=to or sys.stdout)


def _print_report(report: Report, folder: Path, format: str) -> None:
    from insights.report import head
    from insights.report.findings_json import FILE_NAME

    if format == "json":
        print((folder / FILE_NAME).read_text(encoding="utf-8"), end="")
    elif format == "md":
        print((folder / "report.md").read_text(encoding="utf-8"), end="")
    else:
        print(head(report, folder))


def _asked(folder: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((folder / ASKED).read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{folder} is no run that can be resumed: {ASKED}: {error}", "name the folder of a run"
        ) from error


def _settings(asked: dict[str, Any]) -> dict[str, Any]:
    from insights.config import settings

    return settings({name: asked[name] for name in ("diagnose", "models") if asked.get(name)})


def _over(asked: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """What was asked with the options given laid over it; an option that was not given changes nothing."""
    merged = dict(asked)
    for name, value in options.items():
        if isinstance(value, dict):
            merged[name] = {**merged.get(name, {}), **{k: v for k, v in value.items() if v is not None}}
        elif value is not None:
            merged[name] = value
    return merged
