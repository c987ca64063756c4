"""What the run knows so far, asked from inside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from primitives.registry import verb
from primitives.submit import _call

if TYPE_CHECKING:
    from primitives.corpus import Corpus


@verb(acts=True)
def coverage(corpus: Corpus) -> dict[str, Any]:
    """The ledger of the run: how many failures confirmed findings explain so far, and the ids of those they do not.

    Returns a dict: failed, explained (counts) and unexplained (list of trace ids).
    Raises NotInARun outside `insights ask`.

    >>> coverage()
    """
    return dict(_call(corpus, "coverage"))
