"""Areas under curves of probabilities, column by column; a table scores the mean over its columns.

Each column is sorted once. A bootstrap sample is then a count of how often each position of that order was drawn, so
all samples together cost little more than one sort.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeVar

import numpy as np

Result = TypeVar("Result")
Area = Callable[[np.ndarray, np.ndarray], float]  # negatives and positives at each threshold, highest first -> area


def against_the_rest(probs: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a column per class, and which rows are of that class, (N, C); for two classes only the second, (N, 1).

    Args:
        probs: (N, C).
        targets: int64 (N,).
    """
    first = 1 if probs.shape[1] == 2 else 0
    return probs[:, first:], targets[:, None] == np.arange(first, probs.shape[1])


def columns_of_classes(targets: np.ndarray) -> np.ndarray:
    """Return the second half of `against_the_rest` for classes, int64 (N,), of which the highest occurs."""
    return against_the_rest(np.empty((0, max(2, int(targets.max()) + 1))), targets)[1]


def for_classes(function: Callable[..., Result]) -> Callable[..., Result]:
    """Turn a score (or bootstrap) of columns into one of classes, int64 (N,), each class against the rest."""
    return lambda probs, targets, **params: function(*against_the_rest(probs, targets), **params)


def constant(score: Callable[..., float]) -> Callable[..., float]:
    """Return a function from targets, (N, C), to the score of any constant answer: only the order of rows counts."""
    return lambda targets, **params: score(np.zeros(targets.shape, np.float32), targets, **params)


def class_constant(score: Callable[..., float]) -> Callable[..., float]:
    """Return the same function for classes, int64 (N,)."""
    return lambda targets, **params: constant(score)(columns_of_classes(targets), **params)


def roc_auc(probs: np.ndarray, targets: np.ndarray) -> float:
    """Return the area under the ROC curve, as scikit-learn's `roc_auc_score`: a tie counts half.

    Args:
        probs: (N, C).
        targets: 0 or 1, (N, C).

    Returns:
        Mean over columns. A column without a positive or without a negative row has no area and is left out of the
        mean; NaN if no column is left.
    """
    return _score(probs, targets, _roc_area)


def roc_auc_resampled(probs: np.ndarray, targets: np.ndarray) -> Callable[[np.ndarray], float]:
    """Return a function that scores rows drawn with replacement; see `roc_auc`."""
    return _resampled(probs, targets, _roc_area)


def roc_auc_weighted(probs: np.ndarray, targets: np.ndarray, *, edges: str, weights: str) -> float:
    """Return the area under the ROC curve with weights by range of the true positive rate: ALASKA2's weighted AUC.

    The score is the weighted sum of the areas in each range, divided by that of a perfect curve. If a range ends
    between two points of the curve, the curve is cut there, as in MLE-bench's grader of that competition (the kernel
    "weighted-auc-metric-updated" assigns the segment to neither range).

    Args:
        probs, targets: as for `roc_auc`, which also defines the mean.
        edges: of the ranges, in rising order, such as "0 0.4 1".
        weights: one for each range, such as "2 1".
    """
    return _score(probs, targets, _weighted_area(edges, weights))


def roc_auc_weighted_resampled(
    probs: np.ndarray, targets: np.ndarray, *, edges: str, weights: str
) -> Callable[[np.ndarray], float]:
    """Return a function that scores rows drawn with replacement; see `roc_auc_weighted`."""
    return _resampled(probs, targets, _weighted_area(edges, weights))


def roc_auc_partial(probs: np.ndarray, targets: np.ndarray, *, above: float) -> float:
    """Return the area under the ROC curve above a true positive rate: ISIC 2024's pAUC above 80% TPR.

    Args:
        probs, targets: as for `roc_auc`, which also defines the mean.
        above: the true positive rate, in [0, 1); the score is in [0, 1 - above].
    """
    return _score(probs, targets, _partial_area(above))


def roc_auc_partial_resampled(probs: np.ndarray, targets: np.ndarray, *, above: float) -> Callable[[np.ndarray], float]:
    """Return a function that scores rows drawn with replacement; see `roc_auc_partial`."""
    return _resampled(probs, targets, _partial_area(above))


