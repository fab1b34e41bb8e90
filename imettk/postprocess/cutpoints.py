"""Where a predicted number turns from one grade into the next: cut-points that score best on some rows.

Rows are sorted by their number once, and equal numbers are one block, which no cut parts. Grades rise with the numbers,
so an answer is a chain of cuts, and a dynamic programme finds the best one: the gain of a grade over a run of blocks is
a difference of running sums, and a running maximum stands for all earlier cuts at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np

from imettk.postprocess.thresholds.sorting import rising_order

Place = np.ndarray | int | slice
Goal = Literal["quadratic_kappa", "accuracy", "f1_macro"]
BELOW_ALL, ABOVE_ALL = -1e30, 1e30  # cuts that every number passes, or none; finite, for they stand in JSON
MOST_CUTS = 2_000  # places of a cut among which the best macro F1 is found exactly; of more, cuts are moved one by one
FEW_CUTS = 1_000  # places that are looked at before all others
MAX_ROUNDS = 50  # of Dinkelbach's iteration, which ends after a handful, and of moving cuts


class _Blocks(NamedTuple):
    """Rows in the order of their number, M blocks of equal ones.

    Attributes:
        values: of the blocks, rising, float64 (M,).
        below: rows of each grade in front of each place between blocks, float64 (K, M + 1).
    """

    values: np.ndarray
    below: np.ndarray


def apply_cutpoints(values: np.ndarray, cuts: np.ndarray) -> np.ndarray:
    """Return the grade of each number, its place among the grades, int64 (N,): one more with each cut it reaches.

    Args:
        values: float (N,).
        cuts: rising, float (K - 1,).
    """
    return np.searchsorted(np.asarray(cuts, np.float64), values.astype(np.float64), side="right")


def fit_cutpoints(values: np.ndarray, targets: np.ndarray, *, grades: np.ndarray, goal: Goal) -> np.ndarray:
    """Return the cuts that score best on these rows, halfway between numbers, float64 (K - 1,).

    `quadratic_kappa` and `accuracy` are exact. So is `f1_macro`, among answers that some row has, where the rows allow
    at most `MOST_CUTS` places for a cut; with more, the best of as many, evenly spread, are moved one by one until
    none gains.

    Args:
        values: float (N,), at least one.
        targets: places among the grades, int64 (N,).
        grades: their values, rising, float (K,); they need not be next to each other.
        goal: the score.
    """
    blocks = _find_blocks(values, targets, len(grades))
    places = _GOALS[goal](blocks, np.asarray(grades, np.float64))
    inner = (blocks.values[1:] + blocks.values[:-1]) / 2
    return np.concatenate([[BELOW_ALL], inner, [ABOVE_ALL]])[places]


def _find_blocks(values: np.ndarray, targets: np.ndarray, num_grades: int) -> _Blocks:
    order = _rising(values)
    rising, grades = values[order].astype(np.float64), targets[order]
    ends = np.append(np.flatnonzero(rising[1:] != rising[:-1]), len(rising) - 1)  # the last row of each block
    below = np.zeros((num_grades, len(ends) + 1))
    for grade, row in enumerate(below):
        row[1:] = np.cumsum(grades == grade)[ends]
    return _Blocks(rising[ends], below)


def _rising(values: np.ndarray) -> np.ndarray:
    """Return where the smallest numbers stand, int64 (N,)."""
    if values.dtype != np.float32:
        return np.argsort(values, kind="stable")
    # The bits of floats from 0 on rise as they do, those of floats below 0 fall; adding 0 makes -0 one of the first.
    bits = (values + np.float32(0)).view(np.uint32)
    return rising_order(np.where(bits >> 31 == 1, ~bits, bits | np.uint32(1 << 31)))


def _best_chain(gains: np.ndarray) -> np.ndarray:
    """Return the places of the cuts between grades that gain most together, int64 (K - 1,).

    Args:
        gains: of each grade if it had all blocks in front of a place, (K, M + 1): what a run of blocks gains is a
            difference of two.
    """
    best, before = gains[0], []
    for gain in gains[1:]:
        before.append(best - gain)  # of a cut at each place, in front of this grade
        best = gain + np.maximum.accumulate(before[-1])
    cuts = np.zeros(len(before), np.int64)
    place = gains.shape[1] - 1
    for grade in range(len(before) - 1, -1, -1):
        cuts[grade] = place = int(before[grade][: place + 1].argmax())
    return cuts


def _cut_for_kappa(blocks: _Blocks, grades: np.ndarray) -> np.ndarray:
    """Maximise a ratio of two sums over rows by Dinkelbach's iteration (1967).

    With t a row's true grade, a its answer and m the mean of t, kappa is the sum of 2 a (t - m) over that of
    a^2 - 2 a m + t^2. It begins with the kappa of a constant answer, 0, and a chain that is best for the ratio
    so far has a higher one, or none has.
    """
    every = blocks.below[:, -1]
    rows, mean = blocks.below.sum(0), every @ grades / every.sum()
    above = 2 * grades[:, None] * ((grades - mean) @ blocks.below)
    under = (grades**2 - 2 * grades * mean)[:, None] * rows
    squares = every @ grades**2
    some = np.linspace(0, len(rows) - 1, min(len(rows), FEW_CUTS)).astype(int)  # these bring it near, in no time
    _, ratio = _best_ratio(above[:, some], under[:, some], squares, 0.0)
    cuts, ratio = _best_ratio(above, under, squares, ratio)
    return cuts if ratio > 0 else _constant(blocks)


def _best_ratio(above: np.ndarray, under: np.ndarray, rest: float, ratio: float) -> tuple[np.ndarray, float]:
    """Return the chain with the largest ratio of two sums, and that ratio.

    Args:
        above, under: running sums of each grade, (K, M + 1).
        rest: added to the sum below.
        ratio: of some chain.
    """
    best: np.ndarray | None = None
    for _ in range(MAX_ROUNDS):
        cuts = _best_chain(above - ratio * under)
        total = _total(under, cuts) + rest
        found = _total(above, cuts) / total if total > 0 else 0.0
        if best is not None and found <= ratio:
            break
        best, ratio = cuts, found
    assert best is not None
    return best, ratio


def _total(sums: np.ndarray, cuts: np.ndarray) -> float:
    """Return what all runs of a chain have together, of running sums (K, M + 1)."""
    edges = np.concatenate([[0], cuts, [sums.shape[1] - 1]])
    every = np.arange(len(sums))
    return float((sums[every, edges[1:]] - sums[every, edges[:-1]]).sum())


def _constant(blocks: _Blocks) -> np.ndarray:
    """Return the cuts that answer every row with the most frequent grade."""
    num_blocks, num_grades = len(blocks.values), len(blocks.below)
    return np.where(np.arange(num_grades - 1) < blocks.below[:, -1].argmax(), 0, num_blocks)


def _cut_for_accuracy(blocks: _Blocks, grades: np.ndarray) -> np.ndarray:
    return _best_chain(blocks.below)


def _cut_for_f1(blocks: _Blocks, grades: np.ndarray) -> np.ndarray:
    """Maximise the sum of F1 of the grades that are true in some row: no other is answered."""
    true = np.flatnonzero(blocks.below[:, -1] > 0)
    below, rows = blocks.below[true], blocks.below.sum(0)
    places = _changes(blocks)
    some = places[np.unique(np.linspace(0, len(places) - 1, min(len(places), MOST_CUTS)).round().astype(int))]
    cuts = some[_best_f1_chain(below[:, some], rows[some])]
    if len(some) < len(places):
        cuts = _move_cuts(cuts, below, rows, places)
    starts = np.concatenate([[0], cuts, [len(blocks.values)]])  # of the runs of these grades
    return starts[
        np.searchsorted(true, np.arange(1, len(grades)))
    ]  # a grade that no row has begins where the next does


def _changes(blocks: _Blocks) -> np.ndarray:
    """Return the places where a cut may lie: a run of blocks that all hold the same single grade is not worth parting.

    F1 of the grade that gives such blocks away, and of the one that takes them, are convex in how many change over
    where they are right for neither, and both rise with them where they are right for one: an end of the run is best.
    """
    counts = np.diff(blocks.below, axis=1)
    pure = (counts > 0).sum(0) == 1
    same = pure[1:] & pure[:-1] & (counts[:, 1:].argmax(0) == counts[:, :-1].argmax(0))
    return np.concatenate([[0], 1 + np.flatnonzero(~same), [len(pure)]])


def _best_f1_chain(below: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the chain with the largest sum of F1, among all pairs of places, int64 (K - 1,).

    Args:
        below: of each grade its rows in front of each place, (K, P).
        rows: all rows in front of each place, (P,).
    """
    best, came = _run_f1(below[0], rows, 0), []
    order = np.arange(len(rows))
    for hits in below[1:]:
        every = best[:, None] + _run_f1(hits, rows, order[:, None])
        every[order[:, None] > order] = -np.inf  # a run does not end before it begins
        came.append(every.argmax(0))
        best = every.max(0)
    cuts = np.zeros(len(came), np.int64)
    place = len(rows) - 1
    for grade in range(len(came) - 1, -1, -1):
        cuts[grade] = place = came[grade][place]
    return cuts


def _run_f1(hits: np.ndarray, rows: np.ndarray, begin: Place, end: Place = slice(None)) -> np.ndarray:
    """Return F1 of a grade that is answered from the places `begin` to the places `end`."""
    return 2 * (hits[end] - hits[begin]) / (np.maximum(rows[end] - rows[begin], 0) + hits[-1])


def _move_cuts(cuts: np.ndarray, below: np.ndarray, rows: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Move one cut after another to its best place between its neighbours, until none gains."""
    edges = np.concatenate([[0], cuts, [len(rows) - 1]])
    for _ in range(MAX_ROUNDS):
        before = edges.copy()
        for cut in range(1, len(edges) - 1):
            some = places[(places >= edges[cut - 1]) & (places <= edges[cut + 1])]
            left = _run_f1(below[cut - 1], rows, edges[cut - 1], some)
            edges[cut] = some[(left + _run_f1(below[cut], rows, some, edges[cut + 1])).argmax()]
        if (edges == before).all():
            break
    return edges[1:-1]


_GOALS: dict[Goal, Callable[[_Blocks, np.ndarray], np.ndarray]] = {
    "quadratic_kappa": _cut_for_kappa,
    "accuracy": _cut_for_accuracy,
    "f1_macro": _cut_for_f1,
}
