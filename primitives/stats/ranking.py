"""The order in which contrasts are shown: what is surely large first."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def ranked(frame: pd.DataFrame) -> pd.DataFrame:
    """Sort by the bound of [low, high] nearest to zero (0 where the interval holds zero), adjusted rows first, then p.

    A large effect seen in five traces thus does not stand above a moderate one seen in five hundred.
    """
    import numpy as np

    low, high = frame["low"].to_numpy(float), frame["high"].to_numpy(float)
    sure = np.maximum(np.maximum(low, -high), 0)
    p = np.nan_to_num(frame["p"].to_numpy(float), nan=1.0)
    tested = ~np.isnan(frame["p"].to_numpy(float))
    order = np.lexsort((frame["p_unadjusted"].to_numpy(float), p, -np.nan_to_num(sure), ~tested))
    return frame.iloc[order]
