"""Even folds of rows, or groups of rows, with several labels: rarest label first, each to the fold that lacks most."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from imettk.progress import progress_bar

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

MOST_TRIES, TRIED_UNITS = 16, 100_000  # a small table is dealt so often, or until so many rows or groups are dealt


def stratify(targets: np.ndarray, num_folds: int, seed: int, *, groups: np.ndarray | None = None) -> np.ndarray:
    """The fold of each row, int64 (N,), in [0, num_folds).

    Rows with a rare label are dealt first, as in Sechidis et al. 2011 ("On the Stratification of Multi-label Data"),
    for they have the least choice; groups of several rows before them, the largest first. Each goes to the fold where
    sum over its labels of (rows with the label there) / (rows with the label in all) is least. That is the change of
    the summed squares of the folds' shares, so a rare label weighs more than a frequent one, which later rows even out.
    The number of rows counts as one more label, that all rows have. Small tables are dealt several times, and the most
    even deal is taken.

    Args:
        targets: uint8 (N, C).
        groups: rows that stay together, any dtype (N,).
    """
    from scipy.sparse import csr_matrix

    rng = np.random.default_rng(seed)
    labels = csr_matrix(np.column_stack([targets != 0, np.ones(len(targets), bool)]), dtype=np.float64)
    if groups is None:
        member, units = np.arange(len(targets)), labels
    else:
        names, member = np.unique(groups, return_inverse=True)
        rows = np.arange(len(targets))
        joins = csr_matrix((np.ones(len(rows)), (member, rows)), shape=(len(names), len(rows)))
        units = (joins @ labels).tocsr()
    sizes = np.bincount(member)
    best: tuple[float, np.ndarray] | None = None
    tries = int(np.clip(TRIED_UNITS // len(sizes), 1, MOST_TRIES))
    with progress_bar("deal folds", total=tries * len(sizes), unit="row" if groups is None else "group") as bar:
        for _ in range(tries):
            folds, filled = _deal(units, sizes, num_folds, rng, bar.update)
            off = float(np.abs(filled - filled.mean(1, keepdims=True)).sum())
            if best is None or off < best[0] - 1e-6:
                best = off, folds
    assert best is not None
    return best[1][member]


def _deal(
    units: csr_matrix, sizes: np.ndarray, num_folds: int, rng: np.random.Generator, tell: Callable[[int], object]
) -> tuple[np.ndarray, np.ndarray]:
    """The fold of each unit, int64 (U,), and what the folds hold of each label, float64 (C, num_folds).

    Args:
        units: rows that have each label, the last one being all rows, (U, C).
        sizes: rows of each unit, int64 (U,).
    """
    totals = np.asarray(units.sum(0)).ravel()
    weights = 1 / np.maximum(totals, 1)
    starts, columns, counts = units.indptr.tolist(), units.indices, units.data
    rarest = np.minimum.reduceat(totals[columns], units.indptr[:-1])
    order = rng.permutation(len(sizes))
    order = order[np.lexsort((rarest[order], -sizes[order]))]
    # Folds that lack as much are taken in turn as the seed has it, not the first one always.
    filled = rng.random((units.shape[1], num_folds)) * 1e-6
    folds = np.zeros(len(sizes), np.int64)
    for number, unit in enumerate(order.tolist()):
        own = slice(starts[unit], starts[unit + 1])
        label, count = columns[own], counts[own]
        here = filled[label]
        folds[unit] = fold = int((count * weights[label] @ here).argmin())
        here[:, fold] += count
        filled[label] = here
        if number % 1000 == 999:
            tell(1000)
    tell(len(order) % 1000)
    return folds, filled
