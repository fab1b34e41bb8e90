"""Cut-points that turn a predicted number into a grade, chosen to score best on some rows.

Rows are sorted by their number once, and equal numbers form a block that no cut divides. Grades rise with the numbers,
so an answer is a chain of cuts, and dynamic programming finds the best one: the gain of a grade over a run of blocks is
a difference of running sums, and a running maximum covers all earlier cuts at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from imettk.metrics.metric import CutGoal
from imettk.postprocess.thresholds.sorting import rising_order

Place = np.ndarray | int | slice
BELOW_ALL, ABOVE_ALL = -1e30, 1e30  # cuts that every number passes, or none; JSON has no infinity
MOST_CUTS = 2_000  # candidate places up to which macro F1 is optimised exactly; the cost is quadratic in them
FEW_CUTS = 1_000  # candidate places of a first, coarse pass
MAX_ROUNDS = 50  # of Dinkelbach's iteration, which needs a handful, and of moving cuts


class _Blocks(NamedTuple):
    """The rows in the order of their number, as M blocks of equal numbers.

    Attributes:
        values: number of each block, rising, float64 (M,).
        below: rows of each grade before each boundary between blocks, float64 (K, M + 1).
    """

    values: np.ndarray
    below: np.ndarray


def apply_cutpoints(values: np.ndarray, cuts: np.ndarray) -> np.ndarray:
    """Return the grade index of each number, int64 (N,): the number of cuts that it reaches.

    Args:
        values: float (N,).
        cuts: rising, float (K - 1,).
    """
    return np.asarray(np.searchsorted(np.asarray(cuts, np.float64), values.astype(np.float64), side="right"))


def fit_cutpoints(values: np.ndarray, targets: np.ndarray, *, grades: np.ndarray, goal: CutGoal) -> np.ndarray:
    """Return the cuts that score best on these rows, halfway between numbers, float64 (K - 1,).

    `quadratic_kappa` and `accuracy` are exact. `f1_macro` is exact if there are at most `MOST_CUTS` candidate places;
    with more, the best of that many, evenly spread, are then moved one by one until no move gains.

    Args:
        values: float (N,), at least one.
        targets: grade indices, int64 (N,).
        grades: values of the grades, rising, float (K,); not necessarily equidistant.
        goal: the score to maximise.
    """
    blocks = _find_blocks(values, targets, len(grades))
    places = _GOALS[goal](blocks, np.asarray(grades, np.float64))
    inner = (blocks.values[1:] + blocks.values[:-1]) / 2
    return np.asarray(np.concatenate([[BELOW_ALL], inner, [ABOVE_ALL]])[places])


def _find_blocks(values: np.ndarray, targets: np.ndarray, num_grades: int) -> _Blocks:
    order = _rising(values)
    rising, grades = values[order].astype(np.float64), targets[order]
    ends = np.append(np.flatnonzero(rising[1:] != rising[:-1]), len(rising) - 1)  # the last row of each block
    below = np.zeros((num_grades, len(ends) + 1))
    for grade, row in enumerate(below):
        row[1:] = np.cumsum(grades == grade)[ends]
    return _Blocks(rising[ends], below)


def _rising(values: np.ndarray) -> np.ndarray:
    """Return the stable order of rising numbers, int64 (N,)."""
    if values.dtype != np.float32:
        return np.argsort(values, kind="stable")
    # As integers, the bits of non-negative floats rise with them and those of negative floats fall; adding 0 turns -0
    # into 0.
    bits = (values + np.float32(0)).view(np.uint32)
    return rising_order(np.where(bits >> 31 == 1, ~bits, bits | np.uint32(1 << 31)))


def _best_chain(gains: np.ndarray) -> np.ndarray:
    """Return the boundaries of the cuts that gain most together, int64 (K - 1,).

    Args:
        gains: gain of each grade for all blocks before a boundary, (K, M + 1); the gain of a run is a difference of
            two.
    """
    best, before = gains[0], []
    for gain in gains[1:]:
        before.append(best - gain)  # for a cut at each boundary, before this grade
        best = gain + np.maximum.accumulate(before[-1])
    cuts = np.zeros(len(before), np.int64)
    place = gains.shape[1] - 1
    for grade in range(len(before) - 1, -1, -1):
        cuts[grade] = place = int(before[grade][: place + 1].argmax())
    return cuts


def _cut_for_kappa(blocks: _Blocks, grades: np.ndarray) -> np.ndarray:
    """Maximise a ratio of two sums over rows by Dinkelbach's iteration (1967).

    With t a row's true grade, a its answer and m the mean of t, kappa is the sum of 2 a (t - m) divided by the sum of
    a^2 - 2 a m + t^2. The iteration starts at 0, the kappa of a constant answer. The chain that is optimal for the
    current ratio has a higher ratio, unless the current one is the optimum.
    """
    totals = blocks.below[:, -1]
    rows, mean = blocks.below.sum(0), totals @ grades / totals.sum()
    numerators = 2 * grades[:, None] * ((grades - mean) @ blocks.below)
    denominators = (grades**2 - 2 * grades * mean)[:, None] * rows
    squares = totals @ grades**2
    # A coarse pass is cheap and leaves a round or two for the full one.
    coarse = np.linspace(0, len(rows) - 1, min(len(rows), FEW_CUTS)).astype(int)
    _, ratio = _best_ratio(numerators[:, coarse], denominators[:, coarse], squares, 0.0)
    cuts, ratio = _best_ratio(numerators, denominators, squares, ratio)
    return cuts if ratio > 0 else _constant(blocks)


def _best_ratio(
    numerators: np.ndarray, denominators: np.ndarray, rest: float, ratio: float
) -> tuple[np.ndarray, float]:
    """Return the chain with the largest ratio of two sums, and that ratio.

    Args:
        numerators, denominators: running sums of each grade, (K, M + 1).
        rest: added to the sum of denominators.
        ratio: the ratio of some chain, to start from.
    """
    best: np.ndarray | None = None
    for _ in range(MAX_ROUNDS):
        cuts = _best_chain(numerators - ratio * denominators)
        total = _total(denominators, cuts) + rest
        higher = _total(numerators, cuts) / total if total > 0 else 0.0
        if best is not None and higher <= ratio:
            break
        best, ratio = cuts, higher
    assert best is not None
    return best, ratio


def _total(sums: np.ndarray, cuts: np.ndarray) -> float:
    """Return the sum over all runs of a chain, given running sums (K, M + 1)."""
    edges = np.concatenate([[0], cuts, [sums.shape[1] - 1]])
    grades = np.arange(len(sums))
    return float((sums[grades, edges[1:]] - sums[grades, edges[:-1]]).sum())


def _constant(blocks: _Blocks) -> np.ndarray:
    """Return the cuts that answer every row with the most frequent grade."""
    num_blocks, num_grades = len(blocks.values), len(blocks.below)
    return np.where(np.arange(num_grades - 1) < blocks.below[:, -1].argmax(), 0, num_blocks)


def _cut_for_accuracy(blocks: _Blocks, grades: np.ndarray) -> np.ndarray:
    return _best_chain(blocks.below)


def _cut_for_f1(blocks: _Blocks, grades: np.ndarray) -> np.ndarray:
    """Maximise the sum of F1 over the grades that occur; no other grade is answered."""
    true = np.flatnonzero(blocks.below[:, -1] > 0)
    below, rows = blocks.below[true], blocks.below.sum(0)
    places = _changes(blocks)
    chosen = places[np.unique(np.linspace(0, len(places) - 1, min(len(places), MOST_CUTS)).round().astype(int))]
    cuts = chosen[_best_f1_chain(below[:, chosen], rows[chosen])]
    if len(chosen) < len(places):
        cuts = _move_cuts(cuts, below, rows, places)
    starts = np.concatenate([[0], cuts, [len(blocks.values)]])  # of the runs of these grades
    # A grade that does not occur starts where the next one does: its run is empty.
    return np.asarray(starts[np.searchsorted(true, np.arange(1, len(grades)))])


def _changes(blocks: _Blocks) -> np.ndarray:
    """Return the boundaries where a cut may lie: it never pays to divide a run of blocks of the same single grade.

    Suppose blocks of the run move from one answered grade to another. If their true grade is neither, both F1 scores
    are convex in the number moved; if it is one of the two, both scores are monotonic. Either way an end of the run is
    best.
    """
    counts = np.diff(blocks.below, axis=1)
    pure = (counts > 0).sum(0) == 1
    same = pure[1:] & pure[:-1] & (counts[:, 1:].argmax(0) == counts[:, :-1].argmax(0))
    return np.concatenate([[0], 1 + np.flatnonzero(~same), [len(pure)]])


def _best_f1_chain(below: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the chain with the largest sum of F1 over all pairs of boundaries, int64 (K - 1,).

    Args:
        below: rows of each grade before each boundary, (K, P).
        rows: all rows before each boundary, (P,).
    """
    best, previous = _run_f1(below[0], rows, 0), []
    order = np.arange(len(rows))
    for hits in below[1:]:
        totals = best[:, None] + _run_f1(hits, rows, order[:, None])
        totals[order[:, None] > order] = -np.inf  # a run does not end before it starts
        previous.append(totals.argmax(0))
        best = totals.max(0)
    cuts = np.zeros(len(previous), np.int64)
    place = len(rows) - 1
    for grade in range(len(previous) - 1, -1, -1):
        cuts[grade] = place = previous[grade][place]
    return cuts


