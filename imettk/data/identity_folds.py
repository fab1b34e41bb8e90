"""Folds for tables of thousands of identities with a few images each, as seeded functions of (identities, plan).

A unit is an image, or a group of images that stay together. Its identity is a class index, `UNKNOWN`, or `MIXED` for a
group of several identities.
"""

from __future__ import annotations

import numpy as np

from imettk.config import FoldConfig
from imettk.errors import DataError

UNKNOWN, MIXED = -1, -2


def identities_of_units(targets: np.ndarray, member: np.ndarray, num_units: int) -> np.ndarray:
    """Return the identity of each unit, int64 (U,); `MIXED` also for a unit without rows.

    Args:
        targets: int64 (N,), `UNKNOWN` for an unknown identity.
        member: unit of each row, int64 (N,).
    """
    lowest = np.full(num_units, np.iinfo(np.int64).max)
    highest = np.full(num_units, np.iinfo(np.int64).min)
    # A unit shows one identity exactly if the lowest and the highest of its rows are equal.
    np.minimum.at(lowest, member, targets)
    np.maximum.at(highest, member, targets)
    return np.where(lowest == highest, lowest, MIXED)


def deal_evenly(identities: np.ndarray, num_folds: int, seed: int) -> np.ndarray:
    """Deal units in turn, so that folds differ by at most one unit per identity and in total; int64 (U,)."""
    rng = np.random.default_rng(seed)
    order = _in_turn(identities, rng)
    folds = np.empty(len(identities), np.int64)
    folds[order] = rng.permutation(num_folds)[np.arange(len(order)) % num_folds]
    return folds


def hold_out(identities: np.ndarray, plan: FoldConfig) -> np.ndarray:
    """Return the fold in which each unit validates, int64 (U,), -1 for none.

    Each fold holds out one unit, or `hold_out_share` of the units, of every identity with at least `hold_out_from`
    units. No unit is held out twice, so an identity with fewer units than folds is missing from some folds; which ones
    rotates, so that folds become even. Unknown units are dealt to all folds; mixed ones only train.
    """
    folds = np.full(len(identities), -1, np.int64)
    unknown = identities == UNKNOWN
    folds[unknown] = deal_evenly(identities[unknown], plan.num_folds, plan.seed)
    known = np.flatnonzero(identities >= 0)
    if not len(known):
        return folds
    member = np.unique(identities[known], return_inverse=True)[1]
    counts = np.bincount(member)
    share = plan.hold_out_share
    # 1e-9: a share such as 0.29 of 100 is slightly below 29 in floating point.
    quotas = np.ones_like(counts) if share is None else np.floor(counts * share + 1e-9).astype(np.int64)
    quotas[counts < plan.hold_out_from] = 0
    times = np.where(quotas > 0, np.minimum(plan.num_folds, counts // np.maximum(quotas, 1)), 0)

    rng = np.random.default_rng(plan.seed)
    # Identities with the same quota stand together, largest quota first, and folds are taken in turn along the line.
    line = np.lexsort((rng.permutation(len(counts)), -quotas))
    first = np.empty_like(counts)
    first[line] = np.cumsum(times[line]) - times[line]
    order = np.lexsort((rng.permutation(len(known)), member))
    place = np.empty(len(known), np.int64)
    place[order] = np.arange(len(known)) - np.repeat(np.cumsum(counts) - counts, counts)
    turn = place // np.maximum(quotas, 1)[member]
    chosen = turn < times[member]
    names = rng.permutation(plan.num_folds)
    folds[known[chosen]] = names[(first[member] + turn)[chosen] % plan.num_folds]
    return folds


def unknown_folds(identities: np.ndarray, plan: FoldConfig, *, eligible: np.ndarray) -> np.ndarray:
    """Return the fold that holds out each whole identity as an unknown one, int64 (C,), -1 for none.

    Each fold takes the share `unknown_identities` of the identities, rounded but at least one, and no identity twice.

    Args:
        identities: class indices that occur, int64 (any number,).
        eligible: which of C class indices may be taken, bool (C,).

    Raises:
        DataError: there are too few.
    """
    folds = np.full(len(eligible), -1, np.int64)
    if not plan.unknown_identities:
        return folds
    num_identities = len(np.unique(identities[identities >= 0]))
    # The minimum: at a share of 1 / num_folds, rounding up would ask for more than there are.
    quota = max(1, min(round(plan.unknown_identities * num_identities), num_identities // plan.num_folds))
    candidates = np.flatnonzero(eligible)
    if len(candidates) < quota * plan.num_folds:
        raise DataError(
            f"{plan.num_folds} folds cannot hold out {quota} unknown identit{'y' if quota == 1 else 'ies'} each: only "
            f"{len(candidates)} qualify; lower --folds.unknown-identities"
        )
    chosen = np.random.default_rng(plan.seed).permutation(candidates)[: quota * plan.num_folds]
    folds[chosen] = np.arange(len(chosen)) % plan.num_folds
    return folds


def _in_turn(identities: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the order of units in which those of an identity are adjacent, otherwise random, int64 (U,)."""
    names, member = np.unique(identities, return_inverse=True)
    return np.lexsort((rng.permutation(len(member)), rng.permutation(len(names))[member]))
