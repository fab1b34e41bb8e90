"""Interval of the difference of two results on the same rows, shared by the benchmarks that train."""

from __future__ import annotations

import numpy as np
import pandas as pd

BOOTSTRAPS = 2000


def paired_interval(first: pd.Series, second: pd.Series, groups: pd.Series) -> tuple[float, float, float]:
    """Return the mean of `second - first` over the rows and its 95% interval, by a bootstrap over groups.

    Args:
        first, second: a number of each row, by id.
        groups: the group of each row, by id; groups are drawn whole.
    """
    difference = second.astype(float) - first.loc[second.index].astype(float)
    by_group = difference.groupby(groups.loc[second.index].to_numpy()).agg(["sum", "count"]).to_numpy()
    draws = np.random.default_rng(0).integers(0, len(by_group), (BOOTSTRAPS, len(by_group)))
    sums = by_group[draws].sum(1)
    low, high = np.quantile(sums[:, 0] / sums[:, 1], [0.025, 0.975])
    return float(difference.mean()), float(low), float(high)
