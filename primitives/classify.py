"""Closed questions that a model answers of each trace, with a quote; kept as labels."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from primitives.cohort import resolve
from primitives.registry import verb
from primitives.sql import Bounded
from primitives.submit import NotInARun

if TYPE_CHECKING:
    import pandas as pd

    from primitives.corpus import Corpus

MOST_TRACES = 2_000  # read by one call of a verb; each is a call to a model or several


@verb(spends=True)
def classify(
    corpus: Corpus,
    questions: dict[str, str],
    *,
    cohort: Any = None,
    choices: Sequence[str] = ("yes", "no"),
    show: Sequence[str] = (),
    most: int = 200,
    gold: int = 0,
    seed: int = 0,
) -> pd.DataFrame:
    """Have a model read each trace and answer closed questions, with a checked quote; answers become labels.

    questions: {label name: question}; all of them are answered in one reading of a trace. A name is letters, digits and
        underscores, and belongs to its question: give another question another name.
    cohort: the traces to read (see `compare`); at most `most`, a sample drawn by `seed` where there are more.
    choices: the answers that can be given; "cannot tell" is added, and counts as unjudged.
    show: what the reader is told besides the steps: columns of `traces` or 'expected'. The verdict (`success`, `score`,
        'deviations') is refused: labels are held against it afterwards.
    gold: how many traces of each yes/no label the strong model reads again, half of them among its yes and half among its no,
        a trace once for all labels. Needed for a prevalence: `prevalence(label=name)`. The report reads 40 where you have not.

    Columns: trace_id, name, value (NULL where unjudged), seq, quote, explanation, unjudged (why, else NULL). All of it is in
        `labels`; as a predicate: SELECT trace_id, seq, quote FROM labels WHERE name = '…' AND kind = 'judged' AND value = 'yes'
    Raises NotInARun outside of a run with a model, GatewayError for a name that is taken by another question.

    >>> classify({"gave_up": "Does the agent give up before it has tried everything it could?"}, cohort="NOT success")
    """
    import pandas as pd

    ids = chosen(corpus, cohort, most, seed, "classify")
    answer = ask_host(
        corpus, "classify", questions=dict(questions), trace_ids=ids, choices=list(choices), show=list(show), gold=gold
    )
    corpus.refresh_labels()
    columns = ["trace_id", "name", "value", "seq", "quote", "explanation", "unjudged"]
    return pd.DataFrame([[row.get(c) for c in columns] for row in answer["rows"]], columns=columns)


def chosen(corpus: Corpus, cohort: Any, most: int, seed: int, name: str) -> list[str]:
    """The ids to read, in an order that the seed decides; a larger cohort is sampled, with a warning."""
    if not 1 <= most <= MOST_TRACES:
        raise ValueError(f"{name}: most is {most}; 1 to {MOST_TRACES} traces can be read in one call")
    rows = corpus.con.execute(
        f"SELECT trace_id FROM ({resolve(corpus, cohort)}) ORDER BY md5(concat(?, '/', trace_id)), trace_id",
        [str(seed)],
    ).fetchall()
    if len(rows) > most:
        warnings.warn(f"{name}: {most} of {len(rows)} traces are read, drawn at random (most=…)", Bounded, stacklevel=3)
    return [row[0] for row in rows[:most]]


def ask_host(corpus: Corpus, method: str, **params: Any) -> Any:
    """What the host of the run makes of it. Raises NotInARun where there is none."""
    if corpus.gateway is None:
        raise NotInARun(
            f"{method} asks a model, which only a run can: insights ask {corpus.path.name} --model PROVIDER/NAME …"
        )
    return corpus.gateway(method, **params)
