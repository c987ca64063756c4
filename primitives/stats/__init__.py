"""Statistics of prevalence and contrast. numpy and scipy are imported when something is computed.

`contrast` and `contrasts` work on a corpus; the other modules are arithmetic on counts.
"""

from __future__ import annotations

from primitives.stats.contrast import contrast, contrasts
from primitives.stats.design import StratumUnknown

__all__ = ["StratumUnknown", "contrast", "contrasts"]
