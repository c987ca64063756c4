"""A schema that a model fills in from each trace, with a quote; kept as labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from primitives.classify import ask_host, chosen
from primitives.registry import verb

if TYPE_CHECKING:
    import pandas as pd

    from primitives.corpus import Corpus


@verb(spends=True)
def extract(
    corpus: Corpus,
    schema: dict[str, Any],
    *,
    name: str,
    question: str,
    cohort: Any = None,
    show: Sequence[str] = (),
    most: int = 100,
    seed: int = 0,
) -> pd.DataFrame:
    """Have a model read each trace and fill in a schema, with a checked quote; answers become labels.

    schema: by example, {"cause": "one sentence", "step": 0, "who": ["agent", "user"], "sure": True} (a text describes the
        field, a list names the choices), or a JSON Schema of type object. No patterns.
    name: of the label; its value is the answer as JSON. question: what to look for, in a sentence or two.
    cohort, show, most, seed: as in `classify`, but `show` may name the verdict and 'deviations'. Long traces are read in parts,
        and the parts put together.

    Columns: trace_id, value (a dict, None where unjudged), seq, quote, unjudged (why, else NULL).
    Raises NotInARun outside of a run with a model, GatewayError for a schema that is none.

    >>> extract({"cause": "one sentence"}, name="cause", question="Why did it fail?", cohort="NOT success", show=["success"])
    """
    import pandas as pd

    ids = chosen(corpus, cohort, most, seed, "extract")
    answer = ask_host(corpus, "extract", schema=schema, name=name, question=question, trace_ids=ids, show=list(show))
    corpus.refresh_labels()
    columns = ["trace_id", "value", "seq", "quote", "unjudged"]
    return pd.DataFrame([[row.get(c) for c in columns] for row in answer["rows"]], columns=columns)