def _run_f1(hits: np.ndarray, rows: np.ndarray, begin: Place, end: Place = slice(None)) -> np.ndarray:
    """Return F1 of a grade that is answered from the boundaries `begin` to the boundaries `end`."""
    scores: np.ndarray = 2 * (hits[end] - hits[begin]) / (np.maximum(rows[end] - rows[begin], 0) + hits[-1])
    return scores


def _move_cuts(cuts: np.ndarray, below: np.ndarray, rows: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Move one cut after another to its best place between its neighbours, until no move gains."""
    edges = np.concatenate([[0], cuts, [len(rows) - 1]])
    for _ in range(MAX_ROUNDS):
        before = edges.copy()
        for cut in range(1, len(edges) - 1):
            between = places[(places >= edges[cut - 1]) & (places <= edges[cut + 1])]
            left = _run_f1(below[cut - 1], rows, edges[cut - 1], between)
            right = _run_f1(below[cut], rows, between, edges[cut + 1])
            edges[cut] = between[(left + right).argmax()]
        if (edges == before).all():
            break
    return edges[1:-1]


_GOALS: dict[CutGoal, Callable[[_Blocks, np.ndarray], np.ndarray]] = {
    "quadratic_kappa": _cut_for_kappa,
    "accuracy": _cut_for_accuracy,
    "f1_macro": _cut_for_f1,
}