def average_precision(probs: np.ndarray, targets: np.ndarray) -> float:
    """Return average precision, as scikit-learn's `average_precision_score`.

    Args:
        probs: (N, C).
        targets: 0 or 1, (N, C).

    Returns:
        Mean over columns. A column without a positive row has no recall and is left out of the mean (scikit-learn
        counts it as 0); NaN if no column is left.
    """
    return _score(probs, targets, _precision_area)


def average_precision_resampled(probs: np.ndarray, targets: np.ndarray) -> Callable[[np.ndarray], float]:
    """Return a function that scores rows drawn with replacement; see `average_precision`."""
    return _resampled(probs, targets, _precision_area)


def gap_resampled(probs: np.ndarray, targets: np.ndarray) -> Callable[[np.ndarray], float]:
    """Return a function that scores rows drawn with replacement; see `gap`."""
    first = probs.argmax(1)
    return _gap_resampled(probs, targets[np.arange(len(first)), first] > 0, np.any(targets > 0, axis=1))


def class_gap_resampled(probs: np.ndarray, targets: np.ndarray) -> Callable[[np.ndarray], float]:
    """Return the same function for classes, int64 (N,), with -1 for no class."""
    return _gap_resampled(probs, probs.argmax(1) == targets, targets >= 0)


def gap(probs: np.ndarray, targets: np.ndarray) -> float:
    """Return global average precision of each row's likeliest label: Google Landmark Recognition's micro AP at 1.

    All rows are ranked by the probability of their likeliest label. Each correct row contributes the precision among
    the rows ranked at least as high; the sum is divided by the number of rows that have a label. A row without a label
    is always wrong; a row whose probabilities are all 0 gives no answer.

    Args:
        probs: (N, C).
        targets: 0 or 1, (N, C).

    Returns:
        In [0, 1]; NaN if no row has a label.
    """
    return gap_resampled(probs, targets)(np.arange(len(targets)))


def class_gap(probs: np.ndarray, targets: np.ndarray) -> float:
    """Return the same score for classes, int64 (N,), with -1 for no class."""
    return class_gap_resampled(probs, targets)(np.arange(len(targets)))


def best_constant_gap(targets: np.ndarray) -> float:
    """Return the score of answering every row with the most frequent label, equally sure of each; targets (N, C)."""
    num_known = (targets > 0).any(1).sum()
    return float((targets > 0).sum(0).max() ** 2 / (len(targets) * num_known)) if num_known else math.nan


def best_constant_class_gap(targets: np.ndarray) -> float:
    """Return the same score for classes, int64 (N,)."""
    counts = np.bincount(targets[targets >= 0])
    return float(counts.max() ** 2 / (len(targets) * counts.sum())) if len(counts) else math.nan


def _gap_resampled(probs: np.ndarray, right: np.ndarray, known: np.ndarray) -> Callable[[np.ndarray], float]:
    """Return a function that scores rows drawn with replacement.

    Args:
        right, known: which rows are correct, and which have a label, bool (N,).
    """
    sure = probs.max(1)
    right = right & (sure > 0)
    precision_of = _resampled(sure[:, None], right[:, None], _precision_area)

    def score_of(rows: np.ndarray) -> float:
        num_known, num_right = known[rows].sum(), right[rows].sum()
        if not num_right:
            return 0.0 if num_known else math.nan
        # Average precision divides by the correct rows; GAP divides by all rows that have a label.
        return precision_of(rows) * float(num_right / num_known)

    return score_of


def numbers_of(text: str) -> list[float]:
    """Return the numbers in a text, separated by spaces or commas; raise `ValueError` for anything else."""
    return [float(word) for word in text.replace(",", " ").split()]


def check_ranges(edges: str, weights: str) -> str | None:
    """Return what is wrong with the parameters of `roc_auc_weighted`, or None."""
    try:
        ends, shares = numbers_of(edges), numbers_of(weights)
    except ValueError:
        return f"edges and weights must be numbers, such as '0 0.4 1' and '2 1', got {edges!r} and {weights!r}"
    rising = all(low < high for low, high in pairwise(ends))
    if len(ends) < 2 or not (rising and ends[0] >= 0 and ends[-1] <= 1):
        return f"edges must be two or more rising numbers in [0, 1], got {edges!r}"
    if len(shares) != len(ends) - 1 or not (min(shares) >= 0 and 0 < sum(shares) < math.inf):
        return f"weights must be {len(ends) - 1} numbers for these edges, 0 or above and not all 0, got {weights!r}"
    return None


