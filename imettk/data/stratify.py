"""Multi-label stratification of rows or groups: rarest label first, each to the fold that lacks most."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from imettk.progress import progress_bar

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

MOST_TRIES, TRIED_UNITS = 16, 100_000  # a small table is dealt up to 16 times, within this many rows or groups


def stratify(targets: np.ndarray, num_folds: int, seed: int, *, groups: np.ndarray | None = None) -> np.ndarray:
    """Return the fold of each row, int64 (N,), in [0, num_folds).

    Rows with a rare label are dealt first because they have the least choice, as in Sechidis et al. 2011 ("On the
    Stratification of Multi-label Data"); before them come groups of several rows, the largest first. Each goes to the
    fold where the sum over its labels of (rows with the label in the fold) / (rows with the label in total) is lowest.
    That is the change of the folds' summed squared shares, so a rare label weighs more than a frequent one, which later
    rows even out. The number of rows counts as one more label that every row has. Small tables are dealt several times,
    and the most even deal is kept.

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
    units: csr_matrix, sizes: np.ndarray, num_folds: int, rng: np.random.Generator, update: Callable[[int], object]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the fold of each unit, int64 (U,), and the count of each label per fold, float64 (C, num_folds).

    Args:
        units: number of rows with each label, (U, C); the last label is that of all rows.
        sizes: rows of each unit, int64 (U,).
    """
    totals = np.asarray(units.sum(0)).ravel()
    weights = 1 / np.maximum(totals, 1)
    starts, columns, counts = units.indptr.tolist(), units.indices, units.data
    rarest = np.minimum.reduceat(totals[columns], units.indptr[:-1])
    order = rng.permutation(len(sizes))
    order = order[np.lexsort((rarest[order], -sizes[order]))]
    # Random fractions break ties: folds that lack the same are taken in an order of the seed, not always the first.
    filled = rng.random((units.shape[1], num_folds)) * 1e-6
    folds = np.zeros(len(sizes), np.int64)
    # One row at a time: each deal depends on those before. Slices of the sparse matrix's arrays keep it at 7 us a row.
    for number, unit in enumerate(order.tolist()):
        span = slice(starts[unit], starts[unit + 1])
        label, count = columns[span], counts[span]
        here = filled[label]
        folds[unit] = fold = int((count * weights[label] @ here).argmin())
        here[:, fold] += count
        filled[label] = here
        if number % 1000 == 999:
            update(1000)
    update(len(order) % 1000)
    return folds, filled
