"""What the taxonomy knows of a cause: who, which class, what helps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from primitives.registry import verb
from primitives.settings import shipped

if TYPE_CHECKING:
    from primitives.corpus import Corpus


@verb
def known_cause(corpus: Corpus, name: str) -> dict[str, Any]:
    """What is known of a cause: actor, taxonomy class, MAST mode, fix and data gap, by the name of a detector or deviation.

    name: a detector ("retry_loop"), a class of `deviations` ("wrong argument") or a lead; spaces and underscores are the same.

    Returns a dict ready for `about`: taxonomy {actor, class, mast}, suggested_fix, data_gap; empty texts for an unknown name.
    Source: configs/taxonomy.yaml.

    >>> known_cause("retry_loop")
    """
    known = shipped("taxonomy")["causes"].get(name.replace(" ", "_"), {})
    return {
        "taxonomy": {
            "actor": known.get("actor", "agent"),
            "class": known.get("class", "workflow"),
            "mast": known.get("mast", ""),
        },
        "suggested_fix": known.get("fix", ""),
        "data_gap": known.get("gap", ""),
    }


@verb
def detector_line(corpus: Corpus, name: str) -> str:
    """The one-line definition of a detector.

    name: as in the column `detector` of `signals`. An unknown name (a rule of a user's own) is given back as it is.

    >>> detector_line("retry_loop")
    """
    from primitives.detectors import DETECTORS

    return DETECTORS[name].line if name in DETECTORS else name.replace("_", " ")
