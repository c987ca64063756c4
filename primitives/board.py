"""What the run knows so far, asked from inside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from primitives.registry import verb
from primitives.submit import _call

if TYPE_CHECKING:
    from primitives.corpus import Corpus


@verb(acts=True)
def coverage(corpus: Corpus) -> dict[str, Any]:
    """The ledger of the run: which failures are explained so far, which only by a symptom, which nobody has read.

    Returns a dict: failed, explained (counts); lists of trace ids: unexplained, by_symptom_only (of these, those of which it is
    known what departs from the reference and not why), unread (failures that explain() was not told of); read (what it was told:
    trace id -> who, cause, finding); disagree (of each task whose failed runs were put to different parties: trace id -> who);
    broad (findings that hold many failures).
    Raises NotInARun outside `insights ask`.

    >>> coverage()
    """
    return dict(_call(corpus, "coverage"))