def _score(probs: np.ndarray, targets: np.ndarray, area: Area) -> float:
    """Return the mean area of all rows, each drawn once."""
    return _resampled(probs, targets, area)(np.arange(len(targets)))


def _resampled(probs: np.ndarray, targets: np.ndarray, area: Area) -> Callable[[np.ndarray], float]:
    """Return a function from rows, with repeats, to the mean area of the columns that have one in these rows."""
    columns = [_places(probs[:, column], targets[:, column] > 0) for column in range(targets.shape[1])]

    def score_of(rows: np.ndarray) -> float:
        areas = []
        for places, num_places in columns:
            counts = np.bincount(places[rows], minlength=2 * num_places).astype(np.float64)
            areas.append(area(counts[::2], counts[1::2]))
        # A sample may have drawn no positive row of a rare label, although the table has some.
        known = [value for value in areas if not math.isnan(value)]
        return sum(known) / len(known) if known else math.nan

    return score_of


def _places(probs: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, int]:
    """Return a code for each row, int32 (N,), and the number of thresholds.

    The code is twice the rank of the row's threshold, highest first, plus 1 for a positive row: one `bincount` of codes
    then counts negatives (even) and positives (odd) at every threshold.
    """
    thresholds, place = np.unique(-probs, return_inverse=True)
    # No curve bends between thresholds that only negative rows pass: they share a rank, so a rare label has few.
    only_false = np.bincount(place[truth], minlength=len(thresholds)) == 0
    shared = np.cumsum(~(only_false & np.roll(only_false, 1)))
    shared -= shared[0]
    return (2 * shared[place] + truth).astype(np.int32), int(shared[-1]) + 1


def _area_beside(ranges: Sequence[tuple[float, float, float]], whole: float = 1.0) -> Area:
    """Return a function for the area to the right of the ROC curve, divided by `whole`.

    Args:
        ranges: (lowest true positive rate, highest, weight) of each range that counts.
    """

    def area(false: np.ndarray, true: np.ndarray) -> float:
        num_false, num_true = false.sum(), true.sum()
        if not num_false or not num_true:
            return math.nan
        rises = true > 0  # the curve is flat elsewhere
        right, top = false.cumsum()[rises] / num_false, true.cumsum()[rises] / num_true
        width, height = false[rises] / num_false, true[rises] / num_true
        total = 0.0
        for low, high, weight in ranges:
            part = slice(np.searchsorted(top, low, side="right"), np.searchsorted(top, high) + 1)
            ends, heights = top[part], height[part]
            start, end = np.maximum(ends - heights, low), np.minimum(ends, high)
            # A threshold that passes negatives and positives at once is a straight segment of the curve: the part
            # beside it is a trapezoid, whose mean width is the one at its middle.
            middle = right[part] - width[part] * (ends - (start + end) / 2) / heights
            total += weight * min(float((end - start) @ (1 - middle)), high - low)  # a sum may be rounded up
        return total / whole

    return area


def _roc_area(false: np.ndarray, true: np.ndarray) -> float:
    num_pairs = false.sum() * true.sum()
    return float(false @ (true.cumsum() - true / 2) / num_pairs) if num_pairs else math.nan


def _partial_area(above: float) -> Area:
    return _area_beside([(above, 1.0, 1.0)])


def _weighted_area(edges: str, weights: str) -> Area:
    ranges = [(*ends, weight) for ends, weight in zip(pairwise(numbers_of(edges)), numbers_of(weights), strict=True)]
    return _area_beside(ranges, whole=sum(weight * (high - low) for low, high, weight in ranges))


def _precision_area(false: np.ndarray, true: np.ndarray) -> float:
    num_true = true.sum()
    if not num_true:
        return math.nan
    gains, hits, passed = true > 0, true.cumsum(), (false + true).cumsum()
    return float(true[gains] @ (hits[gains] / passed[gains]) / num_true)
