"""Compare the scores of two runs on the same rows with a paired bootstrap."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from imettk.metrics.metric import Scorer

MIN_DRAWS = 100  # bootstrap samples below which the ends of a 95% interval are too rough to print
MAX_SECONDS = 20.0  # metrics without a vectorised bootstrap can take a second for each sample


@dataclass(frozen=True)
class PairedScores:
    """Two scores of the same rows and the interval of their difference.

    Attributes:
        title: the metric's name in print.
        higher: True if a higher score is better.
        first, second: scores of the two runs.
        low, high: 95% interval of `second - first`; NaN if no sample has a score.
        rows: rows that both runs validated.
        draws: bootstrap samples behind the interval.
    """

    title: str
    higher: bool
    first: float
    second: float
    low: float
    high: float
    rows: int
    draws: int

    @property
    def difference(self) -> float:
        """Second score minus first score."""
        return self.second - self.first

    @property
    def verdict(self) -> str:
        """A plain sentence that says if the difference can be told from chance."""
        if math.isnan(self.low):
            return "The difference cannot be judged: no bootstrap sample has a score."
        if self.low <= 0 <= self.high:
            return "The difference does not stand out from the noise."
        better = (self.difference > 0) == self.higher
        return f"The second run is {'better' if better else 'worse'}: the interval excludes 0."


def compare_paired(
    scorer: Scorer,
    targets: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    samples: Iterable[np.ndarray],
    *,
    max_seconds: float = MAX_SECONDS,
) -> PairedScores:
    """Score two runs on the same bootstrap samples of rows.

    Both runs see the same sample, so what makes a sample easy or hard cancels out: the interval of the difference is
    much narrower than the two intervals of the scores suggest. It covers the choice of rows, not another training seed.

    Args:
        targets: first axis N, in the metric's form.
        first, second: what the metric judges of each run, first axis N.
        samples: rows drawn with repeats, int64 (M,) each.
        max_seconds: no sample begins later than this once `MIN_DRAWS` are done.
    """
    scores = [scorer.score(outputs, targets) for outputs in (first, second)]
    resampled = [scorer.resampled(outputs, targets) for outputs in (first, second)]
    deadline = time.monotonic() + max_seconds
    differences: list[float] = []
    for rows in samples:
        differences.append(resampled[1](rows) - resampled[0](rows))
        if len(differences) >= MIN_DRAWS and time.monotonic() > deadline:
            break
    drawn = np.array(differences)
    drawn = drawn[~np.isnan(drawn)]  # a sample without a true row has no AUC
    low = high = math.nan
    if len(drawn):
        # As `score_interval` does: the spread of the samples around the difference itself, so that the bias of the
        # bootstrap (repeated rows make some metrics look better) does not move the interval off the printed number.
        low, high = np.quantile(drawn, [0.025, 0.975]) - drawn.mean() + (scores[1] - scores[0])
    return PairedScores(
        scorer.title, scorer.higher, scores[0], scores[1], float(low), float(high), len(targets), len(drawn)
    )
