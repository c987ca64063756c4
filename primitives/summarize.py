"""One answer from many texts or traces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from primitives.classify import ask_host, chosen
from primitives.registry import verb

if TYPE_CHECKING:
    from primitives.corpus import Corpus


@verb(spends=True)
def summarize(
    corpus: Corpus,
    question: str,
    *,
    texts: Sequence[str] | None = None,
    cohort: Any = None,
    schema: dict[str, Any] | None = None,
    most: int = 50,
    seed: int = 0,
) -> Any:
    """Have a model answer one question from many texts, or from traces read one by one, in as many rounds as it takes.

    texts: what to read, for example answers that `extract` gave; else the traces of `cohort`, at most `most` by `seed`.
    schema: as in `extract`, for an answer with fields; without one the answer is text.

    Returns text, or a dict with a schema. It holds no counts to rely on: count with `prevalence`.
    Raises NotInARun outside of a run with a model, GatewayError when nothing could be read.

    >>> summarize("What do these complaints have in common?", texts=["too slow", "slow again"])
    """
    ids = None if texts is not None else chosen(corpus, cohort, most, seed, "summarize")
    listed = None if texts is None else [str(text) for text in texts]
    return ask_host(corpus, "summarize", question=question, texts=listed, trace_ids=ids, schema=schema)["answer"]
